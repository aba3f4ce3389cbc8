# make: lists what there is to do. Needs Python 3.11 or newer and nothing else; what it installs goes to .venv.

VENV := .venv
BIN := $(VENV)/bin
BENCH := benchmarks/.venv
SANITIZE := .venv-sanitize
FUZZ_SECONDS := 60
FAULTS_SECONDS := 60
LINES := 1000000
TESTS_OF_C := tests/fuzz tests/records/test_compiled.py tests/records/test_readers_agree.py tests/records/test_several_to_a_line.py tests/records/test_expression_operations.py tests/groups tests/test_ids.py
PYTEST := $(BIN)/python -m pytest -n auto --dist worksteal
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
SOURCES := setup.py $(wildcard budget_cli/native/*.[ch])
C_FUZZERS := $(patsubst tests/fuzz/%.c,build/fuzz/%,$(wildcard tests/fuzz/*.c))
PYTHONS := python3 python3.14 python3.13 python3.12 python3.11

.DEFAULT_GOAL := help
.PHONY: fuzz-headers docs pages man help demo quick test test-scale lint types check sanitize fuzz fuzz-lines faults bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.installed ## the loss of sample_data/rollouts.jsonl, with a budget of 1024 tokens
	$(BIN)/budget-cli loss sample_data/rollouts.jsonl -B 1024

quick: $(VENV)/.installed-dev ## the tests that need no process and no browser and try no long list, with fewer examples
	HYPOTHESIS_PROFILE=quick $(PYTEST) -m 'not scale and not exhaustive' --ignore=tests/process --ignore=tests/browser $(ARGS)

test: $(VENV)/.installed-dev ## the tests, on all cores (ARGS='-k readme' picks some)
	$(PYTEST) $(ARGS)

test-scale: $(VENV)/.installed-scale ## the tests with an S3 server and a Ray cluster on this machine
	$(BIN)/python -m pytest -m scale tests/scale $(ARGS)

lint: $(VENV)/.installed-dev ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev ## mypy, strict on the package
	$(BIN)/mypy

check: lint types test ## all that must hold before a commit: lint, types, tests

sanitize: $(SANITIZE)/.installed ## the tests of what is in C, built with AddressSanitizer and UndefinedBehaviorSanitizer
	@$(SANITIZED) $(SANITIZE)/bin/python -P -c 'from budget_cli.native import reader as m; \
	  assert b"__asan_" in open(m.__file__, "rb").read(), m.__file__ + " is not sanitized"'
	$(SANITIZED) $(SANITIZE)/bin/pytest --capture=sys $(TESTS_OF_C) $(ARGS)

fuzz: $(VENV)/.installed-dev ## fuzz the C and what reads files, FUZZ_SECONDS=60 for each; headers of C with libFuzzer if there is clang
	$(BIN)/python tests/fuzz/run.py --seconds $(FUZZ_SECONDS) $(ARGS)
	@if command -v clang >/dev/null; then $(MAKE) fuzz-headers; else echo "no clang: the headers are not fuzzed alone"; fi

faults: $(VENV)/.installed-dev ## each command with a full disk, a killed process, a changing file, …: a table (FAULTS_SECONDS=60)
	$(BIN)/python tests/faults/run.py --seconds $(FAULTS_SECONDS) $(ARGS)

# blocks and columns are too large for Python's own allocator, so the sanitizer sees them although that serves the rest
fuzz-lines: $(SANITIZE)/.installed ## LINES=1000000 through each operation of the compiled plan, sanitized, against the reference reader
	$(SANITIZED) PYTHONMALLOC=pymalloc $(SANITIZE)/bin/python tests/fuzz/run.py --lines $(LINES) $(ARGS)

fuzz-headers: $(C_FUZZERS)
	@for fuzzer in $^; do \
	  echo "$$fuzzer"; mkdir -p $$fuzzer.corpus; \
	  $$fuzzer -max_total_time=$(FUZZ_SECONDS) -max_len=400 -dict=tests/fuzz/json.dict -verbosity=0 -print_final_stats=1 \
	    -artifact_prefix=build/fuzz/ $$fuzzer.corpus || exit 1; \
	done

bench: $(BENCH)/.installed ## time and memory beside other tools (ARGS='--workloads small --runs 3')
	$(BENCH)/bin/python benchmarks/run.py $(ARGS)

docs: $(VENV)/.installed-docs ## the site of the documentation, in build/site; a link or an anchor that leads nowhere fails it
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

pages: $(VENV)/.installed-dev ## write the generated pages of docs/ anew, and what the commands shown there print now
	$(BIN)/python docs/generate.py
	$(BIN)/python docs/generate.py screens

man: $(VENV)/.installed-dev ## the man pages, in build/man/man1 (MANPATH=build/man man budget-cli-loss)
	$(BIN)/python docs/generate.py man build/man/man1
	@if command -v mandoc >/dev/null; then mandoc -T lint -W warning build/man/man1/*.1; fi

clean: ## remove the environments, caches, builds and generated data
	rm -rf $(VENV) $(BENCH) $(SANITIZE) benchmarks/data build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
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

$(VENV)/.installed-docs: pyproject.toml | $(BIN)/python
	$(BIN)/python $(PIP_INSTALL) -e '.[docs]'
	@touch $(VENV)/.installed $@

# not editable, so that the extensions of $(VENV), which stand beside their sources, stay as they are
$(SANITIZE)/.installed: pyproject.toml $(SOURCES) $(shell find budget_cli -name '*.py') | $(SANITIZE)/bin/python
	BUDGET_CLI_SANITIZE=1 CC=gcc $(SANITIZE)/bin/python $(PIP_INSTALL) '.[dev]'
	BUDGET_CLI_SANITIZE=1 CC=gcc $(SANITIZE)/bin/python $(PIP_INSTALL) --force-reinstall --no-deps .
	@touch $@

# the sanitizer's library comes first in the process, and every allocation of Python is its own; Python's leaks are ignored;
# without libstdc++ beside it, the sanitizer ends the process at an exception within pyarrow
SANITIZED = LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libstdc++.so.6)" PYTHONMALLOC=malloc \
  ASAN_OPTIONS=detect_leaks=0:strict_string_checks=1 UBSAN_OPTIONS=print_stacktrace=1

build/fuzz/%: tests/fuzz/%.c $(wildcard budget_cli/native/*.h)
	@mkdir -p build/fuzz
	clang -g -O1 -D_GNU_SOURCE -Wall -Wextra -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
	  -Ibudget_cli/native $< -lm -o $@

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
