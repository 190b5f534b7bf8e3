"""The worked example of docs/conventions.md is true."""

import re
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "conventions.md"


def test_the_worked_example_of_the_conventions_runs():
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.S)
    assert sum(block.count("assert ") for block in blocks) >= 10
    for block in blocks:
        exec(compile(block, "docs/conventions.md", "exec"), {})
