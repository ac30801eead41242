SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

export UV_LINK_MODE := copy
export UV_COMPILE_BYTECODE := 1
export UV_PYTHON := .venv/bin/python
export PIP_DISABLE_PIP_VERSION_CHECK := 1

BIN := .venv/bin
UV := $(BIN)/uv
ARGS ?=
# Code that the linter reads; a folder that is not there yet is left out.
CODE := $(wildcard src tests examples benchmarks deploy)
COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"
# $(call lock,FOLDER): the order matters, as dev.txt must hold the versions of runtime.txt.
define lock
$(COMPILE) --group uv --output-file $(1)/uv.txt $(ARGS)
$(COMPILE) pyproject.toml --extra all --group build --output-file $(1)/runtime.txt $(ARGS)
$(COMPILE) pyproject.toml --extra all --group dev --constraints $(1)/runtime.txt \
	--output-file $(1)/dev.txt $(ARGS)
endef

.PHONY: help setup demo up test test-all storm check format bench docs lock clean

help: ## List these verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/.dev ## Install everything a developer needs into .venv

demo: .venv/.runtime ## Show the product at work, on this machine alone
	$(BIN)/python examples/demo.py $(ARGS)

up: .venv/.runtime ## Start VectorFlow
	$(BIN)/vectorflow up $(ARGS)

test: .venv/.dev ## Run the tests but the slow ones (ARGS="-k word")
	$(BIN)/python -m pytest -m "not slow" --numprocesses 2 --dist worksteal $(ARGS)

test-all: .venv/.dev ## Run all tests, the slow ones too
	$(BIN)/python -m pytest $(ARGS)

storm: .venv/.dev ## Kill and break everything while documents are embedded (ARGS="--help")
	@$(BIN)/python -m tests.storm $(ARGS)

check: .venv/.dev ## Check format, lint, types, imports and locked versions
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/pyright
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(MAKE) --no-print-directory .lock-is-fresh

format: .venv/.dev ## Format the code and mend what the linter can mend
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

bench: .venv/.dev ## Measure (ARGS="--help")
	$(BIN)/python -m benchmarks $(ARGS)

docs: .venv/.dev ## Build the documentation into site/
	$(BIN)/zensical build $(ARGS)

lock: $(UV) ## Write requirements/*.txt anew (ARGS=--upgrade for newer versions)
	$(call lock,requirements)

clean: ## Remove .venv and all that was built
	rm -rf .venv site dist build .pytest_cache .ruff_cache .mypy_cache .hypothesis \
		.import_linter_cache .coverage .vectorflow-demo
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Exit status 1 of uv is an answer (no such set of versions), 2 a failure to ask.
.PHONY: .lock-is-fresh
.lock-is-fresh: .venv/.dev
	@scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT; \
	cp requirements/*.txt "$$scratch"; \
	status=0; $(MAKE) --silent .lock-into FOLDER="$$scratch" ARGS= 2>"$$scratch/errors" || status=$$?; \
	if [ $$status -ne 0 ] && [ -z "$${CI:-}" ] && grep -qi 'failed to fetch\|network was disabled' "$$scratch/errors"; then \
		echo "requirements/*.txt not compared with pyproject.toml: no package index in reach"; exit 0; fi; \
	if [ $$status -ne 0 ]; then cat "$$scratch/errors" >&2; exit 1; fi; \
	for name in uv runtime dev; do \
		diff -u <(sed "s#$$scratch#requirements#" "$$scratch/$$name.txt") "requirements/$$name.txt" >"$$scratch/diff" && continue; \
		head -40 "$$scratch/diff" >&2; \
		echo "requirements/$$name.txt does not fit pyproject.toml: run 'make lock' and commit it" >&2; exit 1; \
	done; \
	echo "requirements/*.txt fit pyproject.toml"

.PHONY: .lock-into
.lock-into:
	@$(call lock,$(FOLDER))

$(BIN)/python:
	@for python in python3.11 python3; do \
		if "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then \
			echo "$$python -m venv .venv"; exec "$$python" -m venv .venv; fi; \
	done; \
	echo "VectorFlow needs Python 3.11, 3.12 or 3.13; none of python3.11 and python3 is one ($$(python3 --version 2>&1))." >&2; \
	exit 1

$(UV): requirements/uv.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/uv.txt
	@touch $@

.venv/.runtime: requirements/runtime.txt pyproject.toml $(UV)
	@echo "Installing what VectorFlow needs into .venv; about a minute, once."
	$(UV) pip install --quiet --require-hashes --requirement requirements/runtime.txt
	$(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.dev: requirements/dev.txt requirements/runtime.txt pyproject.toml $(UV)
	@echo "Installing what developers need into .venv; about a minute, once."
	$(UV) pip install --quiet --require-hashes --requirement requirements/dev.txt
	$(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	@touch .venv/.runtime $@
