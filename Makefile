# What a person types. Needs python3.11, its venv module and make; everything else comes with `setup`.
.DEFAULT_GOAL := help
.PHONY: help setup setup-dev docs lock demo test test-slow check up down status bench soak notebook
SHELL := /bin/sh

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
# Of the tests. Each has servers of its own and waits for them half of the time.
WORKERS ?= 3
# uv brings its own certificates; a machine with its own authority needs the system's.
CERTS := $(if $(wildcard /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt),--system-certs)
INSTALL := $(BIN)/uv pip install --python $(BIN)/python $(CERTS)
SMALL_TIMESCALE := tests/infra/timescale/node_modules/.installed
GENERATED = $(shell grep -rlF '[[[cog' --include='*.md' --include='*.py' --include='*.yaml' \
  --exclude-dir=.venv --exclude-dir=.venv-peers --exclude-dir=node_modules --exclude-dir=.git . || true)

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.installed ## the environment alone; the command is .venv/bin/am

setup-dev: .venv/.installed-dev .venv-peers/.installed $(if $(shell command -v npm),$(SMALL_TIMESCALE))

demo: setup ## set up, start everything, send and process one real day, leave it running
	$(BIN)/am models pull
	$(BIN)/am demo

test: setup-dev ## all tests that need no GPU, but for the long ones
	$(BIN)/pytest -m "not slow" -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test-slow: setup-dev ## the long ones: a whole day through the whole stack, a real Ray cluster
	$(BIN)/pytest -m slow

check: setup-dev ## lint, types, generated blocks, definitions load
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/bandit -q -c pyproject.toml -r am_assets collectors infra ingest_api models resources sensors
	$(BIN)/python -m infra.advisories requirements.lock
	$(if $(GENERATED),$(BIN)/cog --check $(GENERATED))
	$(BIN)/dagster definitions validate -m am_assets.definitions

docs: setup-dev ## write the generated blocks anew
	$(BIN)/cog -r $(GENERATED)

LOCK := $(BIN)/uv pip compile $(CERTS) --quiet --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-annotate --no-header
lock: setup ## resolve the dependencies anew, hash-pinned
	$(LOCK) --extra ray --extra notebooks --extra dev pyproject.toml -o requirements-dev.lock
	$(LOCK) -c requirements-dev.lock pyproject.toml -o requirements.lock
	$(LOCK) requirements-peers.in -o requirements-peers.lock

up: setup ## start the stack
	$(BIN)/am up --detach

down: setup ## stop the stack
	$(BIN)/am down

status: setup ## show each part
	$(BIN)/am status

bench: setup-dev ## measure
	$(BIN)/pytest tests/bench -o python_files="bench_*.py" -o python_functions="bench_*" -s

soak: setup-dev ## half an hour of load, kills, a full disk and wrong clients
	$(BIN)/python -m tests.oracle --minutes 30

notebook: setup-dev ## open the notebooks
	$(BIN)/jupyter lab notebooks

.venv/bin/uv: requirements-bootstrap.lock
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes \
	  -r requirements-bootstrap.lock
	@touch $@

.venv/.installed: .venv/bin/uv requirements.lock pyproject.toml
	$(INSTALL) --require-hashes -r requirements.lock
	$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

# Other people's clients, which tests run beside AM and never import.
.venv-peers/.installed: .venv/bin/uv requirements-peers.lock
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python .venv-peers
	$(BIN)/uv pip install --quiet --python .venv-peers/bin/python $(CERTS) --require-hashes \
	  -r requirements-peers.lock
	@touch $@

# A TimescaleDB that tests run migrations and policies on.
$(SMALL_TIMESCALE): tests/infra/timescale/package-lock.json
	npm ci --prefix $(dir $<) --no-audit --no-fund --loglevel=error
	@touch $@

.venv/.installed-dev: .venv/.installed requirements-dev.lock
	$(INSTALL) --require-hashes -r requirements-dev.lock
	@touch $@
