# Everything a fresh machine needs is Python 3.11 or newer and make. The tests against a real broker also need Java 17 and
# Maven, or the address of a broker in NEXTBEST_TEST_BOOTSTRAP; where both are missing they say so and the rest runs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
UV := 0.13.9
TEST_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test check format docs bench lock clean

help: ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /	/' | expand -t 10

setup: $(READY) ## make .venv, with .venv/bin/nextbest (only what changed since the last time)

$(READY): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "nextbest needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12 setup" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) \
		|| { echo "python3 -m venv does not work here (on Debian: apt-get install python3-venv)" >&2; rm -rf $(VENV); exit 2; }
	@echo "installing into $(VENV) (once; a minute or so)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(READY) ## a simulated shop, two workers and a live view, for about a minute; no broker needed
	@$(BIN)/nextbest demo

test: check ## check, then all tests; those for which this machine lacks something are named at the end
	$(BIN)/python -m pytest $(TEST_ARGS)

check: $(READY) ## lint, format, types, who may import what, and what nobody uses
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/vulture

format: $(READY) ## put the code into its format and repair what can be repaired
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY) ## write the reference of all settings into docs/configuration.md
	$(BIN)/nextbest config reference --into docs/configuration.md

bench: $(READY) ## measure the budgets as ratios, in one run
	$(BIN)/python -m benchmarks

lock: $(READY) ## pin all dependencies anew, with hashes
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV)
	$(BIN)/uv pip compile pyproject.toml --group build --universal --python-version 3.11 --generate-hashes --no-header --quiet -o requirements.lock
	$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-header --quiet -c requirements.lock -o requirements-dev.lock

clean: ## remove what the other targets made
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis dist build
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
