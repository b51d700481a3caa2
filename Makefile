# Two commands do everything on a fresh machine: `make demo` and `make test`.
# Each creates .venv and installs what it needs; delete .venv to start over.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One thread per process: torch and numpy would otherwise fight over few cores.
export OMP_NUM_THREADS ?= 1
export RAY_USAGE_STATS_ENABLED ?= 0
export PIP_DISABLE_PIP_VERSION_CHECK ?= 1

.PHONY: demo test test-all check experts reproduce reproduce-quick clean help

help:
	@echo "make demo      train AMAGAIL on the bundled demonstrations; results in demo_results/"
	@echo "make test      the tests (under 10 minutes on two cores)"
	@echo "make test-all  the tests and the slow ones"
	@echo "make check     ruff, mypy and the fast tests"
	@echo "make reproduce        the paper's experiments (hours; goes on where it stopped)"
	@echo "make reproduce-quick  a small version of them (within 10 minutes on two cores)"
	@echo "make experts   train the experts and record the bundled demonstrations anew"

demo: $(VENV)/.demo
	$(BIN)/python examples/demo.py

test: $(VENV)/.dev
	$(BIN)/python -m pytest

test-all: $(VENV)/.dev
	$(BIN)/python -m pytest -m "slow or not slow"

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

experts: $(VENV)/.demo
	$(BIN)/python examples/make_experts.py --all --output rllib_amagail/data

# `make reproduce QUICK=1` is the same as `make reproduce-quick`; other options go into ARGS.
reproduce: $(VENV)/.demo
	$(BIN)/python benchmarks/reproduce.py $(if $(QUICK),--quick) $(ARGS)

reproduce-quick: $(VENV)/.demo
	$(BIN)/python benchmarks/reproduce.py --quick $(ARGS)

clean:
	rm -rf $(VENV) demo_results build *.egg-info

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, found " + sys.version.split()[0] + "; run make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)

# torch first: the pinned release keeps pip from fetching gigabytes of another build.
$(VENV)/.demo: setup.py | $(VENV)/bin/pip
	$(BIN)/pip install --quiet torch==2.13.0
	$(BIN)/pip install --quiet --editable ".[plot]"
	@touch $@

$(VENV)/.dev: setup.py | $(VENV)/bin/pip
	$(BIN)/pip install --quiet torch==2.13.0
	$(BIN)/pip install --quiet --editable ".[dev]"
	@touch $@ $(VENV)/.demo
