# Every target sets up what it needs; `make` alone lists them.
PYTHON ?= python3
BIN := .venv/bin
PROCESSES ?= 3
UV := $(BIN)/uv
CRDS := charts/offsite-crds/templates
# Imports are compiled once, not in each of a hundred processes: torch and transformers take half the time.
unexport PYTHONDONTWRITEBYTECODE
# What mypy knows of torch and the like, for every checkout.
export MYPY_CACHE_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/offsite-tuning/mypy
COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command "make lock"

.DEFAULT_GOAL := help
.PHONY: help setup check fix generate docs test gpu gpu-folder e2e e2e-long testbed .cluster cluster cluster-down chaos fuzz demo bench bench-private bench-transfer bench-efficiency bench-large bench-cluster lock

help:  ## list the targets
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 22

setup: .venv/.synced  ## make .venv from the locked requirements (PYTHON=python3.12 picks another Python)

# vulture runs twice: without the tests it finds what only they use, with them their own dead code
check: setup  ## lint, format, types, layers, dead code, what is generated
	$(BIN)/ruff check && $(BIN)/ruff format --check
	$(BIN)/mypy --num-workers auto && $(BIN)/lint-imports
	$(BIN)/vulture && $(BIN)/vulture offsite operator cli bench examples tests
	$(BIN)/python -m offsite_operator.crds.generate --check $(CRDS)

fix: setup  ## repair what ruff can repair
	$(BIN)/ruff check --fix && $(BIN)/ruff format

generate: setup  ## write the CRDs anew, from the types in offsite/api and offsite/resources
	$(BIN)/python -m offsite_operator.crds.generate $(CRDS)

docs: .venv/.docs  ## the documentation site in build/docs; a dead link, a missing or an unlisted page fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

test: check docs  ## check and docs, then all tests, in three processes (PROCESSES=0: in one)
	$(BIN)/pytest --numprocesses $(PROCESSES) --dist loadfile $(ARGS)

gpu: setup  ## the tests that need a GPU; without one, they are skipped
	$(BIN)/pytest -m gpu --numprocesses 0 tests/offsite/test_device.py $(ARGS)

gpu-folder: setup  ## build/gpu: tests and measurements for a GPU machine without network
	PYTHONPATH=bench $(BIN)/python -m gpu.folder build/gpu

e2e: .cluster  ## the tests on a real Kubernetes: a node a process (root, Linux, cgroup v1), or OFFSITE_E2E_KUBECONFIG
	$(BIN)/pytest -m "e2e and not testbed and not long" --numprocesses $(if $(OFFSITE_E2E_KUBECONFIG),0,$(PROCESSES)) --dist loadfile --no-loadscope-reorder tests/e2e $(ARGS)

e2e-long: .cluster  ## the private half of the tutorial, which takes ten minutes more
	$(BIN)/pytest -m "e2e and long" tests/e2e $(ARGS)

testbed: .cluster  ## the tests of that Kubernetes itself: after a change to tests/cluster
	$(BIN)/pytest -m testbed tests/e2e $(ARGS)

.cluster: setup
ifndef OFFSITE_E2E_KUBECONFIG
	PYTHONPATH=tests $(BIN)/python -m cluster build
	PYTHONPATH=tests $(BIN)/python -m cluster.images
endif

cluster: setup  ## such a Kubernetes to work with, until `make cluster-down`
	PYTHONPATH=tests $(BIN)/python -m cluster up

cluster-down: setup  ## end it, and remove what killed tests left behind
	PYTHONPATH=tests $(BIN)/python -m cluster down

chaos: setup  ## kill, starve, delete and cancel jobs in every step (ARGS="--only REGEX"), on such a Kubernetes
	PYTHONPATH=tests $(BIN)/python -m chaos $(ARGS)

fuzz: setup  ## a million hostile inputs (ARGS="--cases N" for another number); Python 3.11 to 3.13
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements/fuzz.txt
	PYTHONPATH=tests $(BIN)/python tests/fuzz.py $(ARGS)

demo: setup  ## three stages, two parties, one real model, on this machine
	$(BIN)/offsite demo $(ARGS)

bench: setup  ## speed and memory as ratios to a plain loop; how surely a model is known again, and a trap is told from an emulator
	$(BIN)/python bench/run.py $(ARGS)
	$(BIN)/python bench/run.py --vision $(ARGS)
	PYTHONPATH=tests $(BIN)/python bench/exchange.py
	$(BIN)/python bench/help.py
	PYTHONPATH=tests $(BIN)/python bench/plan.py
	$(BIN)/python bench/sketches.py
	PYTHONPATH=tests $(BIN)/python bench/inspection.py
	PYTHONPATH=tests $(BIN)/python bench/inspected_images.py

bench-private: setup  ## perplexity with differential privacy and without, three seeds (ARGS="--seeds 1 --epsilon 8")
	$(BIN)/python bench/private.py $(ARGS)

bench-transfer: setup  ## which adapter and which scale transfer best: days, resumable (ARGS="--quick": minutes, no result)
	$(BIN)/python bench/transfer.py $(ARGS)

bench-efficiency: setup  ## tokens/s and memory of full fine-tuning, LoRA and offsite tuning, as in the paper (ARGS="--shapes gpt2-medium --batches 1")
	PYTHONPATH=bench $(BIN)/python -m efficiency $(ARGS)

bench-large: setup  ## memory of the model owner's stages on a model of 7 B parameters (13 GB of disk; ARGS="--depth 8 --tokens 512")
	PYTHONPATH=bench $(BIN)/python bench/large.py $(ARGS)

bench-cluster: setup  ## what the operator costs in time and memory (ARGS="--rounds 1"), on such a Kubernetes
	PYTHONPATH=tests:bench $(BIN)/python -m on_cluster $(ARGS)

lock: $(UV)  ## resolve requirements/*.txt again (LOCK=--upgrade takes newer versions)
	$(COMPILE) $(LOCK) pyproject.toml --extra dev --output-file requirements/dev.txt
	for extra in runtime operator; do $(COMPILE) -c requirements/dev.txt pyproject.toml --extra $$extra -o requirements/$$extra.txt || exit 1; done
	for group in bootstrap:uv docs:docs fuzz:fuzz; do $(COMPILE) -c requirements/dev.txt --group $${group%:*} -o requirements/$${group#*:}.txt || exit 1; done

$(UV): requirements/uv.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/uv.txt && touch $@

.venv/.docs: .venv/.synced requirements/docs.txt
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements/docs.txt && touch $@

.venv/.synced: $(UV) requirements/dev.txt pyproject.toml
	$(UV) pip sync --python $(BIN)/python --require-hashes requirements/dev.txt
	$(UV) pip install --python $(BIN)/python --no-deps --no-build-isolation --editable . && touch $@
