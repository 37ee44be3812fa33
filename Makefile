# make venv | demo | test | lint | plugin | plugin-tensorrt | check-sm70 | gpu-check | gpu-pack | gpu-{dcnv2,kernels,mini,row4,cascade,all} | clean
# All but the plugins and what runs on a GPU set up .venv first; nothing else is installed.
MAKEFLAGS += --no-print-directory
CANDIDATES := python3.12 python3.11 python3
SUITABLE = import sys; sys.version_info[:2] in ((3, 11), (3, 12)) and print(sys.executable)
PYTHON ?= $(firstword $(foreach name,$(CANDIDATES),$(shell $(name) -c '$(SUITABLE)' 2>/dev/null)))
BIN := .venv/bin
STAMP := .venv/.installed
SCENES := artifacts/scenes/heldout-300

# The plugins' build: .venv's CMake, or the system's where there is no .venv.
CMAKE = $(firstword $(wildcard $(BIN)/cmake) cmake)
CTEST = $(patsubst %cmake,%ctest,$(CMAKE))
COMPILER := $(firstword $(foreach name,$(CXX) c++ g++ clang++,$(shell command -v $(name) 2>/dev/null)))
JOBS ?= $(shell nproc)
# TensorRT's headers: a folder for each tag of its public repository, each with an include folder.
TENSORRT_HEADERS ?= build/tensorrt
TENSORRT_REPOSITORY ?= https://github.com/NVIDIA/TensorRT
# What make plugin-tensorrt builds for: a release of every major version, 10.4 being the last for V100.
TENSORRT_TAGS ?= v8.6.0 v10.4.0 v11.1
SOURCES = $(shell find plugins -name '*.h' -o -name '*.cuh' -o -name '*.cpp' -o -name '*.cu')


# The Python of the machine with the GPU: benchmarks/gpu/README.md says what it must have.
GPU_PYTHON ?= python3
GPU_OPTIONS ?=
GPU_RUN = $(GPU_PYTHON) benchmarks/gpu/run.py

.PHONY: venv demo test lint plugin plugin-tensorrt check-sm70 gpu-check gpu-pack gpu-dcnv2 gpu-kernels gpu-mini gpu-row4 gpu-cascade gpu-all clean

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
	$(BIN)/python engines/build.py --backend onnxruntime
	$(BIN)/python engines/build.py --backend onnxruntime --fp16
	$(BIN)/python engines/build.py --backend openvino
	$(BIN)/python validation/render_scenes.py $(SCENES) --count 300
	$(BIN)/python runtime/detect.py $(SCENES)/00000[0-5].jpg --save-images artifacts/detections
	$(BIN)/python validation/report.py --scenes 300

test: venv
ifneq ($(COMPILER),)
	$(MAKE) plugin
else
	@echo "not tested: the plugins' C++, for want of a C++ compiler (apt install g++)"
endif
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

lint: venv
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/clang-format --dry-run --Werror $(SOURCES)
	$(BIN)/hadolint docker/*.Dockerfile

# The libraries of kernels and their tests; with the CUDA kernels and the TensorRT plugins where nvcc and TensorRT's headers are found.
# make plugin TENSORRT_TAG=v10.4.0 takes the headers of that tag and fetches them once; it fails where the plugins cannot be built.
# Options of CMake: make plugin CMAKE_OPTIONS="-DTensorRT_ROOT=/path/to/TensorRT"
plugin: $(if $(TENSORRT_TAG),$(TENSORRT_HEADERS)/$(TENSORRT_TAG)/include/NvInfer.h)
	@command -v $(CMAKE) >/dev/null || { echo "error: no cmake; make venv or pip install cmake installs it" >&2; exit 3; }
	@test -n "$(COMPILER)" || { echo "error: no C++ compiler; apt install g++" >&2; exit 3; }
	$(CMAKE) -S . -B build/cmake $(if $(TENSORRT_TAG),$(call root_of,$(TENSORRT_TAG))) $(CMAKE_OPTIONS)
	$(CMAKE) --build build/cmake --parallel $(JOBS)
	$(CTEST) --test-dir build/cmake --no-tests=error --output-on-failure

root_of = -DTensorRT_ROOT=$(abspath $(TENSORRT_HEADERS)/$(1))

# The headers alone, of that tag alone; a folder appears whole or not at all.
$(TENSORRT_HEADERS)/%/include/NvInfer.h:
	@mkdir -p $(TENSORRT_HEADERS) && rm -rf $(TENSORRT_HEADERS)/.$*
	git -c advice.detachedHead=false clone --quiet --depth 1 --branch $* --filter=blob:none --sparse \
	  $(TENSORRT_REPOSITORY) $(TENSORRT_HEADERS)/.$*
	git -C $(TENSORRT_HEADERS)/.$* sparse-checkout set include
	@mv -T $(TENSORRT_HEADERS)/.$* $(TENSORRT_HEADERS)/$*

# The plugins and kernels for each of TENSORRT_TAGS in build/plugins/TAG/lib, tested as far as that goes without a GPU, where nvcc and
# the headers are at hand. Nothing is fetched.
plugin-tensorrt:
	@for tag in $(TENSORRT_TAGS); do \
	  if ! command -v "$${CUDACXX:-nvcc}" >/dev/null; then echo "not built: plugins for TensorRT $$tag, no nvcc"; \
	  elif ! test -e $(TENSORRT_HEADERS)/$$tag/include/NvInfer.h; then \
	    echo "not built: plugins for TensorRT $$tag, no headers in $(TENSORRT_HEADERS)/$$tag/include"; \
	  else $(MAKE) plugin-tensorrt-$$tag || exit; fi; \
	done

plugin-tensorrt-%:
	$(CMAKE) -S . -B build/plugins/$* $(call root_of,$*) $(CMAKE_OPTIONS)
	$(CMAKE) --build build/plugins/$* --parallel $(JOBS) --target pssdet_tested_plugins
	$(CTEST) --test-dir build/plugins/$* --no-tests=error --output-on-failure --tests-regex plugin
	@echo "built: plugins for TensorRT $* in build/plugins/$*/lib"

# The kernels compiled for V100, which CUDA 13 no longer knows; without a GPU and without a CUDA toolkit.
check-sm70: .venv/.kernels
	$(BIN)/python plugins/tools/compile_check.py --arch sm_70

.venv/.kernels: $(STAMP)
	@echo "installing NVIDIA's run-time compiler"
	@$(BIN)/python -m pip install --quiet --editable ".[kernels]"
	@touch $@

# What this machine's GPU does with kernels, plugins and engines, within 8 minutes: docs/how-to/check-a-gpu.md.
gpu-check:
	PYTHONPATH=src $(GPU_PYTHON) -m pssdet.validation.gpu_check $(GPU_OPTIONS)

# What that and the benchmarks below need beside this checkout, for a machine without Paddle and network: one folder each.
gpu-pack: venv
	$(BIN)/pssdet gpu-check --pack --cases mini scenes row4 row1 row2

# Benchmarks on a machine with a GPU; each goes on where it was stopped. What they need: benchmarks/gpu/README.md.
gpu-dcnv2:
	@test -n "$$PSSDET_KERNELS" || { $(CMAKE) -S . -B build/cmake && $(CMAKE) --build build/cmake --parallel; }
	$(GPU_RUN) dcnv2 $(GPU_OPTIONS)

gpu-kernels:
	$(GPU_RUN) kernels $(GPU_OPTIONS)

gpu-mini:
	$(GPU_RUN) mini $(GPU_OPTIONS)

gpu-row4:
	$(GPU_RUN) row4 $(GPU_OPTIONS)

# Row 1, and a cascade.
gpu-cascade:
	$(GPU_RUN) row1 row2 $(GPU_OPTIONS)

gpu-all:
	$(GPU_RUN) $(GPU_OPTIONS)

clean:
	rm -rf .venv artifacts build dist *.egg-info src/*.egg-info
