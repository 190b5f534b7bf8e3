"""docs/ablation.md shows what was measured: the committed table, line by line."""

import json
from pathlib import Path

from sdvlm.ablation.cells import CELLS, ENCODER_CELLS
from sdvlm.ablation.table import markdown

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
DOCUMENT = json.loads((RESULTS / "ablation.json").read_text(encoding="utf-8"))


def test_the_committed_table_is_made_from_the_committed_figures():
    assert (RESULTS / "ablation.md").read_text(encoding="utf-8") == markdown(DOCUMENT)


def test_the_document_shows_every_line_of_it():
    text = (ROOT / "docs" / "ablation.md").read_text(encoding="utf-8")
    lines = [line for line in markdown(DOCUMENT).splitlines() if line.startswith("| ")]
    assert len(lines) == 1 + len(DOCUMENT["cells"])
    for line in lines:
        assert line in text, line


def test_every_integration_was_run_and_its_cost_measured():
    assert [row["cell"] for row in DOCUMENT["cells"]] == [cell.name for cell in (*CELLS, *ENCODER_CELLS)]
    assert all(row["cost"] for row in DOCUMENT["cells"])


def test_what_was_promised_of_it():
    """Depth in metres beats none where only depth tells; what carries no metres, or stands apart, does not."""
    rows = {row["cell"]: row for row in DOCUMENT["cells"]}
    leads = {name: row["scaled"]["over_none"]["macro"] for name, row in rows.items() if name != "none"}
    for name in ("dpe", "pointmap"):
        assert leads[name]["interval"][0] > 0, name
    for name in ("sdvlm", "dpe_estimate", "depth_image"):
        assert leads[name]["interval"][0] <= 0, name


def test_the_run_says_with_what_it_was_made():
    assert DOCUMENT["command"].startswith("sdvlm ablate ")
    assert {"date", "hardware", "versions"} <= DOCUMENT.keys()
