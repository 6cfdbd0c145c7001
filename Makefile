PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: run test bench lint readme setup clean

run: $(READY)
	$(BIN)/xbarverify evaluate examples/quickstart.toml

test: $(READY)
	XBARVERIFY_NGSPICE=required $(BIN)/python -m pytest

bench: $(READY)
	$(BIN)/python -m benchmarks.solvers
	$(BIN)/python -m benchmarks.nonlinear
	$(BIN)/python -m benchmarks.networks layer
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.training

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Every table of the READMEs against what its command gives; the studies take some minutes.
readme: $(READY)
	$(BIN)/python -m scripts.readme

setup: $(READY)

# badcrossbar is an oracle of the tests; of its dependencies only pathvalidate is used without
# plots, and pycairo would need a compiler.
$(READY): setup.cfg constraints.txt scripts/setup_system.sh
	PYTHON=$(PYTHON) scripts/setup_system.sh
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[dev]"
	$(BIN)/python -m pip install -q -c constraints.txt --no-deps badcrossbar pathvalidate
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
