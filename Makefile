# Needs git, make and Python 3.11 or newer. Everything else goes into .venv.

python := .venv/bin/python
inputs := pyproject.toml $(wildcard constraints.txt)
install = $(python) -m pip install --quiet --disable-pip-version-check $(addprefix -c ,$(wildcard constraints.txt)) -e

.PHONY: help setup demo test lint types faults bench clean model mutants

help:  ## What can be made
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1	\2/p' Makefile

setup: .venv/.installed-test  ## Prepare .venv for development

demo: .venv/.installed-demo  ## See it work, on real servers on this machine
	@.venv/bin/migrator demo $(ARGS)

test: lint types .venv/.jdk-tried  ## What CI runs: ruff, mypy, and pytest against real servers
	@$(python) -m pytest -n auto --dist loadgroup $(ARGS)

lint: .venv/.installed-test  ## ruff, and which way imports point
	@$(python) -m ruff check .
	@.venv/bin/lint-imports --no-cache --no-logo

types: .venv/.installed-test  ## mypy, strict
	@$(python) -m mypy

faults: .venv/.installed-test .venv/.jdk-tried  ## Bring about every fault; one table, in which nothing may be but zeros
	@$(python) -m tests.faults $(ARGS)

model: .venv/.installed-test  ## Run the model 10,000 times; look whether what is reported is true
	@$(python) -m tests.faults.model $(or $(ARGS),--runs 10000)

mutants: .venv/.installed-mutants  ## Change the code at 400 places; look whether a test notices
	@$(python) -m tests.benchmarks.mutating $(ARGS)

bench: .venv/.installed-test  ## Measure copies beside a bare-hands pump, backups beside other tools
	@$(python) -m tests.benchmarks.copying $(ARGS)
	@$(python) -m tests.benchmarks.archiving

clean:  ## Remove .venv and what was built; the downloaded servers stay in the cache
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.installed-demo: $(inputs)
	@echo "Installing migrator, and what its local servers need, into .venv"
	@scripts/prepare venv
	@$(install) '.[demo]'
	@touch $@

.venv/.installed-test: $(inputs)
	@echo "Installing migrator, its local servers and the tools for tests into .venv"
	@scripts/prepare venv
	@$(install) '.[demo,test]'
	@touch $@ .venv/.installed-demo

.venv/.installed-mutants: .venv/.installed-test
	@echo "Installing mutmut into .venv"
	@$(install) '.[demo,test,mutants]'
	@touch $@

.venv/.jdk-tried: | .venv/.installed-test
	@scripts/prepare jdk
	@touch $@
