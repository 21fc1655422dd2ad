# Everything that this repository can do. It needs GNU make and Python 3.11 or later, and PyPI once.

.DEFAULT_GOAL := help
.PHONY: help demo demo-doors demo-scaling up ministack test coverage chaos suites check lint docs bench dist lock audit nag sbom clean

# Tests start hundreds of processes: each would compile every module anew.
unexport PYTHONDONTWRITEBYTECODE

# uv finds certificates of this machine, as pip does.
export UV_SYSTEM_CERTS := true

PYTHON := .venv/bin/python
READY := .venv/.ready
MINISTACK_READY := .venv-ministack/.ready
SUITES_READY := .local/.suites
TESTS := PYTHONPATH=tests/support:tests/apps

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY) ## Run the demonstration from the first task to the last, and end
	$(PYTHON) -m tasks.demo

demo-doors: $(READY) ## Upload files as a client without AWS credentials; they become tasks
	$(PYTHON) -m tasks.demo.doors

demo-scaling: $(READY) ## Start and stop workers of two queues by their backlog; nothing is lost
	$(PYTHON) -m tasks.demo.scaling

up: $(READY) ## Run the demonstration, and keep it running until Ctrl-C
	$(PYTHON) -m tasks.demo --keep

ministack: $(MINISTACK_READY) ## Run a stand-in for AWS that has CloudFormation, on port 4566, until Ctrl-C
	BIND_HOST=127.0.0.1 .venv-ministack/bin/ministack

test: $(READY) $(MINISTACK_READY) $(SUITES_READY) ## Run every test
	$(PYTHON) -m pytest -n 8 --dist loadfile --no-loadscope-reorder $(COVERAGE)

coverage: COVERAGE := --cov --cov-branch --cov-report=term-missing:skip-covered
coverage: test ## Run every test, with branch coverage, in a third more time

chaos: $(READY) $(MINISTACK_READY) ## Run 5,000 tasks while processes die and calls fail, and 10,000 schedules of the model
	$(TESTS) $(PYTHON) tests/chaos.py
	$(PYTHON) -m pytest tests/model -q --hypothesis-profile=chaos

suites: $(READY) $(MINISTACK_READY) $(SUITES_READY) ## Compare Celery's own tests over SQS with Redis; takes half an hour
	$(TESTS) $(PYTHON) tests/compare_suites.py

lint: $(READY) ## Check format, rules and types
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m ruff check
	$(PYTHON) -m mypy

check: lint ## Check format, rules, types, and the tests that need no server
	$(PYTHON) -m pytest tests/unit tests/property -q -n 2 --dist loadfile --hypothesis-profile=quick

docs: $(READY) ## Build the site of docs/ into .local/site; a warning ends it
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --quiet
	@echo "To read it: $(PYTHON) -m http.server -d .local/site"

bench: $(READY) $(MINISTACK_READY) ## Compare with the naive serializer, Redis and others, in a quarter of an hour
	$(PYTHON) -m benchmarks

dist: $(READY) ## Build wheel and source archive into dist/, the same bytes for the same commit; a release sets README_BASE_URL
	@test -n "$(README_BASE_URL)" || echo "README_BASE_URL is not set: PyPI would show no links to the project (docs/contributing.md, Releases)"
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(PYTHON) -m build --installer uv \
	    --dependency-constraints-txt requirements/build.txt --outdir dist

lock: $(READY) ## Write what the image installs, with hashes, to requirements/: what is pinned stays; LOCK=--upgrade
	$(UV) --extra app --extra local --extra flower pyproject.toml --output-file requirements/demo.txt
	$(UV) --extra app --constraint requirements/demo.txt pyproject.toml --output-file requirements/app.txt
	$(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"])' | \
	    $(UV) - --output-file requirements/build.txt

UV = .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
    --custom-compile-command "make lock" $(LOCK)

audit: $(READY) ## Look for known vulnerabilities of the installed packages, in the database of PyPI
	$(PYTHON) -m pip_audit --skip-editable

nag: .venv-checkov/.ready ## Look for insecure settings in deploy/ with checkov; .checkov.yaml has the exceptions
	LOG_LEVEL=ERROR .venv-checkov/bin/checkov --config-file .checkov.yaml

sbom: $(READY) ## Write a bill of materials of the installed packages to .local/sbom.json, as CycloneDX
	mkdir -p .local
	.venv/bin/cyclonedx-py environment --output-file .local/sbom.json $(PYTHON)

include deploy/deploy.mk

clean: ## Remove all that was made here, the virtual environments too
	rm -rf .venv .venv-ministack .venv-checkov .local .coverage build dist
	rm -rf .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml
	python3 -m venv .venv
	$(PYTHON) -m pip install --quiet -e '.[dev]'
	touch $@

# Only the tests need it. It pins another botocore than ours, hence a place of its own.
$(MINISTACK_READY): Makefile
	python3 -m venv .venv-ministack
	.venv-ministack/bin/python -m pip install --quiet 'ministack==1.5.33'
	touch $@

# It pins other versions than ours, too.
.venv-checkov/.ready: Makefile
	python3 -m venv .venv-checkov
	.venv-checkov/bin/python -m pip install --quiet 'checkov==3.3.30'
	touch $@

# Celery's and Kombu's tests, which their wheels leave out: with ours in place they are to pass as well.
$(SUITES_READY): $(READY)
	mkdir -p .local
	for name in celery kombu; do \
	    version=$$($(PYTHON) -c "import $$name; print($$name.__version__)") && \
	    $(PYTHON) -m pip download --quiet --no-deps --no-binary $$name --dest .local "$$name==$$version" && \
	    tar -xzf ".local/$$name-$$version.tar.gz" -C .local || exit 1; \
	done
	touch $@
