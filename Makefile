# Every target first sets up its needs in .venv; once set up, this takes no time.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MODEL ?= bundled
BACKBONE ?= facebook/dinov2-small
WORK ?= work
export INPUT OUT MODEL CONFIG DEEPPCB BACKBONE WORK

BUNDLED_RECIPE := --recipe plain --blocks 8 --train-blocks all --input-size 224 --epochs 3 --batch-size 32 --learning-rate 8e-5 \
	--layer-decay 0.8 --weight-decay 0.05 --brightness 0.1 --contrast 0.1 --crop 0 --patience none
BOARDS_RECIPE := --tile 112 --hard-negatives --recipe plain --train-blocks all --input-size 224 --epochs 3 --batch-size 32 \
	--learning-rate 6e-5 --layer-decay 0.8 --weight-decay 0.05 --brightness 0.1 --contrast 0.1 --patience none \
	--class-weights none --averaging 0.995 --best-by loss --minutes none --save-dtype fp16
BUNDLED_PURPOSE := "finds six kinds of defects (open, short, mousebite, spur, copper, pinhole) on bare circuit boards, \
black-and-white line-scan images (DeepPCB), in windows of 112 pixels"
ELPV_RUNS := random-0 random-1 random-2 blocks-0 blocks-1 blocks-2

.DEFAULT_GOAL := help
.PHONY: help setup run nightly review test fuzz soak test-browser test-ray bench bench-gpu bench-report bench-review check format model trust elpv picture clean

help: ## list the targets with their options
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(VENV)/.run ## install into .venv, pinned by constraints.txt

run: $(VENV)/.run ## INPUT=photos/ [OUT=results/photos] [MODEL=bundled] [ARGS="--limit 100"]: write the table and the overlays of a folder
	@if [ -z "$$INPUT" ]; then echo 'make run: no input folder given; use make run INPUT=photos/' >&2; exit 2; fi; \
	name=$$(basename -- "$$(cd -- "$$INPUT" 2>/dev/null && pwd || echo "$$INPUT")"); \
	$(BIN)/vitrollout run "$$INPUT" --out "$${OUT:-results/$$name}" --model "$$MODEL" $(ARGS)

nightly: $(VENV)/.run ## CONFIG=nightly.toml [ARGS=--dry-run]: run several archives from one configuration file
	@if [ -z "$$CONFIG" ]; then echo 'make nightly: no configuration given; use make nightly CONFIG=nightly.toml' >&2; exit 2; fi; \
	$(BIN)/vitrollout nightly "$$CONFIG" $(ARGS)

review: $(VENV)/.review ## [OUT=results/sample_images] [ARGS="--order suspects --labels labels.csv"]: decide about the photos of a run, in a browser
	@out="$${OUT:-results/sample_images}"; \
	if [ "$$out" = results/sample_images ] && [ ! -d "$$out/table" ]; then \
		$(BIN)/vitrollout run sample_images --out "$$out" --method libragrad,rollout; fi; \
	$(BIN)/vitrollout review "$$out" $(ARGS)

test: $(VENV)/.dev ## [ARGS='-n 0']: run the tests on all cores of this machine; -n 0: in one process
	$(BIN)/pytest -n logical --maxprocesses 4 --dist worksteal $(ARGS)

fuzz: $(VENV)/.dev ## test with a few minutes of damaged photos and checkpoints
	$(BIN)/pytest -m fuzz -n logical --maxprocesses 4 --dist worksteal $(ARGS)

soak: $(VENV)/.dev ## [MINUTES=30] [SEED=0]: test with random kills, stops, full disks and changing files; as root: it mounts a disk
	$(BIN)/pytest -m soak tests/whole/test_soak.py tests/whole/test_soak_bucket.py tests/whole/test_odd_disks.py tests/reviews/test_session.py $(ARGS)

test-browser: $(VENV)/.browser ## test the report and the review's page in a headless Chromium
	$(BIN)/pytest -m browser tests/whole/test_browser.py tests/whole/test_browser_map.py tests/whole/review_page $(ARGS)

test-ray: $(VENV)/.ray ## test runs on a Ray cluster of three nodes on this machine, with kills; as root: it needs a network of its own
	unshare --net --pid --fork --kill-child --mount-proc sh -c \
		'ip link set lo up && RAY_AUTH_MODE=disabled $(BIN)/pytest -m ray tests/engines $(ARGS)'

bench: $(VENV)/.dev ## [ARGS='--only forward']: measure against the bare model, our own floor and peers; half an hour on a quiet machine
	$(BIN)/python -m jobs.benchmarks.benchmark $(ARGS)

bench-gpu: $(VENV)/.dev ## measure on a CUDA device: time and memory of maps, and the device's waiting time for the host
	$(BIN)/python -m jobs.benchmarks.benchmark --only cuda $(ARGS)

bench-report: $(VENV)/.browser ## measure the report of 100,000 photos: time to write, to paint and to filter
	$(BIN)/python -m jobs.benchmarks.report_speed $(ARGS)

bench-review: $(VENV)/.browser ## measure a review of 100,000 photos of 12 megapixels: start, keys, records, memory
	$(BIN)/python -m jobs.benchmarks.review_speed $(ARGS)

check: $(VENV)/.dev ## check the code: ruff, formatting, mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev ## apply ruff's fixes and its format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

model: $(VENV)/.dev ## DEEPPCB=clone [BACKBONE=id or folder]: rebuild pipeline/bundled and sample_images; four hours on 2 cores
	@if [ -z "$$DEEPPCB" ]; then echo 'make model: no data given; use make model DEEPPCB=folder, a clone of tangsanli5201/DeepPCB' >&2; exit 2; fi
	test -f "$$WORK/windows/labels.csv" || $(BIN)/python -m jobs.datasets.deeppcb windows "$$DEEPPCB" --out "$$WORK/windows"
	test -f "$$WORK/boards.csv" || $(BIN)/python -m jobs.datasets.deeppcb boards "$$DEEPPCB" --out "$$WORK/boards.csv"
	@set -e; first="$$WORK/windows-$$(echo '$(BUNDLED_RECIPE)' "$$BACKBONE" | cksum | cut -d' ' -f1)/windows"; \
	made="$$WORK/bundled-$$(echo '$(BUNDLED_RECIPE)' '$(BOARDS_RECIPE)' "$$BACKBONE" | cksum | cut -d' ' -f1)/bundled"; \
	test -f "$$first/config.json" || $(BIN)/vitrollout finetune "$$WORK/windows/labels.csv" --model "$$BACKBONE" --out "$$first" \
		$(BUNDLED_RECIPE); \
	test -f "$$made/config.json" || $(BIN)/vitrollout finetune "$$WORK/boards.csv" --model "$$first" --out "$$made" \
		$(BOARDS_RECIPE) --licence apache-2.0 --purpose $(BUNDLED_PURPOSE) --notes jobs/datasets/deeppcb_card.md; \
	$(BIN)/vitrollout evaluate "$$WORK/boards.csv" --model "$$made" --out "$$WORK/evaluation" --update-card; \
	mkdir -p pipeline/bundled; \
	cd "$$made" && cp README.md config.json model.safetensors preprocessor_config.json familiarity.safetensors map_scale.json \
		"$(CURDIR)/pipeline/bundled/"
	$(BIN)/python -m jobs.datasets.deeppcb samples "$$DEEPPCB" --out sample_images

trust: $(VENV)/.dev ## DEEPPCB=clone: measure how far the bundled model's maps can be trusted, on windows of the test boards; half an hour on 2 cores
	@if [ -z "$$DEEPPCB" ]; then echo 'make trust: no data given; use make trust DEEPPCB=folder, a clone of tangsanli5201/DeepPCB' >&2; exit 2; fi
	test -f "$$WORK/boards.csv" || $(BIN)/python -m jobs.datasets.deeppcb boards "$$DEEPPCB" --out "$$WORK/boards.csv"
	$(BIN)/vitrollout trust "$$WORK/boards.csv" --model pipeline/bundled --limit 1000 --steps 4 \
		--out "$$WORK/trust" --save

elpv: $(VENV)/.dev ## [BACKBONE=id or folder]: fine-tune and evaluate on ELPV's solar cells, two kinds of split, three seeds
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	@set -e; made="$$WORK/elpv/from-$$(echo "$$BACKBONE" | cksum | cut -d' ' -f1)"; \
	for name in $(ELPV_RUNS); do \
		data="$$WORK/elpv/$$name.csv"; model="$$made/models/$$name"; results="$$made/results/$$name"; \
		test -f "$$data" || $(BIN)/python -m jobs.datasets.elpv prepare --out "$$WORK/elpv" --split $${name%-*} --seed $${name#*-}; \
		test -f "$$model/config.json" || $(BIN)/vitrollout finetune "$$data" --model "$$BACKBONE" --out "$$model"; \
		test -f "$$results/metrics.json" || $(BIN)/vitrollout evaluate "$$data" --model "$$model" --positive defective \
			--average-turns --out "$$results"; \
	done; \
	$(BIN)/python -m jobs.datasets.elpv table "$$made"/results/*

picture: $(VENV)/.browser ## redraw the README's pictures: a run over the sample images, and an explanation of one
	rm -rf results/sample_images
	$(BIN)/vitrollout run sample_images --out results/sample_images --method attention,libragrad
	$(BIN)/python -m jobs.readme_pictures.picture results/sample_images docs/overlays.png whole-1.png whole-3.png
	$(BIN)/python -m jobs.readme_pictures.screenshot results/sample_images/report.html docs/report.png
	$(BIN)/python -m jobs.readme_pictures.review_page results/sample_images docs/review.png board-6108.png
	$(BIN)/vitrollout explain sample_images/board-9599.png --out results/explained
	cp results/explained/all.png docs/explained.png

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

$(VENV)/.review: $(VENV)/.run
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[review]'
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	@echo "Installing the packages for training, tests and checks (once) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

$(VENV)/.ray: $(VENV)/.dev
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[ray]'
	@touch $@

$(VENV)/.browser: $(VENV)/.dev
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[browser]'
	@if ! command -v chromium >/dev/null && [ -z "$$CHROMIUM" ]; then \
		[ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
			|| { echo 'chromium is not installed: install it, or name another one with CHROMIUM=path' >&2; exit 2; }; \
		apt-get update --quiet=2 && apt-get install --quiet=2 --yes --no-install-recommends chromium fonts-dejavu-core; fi
	@touch $@
