# Every target sets up what it needs in .venv; the second time that takes no time.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MODEL ?= bundled
BACKBONE ?= facebook/dinov2-small
WORK ?= work
export INPUT OUT MODEL DEEPPCB BACKBONE WORK

BUNDLED_RECIPE := --blocks 8 --train-blocks all --input-size 224 --epochs 3 --batch-size 32 --learning-rate 8e-5 \
	--layer-decay 0.8 --weight-decay 0.05 --brightness 0.1 --contrast 0.1 --crop 0 --patience none --save-dtype fp16
BUNDLED_PURPOSE := "finds six kinds of defects (open, short, mousebite, spur, copper, pinhole) on windows of bare \
circuit boards, black-and-white line-scan images (DeepPCB)"
ELPV_RECIPE := --train-blocks 6 --input-size 224 --epochs 8 --learning-rate 8e-5 --patience none

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

model: $(VENV)/.dev ## DEEPPCB=clone [BACKBONE=id or folder]: rebuild pipeline/bundled and sample_images; an hour on 2 cores
	@if [ -z "$$DEEPPCB" ]; then echo 'make model: DEEPPCB=folder of a clone of tangsanli5201/DeepPCB' >&2; exit 2; fi
	$(BIN)/python -m jobs.deeppcb windows "$$DEEPPCB" --out "$$WORK/windows" --per-defect 2
	$(BIN)/vitrollout finetune "$$WORK/windows/labels.csv" --model "$$BACKBONE" --out "$$WORK/bundled" $(BUNDLED_RECIPE) \
		--licence apache-2.0 --purpose $(BUNDLED_PURPOSE) --notes jobs/deeppcb_card.md
	$(BIN)/vitrollout evaluate "$$WORK/windows/labels.csv" --model "$$WORK/bundled" --out "$$WORK/evaluation" --update-card
	mkdir -p pipeline/bundled
	cd "$$WORK/bundled" && cp README.md config.json model.safetensors preprocessor_config.json "$(CURDIR)/pipeline/bundled/"
	$(BIN)/python -m jobs.deeppcb samples "$$DEEPPCB" --out sample_images

elpv: $(VENV)/.dev ## [BACKBONE=id or folder]: fine-tune and evaluate on ELPV's solar cells, two kinds of split, three seeds
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	set -e; for split in random blocks; do for seed in 0 1 2; do \
		name=$$split-$$seed; \
		test -f "$$WORK/elpv/results/$$name/metrics.json" && continue; \
		$(BIN)/python -m jobs.elpv prepare --out "$$WORK/elpv" --split $$split --seed $$seed; \
		test -f "$$WORK/elpv/models/$$name/config.json" || $(BIN)/vitrollout finetune "$$WORK/elpv/$$name.csv" \
			--model "$$BACKBONE" --out "$$WORK/elpv/models/$$name" --seed $$seed $(ELPV_RECIPE); \
		$(BIN)/vitrollout evaluate "$$WORK/elpv/$$name.csv" --model "$$WORK/elpv/models/$$name" --positive defective \
			--average-turns --out "$$WORK/elpv/results/$$name"; \
	done; done
	$(BIN)/python -m jobs.elpv table "$$WORK"/elpv/results/*

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
