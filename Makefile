# Every target sets up what it needs; only Python >= 3.10 and make have to be there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO := demo-output

.PHONY: demo phantom test lint benchmark clean

demo: $(READY)
	$(BIN)/python -m Sim4SegCore.examples retina $(DEMO)
	$(BIN)/sim4seg segment $(DEMO)/retina.png \
	  "Segment the retinal vessels. Does the eye look healthy?" -o $(DEMO)/retina --overwrite

phantom: $(READY)
	$(BIN)/python -m Sim4SegCore.examples phantom $(DEMO)
	$(BIN)/sim4seg segment $(DEMO)/phantom.png \
	  "Is there a skin lesion? Segment it and tell me what it is." -o $(DEMO)/phantom --overwrite
	$(BIN)/python -m Sim4SegCore.examples score $(DEMO)/phantom/mask.png $(DEMO)/phantom_mask.png

test: lint
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p Sim4SegCore -p training
	MYPYPATH=Sim4SegSlicer $(BIN)/mypy -p Sim4SegLib

benchmark: $(READY)
	$(BIN)/python Testing/benchmarks/query_speed.py
	$(BIN)/python Testing/benchmarks/scaling_cost.py
	$(BIN)/python Testing/benchmarks/batch_throughput.py
	$(BIN)/python Testing/benchmarks/volume_speed.py
	$(BIN)/python Testing/benchmarks/volume_speed.py --mode volume --slices 120 --side 160
	$(BIN)/python Testing/benchmarks/ray_scaling.py
	$(BIN)/python Testing/benchmarks/service_overhead.py
	$(BIN)/python Testing/benchmarks/query_batching.py
	$(BIN)/python Testing/benchmarks/prepare_speed.py
	$(BIN)/python Testing/benchmarks/slicer_overhead.py

$(READY): pyproject.toml
	$(PYTHON) -c "import sys; sys.exit('Python 3.10 or newer is needed') if sys.version_info < (3, 10) else None"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) $(DEMO)
