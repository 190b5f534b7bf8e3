"""The inspection counts what is in the data, and its page holds it without anything beside it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from sdvlm.data.schema import QuestionType
from sdvlm.data.shards import assemble, write_part
from sdvlm.inspect import gather, write_inspection
from sdvlm.types import SdvlmError

SCENES = {"a": "train", "b": "train", "c": "train", "d": "test"}


@pytest.fixture
def records(make_record):
    return {scene: [make_record(scene, frame, questions=9) for frame in range(4)] for scene in SCENES}


@pytest.fixture
def built(tmp_path, records):
    for scene, frames in records.items():
        counts = {"dropped": {"object: small": 5, "object: <b>odd</b>": 1, "frame: few questions": 2}}
        write_part(tmp_path / "parts" / scene, frames, {"counts": counts})
    parts = [(split, tmp_path / "parts" / scene) for scene, split in SCENES.items()]
    assemble(parts, tmp_path / "built", settings={"seed": 3, "select": {"min_visibility": 0.5}}, rows_per_shard=5)
    return tmp_path / "built"


class Reader(HTMLParser):
    """Tags with their attributes, text, and whether tags were closed in order."""

    VOID = ("meta", "link", "img", "br", "rect", "line")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.balanced = True
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        self.balanced = self.balanced and bool(self.open) and self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_counts_are_those_of_a_plain_loop_over_what_was_written(built, records):
    found = gather(built)
    for split in ("train", "test"):
        frames = [frame for scene, frames in records.items() if SCENES[scene] == split for frame in frames]
        assert found.families[split] == Counter(one.type.value for frame in frames for one in frame.samples)
    samples = [one for frames in records.values() for frame in frames for one in frame.samples]
    numbers = [v for one in samples for v in one.answer_typed.values if not isinstance(v, str)]
    assert found.numbers == len(numbers)
    assert found.reasoned == sum(one.reasoning is not None for one in samples)
    assert found.definitions == Counter(one.answer_typed.definition for one in samples)
    assert len(found.templates.counts) == len({one.template for one in samples})
    distances = [v for one in samples if one.type == "absolute_distance" for v in one.answer_typed.values]
    histogram = found.answers["absolute_distance", "length"]
    assert (histogram.total, histogram.lowest, histogram.highest) == (len(distances), min(distances), max(distances))
    assert found.said_units["absolute_distance"] == {"ft": len(distances)}
    assert found.answers["zero", "yes_no"].counts == {"no": 16}
    assert found.answers["position", "point"].cells[6][2] == 16
    assert found.categories.counts == {"chair": 16, "table": 16}  # the lamp is dropped
    assert found.visibility == [0, 0, 0, 0, 0, 0, 0, 32, 0, 0]


def test_pictures_are_drawn_by_the_seed_alone_and_all_are_drawn_alike(built):
    assert gather(built, samples=5, seed=1).chosen == gather(built, samples=5, seed=1).chosen
    drawn = Counter()
    for seed in range(40):
        chosen = gather(built, ["test"], samples=1, seed=seed).chosen
        drawn.update(chosen)
    assert set(drawn) == {("test", f"d/{frame}") for frame in range(4)}
    assert min(drawn.values()) >= 4  # 10 expected, deviation 2.7


def test_the_page_stands_alone(built, tmp_path):
    html = write_inspection(built, tmp_path / "page.html", limit=3).page.read_text()
    read = Reader(html)
    assert read.balanced
    assert read.open == []
    for tag, attributes in read.tags:
        assert tag not in ("iframe", "object", "embed", "base", "form")
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href"):
            assert (attributes.get(name) or "data:").startswith("data:")
    policy = next(one["content"] for tag, one in read.tags if one.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "http" not in re.sub(r'src="data:[^"]*"', "", html).replace("http-equiv", "")


def test_the_page_says_what_is_there(built, tmp_path, records):
    seen = write_inspection(built, tmp_path / "page.html", limit=3)
    html = seen.page.read_text()
    text = " ".join(Reader(html).text)
    for said in (
        "object",
        "small",
        "few questions",
        "select.min_visibility = 0.5",
        "centre_to_centre",
    ):
        assert said in text
    assert "boxes of: the red chair, the red table" in html
    assert html.count('<article class="sample">') == 3
    assert html.count("<figure>") == 6
    for split, image in seen.statistics.chosen:
        scene, frame = image.split("/")
        record = records[scene][int(frame)]
        assert f"{image} " in text
        assert SCENES[scene] == split
        for sample in record.samples:
            assert sample.question in text
            assert sample.answer in text
            assert sample.template in text
    assert "It is far, so look twice." in text
    families = Counter(one["data-family"] for tag, one in Reader(html).tags if tag == "tr" and "data-family" in one)
    assert families == Counter({kind.value: 3 for kind in QuestionType}) + Counter({"scale_estimation": 3})


def test_texts_from_the_data_cannot_become_markup(tmp_path, make_record):
    record = make_record()
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    sample = replace(record.samples[1], question=evil, answer=evil, names=(evil, evil), template=evil, reasoning=evil)
    thing = replace(record.objects[0], name=evil, category=evil)
    record = replace(
        record, samples=(sample,), objects=(thing, *record.objects[1:]), image_id=evil, source=evil, depth_source=evil
    )
    write_part(tmp_path / "part", [record], {"counts": {"dropped": {evil: 1}}})
    assemble([("train", tmp_path / "part")], tmp_path / "built", settings={evil: evil})
    html = write_inspection(tmp_path / "built", tmp_path / "page.html").page.read_text()
    read = Reader(html)
    assert [tag for tag, _ in read.tags].count("script") == 1
    assert not any(name.startswith("on") for _, attributes in read.tags for name in attributes)
    assert all((one["src"] or "").startswith("data:") for tag, one in read.tags if tag == "img")


def test_a_picture_without_depth_is_shown_alone(tmp_path, make_record):
    write_part(tmp_path / "part", [make_record(depth=False)])
    assemble([("train", tmp_path / "part")], tmp_path / "built")
    html = write_inspection(tmp_path / "built", tmp_path / "page.html").page.read_text()
    assert html.count("<figure>") == 1


def test_bad_wishes_and_unfinished_data_leave_no_page(built, tmp_path):
    for options in ({"limit": -1}, {"splits": ["val"]}):
        with pytest.raises(SdvlmError):
            write_inspection(built, tmp_path / "page.html", **options)
    (built / "manifest.json").unlink()
    with pytest.raises(SdvlmError, match="no finished build"):
        write_inspection(built, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="no browser here")
def test_a_browser_hides_what_was_not_chosen(built, tmp_path):
    page = write_inspection(built, tmp_path / "page.html", limit=2).page
    click = 'document.querySelector("button[data-family=count]").click();</script>'
    (tmp_path / "clicked.html").write_text(page.read_text().replace("</script>", click))
    told = browse(tmp_path / "clicked.html", tmp_path)
    rows = [one for tag, one in Reader(told).tags if tag == "tr" and "data-family" in one]
    assert {one["data-family"] for one in rows if "hidden" not in one} == {"count"}
    assert "2 questions</span>" in told


def browse(page: Path, folder: Path) -> str:
    """The document after its script ran."""
    quiet = "--disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync"
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", *quiet.split()]
    command += [f"--user-data-dir={folder / 'profile'}", "--dump-dom", page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
