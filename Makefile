# `make demo` and `make test` do all their own set-up; the rest builds on the same environment.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO ?= hieno-demo
WORKERS ?= logical

# Empty means off: without compiled files every process compiles torch anew, for 15 seconds.
export PYTHONDONTWRITEBYTECODE =

.PHONY: help demo rehearse test lint unit test-slow soak clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(VENV)/.user  ## fine-tune the demo model in front of your eyes, then chat with it
	@$(BIN)/hieno demo $(DEMO)

rehearse: $(VENV)/.dev  ## the whole way to Azure and back, on an Azure that is this machine: no account, no cost
	@PATH="$(CURDIR)/$(BIN):$$PATH" scripts/rehearse.sh

test: lint unit  ## what CI runs: linters, types and every test that needs no GPU

lint: $(VENV)/.dev
	@$(BIN)/ruff check . && $(BIN)/ruff format --check --quiet . && $(BIN)/mypy

# A worker for each core, and one core for each worker.
unit: $(VENV)/.dev $(VENV)/.browser
	@OMP_NUM_THREADS=1 $(BIN)/python -X warn_default_encoding -m pytest -m "not slow and not gpu" \
		--numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

test-slow: $(VENV)/.dev $(VENV)/.browser  ## the long campaigns
	@$(BIN)/python -X warn_default_encoding -m pytest -m "slow"

soak: $(VENV)/.dev  ## an hour of load with kills, deploys and key changes (SECONDS_OF_SOAK=3600)
	@HIENO_SOAK_SECONDS=$(or $(SECONDS_OF_SOAK),3600) $(BIN)/python -X warn_default_encoding -m pytest -m slow -s \
		tests/endpoint/test_endpoint_soak.py

bench-%: $(VENV)/.dev  ## bench-cli, bench-demo, bench-serve...: measure; the last line is one JSON object
	@$(BIN)/python -m benchmarks.$*

clean:  ## remove the environment (models and side environments stay in the user's cache)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache

$(VENV)/.user: pyproject.toml constraints.txt scripts/install.py
	@echo "installing hieno into $(VENV) (once)" >&2
	@$(PYTHON) scripts/install.py $(VENV)
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt scripts/install.py
	@echo "installing hieno with its test tools into $(VENV) (once)" >&2
	@$(PYTHON) scripts/install.py $(VENV) dev
	@touch $@ $(VENV)/.user

# Browser tests drive Debian's Chromium; where it cannot be installed they are skipped, and say so.
$(VENV)/.browser: $(VENV)/.dev
	@command -v chromium >/dev/null || scripts/chromium.sh
	@touch $@
