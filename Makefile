# Everything needs only python3 (3.11 or 3.12), git and make. See README.md.
.DEFAULT_GOAL := help
# The first of these that really runs (a pyenv shim may not) and is 3.11 or 3.12; else python3.
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))
PYTHON ?= $(shell for p in python3 python3.12 python3.11; do \
	$$p -c "$(FITS)" >/dev/null 2>&1 && echo $$p && exit; done; echo python3)
BIN := .venv/bin
TESTS ?=
SEED ?= 1
DAYS ?= 90

.PHONY: help setup run demo test check bench torture simulate docs golden clean

help:
	@echo "make run      everything on this machine, with a demo shop; Ctrl-C stops it"
	@echo "              SHOP=shopware or SHOP=ebay: one more, which Kontor talks to itself"
	@echo "make demo     play the main story once and check every step"
	@echo "make test     all tests, browser tests included"
	@echo "make check    style, types, architecture, migrations, docs, wheel"
	@echo "make bench    how fast it is, as ratios"
	@echo "make torture  the full counts of what make test samples"
	@echo "make simulate SEED=7  months of shop life from one seed"
	@echo "make docs     build the documentation into site/"
	@echo "make golden   write the golden mails anew (then look at the diff)"

setup: .venv/.ready

.venv/.ready: pyproject.toml constraints.txt tools/setup.py
	@$(PYTHON) tools/setup.py .venv
	@touch $@

run: setup
	@$(BIN)/python -m server run $(if $(SHOP),--shop $(SHOP))

demo: setup
	@$(BIN)/python -m server demo --exit --json

test: setup
	@$(BIN)/python -m pytest -n 2 --dist loadfile $(TESTS)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md STYLE.md docs server plugin_sdk connectors
	$(BIN)/python tools/check_migrations.py
	$(BIN)/mkdocs build --strict --quiet --site-dir var/site
	$(BIN)/python tools/check_wheel.py

bench: setup
	@$(BIN)/python -m bench

torture: setup
	@KONTOR_TORTURE=1 $(BIN)/python -m pytest -m torture -n 0 $(TESTS)

simulate: setup
	@$(BIN)/python -m tests.simulator --seed $(SEED) --days $(DAYS)

docs: setup
	@$(BIN)/mkdocs build --strict

golden: setup
	@KONTOR_GOLDEN=1 $(BIN)/python -m pytest -n 0 -q tests/unit/mail

clean:
	rm -rf .venv site build dist *.egg-info
