# SPDX-License-Identifier: Apache-2.0
PYTHON ?= $(shell for python in python3 /usr/bin/python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
LAB := $(PYTHON) -m lab
BFV_SEED ?= $(shell date +%Y%m%d)
export BFV_SEED

.DEFAULT_GOAL := help
.PHONY: help venv check test demo docs lab lab-down lab-test lab-test-full bench-lab clean

help: ## show the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

venv: .venv/stamp ## make the virtual environment

.venv/stamp: setup.cfg pyproject.toml
	@test -n "$(PYTHON)" || { echo "bfv needs Python 3.11 or newer; say which: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

check: venv ## lint, format, types, generated documents
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --quiet --check .
	$(BIN)/mypy
	$(BIN)/python docs/generate.py --check

test: venv ## all tests that need no service
	$(PYTEST) -m "not lab" --numprocesses auto --quiet

demo: venv ## the main job on a mocked cloud in one process
	$(BIN)/bfv demo

docs: venv ## write the documents that come from the code
	$(BIN)/python docs/generate.py

lab: ## bring up two real Ceph clusters, Keystone, Glance and Cinder on this machine
	$(LAB) install
	$(LAB) up

lab-down: ## stop the lab; its data stays
	$(LAB) down

lab-test: venv lab ## the tests on the real services; long matrices as a sample (BFV_SEED)
	@echo "BFV_SEED=$(BFV_SEED)"
	eval "$$($(LAB) test-env)" && BFV_TEST_MARIADB="$$LAB_DATABASE_URL" $(PYTEST) -m "lab and not full" --quiet --timeout 900

lab-test-full: venv lab ## the same with every crash point and every fault
	eval "$$($(LAB) test-env)" && BFV_TEST_MARIADB="$$LAB_DATABASE_URL" $(PYTEST) -m lab --quiet --timeout 6000

bench-lab: venv lab ## how a boot compares with the bare minimum, on the real services
	$(BIN)/python -m bench.lab_boot

clean: ## remove what was built; the lab keeps its data
	rm -rf build .venv .mypy_cache .pytest_cache .ruff_cache *.egg-info
