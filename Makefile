# What people and CI run. Uses .venv; `make setup` makes it.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
BENCHMARKS = bench_inference precision_speed invariance onnx_speed bench_folder map_speed where_time_goes attention \
             pretraining_step

SCRIPTS = $(shell find examples tests/benchmarks -name '*.py')

.PHONY: help setup lint types docs test test-slow test-gpu oldest bench sounds pictures build

help:             ## this list
	@awk -F ' *## ' '/^[a-z-]+: *## / { sub(":", "", $$1); printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup:            ## virtual environment with the package and the development tools
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --upgrade pip
	$(BIN)/pip install torch==2.13.0
	$(BIN)/pip install -e ".[train]" --group dev

lint:             ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types:            ## mypy: strict on the package, as the oldest supported Python reads it; plain on examples and benchmarks
	$(BIN)/mypy
	$(BIN)/mypy --config-file= --ignore-missing-imports --follow-imports=silent --scripts-are-modules $(SCRIPTS)

docs:             ## the documentation as a site, in site/
	$(BIN)/mkdocs build --strict

# Threads that wait leave the cores to the other processes.
test:             ## everything but slow and GPU tests, a process for each core
	OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -m "not slow and not gpu" --numprocesses logical --maxprocesses 4 --dist loadfile

test-slow:        ## what takes minutes
	$(BIN)/python -m pytest -m slow

test-gpu:         ## what needs a CUDA device
	$(BIN)/python -m pytest -m gpu

oldest:           ## the same tests on the oldest supported Python, torch and numpy, in .venv-oldest
	tests/oldest/run

bench:            ## tables of timings; see tests/benchmarks
	for name in $(BENCHMARKS); do $(BIN)/python tests/benchmarks/$$name.py; done

sounds:           ## make examples/sounds again
	$(BIN)/python examples/sounds/synthesize.py

pictures:         ## make the picture of the README again
	$(BIN)/python examples/plot_similarity.py docs/similarity.png

build:            ## wheel and source distribution
	$(BIN)/python -m build
