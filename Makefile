# make setup | demo | test | test-fast | test-lowest | coverage | chaos | simulate | fuzz | audit | lint | docs | lock: every target does its own set-up in .venv
PYTHON ?= python3
VENV := .venv
LOWEST := $(VENV)-lowest
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup demo test test-fast test-lowest coverage chaos simulate fuzz audit lint format docs lock clean

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ser-dsl-sweep needs Python 3.11 or newer: make PYTHON=python3.11 setup")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $(STAMP)

demo: setup
	$(BIN)/ser-sweep demo

test: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# What can be tested in three minutes on two cores: all but the files that tests/conftest.py calls slow.
test-fast: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

# The same with the lowest versions that pyproject.toml allows, in a venv of its own.
$(LOWEST)/.installed: pyproject.toml
	$(PYTHON) -m venv --clear $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct -e '.[dev]'
	touch $@

test-lowest: $(LOWEST)/.installed
	$(LOWEST)/bin/python -m pytest -n 2 --dist loadfile -m "not slow"

# Which lines of the packages the fast tests run; PART="" takes all tests.
PART ?= -m "not slow"
coverage: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(PART) --cov --cov-report=term:skip-covered

# The long form of tests/chaos, about half an hour; the results are those of docs/reliability.md.
chaos: setup
	$(BIN)/python -m tests.chaos --seed 1 2 3 --faults 30 --store-kind disk s3 --out benchmarks/results/chaos.json
	$(BIN)/python docs/figures.py

# The long form of tests/simulation: so many worlds, of which each seed is one.
SEEDS ?= 100000
simulate: setup
	PYTHONHASHSEED=0 $(BIN)/python -m tests.simulation --seeds $(SEEDS) --json benchmarks/results/simulation.json
	$(BIN)/python docs/figures.py

# The long form of tests/fuzz, about five minutes.
fuzz: setup
	$(BIN)/python -m tests.fuzz --examples 6000 --seed 7 --out benchmarks/results/fuzz.json

# Known vulnerabilities of what the lock file installs; needs the advisories of PyPI's JSON interface.
audit:
	$(PYTHON) -m venv $(VENV)-audit
	$(VENV)-audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	$(VENV)-audit/bin/pip-audit --strict --disable-pip --require-hashes -r requirements.lock

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache > /dev/null || $(BIN)/lint-imports --no-cache

# The pages of docs/ as a site; a dead link, or a page that is in no menu, is an error.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Resolve the newest versions pyproject.toml allows; needs uv (https://docs.astral.sh/uv).
lock:
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --fork-strategy fewest \
		--generate-hashes --upgrade --custom-compile-command "make lock" --quiet --output-file requirements.lock

clean:
	rm -rf $(VENV) $(VENV)-audit $(LOWEST) build site *.egg-info
