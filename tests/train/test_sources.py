"""Rows of every format say what their files say; what cannot be trained on is named."""

from __future__ import annotations

import base64
import io
import json
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from sdvlm.data.encode import decode_depth, encode_depth
from sdvlm.data.export import export
from sdvlm.depth.io import write_depth
from sdvlm.train.config import DataSettings
from sdvlm.train.example import GENERAL
from sdvlm.train.source_pictures import decode_raw_depth
from sdvlm.train.source_row import digest
from sdvlm.train.sources import Broken, RawRow, check_kinds, open_source, resolved
from sdvlm.types import DepthKind, DepthMap, SdvlmError


def png(seed=0, size=(12, 8)) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def talk(*texts, speakers=("human", "gpt")):
    return [{"from": speakers[at % 2], "value": text} for at, text in enumerate(texts)]


def write_json(path, rows):
    path.write_text(json.dumps(rows))
    return path


def rows_of(**settings):
    return list(open_source(DataSettings(**settings)))


def said(row):
    return [dialogue.turns for dialogue in row.dialogues]


@pytest.fixture
def folder(tmp_path):
    """Two pictures in ``images/sub``."""
    (tmp_path / "images/sub").mkdir(parents=True)
    for number in range(2):
        (tmp_path / f"images/sub/{number}.png").write_bytes(png(number))
    return tmp_path


def llava(folder, *rows, **settings):
    write_json(folder / "x.json", list(rows))
    return rows_of(path=str(folder / "x.json"), images=str(folder / "images"), **settings)


def test_built_rows_hold_the_records_questions_answers_depth_and_camera(built_folder, make_record):
    found = rows_of(path=str(built_folder))
    records = [make_record(scene, frame, depth=frame == 0) for scene in "ab" for frame in range(2)]
    for row, record in zip(found, records, strict=True):
        assert row.images[0].data == record.picture
        assert row.cameras == (record.camera,)
        assert (row.depth[0] is None) == (record.depth_png is None)
        if record.depth_png is not None:
            values = decode_raw_depth(row.depth[0]).values
            assert np.array_equal(values, decode_depth(record.depth_png).values, equal_nan=True)
        for dialogue, sample in zip(row.dialogues, record.samples, strict=True):
            answer = f"{sample.reasoning}\n{sample.answer}" if sample.reasoning else sample.answer
            assert dialogue.turns == (("user", sample.question), ("assistant", answer))
            assert (dialogue.family, dialogue.answer, dialogue.names) == (
                sample.type.value,
                sample.answer_typed,
                sample.names,
            )


def test_together_a_picture_is_one_conversation(built_folder):
    apart, whole = rows_of(path=str(built_folder)), rows_of(path=str(built_folder), turns="together")
    for many, one in zip(apart, whole, strict=True):
        assert said(one) == [tuple(turn for turns in said(many) for turn in turns)]
        assert one.dialogues[0].family == GENERAL
        assert one.dialogues[0].answer == many.dialogues[-1].answer


@pytest.mark.parametrize("format", ["messages", "llava", "sharegpt"])
def test_exports_of_built_data_read_back_as_the_built_data(built_folder, tmp_path, format):
    export(built_folder, tmp_path, format, splits=["train"])
    path = tmp_path / ("train.jsonl" if format == "messages" else "train.json")
    assert resolved(DataSettings(path=str(path))).format == ("messages" if format == "messages" else "llava")
    for row, own in zip(rows_of(path=str(path), turns="apart"), rows_of(path=str(built_folder)), strict=True):
        assert said(row) == said(own)
        assert row.image_key == own.image_key
        if format == "messages":
            assert [one.family for one in row.dialogues] == [one.family for one in own.dialogues]
            assert [one.answer for one in row.dialogues] == [one.answer for one in own.dialogues]
            assert row.cameras == own.cameras
        if format != "sharegpt" and own.depth[0] is not None:
            mine, theirs = decode_raw_depth(row.depth[0]), decode_raw_depth(own.depth[0])
            assert np.array_equal(mine.values, theirs.values, equal_nan=True)


MSMU = {
    "image_base64": [base64.b64encode(png(seed)).decode() for seed in (0, 0, 1)],
    "conversations": [talk("<image>\nHow tall?", "1 m", "How wide?", "2 m"), talk("Why?", "So."), talk("Who?", "Me.")],
    "type": ["width", None, "zero"],
}


def write_msmu(kind, folder):
    table = pa.table(MSMU)
    if kind == "parquet":
        pq.write_table(table, folder / "train-00000-of-00001.parquet")
    elif kind == "json lines":
        (folder / "train.jsonl").write_text("\n".join(json.dumps(row) for row in table.to_pylist()))
    else:
        (folder / "train").mkdir()
        file = str(folder / "train/data-00000-of-00001.arrow")
        with pa.OSFile(file, "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        write_json(folder / "train/state.json", {"_data_files": [{"filename": "data-00000-of-00001.arrow"}]})
    return folder


@pytest.mark.parametrize("kind", ["parquet", "json lines", "save_to_disk"])
def test_published_rows_become_one_dialogue_a_turn_with_the_rows_type(tmp_path, kind):
    first, second, third = rows_of(path=str(write_msmu(kind, tmp_path)))
    assert said(first) == [(("user", "How tall?"), ("assistant", "1 m")), (("user", "How wide?"), ("assistant", "2 m"))]
    assert [one.family for one in first.dialogues] == ["scale_estimation"] * 2
    assert (second.dialogues[0].family, third.dialogues[0].family) == (GENERAL, "zero")
    assert first.image_key == second.image_key != third.image_key
    assert first.group == second.group != third.group


def test_llava_rows_hold_pictures_by_path_or_none_and_no_image_marks(folder):
    one, two, text = llava(
        folder,
        {"id": 7, "image": "sub/0.png", "conversations": talk("<image>\nWhat?", "A box.", "Which one?", "It.")},
        {"id": "b", "images": ["sub/0.png", "sub/1.png"], "conversations": talk("<image><image>\nBoth?", "Yes.")},
        {"id": "c", "conversations": talk("Two and two?", "Four.")},
    )
    assert said(one) == [(("user", "What?"), ("assistant", "A box."), ("user", "Which one?"), ("assistant", "It."))]
    assert one.key == "x.json row 0 (7)"
    assert [len(row.images) for row in (one, two, text)] == [1, 2, 0]
    assert one.images[0].data is None
    assert one.images[0].file == str((folder / "images/sub/0.png").absolute())
    assert two.held_out_by == min(one.held_out_by, int(two.images[1].digest[:16], 16) >> 1)
    assert text.image_key == text.group == ""


def test_a_system_text_opens_every_dialogue_and_what_is_unanswered_is_dropped(folder):
    turns = [{"from": "system", "value": "Be brief."}, *talk("Stray.", "Q1", speakers=("gpt", "human"))]
    turns += [*talk("A1", "Q2", "A2", "Q3", speakers=("gpt", "human"))]
    (row,) = llava(folder, {"image": "sub/0.png", "conversations": turns}, turns="apart")
    system = ("system", "Be brief.")
    assert said(row) == [
        (system, ("user", "Q1"), ("assistant", "A1")),
        (system, ("user", "Q2"), ("assistant", "A2")),
    ]


MESSAGES = {
    "text and column": {"messages": [{"role": "user", "content": "<image>Q"}, {"role": "assistant", "content": "A"}]},
    "parts and column": {
        "messages": [
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Q"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "A"}]},
        ]
    },
}
IN_PARTS = {
    "path": {"type": "image", "path": "sub/0.png"},
    "url": {"type": "image_url", "image_url": {"url": "data:image/png;base64," + base64.b64encode(png()).decode()}},
}


@pytest.mark.parametrize("shape", MESSAGES)
@pytest.mark.parametrize("cell", [["sub/0.png"], [{"bytes": None, "path": "sub/0.png"}]])
def test_messages_take_pictures_from_their_column(folder, shape, cell):
    (folder / "x.jsonl").write_text(json.dumps(MESSAGES[shape] | {"images": cell}))
    (row,) = rows_of(path=str(folder / "x.jsonl"), images=str(folder / "images"))
    assert said(row) == [(("user", "Q"), ("assistant", "A"))]
    assert len(row.images) == 1


@pytest.mark.parametrize("part", IN_PARTS)
def test_messages_take_pictures_from_their_parts(folder, part):
    content = [IN_PARTS[part], {"type": "text", "text": "Q"}]
    row = {"messages": [{"role": "user", "content": content}, {"role": "assistant", "content": "A"}]}
    (folder / "x.jsonl").write_text(json.dumps(row))
    (found,) = rows_of(path=str(folder / "x.jsonl"), images=str(folder / "images"))
    assert found.images[0].digest == digest(png())


def test_messages_in_parquet_bring_pictures_as_bytes(tmp_path):
    row = {"messages": MESSAGES["text and column"]["messages"]}
    table = pa.Table.from_pylist([row | {"images": [{"bytes": png(3), "path": "3.png"}]}])
    pq.write_table(table, tmp_path / "train.parquet")
    (found,) = rows_of(path=str(tmp_path))
    assert found.images[0].data == png(3)


GOOD = {"image": "sub/0.png", "conversations": talk("Q", "A")}
BAD = {
    "no picture": ({"image": "sub/9.png"}, "there is no picture sub/9.png"),
    "outside": ({"image": "../secret.png"}, "lies outside"),
    "absolute": ({"image": "/etc/hostname"}, "lies outside"),
    "address": ({"image": "https://x.y/z.png"}, "fetch it first"),
    "not decodable": ({"image": "sub/cut.png"}, "cut.png: the picture is"),
    "no answer": ({"conversations": talk("Q")}, "no question with an answer"),
    "empty answer": ({"conversations": talk("Q", "  ")}, "the answer to question 1 is empty"),
    "empty question": ({"conversations": talk("<image>\n", "A")}, "the question 1 is empty"),
    "twice the same": (
        {"conversations": talk("Q", "R", speakers=("human", "human"))[:2] + talk("Q", "A")},
        "one after",
    ),
    "unknown speaker": ({"conversations": talk("Q", "A", speakers=("human", "tool"))}, "a turn is by 'tool'"),
    "too many marks": ({"conversations": talk("<image><image>Q", "A")}, "2 image marks but the row has 1"),
    "no conversation": ({"conversations": 5}, "must be a list"),
    "depth of another size": ({"depth": "deep.png"}, "the depth is 5x5 but its picture is 12x8"),
    "depth is not there": ({"depth": "deep9.png"}, "there is no depth"),
    "camera of another size": ({"camera": {"fx": 9, "fy": 9, "cx": 5, "cy": 3, "width": 9}}, "camera is for 9x8"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_broken_row_is_named_with_the_reason_and_the_others_stay(folder, fault):
    (folder / "secret.png").write_bytes(png())
    (folder / "images/sub/cut.png").write_bytes(png()[:80])
    (folder / "images/deep.png").write_bytes(encode_depth(DepthMap(np.full((5, 5), 2.0))))
    change, reason = BAD[fault]
    good, bad, again = llava(folder, GOOD, GOOD | change, GOOD)
    assert isinstance(good, RawRow)
    assert isinstance(again, RawRow)
    assert isinstance(bad, Broken)
    assert bad.key == "x.json row 1"
    assert reason in bad.reason
    assert "\n" not in str(bad)


def test_of_a_picture_with_one_bad_question_the_others_stay(folder):
    bad, row = llava(folder, GOOD | {"conversations": talk("Q1", "A1", "Q2", "", "Q3", "A3")}, turns="apart")
    assert "answer to question 2 is empty" in bad.reason
    assert [turns[0][1] for turns in said(row)] == ["Q1", "Q3"]


def test_a_link_out_of_the_folder_is_not_followed(folder):
    (folder / "secret.png").write_bytes(png())
    (folder / "images/link.png").symlink_to(folder / "secret.png")
    (bad,) = llava(folder, GOOD | {"image": "link.png"})
    assert "lies outside" in bad.reason


def test_a_damaged_shard_is_named_and_the_next_one_read(built_folder, tmp_path):
    import shutil

    shutil.copytree(built_folder, tmp_path / "copy")
    first = sorted((tmp_path / "copy").rglob("train*.parquet"))[0]
    first.write_bytes(first.read_bytes()[:500])
    found = rows_of(path=str(tmp_path / "copy"))
    assert str(found[0].key).startswith(first.name) or first.name in found[0].key
    assert "cut short" in found[0].reason


def test_broken_lines_of_json_are_rows_of_their_own(folder):
    (folder / "x.jsonl").write_text(f"{json.dumps(GOOD)}\n{{broken\n{json.dumps(GOOD)}\n")
    found = rows_of(path=str(folder / "x.jsonl"), images=str(folder / "images"))
    assert [type(row) for row in found] == [RawRow, Broken, RawRow]
    assert found[1].key == "x.jsonl row 1"


def test_depth_files_are_found_by_the_pictures_names(folder):
    (folder / "depth/sub").mkdir(parents=True)
    write_depth(folder / "depth/sub/0.png", DepthMap(np.full((8, 12), 2.5)))
    relative = DepthMap(np.linspace(0, 1, 96).reshape(8, 12), DepthKind.RELATIVE)
    write_depth(folder / "depth/1.npz", relative)
    rows = llava(folder, GOOD, GOOD | {"image": "sub/1.png"}, depth=str(folder / "depth"))
    assert [row.depth[0].kind for row in rows] == [DepthKind.METRIC, DepthKind.RELATIVE]
    assert np.array_equal(decode_raw_depth(rows[1].depth[0]).values, relative.values)


def test_kinds_of_depth_do_not_mix_unless_the_fusion_takes_all():
    metric, relative = {DepthKind.METRIC}, {DepthKind.RELATIVE}
    check_kinds({"a": metric, "b": set(), "c": metric})
    check_kinds({"a": metric, "b": relative}, any_kind=True)
    with pytest.raises(SdvlmError, match="'rooms' is metric, 'web' is relative"):
        check_kinds({"rooms": metric, "web": relative})
    with pytest.raises(SdvlmError, match="two kinds"):
        check_kinds({"both": metric | relative})


WISHES = {
    "no path": ({"path": ""}, "has no path"),
    "nothing there": ({"path": "no/such/place"}, "no such file or folder, and no hub id"),
    "no split": ({"split": "other"}, "no split 'other'"),
    "depth twice": ({"depth": "."}, "brings its own depth"),
    "no images folder": ({"images": "nowhere"}, "nowhere: no such folder"),
}


@pytest.mark.parametrize("wish", WISHES)
def test_bad_wishes_are_refused_before_the_first_row(built_folder, wish):
    change, reason = WISHES[wish]
    with pytest.raises(SdvlmError, match=reason):
        open_source(DataSettings(**({"path": str(built_folder)} | change)))


def test_rows_without_conversations_are_no_training_data(tmp_path):
    write_json(tmp_path / "x.json", [{"text": "hello", "id": 1}])
    with pytest.raises(SdvlmError, match="need a column 'conversations' or 'messages'; this one has text, id"):
        open_source(DataSettings(path=str(tmp_path / "x.json")))


def test_keys_tell_rows_apart(built_folder):
    keys = [row.key for row in rows_of(path=str(built_folder))]
    assert all(one != other for one, other in pairwise(keys))
