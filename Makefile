# Everything runs in .venv. A target installs there what it needs, when it is needed first.

PYTHON ?= python3
VENV ?= .venv
PORT ?= 8000
HOST ?= 127.0.0.1

BIN := $(VENV)/bin

# Which of the extras in pyproject.toml each marker file stands for.
EXTRAS_run := flask,gunicorn
EXTRAS_test := test
EXTRAS_lint := lint
EXTRAS_docs := docs
EXTRAS_bench := bench

.PHONY: help run test modes chaos lint format bench docs package clean

help:
	@echo "make run      start the example app on http://$(HOST):$(PORT)  (PORT=, HOST=)"
	@echo "make test     run the test suite                             (ARGS= for pytest)"
	@echo "make modes    run it again with other start methods and event loops, and monkey-patched"
	@echo "make chaos    hurt real servers under load, for a quarter of an hour"
	@echo "make lint     check style and types"
	@echo "make format   put the code into the project's format"
	@echo "make docs     build the documentation                        (docs/_build/html/index.html)"
	@echo "make package  build wheel and sdist, install them into clean environments, freeze a program"
	@echo "make bench    compare speed with all alternatives            (QUICK=1: under two minutes)"
	@echo "make clean    remove environments, caches and what was built"

# What venv makes last of all.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	@echo "Making an environment of $$($(PYTHON) --version) in $(VENV)."
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.%-ready: pyproject.toml | $(BIN)/pip
	@echo "Installing gipc with [$(EXTRAS_$*)] in $(VENV), which takes a minute or so."
	@$(BIN)/python -m pip install --disable-pip-version-check --editable '.[$(EXTRAS_$*)]'
	@touch $@ $(VENV)/.run-ready  # what the example needs is in all of them

run: $(VENV)/.run-ready
	@echo "Starting the example app. Open http://$(HOST):$(PORT)/ when gunicorn is listening; Ctrl-C stops it."
	@$(BIN)/gunicorn --chdir examples/flask_app --config examples/flask_app/gunicorn.conf.py --bind $(HOST):$(PORT) app:app

test: $(VENV)/.test-ready
	$(BIN)/python -m pytest $(or $(ARGS),-m 'not once')

modes: $(VENV)/.test-ready
	$(BIN)/python -m pytest tests/check_modes.py $(ARGS)

chaos: $(VENV)/.test-ready
	GIPC_CHAOS=long $(BIN)/python -m pytest tests/chaos --numprocesses=2 --timeout=900 $(ARGS)

lint: $(VENV)/.lint-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/.lint-ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.bench-ready
	$(BIN)/python -m benchmarks $(if $(QUICK),--quick) $(ARGS)

docs: $(VENV)/.docs-ready
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet docs docs/_build/html
	@echo "Built docs/_build/html/index.html"

package: $(VENV)/.test-ready
	$(BIN)/python -m pytest tests/packaging/check_*.py --numprocesses=0 $(ARGS)

clean:
	rm -rf $(VENV) .venv-* .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist docs/_build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
