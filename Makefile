# `make` alone lists the targets. Everything runs in .venv, which is set up by itself.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run test check style types arrows cover fuzz faults e2e bench images manifests peers clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.ready-run  ## bridges and a function behind them, on this machine (ARGS="--cold-start 5 --idle 5")
	@exec $(BIN)/thinbridge dev functions/examples/echo --demo $(ARGS)

test: check  ## style, types, arrows and all tests
	@$(BIN)/python -X dev -m pytest -n auto --dist worksteal $(ARGS)

check: style types arrows  ## all but the tests

style: $(VENV)/.ready  ## ruff: lint and format
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .

types: $(VENV)/.ready  ## mypy, strict, over sources and tests
	@$(BIN)/mypy --no-error-summary

arrows: $(VENV)/.ready  ## import-linter: who may import whom (ARCHITECTURE.md)
	@$(BIN)/lint-imports --no-logo > $(VENV)/arrows.log || { cat $(VENV)/arrows.log; exit 1; }

cover: $(VENV)/.ready  ## branch coverage of each protocol core by its own tests alone
	@$(BIN)/python tests/cover.py $(ARGS)

fuzz: $(VENV)/.ready  ## a million mutated inputs per codec (ARGS="--count 20000 --protocol coap")
	@$(BIN)/python tests/fuzz.py $(ARGS)

faults: $(VENV)/.ready  ## what is lost, and what devices see, under each fault (ARGS="--only coap-loss --scale 0.1")
	@$(BIN)/python tests/faults/faults.py $(ARGS)

e2e: $(VENV)/.ready  ## the bridge on the Knative cluster that KUBECONFIG names (ARGS="-k rollout")
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -m e2e tests/e2e $(ARGS)

bench: $(VENV)/.ready  ## what a message and a device cost (ARGS="--list", ARGS="--only coap-memory")
	@$(BIN)/python tests/bench/bench.py $(ARGS)

images:  ## build the images with docker, podman or buildah (ENGINE=… PREFIX=registry.example/me/ TAG=…)
	@ENGINE="$(ENGINE)" PREFIX="$(PREFIX)" TAG="$(TAG)" EXAMPLES="$(EXAMPLES)" knative/images.sh

manifests: $(VENV)/.ready  ## write the CRD and knative/manifests/install.yaml, from the settings model and the base
	@$(BIN)/python knative/manifests/install.py

peers:  ## install the independent peers of the interop tests (Debian, as root)
	@sh tests/interop/install-peers.sh

clean:  ## remove the environment and what tools leave behind
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage*
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "error: $(PYTHON) is missing or older than Python 3.11: install it, or name one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "error: $(PYTHON) has no venv: install it (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; }
	@echo "Setting up $(VENV) …"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.ready-run: pyproject.toml | $(VENV)/bin/python
	@echo "Installing what thinbridge needs …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[all]'
	@touch $@

$(VENV)/.ready: pyproject.toml | $(VENV)/bin/python
	@echo "Installing what thinbridge and its tests need …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[all,dev]'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary lakers-python --editable '.[oscore]' \
	  || echo "no wheel of Lakers for this machine: without coap+oscore://, and its tests" >&2
	@touch $@ $(VENV)/.ready-run
