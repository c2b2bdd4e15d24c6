# make demo          installs what genrobust needs and runs the main job to an HTML report
# make test          installs what the tests need as well, and passes the checks, the documentation and the tests
# make test-all      what make test leaves out: every stage killed, clusters, object stores, the documentation's commands
# make test-lowest   make test's tests with the lowest versions that pyproject.toml allows, in .venv-lowest
# make docs          builds the documentation into site/, and fails for a link that leads nowhere
# make notebooks     runs the notebooks of the documentation, and stores them with their outputs
# make dist          builds the source archive and the wheel into dist/, and checks them as PyPI does
# make clean         removes what was installed and built, and leaves runs/, your results
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOWEST := .venv-lowest

.PHONY: demo test test-all test-lowest lint docs notebooks dist clean

# bin/pip, not bin/python: venv writes it last, so that one that failed on the way is made again.
%/bin/pip:
	$(PYTHON) -c 'import sys; sys.exit("genrobust needs Python 3.11 or later; set PYTHON=..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $*
	$*/bin/python -m pip install --quiet --upgrade pip

$(VENV)/.demo: pyproject.toml | $(BIN)/pip
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.test: $(VENV)/.demo
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

$(LOWEST)/.test: pyproject.toml | $(LOWEST)/bin/pip
	$(LOWEST)/bin/python -m pip install --quiet uv
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python --upgrade --resolution lowest-direct --editable '.[dev]'
	touch $@

demo: $(VENV)/.demo
	$(BIN)/genrobust run pictograms
	@echo "open runs/pictograms/report.html"

test: $(VENV)/.test lint docs
	$(BIN)/python -m pytest

test-all: $(VENV)/.test
	$(BIN)/python -m pytest -m thorough

test-lowest: $(LOWEST)/.test
	$(LOWEST)/bin/python -m pytest --ignore=tests/docs  # whose pages have the wording of newer versions

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.test
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "open site/index.html"

notebooks: $(VENV)/.test
	$(BIN)/python docs/notebooks.py

dist: $(VENV)/.test
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*

clean:
	rm -rf $(VENV) $(LOWEST) build dist site
	@if [ -d runs ]; then echo "your results are still in runs/"; fi
