# Thin doors; the work is in scripts/ and in the packages. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help setup demo test check unit unit-utility unit-rest story conformance chaos deb fuzz bench herd lock clean

PY := .venv/bin/python
WHOLE := $(wildcard tests/conformance tests/story tests/browser tests/interop tests/packaging)

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

setup: ## make .venv with everything a developer needs
	@scripts/setup dev

demo: ## the whole path on this machine, from an event to verified curtailment (KEEP=1: stay up)
	@scripts/setup run
	@$(PY) -m demo $(if $(KEEP),--keep)

test: unit story ## every test; installs what they need where it may

check: setup ## ruff, mypy, and the contracts of direction between the packages
	@.venv/bin/ruff check . scripts/setup scripts/deb
	@.venv/bin/ruff format --check . scripts/setup scripts/deb
	@.venv/bin/mypy
	@.venv/bin/lint-imports

unit: setup packages ## the unit tests alone, in seconds
	@$(MAKE) --no-print-directory --keep-going --jobs=2 --output-sync unit-utility unit-rest

# Two runs side by side, each of which imports and collects its own half only: with pytest-xdist both
# workers do all of it, and it took 16 s of 33 s of CPU.
UTILITY := $(addprefix tests/unit/,bench oadr vtn)
unit-utility:
	@$(PY) -m pytest -q $(UTILITY)
unit-rest:
	@$(PY) -m pytest -q tests/unit $(addprefix --ignore=,$(UTILITY))

story: setup packages npm ## whole stories on real sockets, with other people's software too
	@$(PY) -m pytest -n 4 --dist worksteal $(WHOLE)

conformance: setup packages ## our VTN and VEN, and openleadr's, against every numbered rule
	@$(PY) scripts/conformance

deb: setup ## Debian packages of both wings into dist/ (DEB="--wing field --arch arm64 --python 3.13": one of them)
	@$(PY) scripts/deb $(DEB)

chaos: setup packages ## real processes killed, cut off and starved, judged from ledgers (ONLY=name: some)
	@$(PY) -m chaos $(foreach name,$(ONLY),--only $(name))

fuzz: setup ## coverage-guided fuzzing of what reads strangers' words (FUZZ_S=60 each, ONLY=name: some)
	@.venv/bin/uv pip install --quiet --python $(PY) --require-hashes -r requirements/fuzz.txt
	@$(PY) -m fuzz $(foreach name,$(ONLY),--only $(name))

bench: setup packages ## our VTN beside openleadr's and a bare echo: ratios, 15 to 20 minutes (QUICK=1: 5; ONLY=1,3: some)
	@$(PY) -m bench $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))

herd: setup ## a VTN is killed under 1,000 VENs and comes back (CROWD=1: all at once); then is sent too much
	@$(PY) -m bench.herd $(if $(CROWD),--crowd)
	@$(PY) -m bench.overload

lock: setup ## renew requirements/*.txt from pyproject.toml
	@scripts/lock

clean: ## remove .venv and everything that was made here
	rm -rf .venv tests/npm/node_modules build dist demo/out conformance/out bench/out chaos/out fuzz/out .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: packages npm
packages:
	@scripts/packages

npm: packages
	@scripts/npm
