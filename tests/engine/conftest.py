"""Makes the tests' work importable here and in worker processes and Ray's workers, which inherit the variable."""

import os
import sys
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _importable_work(monkeypatch):
    here = str(Path(__file__).parent)
    monkeypatch.syspath_prepend(here)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")])))
    yield
    sys.modules.pop("engine_work", None)
