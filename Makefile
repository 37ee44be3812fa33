# make venv | demo | test | lint | gpu-dcnv2 | clean. All but gpu-dcnv2 set up .venv first; nothing else is installed.
CANDIDATES := python3.12 python3.11 python3
SUITABLE = import sys; sys.version_info[:2] in ((3, 11), (3, 12)) and print(sys.executable)
PYTHON ?= $(firstword $(foreach name,$(CANDIDATES),$(shell $(name) -c '$(SUITABLE)' 2>/dev/null)))
BIN := .venv/bin
STAMP := .venv/.installed
SCENES := artifacts/scenes/heldout-300

# A Python with PyTorch and torchvision, of the machine with the GPU; the project's own packages are not needed there.
GPU_PYTHON ?= python3
GPU_OPTIONS ?=

.PHONY: venv demo test lint gpu-dcnv2 clean

venv: $(STAMP)

# Newer than pyproject.toml as long as nothing that decides the installation has changed.
$(STAMP): pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: Python 3.11 or 3.12 is needed; make PYTHON=/path/to/python" >&2; exit 3; }
	@test -x $(BIN)/python || { echo "creating .venv with $(PYTHON)"; $(PYTHON) -m venv .venv; }
	@echo "installing the packages of pyproject.toml; Paddle makes this a minute or two"
	@$(BIN)/python -m pip install --quiet --upgrade "pip>=24"
	@$(BIN)/python -m pip install --quiet --editable ".[export,cpu,report,dev]"
	@touch $(STAMP)

# The main job: bundled Paddle detector -> verified ONNX -> engines -> detections -> parity report.
demo: venv
	$(BIN)/python export/to_onnx.py
	$(BIN)/python engines/build.py
	$(BIN)/python engines/build.py --fp16
	$(BIN)/python validation/render_scenes.py $(SCENES) --count 300
	$(BIN)/python runtime/detect.py $(SCENES)/00000[0-5].jpg --save-images artifacts/detections
	$(BIN)/python validation/report.py --scenes 300

test: venv
	$(BIN)/python -m pytest

lint: venv
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# Whether the DCNv2 kernel is right, and how fast: on a machine with a GPU, nvcc and CMake.
gpu-dcnv2:
	@test -n "$$PSSDET_KERNELS" || { cmake -S . -B build/cmake && cmake --build build/cmake --parallel; }
	$(GPU_PYTHON) benchmarks/gpu/dcnv2.py $(GPU_OPTIONS)

clean:
	rm -rf .venv artifacts build dist *.egg-info src/*.egg-info
