# make run      serve the talking avatar on http://localhost:8000/
# make test     set everything up, check, and run the tests
# make help     the other commands

.DEFAULT_GOAL := help
.PHONY: help run setup test test-lasting test-integrations check lint types javascript fast coverage chaos presenter train packages python

# The first Python that is new enough.
PYTHON := $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)
INSTALL := $(PYTHON) musetalk_site/install.py

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | sort | expand -t 20

python:
	@test -n "$(PYTHON)" || { echo "This needs Python 3.11 or newer."; exit 1; }

run: python ## serve the talking avatar
	@$(INSTALL) requirements-core.txt
	@file=$$(.venv/bin/python -m musetalk_site.engine_requirements) && $(INSTALL) $$file
	@.venv/bin/python manage.py migrate --verbosity 0
	@exec .venv/bin/python manage.py serve

setup: python ## make .venv with everything
	@$(INSTALL) requirements-dev.txt

test: setup packages ## check, and run the tests
	@$(MAKE) --no-print-directory lint
	@.venv/bin/python tests/run.py

test-lasting: setup packages ## run the tests that take long: kills, preparations, large networks
	@.venv/bin/python tests/run.py --lasting

# Each has requirements of its own, which never meet the server's.
test-integrations: setup packages ## test pipecat's and the other integrations, each in its own environment
	@.venv/bin/python integrations/testing/run.py

check: setup lint types javascript ## style, types, architecture
	.venv/bin/pytest -q tests/test_architecture.py

lint: ## style and wording alone
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/python -m tests.wording

types: ## types alone
	.venv/bin/mypy

# TypeScript checks the JSDoc types. Node is in the requirements; npm brings TypeScript, once.
LIBRARY := clients/javascript
NPM := PATH="$(CURDIR)/.venv/bin:$$PATH" npm --prefix $(LIBRARY)
javascript: ## types of the JavaScript alone
	@test $(LIBRARY)/node_modules/.package-lock.json -nt $(LIBRARY)/package-lock.json \
	|| $(NPM) ci --ignore-scripts --no-audit --no-fund --silent \
	|| rm -rf $(LIBRARY)/node_modules
	@test ! -d $(LIBRARY)/node_modules \
	&& echo "TypeScript could not be installed from npm: the JavaScript's types were not checked." \
	|| $(NPM) run --silent check

# Pure rules and small parts; no process is started and no net is loaded.
FAST := tests/streaming/protocol tests/streaming/session tests/streaming/gateway \
	tests/inference/assets tests/inference/faces tests/inference/test_messages.py \
	tests/inference/test_metrics.py tests/inference/test_timing.py tests/avatars_app/test_permissions.py

fast: ## pure and small tests, in half a minute
	.venv/bin/pytest -q -m "not slow" $(FAST)

coverage: setup packages ## run all tests, and say which lines they reach
	.venv/bin/pytest --cov --cov-report=term:skip-covered --cov-report=html

chaos: setup packages ## attack and break it, at full scale, and print a table
	@.venv/bin/python -m tests.chaos

presenter: python ## redraw the shipped presenters
	@$(INSTALL) requirements-drawing.txt
	.venv/bin/python -m inference.presenter --output avatars_app --sheet docs/presenter.png

train: setup ## retrain the viseme net (needs espeak-ng and flite)
	@$(INSTALL) requirements-training.txt
	.venv/bin/python -m inference.engines.viseme.training

# Debian packages that some tests need. Elsewhere those tests are skipped and say what they miss.
PACKAGES := espeak-ng flite chromium postgresql
packages:
	@if [ "$$(id -u)" = 0 ] || [ "$$CI" = true ]; then sh .ci/packages $(PACKAGES); fi
