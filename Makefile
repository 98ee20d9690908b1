# What a person types, and what .ci/run types. Every target sets up what it needs first.

VENV ?= .venv
BIN  := $(VENV)/bin
PY   := $(BIN)/python
# Changes when the installation does, so that `venv` is quick the second time.
INSTALLED := $(VENV)/.installed

QUICK := tests/unit tests/contract tests/property
# `make check test` runs each test once: the whole suite has the quick ones and the wheel in it.
ifneq ($(filter test,$(MAKECMDGOALS)),)
CHECK_TESTS := test
else
CHECK_TESTS := quick wheel
endif

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: venv
venv: $(INSTALLED) ## a virtual environment in .venv, with everything installed

$(INSTALLED): pyproject.toml .ci/venv
	.ci/venv $(VENV)
	$(PY) -m pip -q install --disable-pip-version-check -e '.[dev]'
	touch $@

.PHONY: demo
demo: venv ## a mesh on this machine that does real work, and a table of what ran where
	$(PY) -m testbed.demo $(ARGS)

.PHONY: continuum
continuum: venv ## six agents with declared speeds, prices and distances: each hint, seen going where it should
	$(PY) -m testbed.continuum $(ARGS)

.PHONY: test
test: venv ## the whole suite, with branch coverage and its threshold
	$(PY) -m coverage erase
	$(if $(ARGS),$(PY) -m coverage run -m pytest $(ARGS),.ci/suite $(PY))
	@# A process that is killed while it saves what it ran leaves an empty file.
	find . -maxdepth 1 -name '.coverage.*' -size 0 -delete
	$(PY) -m coverage combine -q
	$(PY) -m coverage report

.PHONY: check
check: lint types contracts $(CHECK_TESTS) ## the gate: lint, types, contracts, quick tests, wheel

.PHONY: lint
lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.PHONY: types
types: venv
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(PY)

.PHONY: contracts
contracts: venv
	$(BIN)/lint-imports

.PHONY: quick
quick: venv
	$(PY) -m pytest -q $(QUICK) $(ARGS)

.PHONY: wheel
wheel: venv
	$(PY) -m pytest -q tests/integration/test_wheel.py

.PHONY: fast
fast: venv ## only the unit tests
	$(PY) -m pytest -q tests/unit $(ARGS)

.PHONY: abuse
abuse: venv ## garbage, dead clients, broken clocks, hostile calls: each case, what happened, who noticed
	$(PY) -m pytest -q tests/abuse $(ARGS)

.PHONY: matrix
matrix: venv ## genuine but lesser credentials: each attempt, by whom, what happened, who knows
	$(PY) -m pytest -q tests/matrix $(ARGS)

.PHONY: fuzz
fuzz: venv ## a million inputs for every decoder, guided by coverage where atheris can be installed
	$(PY) -m pip -q install --disable-pip-version-check -e '.[fuzz]' || true
	$(PY) -m tests.fuzz $(ARGS)

.PHONY: bench
bench: venv ## us and our peers on this machine, in one run and one table
	$(PY) -m testbed.bench $(ARGS)

.PHONY: bench-names
bench-names: venv ## what calling a registered function by name costs, beside the call by object
	$(PY) -m testbed.bench.by_name $(ARGS)

.PHONY: bench-enrol
bench-enrol: venv ## a thousand agents that join at once, and how long one takes from its token to its first heartbeat
	$(PY) -m testbed.bench.enrolments $(ARGS)

.PHONY: bench-grants
bench-grants: venv ## what it costs a warm call that agents ask who calls, and write down what has ended
	$(PY) -m testbed.bench.granted $(ARGS)

.PHONY: bench-placement
bench-placement: venv ## placement in a simulated mesh: the table and the plots of docs/placement
	$(PY) -m testbed.placement $(ARGS)

.PHONY: format
format: venv ## let ruff format the code and fix what it can
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

.PHONY: clean
clean: ## remove what make has made, the virtual environments too
	rm -rf $(VENV) .bench-venvs build dist .coverage .coverage.* .hypothesis .import_linter_cache \
		.mypy_cache .pytest_cache .ruff_cache
	find mesh placement agent sdk testbed tests -name __pycache__ -type d -prune -exec rm -rf {} +
