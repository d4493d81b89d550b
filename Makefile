# make demo   text to image with mean-shift distillation on the embedded prior, on the CPU
# make test   the test suite
# make lint   ruff
# Each sets up what it needs in .venv, once for every state of the lock file.

PYTHON ?= python3
PROMPT ?= a green car
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready-$(shell cksum < requirements.lock | tr ' ' '-')

.PHONY: demo test lint

demo: $(READY)
	$(BIN)/python scripts/demo.py "$(PROMPT)"

test: $(READY)
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

$(READY): requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "threestudio-msd sets up with Python 3.11 or newer; name one with make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	rm -f $(VENV)/ready-*
	touch $@
