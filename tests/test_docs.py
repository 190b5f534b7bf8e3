"""What the documents promise: their code runs, their links lead somewhere, their commands exist."""

import io
import json
import re
import runpy
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from sdvlm.cli.main import VERBS

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
NANO = ROOT / "src" / "sdvlm" / "nano" / "weights" / "model.safetensors"
needs_nano = pytest.mark.skipif(not NANO.is_file(), reason="the nano weights are not in this checkout")


def text_of(path):
    return path.read_text(encoding="utf-8")


@needs_nano
def test_the_python_of_the_readme_runs_and_answers():
    blocks = re.findall(r"```python\n(.*?)```", text_of(ROOT / "README.md"), re.S)
    assert blocks
    for block in blocks:
        assert len(block.splitlines()) <= 10
        said = io.StringIO()
        with redirect_stdout(said):
            exec(compile(block, "README.md", "exec"), {})
        assert len(said.getvalue().splitlines()) >= 2


@needs_nano
@pytest.mark.parametrize("example", sorted(ROOT.glob("examples/*.py")), ids=lambda path: path.name)
def test_every_example_runs(example, capsys):
    runpy.run_path(str(example), run_name="__main__")
    assert capsys.readouterr().out.strip()


def test_the_readme_quotes_what_was_measured_of_nano():
    scores = json.loads(text_of(ROOT / "benchmarks" / "results" / "nano-scores.json"))
    rows = {"nano, with depth": "with depth", "nano, depth withheld": "depth withheld"}
    rows |= {"nano, with another picture's depth": "another picture's depth"}
    rows |= {"best constant answer to each kind of question": "constant"}
    text = text_of(ROOT / "README.md")
    for said, row in rows.items():
        quoted = re.search(rf"^\| {said} \| (\d+) \| (\d*) ?\|$", text, re.M)
        assert quoted, said
        for exam, number in zip(("rooms", "scaled rooms"), quoted.groups(), strict=True):
            if number:
                assert int(number) == round(100 * scores["rows"][exam][row]["macro"]["rate"]), (said, exam)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_relative_link_leads_to_a_file(document):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text_of(document)):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_named_exists(document):
    text = text_of(document)
    targets = set(re.findall(r"^([a-z]+):", text_of(ROOT / "Makefile"), re.M))
    assert set(re.findall(r"`make ([a-z]+)`|^\$ make ([a-z]+)", text, re.M)) <= {(one, "") for one in targets} | {
        ("", one) for one in targets
    }
    for command in re.findall(r"`sdvlm ([a-z]+)|^\$ sdvlm ([a-z]+)", text, re.M):
        assert "".join(command) in VERBS, f"{document.name} names sdvlm {''.join(command)}"


def test_every_verb_is_documented():
    text = text_of(ROOT / "docs" / "cli.md")
    for verb in VERBS:
        assert f"`sdvlm {verb}" in text


def test_the_picture_of_the_readme_is_small():
    assert (ROOT / "docs" / "images" / "demo.png").stat().st_size < 400_000


def test_the_document_of_ask_has_the_keys_the_manual_shows():
    manual = text_of(ROOT / "docs" / "cli.md")
    shown = re.search(r"```json\n(.*?)```", manual, re.S)[1]
    source = text_of(ROOT / "src" / "sdvlm" / "cli" / "ask.py") + text_of(ROOT / "src" / "sdvlm" / "answering.py")
    for key in re.findall(r'"(\w+)":', shown):
        assert f'"{key}"' in source, f"docs/cli.md shows {key}"
