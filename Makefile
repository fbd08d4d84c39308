# `make help` lists what there is. Settings: PORT=8001, PYTHON=/path/to/python3.12, VENV=.venv, ARGS='-k name' for
# the tests, and every UNFOG_* variable. pip's own variables (PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS, ...) reach pip, so
# an index or a folder that has torch for CPUs alone can be named there; it saves gigabytes.

VENV ?= .venv
PORT ?=
ARGS ?=
ACCELERATOR ?= cuda
UV := uv==0.13.9
PIP_AUDIT := pip-audit==2.10.1
SUITED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))

.PHONY: help serve test style check fuzz chaos bench bench-full train lock audit images test-containers clean
.DEFAULT_GOAL := help

# An environment that is there is asked first. Found by running, since a shim may stand for no Python at all.
define environment
	@found=; \
	for python in $(or $(PYTHON),$(VENV)/bin/python python3 python3.12 python3.11 python); do \
	    if "$$python" -c '$(SUITED)' >/dev/null 2>&1; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	    echo "Unfog needs Python 3.11 or 3.12; $(if $(PYTHON),$(PYTHON) is neither,this machine has neither)." \
	         "Install one, or name it: make $@ PYTHON=/path/to/python3.12" >&2; \
	    exit 2; \
	fi; \
	"$$found" service/environment.py $(VENV) $(1)
endef

help: ## Say what there is.
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' Makefile

serve: ## Start Redis, a worker and the API; Ctrl-C stops them.
	$(call environment,api worker redis)
	@exec $(VENV)/bin/unfog serve $(if $(PORT),--port $(PORT))

test: ## Run the tests, against a real Redis; ARGS='-n 0 -k name' for some of them in one process.
	$(call environment,api worker redis train bench dev)
	@exec $(VENV)/bin/python -m pytest -n logical --maxprocesses 4 --dist loadfile $(ARGS)

style: ## Style, types and the directions of imports.
	$(call environment,api worker redis train dev)
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports

audit: ## Whether a package of the images has a known hole, as far as pip-audit can reach its source.
	$(call environment,dev)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check '$(UV)'
	@$(VENV)/bin/python requirements/audit.py $(VENV)/bin/uv tool run --quiet --from '$(PIP_AUDIT)' pip-audit

check: style test audit ## What CI runs, and the audit.

train: ## Train a model: make train ARGS='--data pictures --out runs/mine --minutes 60'
	$(call environment,api worker redis train)
	@exec $(VENV)/bin/unfog train $(ARGS)

fuzz: ## Ten times the hostile and odd requests of the tests, and a summary. FUZZ_CASES=10000, FUZZ_SEED=7
	$(call environment,api worker redis train dev)
	@FUZZ_CASES=$(or $(FUZZ_CASES),10000) exec $(VENV)/bin/python -m pytest tests/fuzz -s $(ARGS)

chaos: ## Kill workers, engines, Redis and the API for a quarter of an hour; prints a table.
	$(call environment,api worker redis train dev)
	@exec $(VENV)/bin/python -m tests.chaos $(ARGS)

bench: ## Measure what the README claims, about seventeen minutes; ARGS=--write puts the figures into the pages.
	$(call environment,api worker redis bench)
	@exec $(VENV)/bin/python -m bench $(ARGS)

bench-full: ## And the rest: steady loads, uneven ones, LitServe, killed workers; about an hour.
	$(call environment,api worker redis bench)
	@exec $(VENV)/bin/python -m bench --full $(ARGS)

HASHED = $(VENV)/bin/uv pip compile --quiet --generate-hashes --no-annotate --no-header --python-version 3.11 \
    --python-platform x86_64-manylinux_2_28 --constraint requirements.lock

lock: ## Bring requirements.lock in line with pyproject.toml; ARGS=--upgrade takes newer releases.
	$(call environment,dev)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check '$(UV)'
	@$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-annotate --no-header \
	    $(ARGS) --output-file requirements.lock pyproject.toml
	@# What a build of torch for NVIDIA cards brings along is pinned by torch itself, and other builds go without.
	@grep -Ev '^(nvidia|cuda|triton)' requirements.lock > requirements.lock.new
	@mv requirements.lock.new requirements.lock
	@# The packages of the images, with their hashes: the versions of the lock on the Python and libc of the images.
	@$(VENV)/bin/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"])' \
	    | $(HASHED) --output-file requirements/build.txt -
	@$(HASHED) --extra api --output-file requirements/api.txt pyproject.toml
	@$(HASHED) --extra worker --output-file requirements/worker-cuda.txt pyproject.toml
	@sed -n 's/^torch==[^ ]*/&+cpu/p' requirements.lock > requirements/.cpu
	@$(HASHED) --constraint requirements/.cpu --extra worker --output-file requirements/worker-cpu.txt \
	    $(if $(PIP_FIND_LINKS),--find-links $(PIP_FIND_LINKS)) \
	    $(if $(PIP_EXTRA_INDEX_URL),--extra-index-url $(PIP_EXTRA_INDEX_URL)) pyproject.toml \
	    || echo "requirements/worker-cpu.txt is as it was: no build of torch for CPUs within reach." \
	            "Name an index or a folder that has one in PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS." >&2; \
	    rm requirements/.cpu

BUILD_ARGS = --build-arg REVISION=$(shell git rev-parse HEAD 2>/dev/null || echo unknown) \
    $(foreach name,PYTHON_IMAGE PIP_INDEX_URL PIP_EXTRA_INDEX_URL,$(if $($(name)),--build-arg $(name)))

images: ## Build the images; ACCELERATOR=cpu for workers without NVIDIA cards, BUILD_NETWORK=host for pip's network.
	docker build --network $(or $(BUILD_NETWORK),default) $(BUILD_ARGS) --target api --tag unfog-api .
	docker build --network $(or $(BUILD_NETWORK),default) $(BUILD_ARGS) --target worker \
	    --build-arg ACCELERATOR=$(ACCELERATOR) --tag unfog-worker:latest-$(ACCELERATOR) .

test-containers: ## Build the images and put the composed service through its paces, with the engine of `docker info`.
	$(call environment,api worker redis train dev)
	@TEST_CONTAINERS=1 $(VENV)/bin/python -m pytest tests/containers --timeout 600 -s $(ARGS)

clean: ## Remove what was made here, the environment and the jobs of `make serve` included.
	rm -rf $(VENV) .unfog .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist
