# Every command sets up what it needs, at its first run, in .venv; nothing is installed elsewhere.
PYTHON ?= python3
VENV ?= .venv
PY = $(VENV)/bin/python
# Several tests at once, one for each processor; more workers than that mostly collect.
AT_ONCE = --numprocesses logical --maxprocesses 4
PIP_INSTALL = $(PY) -m pip install --quiet --disable-pip-version-check --editable
# Pyright brings its own Node and its own version, and takes the packages of the first Python on PATH.
PYRIGHT = PATH="$(abspath $(VENV))/bin:$$PATH" \
	PYRIGHT_PYTHON_GLOBAL_NODE=0 PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(PY) -m pyright

.DEFAULT_GOAL := help
.PHONY: help demo demo-woven test test-slow test-all check lint types coverage bench bench-quick format clean

help: ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## /\1#/p' Makefile | awk -F'#' '{ printf "make %-12s %s\n", $$1, $$2 }'

# A stamp is made anew when pyproject.toml changes, or when the environment is gone.
$(VENV)/.demo-installed: pyproject.toml
	@.ci/venv $(VENV) $(PYTHON)
	@echo "Installing resilient and what the demo needs into $(VENV) ..."
	@$(PIP_INSTALL) '.[demo,system]'
	@touch $@

# The extra dev contains demo and system, so one install serves both stamps.
$(VENV)/.dev-installed: pyproject.toml
	@.ci/venv $(VENV) $(PYTHON)
	@echo "Installing resilient and what tests and checks need into $(VENV) ..."
	@$(PIP_INSTALL) '.[dev]'
	@touch $(VENV)/.demo-installed $@

demo: $(VENV)/.demo-installed ## render the film of the README; STORYBOARD=file for another one
	@$(PY) -m docs.examples.render_farm $(if $(STORYBOARD),--storyboard "$(STORYBOARD)")

demo-woven: $(VENV)/.demo-installed ## the same film by an engine without decorators, its policies in a file
	@$(PY) -m resilient run --policies docs/examples/render_farm/resilient.toml \
		-m docs.examples.render_farm --woven $(if $(STORYBOARD),--storyboard "$(STORYBOARD)")

test: $(VENV)/.dev-installed ## run the tests, but for those marked slow
	@$(PY) -m pytest $(AT_ONCE)

# One after the other, for many of them measure. 5 is pytest's "nothing was selected".
test-slow: $(VENV)/.dev-installed ## run the tests marked slow
	@$(PY) -m pytest -m slow || test $$? -eq 5

test-all: ## run the tests on every Python found, and at the lowest dependency versions
	@.ci/venv $(VENV) $(PYTHON)
	@$(PY) .ci/test_all.py $(AT_ONCE)

check: lint types coverage bench-quick ## run everything that a change has to pass

lint: $(VENV)/.dev-installed ## ruff: rules and format
	@$(PY) -m ruff check
	@$(PY) -m ruff format --check

types: $(VENV)/.dev-installed ## mypy and pyright, and that every public name has a type
	@$(PY) -m mypy
	@$(PYRIGHT)
	@$(PYRIGHT) --verifytypes resilient --ignoreexternal

# By `coverage run`, for the pytest plugin is imported before a plugin of pytest's could measure it.
coverage: $(VENV)/.dev-installed ## run the tests and ask for every line and branch
	@$(PY) -m coverage run -m pytest
	@$(PY) -m coverage report

bench: $(VENV)/.dev-installed ## run the benchmarks, beside those of other libraries
	@$(PIP_INSTALL) '.[dev,bench]'
	@$(PY) -m benchmarks

bench-quick: $(VENV)/.dev-installed ## run the benchmarks shortly
	@$(PY) -m benchmarks --quick

format: $(VENV)/.dev-installed ## put the code into its format
	@$(PY) -m ruff check --fix-only
	@$(PY) -m ruff format

clean: ## remove environments, caches and what was built
	rm -rf $(VENV) .venvs .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
