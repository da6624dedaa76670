# Palabre from a fresh clone: only Python 3.11 or newer and make are needed. GNU make 3.81 is enough.

HOST ?= 127.0.0.1
PORT ?= 8000
PYTHON ?=
NODE ?=
ARGS ?=
SEED ?= 1
SECONDS ?= 120
MUTANT ?=

BIN := .venv/bin

# A proxy of the surroundings must not stand between programs of this machine.
comma := ,
NO_PROXY := 127.0.0.1,localhost,::1$(addprefix $(comma),$(or $(no_proxy),$(NO_PROXY)))
no_proxy := $(NO_PROXY)
export NO_PROXY no_proxy PYTHON NODE

.PHONY: help run reset test check lint format screenshots bench chaos mutants install develop clean

help:
	@echo 'make run      start a demo on http://$(HOST):$(PORT)   (PORT=, HOST=)'
	@echo 'make reset    forget what the demo stored, so that it starts over (stop it first)'
	@echo 'make test     run every test on SQLite and on PostgreSQL   (ARGS="-k word")'
	@echo 'make check    format, lint, types, layers and generated documents'
	@echo 'make format   rewrite the code in the one format'
	@echo 'make screenshots   look at the page: every view, theme and size, in screenshots/'
	@echo 'make bench    measure beside Node, python-socketio and Django, write bench/report.md'
	@echo 'make chaos    break a town on purpose and judge what was heard   (SEED= SECONDS= MUTANT=)'
	@echo 'make mutants  break the server and its clients on purpose: each has to be caught'
	@echo 'make clean    remove everything that was installed or cached here'
	@echo 'PYTHON= and NODE= choose other interpreters than those that are found.'

run: install
	@exec $(BIN)/palabre serve --demo --host $(HOST) --port $(PORT)

# The demo keeps its secret beside its database; where there is none, the data is somebody's own.
reset:
	@if [ -e data/demo-secret ]; then \
	    rm -f data/demo-secret data/palabre.db data/palabre.db-wal data/palabre.db-shm data/palabre.db.lock; \
	    rm -rf data/files; \
	    rmdir data 2>/dev/null; echo 'The demo starts over.'; \
	elif [ -e data ]; then \
	    echo 'data/ was not made by the demo and stays as it is.' >&2; exit 1; \
	else echo 'Nothing to reset: the demo has stored nothing.'; fi

test: develop
	@exec $(BIN)/python -m tests.run $(ARGS)

check: develop
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/generate_configuration.py --check
	$(BIN)/python docs/generate_protocol.py --check
	$(BIN)/python docs/generate_types.py --check

lint: develop
	$(BIN)/ruff check .

format: develop
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

screenshots: develop
	@exec $(BIN)/python -m tests.screenshots screenshots

bench: develop
	@exec $(BIN)/python -m bench $(ARGS)

chaos: develop
	@exec $(BIN)/python -m checker --seed $(SEED) --seconds $(SECONDS) \
	    $(if $(MUTANT),--design $(MUTANT)) $(ARGS)

# Every mutant of the product and of its clients has to be caught.
mutants: develop
	@exec $(BIN)/python -m checker.proof $(ARGS)

install:
	@sh tools/install runtime

develop:
	@sh tools/install development

clean:
	rm -rf .venv tests/js/node_modules bench/built chaos .ruff_cache .mypy_cache .pytest_cache .import_linter_cache dist screenshots
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
