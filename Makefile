# Everything happens in .venv; 'make demo' and 'make test' need nothing else done before.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export ROS_AUTOMATIC_DISCOVERY_RANGE ?= LOCALHOST
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: install demo test lint bench clean

install: $(VENV)/.installed

$(VENV)/.installed: setup.py pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt setuptools wheel
	# torch first: the CPU build of this version, if the machine has one, spares gigabytes of CUDA.
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[ros,digits,test]'
	touch $@

demo: install
	$(BIN)/streaming-net demo

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest

# Each leaves a table, benchmarks/results/NAME.json and NAME.png; about half an hour on two idle cores.
bench: install
	$(BIN)/python benchmarks/hop.py
	$(BIN)/python benchmarks/writers_killed.py
	$(BIN)/python benchmarks/throughput.py
	$(BIN)/python benchmarks/scaling.py
	$(BIN)/python benchmarks/statestream.py
	$(BIN)/python benchmarks/peers.py
	$(BIN)/python benchmarks/gpu.py
	$(BIN)/python benchmarks/executors.py
	$(BIN)/python benchmarks/latency.py
	$(BIN)/python benchmarks/viewer.py
	$(BIN)/python benchmarks/overload.py
	$(BIN)/python benchmarks/recovery.py
	$(BIN)/python benchmarks/long_run.py
	$(BIN)/python benchmarks/long_run.py --processes
	$(BIN)/python benchmarks/recovery.py --hosts

clean:
	rm -rf $(VENV) build install log .pytest_cache .mypy_cache .ruff_cache .hypothesis
