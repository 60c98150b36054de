# Everything below runs from a fresh clone: each target first provides what it needs.
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTHON ?= python3
SHOWN = PYTHONPATH=src $(PYTHON) -m cartwheel.local.shown
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --upgrade

define need_python
@command -v $(PYTHON) >/dev/null || { echo "Please install Python 3.11 or newer"; exit 1; }
@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.version_info >= (3, 11) or sys.exit( \
	"Cartwheel needs Python 3.11 or newer, and this is " + v + ". With another: make PYTHON=...")'
endef

# A company's own certificates are the system's to know; pip asks it, uv only when told to.
export UV_SYSTEM_CERTS ?= true

.PHONY: help preflight up down cluster demo reset test chaos guards check fix lock bench clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

# With the Python that is there: before anything is installed, the machine's own.
preflight:
	$(need_python)
	@PYTHONPATH=src $(firstword $(wildcard $(BIN)/python) $(PYTHON)) -m cartwheel.local.preflight

up: preflight $(READY) ## start everything, print where it is, stop it on Ctrl-C (PORT=8000, ARGS=--help)
	@echo "… starting Cartwheel" >&2
	@exec $(BIN)/cartwheel up $(ARGS)

down: $(READY) ## stop what was started in another terminal
	@exec $(BIN)/cartwheel down

cluster: $(READY) ## start it as a cluster of three, to break it on purpose (PORT=8000)
	@echo "… starting Cartwheel as a cluster" >&2
	@exec $(BIN)/cartwheel cluster up

demo: $(READY) ## play the main job against the running system
	@exec $(BIN)/cartwheel demo

reset: $(READY) ## delete all data, after asking (ARGS=--yes does not ask)
	@exec $(BIN)/cartwheel reset $(ARGS)

# Three workers on two cores: many tests wait, for an election or a restart.
test: $(READY) ## run the whole suite on the real parts (eleven minutes; ARGS="-k name" for some)
	@echo "… starting pytest" >&2
	@$(BIN)/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder $(ARGS)

chaos: $(READY) ## the long forms: a cluster's nodes, and the crash suite (SEED=7 ROUNDS=10; ten minutes a round)
	@echo "… starting pytest" >&2
	@LONG=1 $(BIN)/pytest -rP tests/chaos/test_frozen.py tests/chaos/test_poison.py \
		tests/chaos/test_adjusting.py tests/chaos/test_rolling_restart.py \
		tests/chaos/test_guessing.py tests/chaos/test_worst_mood.py tests/cluster tests/quorum
	@echo "… starting the rounds" >&2
	@SEED=$(SEED) ROUNDS=$(ROUNDS) $(BIN)/python -m tests.chaos

guards: $(READY) ## break each guard in turn and see the crash suite go red (half an hour)
	@echo "… starting pytest" >&2
	@GUARDS=1 $(BIN)/pytest tests/chaos/test_broken_guards.py $(ARGS)

check: $(READY) ## read-only: format, lint, types, import rules, Markdown
	@$(SHOWN) "checking the format" $(BIN)/ruff format --check .
	@$(SHOWN) "linting" $(BIN)/ruff check .
	@$(SHOWN) "checking the types" $(BIN)/basedpyright
	@$(SHOWN) "checking the import rules" $(BIN)/lint-imports
	@$(SHOWN) "checking the Markdown" $(BIN)/rumdl check --quiet .

fix: $(READY) ## repair format and lint, and reflow the Markdown
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .
	@$(BIN)/rumdl fmt --silent .

lock: $(READY) ## renew requirements.lock, requirements-ministack.lock and requirements-bench.lock
	@$(SHOWN) "renewing requirements.lock" $(COMPILE) --group dev pyproject.toml -o requirements.lock
	@printf 'ministack==1.5.33\ncryptography\n' | \
		$(SHOWN) "renewing requirements-ministack.lock" $(COMPILE) - -o requirements-ministack.lock
	@$(SHOWN) "renewing requirements-bench.lock" $(COMPILE) --group bench -c requirements.lock -o requirements-bench.lock

bench: $(READY) ## measure the system (needs wrk; ten minutes; ARGS=--help tells more)
	@$(SHOWN) "installing what measuring needs" \
		$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements-bench.lock
	@echo "… starting the measurements" >&2
	@$(BIN)/python -m bench.run $(ARGS)

clean: ## delete the virtual environment (the data stays: see `cartwheel reset`)
	rm -rf $(VENV)

# Touched last, so that an interrupted installation goes on at the next make.
$(READY): requirements.lock pyproject.toml
	$(need_python)
	@PYTHONPATH=src $(PYTHON) -m cartwheel.local.bootstrap $(VENV)
	@touch $@
