"""docs/fusion.md: its code runs, and its table is the one that was measured."""

import json
import re
from pathlib import Path

import pytest

from sdvlm.eval.toy import TASKS
from sdvlm.fusion.build import FUSIONS
from sdvlm.fusion.coordinate import COORDINATES

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "fusion.md").read_text(encoding="utf-8")
ROWS = json.loads((ROOT / "benchmarks" / "results" / "controls.json").read_text(encoding="utf-8"))["toy"]


def test_the_code_of_the_document_runs():
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    assert blocks
    for block in blocks:
        exec(compile(block, "docs/fusion.md", "exec"), {})


def test_every_fusion_and_coordinate_is_documented():
    for name in (*FUSIONS, "sdvlm", *COORDINATES):
        assert re.search(rf"^\| `{name}`", TEXT, re.M), name


@pytest.mark.parametrize("name", sorted({row["fusion"] for row in ROWS if row["absent"] is not None}))
def test_the_table_of_the_toy_task_is_what_was_measured(name):
    (line,) = re.findall(rf"^\| {re.escape(name)} \|(.*)\|$", TEXT, re.M)
    shown = [re.findall(r"[\d.]+", cell) for cell in line.split("|")]
    keys = [(task, key) for task in TASKS for key in ("given", "shuffled", "absent")]
    for (task, key), cell in zip(keys, shown, strict=True):
        measured = [row[key] for row in ROWS if (row["fusion"], row["task"]) == (name, task)]
        assert [float(value) for value in cell] == [pytest.approx(v, abs=0.0051) for v in measured if v is not None]
