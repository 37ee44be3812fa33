# make venv | test | demo | check; every target sets up .venv first.
PYTHON ?= $(firstword $(foreach p,python3.12 python3.11 python3,$(shell $(p) -c 'import sys; v=sys.version_info[:2]; v in ((3,11),(3,12)) and print("$(p)")' 2>/dev/null)))
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: venv test demo check clean
venv: $(STAMP)

# The stamp is newer than pyproject.toml as long as nothing that decides the installation changed.
$(STAMP): pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: Python 3.11 or 3.12 is needed; set PYTHON=/path/to/python3.12" >&2; exit 3; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=24"
	$(BIN)/python -m pip install --quiet --editable ".[export,cpu,dev]"
	@touch $(STAMP)
