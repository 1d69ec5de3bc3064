# Two commands: `make run` serves the product, `make test` proves it. Python 3.11+ and make are all it takes.
PYTHON ?= python3
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test demo lint types arrows check clean

run: $(VENV)/.runtime
	@$(BIN)/python manage.py setup --demo --address http://127.0.0.1:$(PORT)
	@$(BIN)/python -m uvicorn synapscale.asgi:application --host 127.0.0.1 --port $(PORT) --no-access-log --timeout-graceful-shutdown 30

demo: $(VENV)/.runtime
	@$(BIN)/python manage.py setup --demo
	@echo
	@$(BIN)/python manage.py demo

test: $(VENV)/.dev
	$(BIN)/python -m tests.run

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

arrows: $(VENV)/.dev
	$(BIN)/lint-imports

check: lint types arrows
	$(BIN)/python manage.py makemigrations --check --dry-run

# uv is much faster than pip: use the one that is there, else try to get it, else fall back to pip.
install = if $(BIN)/python -m uv --version >/dev/null 2>&1; then $(BIN)/python -m uv pip install -q --python $(BIN)/python $(1); \
	elif command -v uv >/dev/null 2>&1; then uv pip install -q --python $(BIN)/python $(1); \
	elif $(BIN)/python -m pip install -q --disable-pip-version-check uv >/dev/null 2>&1; then $(BIN)/python -m uv pip install -q --python $(BIN)/python $(1); \
	else $(BIN)/python -m pip install -q --disable-pip-version-check $(1); fi

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
	rm -rf $(VENV) var
