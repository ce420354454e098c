# Helios from the command line. `make` alone lists the targets.

PYTHON ?= $(shell for each in python3.11 python3.12 python3.13 python3; do \
	$$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$each && break; done)
VENV := .venv
PY := $(VENV)/bin/python
RUN := $(VENV)/.run-installed
DEV := $(VENV)/.dev-installed
BENCH := $(VENV)/.bench-installed
PIP := $(PY) -m pip install --disable-pip-version-check --quiet
# Of the tests: more than cores, since some wait for processes; each computes in one thread.
WORKERS ?= 3
SOURCES := helios trading tiers sentinel tests bench examples celery_app.py manage.py
# Servers of one's own under HELIOS_VAR_DIR, whatever `.env` names.
OWN := HELIOS_DATABASE_URL=embedded HELIOS_REDIS_URL=embedded
# Values that look like production, for Django's deployment check; nothing connects to them.
LIKE_PROD := HELIOS_ENVIRONMENT=prod HELIOS_DEBUG=0 HELIOS_ALLOWED_HOSTS=helios.example \
	HELIOS_DATABASE_URL=postgresql://helios@db/helios HELIOS_REDIS_URL=redis://queue:6379/0 HELIOS_TRUSTED_PROXIES=1

# Where no bytecode is kept, every one of our processes compiles every file again.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help install demo test soak check up bench story-promoted story-faulty lint format stop clean distclean python

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 23

demo: $(RUN)  ## set up everything, then a backtest and a replay on real data
	@$(PY) -m helios.stack.demo

up: $(RUN)  ## run the whole stack until Ctrl-C: web on 8000, Flower on 5555
	@$(PY) -m helios.stack.up

test: $(DEV)  ## the whole test suite against real servers, with coverage
	@COVER=1 OMP_NUM_THREADS=1 $(PY) -m pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder

soak: $(DEV)  ## what takes minutes: processes and servers killed at random, a year of parity, properties tried often
	@HYPOTHESIS_PROFILE=soak $(PY) -m pytest -q -m "soak or hypothesis" --timeout 7200

check: $(DEV)  ## style, types, import rules, sizes, advisories, migrations, deployment settings
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) $(VENV)/bin/lint-imports
	$(PY) .ci/lengths.py $(SOURCES)
	$(PY) .ci/audit.py
	$(OWN) HELIOS_VAR_DIR=var/check $(PY) manage.py makemigrations --check --dry-run
	$(OWN) HELIOS_VAR_DIR=var/check $(PY) manage.py migrate -v 0
	$(OWN) HELIOS_VAR_DIR=var/check $(PY) manage.py migrate --check
	@echo "manage.py check --deploy, with production's settings"
	@$(LIKE_PROD) HELIOS_SECRET_KEY=$$($(PY) -c 'import secrets; print(secrets.token_urlsafe(50))') \
		$(PY) manage.py check --deploy --fail-level WARNING

bench: $(BENCH)  ## measured figures beside their peers, kept in var/bench.json
	@$(PY) -m bench

story-promoted: $(RUN)  ## a challenger is tested, shadowed and rolled from 1 % to 100 % while cycles run
	@$(PY) -m examples.stories promoted

story-faulty: $(RUN)  ## a faulty challenger is rolled back by itself at its first step
	@$(PY) -m examples.stories faulty

lint: $(DEV)  ## style only
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

format: $(DEV)  ## rewrite the sources in the project's style
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

install: $(RUN)  ## .venv with the pinned requirements

stop:  ## stop the embedded servers now; all data stay
	@if [ -x $(PY) ]; then $(PY) -m helios.stack.stop && echo "The embedded servers are stopped, all data kept."; fi

clean:  ## remove ALL data: var/ (database, bars, books, models, logs), and caches
	@if [ -x $(PY) ]; then $(PY) -m helios.stack.stop --remove; fi
	rm -rf var .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean  ## clean, and remove .venv too
	rm -rf $(VENV)

python:
	@if [ -z "$(PYTHON)" ] || ! $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
		echo "Helios needs Python 3.11 or newer, found none: call make PYTHON=/path/to/python3.11" >&2; exit 1; fi

$(PY): | python
	@echo "Creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)

$(RUN): requirements.txt | $(PY)
	@echo "Installing requirements.txt"
	@$(PIP) -r requirements.txt
	@touch $@

$(DEV): requirements-dev.txt requirements-sdk.txt requirements.txt $(RUN) | $(PY)
	@echo "Installing requirements-dev.txt"
	@$(PIP) -r requirements-dev.txt
	@$(PIP) --no-deps -r requirements-sdk.txt
	@touch $@

$(BENCH): requirements-bench.txt $(DEV) | $(PY)
	@echo "Installing requirements-bench.txt"
	@$(PIP) -r requirements-bench.txt
	@touch $@
