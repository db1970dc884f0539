# Needs git, make and Python 3.11 or newer. Everything else goes into .venv.

python := .venv/bin/python
inputs := pyproject.toml $(wildcard constraints.txt)
covered = activations engine adapters/archive
install = scripts/prepare install

tests = HYPOTHESIS_PROFILE=$${HYPOTHESIS_PROFILE:-$(1)} $(python) -m pytest -n auto --dist loadgroup --max-worker-restart 1

.PHONY: help setup demo check test quick-tests all-tests coverage lint format types faults bench clean model mutants dist site

help:  ## What can be made
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1	\2/p' Makefile

setup: .venv/.installed-test  ## Prepare .venv for development
	@echo "Ready: .venv/bin/migrator --help, make check, make demo"

demo: .venv/.installed-demo  ## See it work, on real servers on this machine
	@.venv/bin/migrator demo $(ARGS)

check: lint  ## Before each commit: formatting, ruff, imports, mypy, and the tests that need no servers
	@$(MAKE) --no-print-directory -j2 types quick-tests

test: lint .venv/.jdk-tried  ## All of it: as `make check`, with real servers and more examples
	@echo "Running all tests with real servers of this machine; the first time they are downloaded. Ctrl-C ends it."
	@$(MAKE) --no-print-directory -j2 types all-tests

# Beside mypy, which leaves all cores but one idle. Quick tests wait as much as they work: two at once for each core.
quick-tests: export PYTEST_XDIST_AUTO_NUM_WORKERS ?= $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN))))
quick-tests:
	@$(call tests,dev) -q -m 'not servers and not slow' $(ARGS)

all-tests:
	@$(call tests,ci) $(ARGS)

coverage: .venv/.installed-test  ## Which branches the tests without servers take; too few in the core are an error
	@$(call tests,dev) -q -m 'not servers' --cov --cov-report= $(ARGS)
	@$(python) -m coverage report --skip-covered --sort=cover | tail -n 40
	@for each in $(covered); do \
	    echo "migrator/$$each: $$($(python) -m coverage report --include="migrator/$$each/*" --format=total) %"; \
	    $(python) -m coverage report --include="migrator/$$each/*" --fail-under=95 >/dev/null || exit 1; \
	done

lint: .venv/.installed-test  ## Formatting, ruff, and which way imports point
	@$(python) -m ruff format --check --quiet . || { echo "make format formats them"; exit 1; }
	@$(python) -m ruff check --quiet .
	@.venv/bin/lint-imports --no-cache --no-logo

format: .venv/.installed-test  ## Format, and mend what ruff can mend
	@$(python) -m ruff check --quiet --fix .
	@$(python) -m ruff format --quiet .

types: .venv/.installed-test  ## mypy, strict, of the package and its tests
	@$(python) -m mypy

faults: .venv/.installed-test .venv/.jdk-tried  ## Bring about every fault; one table, in which nothing may be but zeros
	@$(python) -m tests.faults $(ARGS)

model: .venv/.installed-test  ## Run the model 10,000 times; look whether what is reported is true
	@$(python) -m tests.faults.model $(or $(ARGS),--runs 10000)

mutants: .venv/.installed-mutants  ## Change the code at 400 places; look whether a test notices
	@$(python) -m tests.benchmarks.mutating $(ARGS)

bench: .venv/.installed-test  ## Measure ours beside yardsticks and other tools, for 20 to 40 minutes; `make bench NAME` one row, for 1 to 6
	@$(python) -m tests.benchmarks $(rows) $(ARGS)

# What follows `make bench` names rows, not targets.
ifeq (bench,$(firstword $(MAKECMDGOALS)))
rows := $(wordlist 2,$(words $(MAKECMDGOALS)),$(MAKECMDGOALS))
.PHONY: $(rows)
$(rows): bench ; @:
endif

dist: .venv/.installed-test  ## Build the wheel and the source archive into dist/
	@rm -rf dist
	@$(python) -m hatchling build

site: .venv/.installed-test  ## Build the site of docs/ into site/
	@NO_MKDOCS_2_WARNING=1 $(python) -m mkdocs build --quiet --strict
	@echo "Built: site/index.html"

clean:  ## Remove .venv and what was built; the downloaded servers stay in the cache
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .coverage.* build dist site
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.installed-demo: $(inputs)
	@echo "Installing migrator, and what its local servers need, into .venv: about 350 MB, a minute or two."
	@echo "Nothing outside of this folder is changed. Downloading:"
	@scripts/prepare venv
	@$(install) demo
	@touch $@

.venv/.installed-test: $(inputs)
	@echo "Installing migrator, its local servers and the tools for tests into .venv: about 800 MB, a few minutes."
	@echo "Downloading:"
	@scripts/prepare venv
	@$(install) demo,test
	@touch $@ .venv/.installed-demo

.venv/.installed-mutants: .venv/.installed-test
	@echo "Installing mutmut into .venv"
	@$(install) demo,test,mutants
	@touch $@

.venv/.jdk-tried: | .venv/.installed-test
	@scripts/prepare jdk
	@scripts/prepare browser
	@touch $@
