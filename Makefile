# `make demo` and `make test` do all of their own set-up, and so do `make lint` and `make docs`.
PYTHON ?= python3
# Where else to look for torch, e.g. TORCH_INDEX=https://download.pytorch.org/whl/cpu; empty is pip's own configuration.
TORCH_INDEX ?=
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
TORCH := $(shell grep -E '^torch==' constraints.txt)

.PHONY: install demo test lint docs documents clean

install: .venv/installed

# torch goes first and alone: pip then takes a CPU build where it is offered one, and the rest keeps it.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) install $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) '$(TORCH)'
	$(PIP) install -c constraints.txt -e .
	touch $@

.venv/installed-%: .venv/installed
	$(PIP) install -c constraints.txt -e '.[$*]'
	touch $@

demo: .venv/installed
	$(BIN)/delamo run -m experiment=demo jobs=2
	$(BIN)/delamo report runs=runs/demo

test: .venv/installed-test
	$(BIN)/python -m pytest -n 2

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The pages of docs/ and the API reference, as a site that opens from disk: site/index.html.
docs: .venv/installed-docs
	$(BIN)/properdocs build --strict --config-file mkdocs.yml

# The measured numbers of README.md and docs/, from the runs below RUNS; without RUNS=, from the results kept in docs/results.
documents: .venv/installed
	$(BIN)/python scripts/write_documents.py $(RUNS)

clean:
	rm -rf .venv build dist site .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
