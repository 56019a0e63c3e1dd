# Each target does its own set-up on a fresh machine and says so; the work is in toolchain/ and operate/.
STACK ?= dev
PYTHON ?= python3
FRESH ?=
PYTEST_ARGS ?=
JOURNEY ?= tests/journeys
TO ?=
FROM ?=
UPGRADE ?=

ready = $(PYTHON) -m toolchain run $(if $(FRESH),--fresh)
check = $(PYTHON) -m toolchain run --quiet --development --parts python --

.DEFAULT_GOAL := help
.PHONY: help up preview down backup restore status test journeys check docs bench screenshots env setup lock lock-images stop-engine python-version

help:  ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

python-version:
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "needs Python 3.11 or later; name one with make PYTHON=…")'

up: python-version  ## set up, discover and deploy STACK (dev); ends with a table
	@$(ready) -- python -m operate up --stack $(STACK)

preview: python-version  ## what `make up` would change
	@$(ready) -- python -m operate preview --stack $(STACK)

down: python-version  ## destroy STACK; data volumes stay unless PURGE=1
	@PURGE=$(PURGE) $(ready) --parts python,engine,pulumi -- python -m operate down --stack $(STACK)

backup: python-version  ## copy the data of STACK's Redis and Qdrant to a folder: TO=…, or backups/…
	@$(ready) --quiet --parts python,engine,pulumi -- python -m operate backup --stack $(STACK) $(if $(TO),--folder "$(TO)")

restore: python-version  ## put the data of a backup back into STACK: FROM=backups/…
	@$(ready) --quiet --parts python,engine,pulumi -- python -m operate restore --stack $(STACK) $(if $(FROM),--folder "$(FROM)")

status: python-version  ## the table of what runs in STACK
	@$(ready) --quiet --parts python,engine,pulumi -- python -m operate status --stack $(STACK)

# Measured only when all tests run: of a few, the lines that none of them needs would fill the screen.
measured = $(if $(PYTEST_ARGS),,-m slipcover)

# Compiled modules are kept, whatever the machine prefers: the tests start some hundred Python processes, and what the
# benchmarks time is a start that is not the first.
test: python-version  ## every test, then the lines that none ran; PYTEST_ARGS narrows them
	@env -u PYTHONDONTWRITEBYTECODE $(ready) --development --all-images -- python $(measured) -m pytest -n 4 --no-loadscope-reorder $(PYTEST_ARGS)

journeys: python-version  ## long stories on a real engine: changes, load, loss and recovery; JOURNEY names one file
	@env -u PYTHONDONTWRITEBYTECODE $(ready) --development --all-images -- python -m pytest $(JOURNEY) $(PYTEST_ARGS)

check: python-version  ## lint, types, and the links of every page
	@$(check) ruff check .
	@$(check) ruff format --check .
	@$(check) mypy --strict .
	@$(PYTHON) -m toolchain types
	@$(check) python -m docs.links

docs: python-version  ## write docs/configuration.md and docs/stacks.md from the code
	@$(check) python -m docs.generate

bench: python-version  ## the benchmarks, also written to bench/results.json
	@env -u PYTHONDONTWRITEBYTECODE $(ready) --development --all-images -- python -m bench

screenshots: python-version  ## the pictures of the page in docs/images
	@$(ready) --development --parts python,browser -- python -m gateway.tests.screenshots

env: python-version  ## export lines for `eval "$$(make -s env)"`
	@$(ready) --quiet --parts python,pulumi -- python -m operate init >&2
	@$(PYTHON) -m toolchain env --all-images $(if $(FRESH),--fresh)

setup: python-version  ## set-up alone; FRESH=1 asks registries and installers again
	@$(PYTHON) -m toolchain setup --development $(if $(FRESH),--fresh)

lock: python-version  ## write each requirements.lock; UPGRADE=1 takes the newest of what comes along
	@$(PYTHON) -m toolchain lock $(if $(UPGRADE),--upgrade)

lock-images: python-version  ## write the tags' digests into images/references.json
	@$(PYTHON) -m toolchain lock-images

stop-engine: python-version  ## end the dockerd that set-up started
	@$(PYTHON) -m toolchain stop-engine
