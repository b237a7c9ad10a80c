# Everything runs in .venv, which the first target that needs it creates.

PYTHON ?= python3
VENV ?= .venv
PORT ?= 8000
HOST ?= 127.0.0.1

BIN := $(VENV)/bin
READY := $(VENV)/.ready

BENCH_READY := $(VENV)/.bench-ready
DOCS_READY := $(VENV)/.docs-ready
LINT_READY := $(VENV)/.lint-ready

.PHONY: help run test chaos lint format bench docs package clean

help:
	@echo "make run      start the example app on http://$(HOST):$(PORT)  (PORT=, HOST=)"
	@echo "make test     run the test suite                             (ARGS= for pytest)"
	@echo "make chaos    hurt real servers under load, for a quarter of an hour"
	@echo "make lint     check style and types"
	@echo "make format   put the code into the project's format"
	@echo "make docs     build the documentation                        (docs/_build/html/index.html)"
	@echo "make package  build wheel and sdist, and install them into clean environments"
	@echo "make bench    compare speed with all alternatives            (QUICK=1: under two minutes)"
	@echo "make clean    remove environments, caches and what was built"

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $(READY)

run: $(READY)
	@echo "Starting the example app. Open http://$(HOST):$(PORT)/ when gunicorn is listening; Ctrl-C stops it."
	@$(BIN)/gunicorn --chdir examples/flask_app --config examples/flask_app/gunicorn.conf.py --bind $(HOST):$(PORT) app:app

test: $(READY)
	$(BIN)/python -m pytest $(ARGS)

chaos: $(READY)
	GIPC_CHAOS=long $(BIN)/python -m pytest tests/chaos --numprocesses=2 --timeout=900 $(ARGS)

$(LINT_READY): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[lint]'
	@touch $(LINT_READY)

lint: $(LINT_READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(LINT_READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(BENCH_READY): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $(BENCH_READY)

bench: $(BENCH_READY)
	@$(BIN)/python -m benchmarks $(if $(QUICK),--quick) $(ARGS)

$(DOCS_READY): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $(DOCS_READY)

docs: $(DOCS_READY)
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet docs docs/_build/html
	@echo "Built docs/_build/html/index.html"

package: $(READY)
	$(BIN)/python -m pytest tests/packaging/check_packages.py --numprocesses=0

clean:
	rm -rf $(VENV) .venv-* .pytest_cache .mypy_cache .ruff_cache docs/_build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
