# `make` alone lists the targets. Every target sets the project up first when that is needed.

BIN := .venv/bin
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test chaos up compose-up compose-test bench check format lock clean reset

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

setup: ## Create .venv with the project and its tools, from requirements.lock
	@.ci/setup

demo: setup ## See the whole pipeline at work, then stop it (KEEP=1 leaves it running)
	@$(BIN)/medallion demo $(ARGS)

# All tests in up to four processes, each with servers of its own; what ARGS names runs in one.
test: setup ## Run the tests (ARGS="tests/unit -k ports" passes arguments to pytest)
	@$(BIN)/python -m pytest $(or $(ARGS),--numprocesses=auto --maxprocesses=4 --dist=worksteal)

chaos: setup ## Break the running pipeline at random and compare (ARGS="--faults 1000 --minutes 55 --seed 1")
	@$(BIN)/python -m tests.chaos $(ARGS)

up: setup ## Start the embedded stack and all services in the foreground (Ctrl-C stops them)
	@$(BIN)/medallion up $(ARGS)

compose-up: ## Start the pipeline in containers and wait until it is healthy (needs Docker)
	@deploy/compose-up $(ARGS)

compose-test: setup ## See the containers through scaling, kills and a restart, under a project name of their own
	@$(BIN)/python -m tests.compose $(ARGS)

bench: setup ## Measure the pipeline
	@$(BIN)/python -m bench $(ARGS)

check: setup ## Check format, lint, types, import contracts, configuration and SQL
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports
	@$(BIN)/medallion validate

format: setup ## Format the code and mend what the linter can mend
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format --quiet .

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header

lock: setup ## Resolve the dependencies of pyproject.toml anew into requirements.lock and the image's share of it
	@$(LOCK) --upgrade --extra embedded --extra dev pyproject.toml -o requirements.lock >/dev/null
	@$(LOCK) --constraints requirements.lock --extra build pyproject.toml -o requirements-image.lock >/dev/null

clean: ## Remove .venv, caches and builds (data stays)
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist
	@find bench services shared tests -name __pycache__ -type d -prune -exec rm -rf {} +

reset: setup ## Remove the embedded stack's folder (.medallion) with all data in it
	@$(BIN)/python -m services.stack --discard
