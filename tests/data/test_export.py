"""Exports say what the built rows say, in the shape each trainer reads."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdvlm.data.encode import decode_depth
from sdvlm.data.export import export
from sdvlm.data.manifest import MANIFEST
from sdvlm.data.shards import assemble, write_part
from sdvlm.types import SdvlmError


@pytest.fixture
def built(tmp_path, make_record):
    """Two training scenes of two pictures, one test scene; the second picture of each has no depth."""
    parts = []
    for scene, split in (("a", "train"), ("b", "train"), ("c", "test")):
        write_part(tmp_path / scene, [make_record(scene, frame, depth=frame == 0) for frame in range(2)])
        parts.append((split, tmp_path / scene))
    assemble(parts, tmp_path / "built")
    return tmp_path / "built"


def records(make_record, scenes):
    return [make_record(scene, frame, depth=frame == 0) for scene in scenes for frame in range(2)]


def test_llava_entries_name_their_picture_and_depth(built, tmp_path, make_record):
    train, test = sorted(export(built, tmp_path / "llava", "llava"), key=lambda one: one.split, reverse=True)
    assert (train.entries, train.pictures, test.entries, test.pictures) == (4, 4, 16, 2)
    entries = json.loads((tmp_path / "llava/train.json").read_text())
    for entry, record in zip(entries, records(make_record, "ab"), strict=True):
        assert entry["id"] == record.image_id
        assert (tmp_path / "llava" / entry["image"]).read_bytes() == record.picture
        assert ("depth" in entry) == (record.depth_png is not None)
        if record.depth_png is not None:
            stored = decode_depth((tmp_path / "llava" / entry["depth"]).read_bytes())
            assert np.array_equal(stored.values, decode_depth(record.depth_png).values, equal_nan=True)
        turns = entry["conversations"]
        assert [turn["from"] for turn in turns] == ["human", "gpt"] * 8
        assert turns[0]["value"] == f"<image>\n{record.samples[0].question}"
        assert "".join(turn["value"] for turn in turns).count("<image>") == 1
        assert "type" not in entry
    questions = json.loads((tmp_path / "llava/test.json").read_text())
    assert [entry["type"] for entry in questions[:8]] == [one.type for one in make_record("c").samples]
    assert questions[1]["conversations"][1]["value"] == make_record("c").samples[1].answer


def test_sharegpt_says_to_llama_factory_where_everything_is(built, tmp_path):
    export(built, tmp_path / "out", "sharegpt")
    info = json.loads((tmp_path / "out/dataset_info.json").read_text())
    assert set(info) == {"sdvlm_train", "sdvlm_test"}
    for entry in info.values():
        assert entry["formatting"] == "sharegpt"
        for one in json.loads((tmp_path / "out" / entry["file_name"]).read_text()):
            turns, images = one[entry["columns"]["messages"]], one[entry["columns"]["images"]]
            assert {turn["from"] for turn in turns} == {"human", "gpt"}
            assert "".join(turn["value"] for turn in turns).count("<image>") == len(images) == 1
            Image.open(tmp_path / "out" / images[0]).verify()


def test_messages_are_content_parts_with_depth_and_camera_beside_the_images(built, tmp_path, make_record):
    datasets = pytest.importorskip("datasets", reason="TRL and ms-swift read through it")
    export(built, tmp_path / "out", "messages")
    lines = [json.loads(line) for line in (tmp_path / "out/train.jsonl").read_text().splitlines()]
    for line, record in zip(lines, records(make_record, "ab"), strict=True):
        assert len(line["images"]) == len(line["depth"]) == len(line["camera"]) == 1
        assert [message["role"] for message in line["messages"]] == ["user", "assistant"] * 8
        first = line["messages"][0]["content"]
        assert first == [{"type": "image"}, {"type": "text", "text": record.samples[0].question}]
        assert line["messages"][3]["content"][0]["text"].endswith(record.samples[1].answer)
        assert line["camera"][0]["cx"] == record.camera.cx - 0.5  # the first pixel's centre is (0, 0) there
        assert (line["depth"][0] is None) == (record.depth_png is None)
        assert [one["answer"]["numbers"] for one in line["questions"]][2] == [2.0]
    loaded = datasets.load_dataset(
        "json", data_files=str(tmp_path / "out/train.jsonl"), cache_dir=str(tmp_path / "cache"), split="train"
    )
    assert loaded[0]["messages"][1]["content"][0]["text"] == lines[0]["messages"][1]["content"][0]["text"]
    assert loaded[0]["depth"][0]["scale_to_m"] == 0.001
    assert loaded[1]["depth"] == [None]


@pytest.mark.parametrize(("per", "entries"), [("picture", [4, 2]), ("question", [32, 16])])
def test_conversations_are_about_pictures_or_questions_as_asked(built, tmp_path, per, entries):
    written = export(built, tmp_path / "out", "llava", per=per, splits=["train", "test"])
    assert [one.entries for one in written] == entries
    ids = [one["id"] for split in ("train", "test") for one in json.loads((tmp_path / f"out/{split}.json").read_text())]
    assert len(set(ids)) == sum(entries)


def test_training_conversations_keep_their_chain_of_thought_and_test_answers_stay_bare(built, tmp_path, make_record):
    export(built, tmp_path / "out", "llava", per="question")
    train = json.loads((tmp_path / "out/train.json").read_text())
    test = json.loads((tmp_path / "out/test.json").read_text())
    assert train[1]["conversations"][1]["value"].startswith("It is far, so look twice.\n")
    assert test[1]["conversations"][1]["value"] == make_record("c").samples[1].answer


def test_exporting_again_gives_the_same_and_writes_no_picture_twice(built, tmp_path):
    def state():
        return {
            path: (path.read_bytes(), path.stat().st_mtime_ns)
            for path in sorted((tmp_path / "out/images").rglob("*.png"))
        }

    export(built, tmp_path / "out", "llava")
    before, text = state(), (tmp_path / "out/train.json").read_bytes()
    damaged = next(iter(before))
    damaged.write_bytes(b"half")
    export(built, tmp_path / "out", "llava")
    assert (tmp_path / "out/train.json").read_bytes() == text
    assert {path: data for path, (data, _) in state().items()} == {path: data for path, (data, _) in before.items()}
    assert {path: stamp for path, (_, stamp) in state().items() if path != damaged} == {
        path: stamp for path, (_, stamp) in before.items() if path != damaged
    }


def test_an_export_that_breaks_off_leaves_no_text_file(built, tmp_path):
    shard = next((built / "data").glob("train-*"))
    data = bytearray(shard.read_bytes())
    data[200:-2000:7] = b"\0" * len(data[200:-2000:7])
    shard.write_bytes(data)
    with pytest.raises(SdvlmError):
        export(built, tmp_path / "out", "llava", splits=["train"])
    assert not list((tmp_path / "out").glob("*.json*"))


@pytest.mark.parametrize("name", ["../../up", "/root/x", "a b/ü", "a/./b", "..", "", "con:aux", "x" * 300])
def test_a_picture_s_id_cannot_lead_out_of_the_folder(tmp_path, make_record, name):
    record = replace(make_record(), image_id=name)
    other = replace(make_record(frame=1), image_id=f"{name}?")
    write_part(tmp_path / "part", [record, other])
    assemble([("train", tmp_path / "part")], tmp_path / "built")
    export(tmp_path / "built", tmp_path / "deep/er/out", "llava")
    entries = json.loads((tmp_path / "deep/er/out/train.json").read_text())
    for entry, one in zip(entries, (record, other), strict=True):
        path = (tmp_path / "deep/er/out" / entry["image"]).resolve()
        assert path.is_relative_to(tmp_path / "deep/er/out/images")
        assert path.read_bytes() == one.picture


def test_bad_wishes_are_refused_before_anything_is_written(built, tmp_path):
    for options in ({"format": "csv"}, {"format": "llava", "per": "scene"}, {"format": "llava", "splits": ["val"]}):
        with pytest.raises(SdvlmError):
            export(built, tmp_path / "out", **options)
    with pytest.raises(SdvlmError, match="holds built data"):
        export(built, built, "llava")
    (built / MANIFEST).unlink()
    with pytest.raises(SdvlmError, match="no finished build"):
        export(built, tmp_path / "out", "llava")
    assert not Path(tmp_path / "out").exists()
