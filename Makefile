# One obvious way to run each habit. Needs make, and Python 3.11 or newer; the rest is installed
# into .venv from requirements/*.lock, anew only when these change. ARGS are passed on:
#   make demo ARGS="--port 3001 --for 30"
#   make test ARGS="tests/test_project.py -k lock"

ARGS =
BIN = .venv/bin
MAKEFLAGS += --no-print-directory

.PHONY: help demo test check bench format lock clean install install-dev

help: ## Show these lines.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 20

demo: install ## Serve API, worker and a receiver on SQLite, and show signed webhooks arriving.
	@$(BIN)/flowkick demo $(ARGS)

test: install-dev ## Run the tests (on SQLite, and on a PostgreSQL of their own).
	@$(BIN)/python -m scripts.services
	@$(BIN)/python -m pytest $(or $(ARGS),--numprocesses 2 --dist worksteal)

check: install-dev ## Check format, lint, types, layers and file lengths.
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy src tests scripts $(wildcard bench)
	@$(BIN)/lint-imports
	@$(BIN)/python -m scripts.file_lengths

bench: install-dev ## Measure speed, as ratios to a bare loop in the same run.
	@$(BIN)/python -m scripts.services
	@$(BIN)/python -m bench $(ARGS)

format: install-dev ## Format the code and fix what can be fixed by itself.
	@$(BIN)/ruff check --fix --exit-zero .
	@$(BIN)/ruff format .

lock: install-dev ## Renew requirements/*.lock (ARGS="--upgrade" for the newest versions).
	@sh scripts/lock.sh $(ARGS)

clean: ## Remove what installing and testing left behind.
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .schemathesis build dist

install: ## Install what running needs into .venv.
	@sh scripts/install.sh run

install-dev: ## Install what developing needs into .venv.
	@sh scripts/install.sh dev
