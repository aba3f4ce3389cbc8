# make: lists what there is to do. Needs Python 3.11 or newer and nothing else; what it installs goes to .venv.

VENV := .venv
BIN := $(VENV)/bin
BENCH := benchmarks/.venv
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
SOURCES := setup.py $(wildcard budget_cli/native/*.[ch])
PYTHONS := python3 python3.13 python3.12 python3.11

.DEFAULT_GOAL := help
.PHONY: help demo test test-scale lint types check bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.installed ## the loss of sample_data/rollouts.jsonl, with a budget of 1024 tokens
	$(BIN)/budget-cli loss sample_data/rollouts.jsonl -B 1024

test: $(VENV)/.installed-dev ## the tests (ARGS='-k readme' picks some)
	$(BIN)/python -m pytest $(ARGS)

test-scale: $(VENV)/.installed-scale ## the tests with an S3 server and a Ray cluster on this machine
	$(BIN)/python -m pytest -m scale tests/scale $(ARGS)

lint: $(VENV)/.installed-dev ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev ## mypy, strict on the package
	$(BIN)/mypy

check: lint types test ## all that must hold before a commit: lint, types, tests

bench: $(BENCH)/.installed ## time and memory beside other tools (ARGS='--workloads small --runs 3')
	$(BENCH)/bin/python benchmarks/run.py $(ARGS)

clean: ## remove the environments, caches, builds and generated data
	rm -rf $(VENV) $(BENCH) benchmarks/data build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- environments: installed once, and again when pyproject.toml or what is compiled is newer

$(VENV)/.installed: pyproject.toml $(SOURCES) | $(BIN)/python
	$(BIN)/python $(PIP_INSTALL) -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml $(SOURCES) | $(BIN)/python
	$(BIN)/python $(PIP_INSTALL) -e '.[dev]'
	@touch $(VENV)/.installed $@

$(VENV)/.installed-scale: pyproject.toml $(SOURCES) | $(BIN)/python
	$(BIN)/python $(PIP_INSTALL) -e '.[scale]'
	@touch $(VENV)/.installed $(VENV)/.installed-dev $@

$(BENCH)/.installed: pyproject.toml $(SOURCES) $(shell find budget_cli -name '*.py') benchmarks/requirements.txt | $(BENCH)/bin/python
	$(BENCH)/bin/python $(PIP_INSTALL) --force-reinstall --no-deps .  # as users have it: not editable, which costs a start 8 ms
	$(BENCH)/bin/python $(PIP_INSTALL) . -r benchmarks/requirements.txt
	@touch $@

# the first of PYTHON (if given) and PYTHONS that is new enough and can make an environment
%/bin/python:
	@for python in $(PYTHON) $(PYTHONS); do \
	  if $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    exec $$python -m venv --clear $*; \
	  fi; \
	done; \
	echo "no Python 3.11 or newer with venv among: $(PYTHON) $(PYTHONS); give one with make PYTHON=/path/to/python" >&2; \
	exit 1
