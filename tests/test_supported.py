"""CI runs the oldest and the newest transformers that the project says it supports."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path

import pytest
from tests.supported import supported

ROOT = Path(__file__).parents[1]


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_make_installs_the_oldest_release_that_pyproject_allows() -> None:
    (made,) = re.findall(r"^OLDEST := ([\d.]+)$", text("Makefile"), re.MULTILINE)
    assert made == supported("transformers")[0]
    assert "transformers==$(OLDEST)" in text("Makefile")


def test_ci_runs_the_oldest_beside_the_newest() -> None:
    assert {"make test", "make test-oldest"} <= set(text(".ci/run").splitlines())


def test_the_newest_is_allowed_and_each_is_really_run() -> None:
    oldest, newest = (tuple(map(int, one.split("."))) for one in supported("transformers"))
    assert oldest < newest < (6,)
    assert version("transformers") in supported("transformers")


@pytest.mark.parametrize("name", ["docs/families.md", "docs/dependencies.md"])
def test_the_documents_name_the_oldest(name: str) -> None:
    assert re.search(rf"\b{re.escape(supported('transformers')[0])}\b", text(name))
