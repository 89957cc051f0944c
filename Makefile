# SPDX-License-Identifier: Apache-2.0
# PYTHON: Python 3.11 or newer; by default the first of python3 and /usr/bin/python3 that is.
# BFV_SEED: which sample of the long matrices the tests take; by default today's.
# SERVERS, PARTS: how much `make bench-cells` and `make bench-api` list, and what the first measures.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
ifndef PYTHON
PYTHON := $(shell for python in python3 /usr/bin/python3; do \
	"$$python" -c '$(NEW_ENOUGH)' 2>/dev/null && echo "$$python" && exit; done; echo python3)
endif
ifndef BFV_SEED
BFV_SEED := $(shell date +%Y%m%d)
endif
export BFV_SEED

SERVERS ?= 100000
PARTS ?= nova deletes

VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest --quiet
# Quiet: setuptools tells at length that an editable installation is one.
PIP := PYTHONWARNINGS=ignore $(BIN)/python -m pip --quiet --disable-pip-version-check
LAB := $(PYTHON) -m lab
DOCS := $(BIN)/python docs/generate.py
# The lab's addresses, for the tests; an assignment, since eval alone would not notice that the lab cannot tell them.
LAB_ENV = exports="$$($(LAB) test-env)"; eval "$$exports"; export BFV_TEST_MARIADB="$$LAB_DATABASE_URL"

.DEFAULT_GOAL := help
.PHONY: help python venv compiled check test demo docs lab lab-down lab-test lab-test-full lab-nova-test bench bench-attach \
	bench-lab bench-cells bench-compare bench-migrate bench-cache bench-api fuzz-api clean

help: ## show the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

python:
	@"$(PYTHON)" -c '$(NEW_ENOUGH)' 2>/dev/null || { \
		echo "bfv needs Python 3.11 or newer, and $(PYTHON) is not: make PYTHON=/path/to/python3.11" >&2; exit 1; }

venv: $(VENV)/stamp ## make the virtual environment

$(VENV)/stamp: setup.cfg pyproject.toml | python
	"$(PYTHON)" -m venv $(VENV)
	$(PIP) install --upgrade pip
	$(PIP) install --editable '.[test]'
	@touch $@

# What has to be compiled: for `make test` nothing has. No cache: uWSGI's wheel runs with the Python alone that built it.
compiled: venv
	$(PIP) install --no-cache-dir --editable '.[mysql,uwsgi]'

# No cache: ruff sorts imports by which files there are, and its cache does not notice that one has come.
check: venv ## lint, format, types, generated documents; says only what is wrong
	@$(BIN)/ruff check --no-cache --quiet .
	@$(BIN)/ruff format --no-cache --quiet --check . || { $(BIN)/ruff format --no-cache --check . ; exit 1; }
	@$(BIN)/mypy --no-error-summary
	@$(DOCS) --check

test: venv ## all tests that need no service
	$(PYTEST) -m "not lab" --numprocesses 4 --dist worksteal

demo: venv ## the main job on a mocked cloud in one process
	$(BIN)/bfv demo

docs: venv ## write the documents that come from the code
	$(DOCS)

lab: | python ## bring up two real Ceph clusters, Keystone, Glance and Cinder on this machine
	$(LAB) install
	$(LAB) up

lab-down: | python ## stop the lab; its data stays
	$(LAB) down

lab-test: lab compiled ## the tests on the real services; long matrices as a sample (BFV_SEED)
	@echo "BFV_SEED=$(BFV_SEED)"
	$(LAB) nova-install
	$(LAB_ENV); $(PYTEST) -m "lab and not full" --numprocesses 0 --timeout 900

lab-test-full: lab compiled ## the same with every crash point and every fault
	@echo "BFV_SEED=$(BFV_SEED)"
	$(LAB_ENV); $(PYTEST) -m lab --numprocesses 0 --timeout 6000

lab-nova-test: venv lab ## guests of a real nova with libvirt on the lab: conversion, reboots, its traps
	$(LAB) nova-up
	$(LAB_ENV); status=0; $(PYTEST) -m nova --numprocesses 0 --timeout 900 tests/realnova tests/contract || status=$$?; \
		$(LAB) nova-down; exit $$status

bench-lab: venv lab ## how a boot compares with the bare minimum, on the real services
	$(BIN)/python -m bench.lab_boot

bench-attach: venv lab ## attach and detach, and boots with many disks, beside plain calls
	$(BIN)/python -m bench.attach --lab

bench-compare: venv lab ## the same boots through cinder and through the old rbd, on the real services
	$(BIN)/python -m bench.compare

bench-migrate: venv lab ## how long a conversion off nova's rbd pool keeps a server off, beside copies by hand
	$(BIN)/python -m bench.migrate

bench-cells: compiled ## lists and counts beside real nova's, on a MariaDB of its own (SERVERS=100000, PARTS="nova deletes million")
	$(BIN)/python -m bench.cells_nova --servers $(SERVERS) --parts $(PARTS)

bench-api: compiled ## calls over HTTP beside nova's own API on the same databases, many clients at once, and disks that come and go
	$(BIN)/python -m bench.api_nova --servers $(SERVERS)
	$(BIN)/python -m bench.api
	$(BIN)/python -m bench.attach

fuzz-api: venv ## 20,000 cases that schemathesis makes of the API's OpenAPI document (BFV_SEED)
	@echo "BFV_SEED=$(BFV_SEED)"
	BFV_FUZZ_CASES=20000 $(PYTEST) --numprocesses 0 --timeout 7200 tests/api/test_fuzz.py

bench: venv ## boots on the mocked cloud, and the mocked cloud itself beside moto's
	$(BIN)/python -m bench.embedded_boot
	$(BIN)/python -m bench.mock_calls

bench-cache: venv ## storms of one image from our sources beside cinder's cache, on the mocked cloud; with LAB_SERVICES=yes in the lab
	$(BIN)/python -m bench.cache $(if $(LAB_SERVICES),--lab)
	$(if $(LAB_SERVICES),$(BIN)/python -m bench.cache --lab --slow-monitors)

clean: ## remove what was built; the lab keeps its data
	rm -rf build dist $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
