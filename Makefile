# Two commands: `make run` serves the product, `make test` proves it. Python 3.11+ and make are all it takes.
PYTHON ?= python3
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin
CLIENTS := tests/clients

.PHONY: run test clients demo lint types arrows check translations clean

run: $(VENV)/.runtime
	@$(BIN)/python manage.py setup --demo --address http://127.0.0.1:$(PORT)
	@$(BIN)/python -m uvicorn synapscale.asgi:application --host 127.0.0.1 --port $(PORT) --no-access-log --timeout-keep-alive 75 --timeout-graceful-shutdown 30

demo: $(VENV)/.runtime
	@$(BIN)/python manage.py setup --demo
	@echo
	@$(BIN)/python manage.py demo

test: $(VENV)/.dev clients
	$(BIN)/python -m tests.run

# Clients of docs/clients.md that are no part of the product. Where one can't be had, its test is skipped and says so.
clients: $(CLIENTS)/.venv/.done $(CLIENTS)/node_modules/.done

$(CLIENTS)/.venv/.done: $(CLIENTS)/requirements.txt | $(VENV)/.dev
	@echo "installing $<"
	@($(PYTHON) -m venv $(CLIENTS)/.venv && $(call install_into,$(CLIENTS)/.venv/bin/python,-r $<) && touch $@) \
		|| echo "LangChain could not be installed: its test will be skipped"

$(CLIENTS)/node_modules/.done: $(CLIENTS)/package.json
	@if command -v npm >/dev/null 2>&1; then echo "installing $<"; \
		(cd $(CLIENTS) && npm install --silent && touch node_modules/.done) \
		|| echo "the npm package openai could not be installed: its test will be skipped"; \
	else echo "npm is not installed: the test of OpenAI for Node will be skipped"; fi

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

arrows: $(VENV)/.dev
	$(BIN)/lint-imports

# Texts that are new get a place in locale/, and what Django reads is compiled; fails while one lacks its translation.
translations: $(VENV)/.dev
	$(BIN)/python -m tests.translations

check: lint types arrows
	$(BIN)/python manage.py makemigrations --check --dry-run

# uv is much faster than pip: use the one that is there, else try to get it, else fall back to pip.
install_into = if $(BIN)/python -m uv --version >/dev/null 2>&1; then $(BIN)/python -m uv pip install -q --python $(1) $(2); \
	elif command -v uv >/dev/null 2>&1; then uv pip install -q --python $(1) $(2); \
	elif $(BIN)/python -m pip install -q --disable-pip-version-check uv >/dev/null 2>&1; then $(BIN)/python -m uv pip install -q --python $(1) $(2); \
	else $(1) -m pip install -q --disable-pip-version-check $(2); fi
install = $(call install_into,$(BIN)/python,$(1))

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.txt | $(BIN)/python
	@echo "installing requirements.txt"
	@$(call install,-r requirements.txt)
	@touch $@

$(VENV)/.dev: requirements.txt requirements-dev.txt | $(BIN)/python
	@echo "installing requirements-dev.txt"
	@$(call install,-r requirements.txt -r requirements-dev.txt)
	@touch $@ $(VENV)/.runtime

clean:
	rm -rf $(VENV) var $(CLIENTS)/.venv $(CLIENTS)/node_modules
