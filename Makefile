# What people and CI run. Uses .venv; `make setup` makes it.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: setup lint types docs test test-slow test-gpu oldest bench sounds build

setup:            ## virtual environment with the package and the development tools
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --upgrade pip
	$(BIN)/pip install torch==2.13.0
	$(BIN)/pip install -e ".[train]" --group dev

lint:             ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types:            ## mypy, strict, on the package
	$(BIN)/mypy

docs:             ## the documentation as a site, in site/
	$(BIN)/mkdocs build --strict

test:             ## everything but slow and GPU tests
	$(BIN)/python -m pytest -m "not slow and not gpu"

test-slow:
	$(BIN)/python -m pytest -m slow

test-gpu:
	$(BIN)/python -m pytest -m gpu

oldest:           ## the same tests on the oldest supported Python, torch and numpy
	tests/oldest/run

bench:            ## tables of timings; see tests/benchmarks
	for name in bench_inference precision_speed invariance onnx_speed bench_folder map_speed where_time_goes attention \
	           pretraining_step; do \
	  $(BIN)/python tests/benchmarks/$$name.py; done

sounds:           ## make examples/sounds again
	$(BIN)/python examples/sounds/synthesize.py

build:            ## wheel and source distribution
	$(BIN)/python -m build
