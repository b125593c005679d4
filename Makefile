# Every target sets up what it needs in .venv; the second time that takes no time.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MODEL ?= bundled
export INPUT OUT MODEL DEEPPCB

.DEFAULT_GOAL := help
.PHONY: help setup run test check format model elpv clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: $(VENV)/.run ## install into .venv, pinned by constraints.txt

run: $(VENV)/.run ## INPUT=photos/ [OUT=results/photos] [MODEL=bundled] [ARGS="--limit 100"]: table and overlays of a folder
	@if [ -z "$$INPUT" ]; then echo 'make run: which photos? make run INPUT=photos/' >&2; exit 2; fi; \
	name=$$(basename -- "$$(cd -- "$$INPUT" 2>/dev/null && pwd || echo "$$INPUT")"); \
	$(BIN)/vitrollout run "$$INPUT" --out "$${OUT:-results/$$name}" --model "$$MODEL" $(ARGS)

test: $(VENV)/.dev ## the tests, on this machine's processor
	$(BIN)/pytest $(ARGS)

check: $(VENV)/.dev ## ruff, formatting, mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev ## mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove .venv, caches and builds; results stay
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.python:
	@echo "Setting up $(VENV) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "vitrollout needs Python 3.11 or newer; this is $$($(PYTHON) --version): make PYTHON=python3.11" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.run: $(VENV)/.python pyproject.toml constraints.txt
	@echo "Installing vitrollout (once; torch is the large part) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	@echo "Installing what training, tests and checks need (once) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@
