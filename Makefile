# Everything below runs from a fresh clone: each target first provides what it needs.
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help up test check fix lock bench clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

up: $(READY) ## start everything, print where it is, stop it on Ctrl-C (PORT=8000)
	@exec $(BIN)/cartwheel up

test: $(READY) ## run the whole suite on the real parts (ARGS="-k name" for some)
	@$(BIN)/pytest $(ARGS)

check: $(READY) ## read-only: format, lint, types, import rules
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/basedpyright
	@$(BIN)/lint-imports

fix: $(READY) ## repair format and lint
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: $(READY) ## renew requirements.lock
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header --upgrade --group dev pyproject.toml -o requirements.lock

clean: ## delete the virtual environment (the data stays: see `cartwheel reset`)
	rm -rf $(VENV)
