"""MSMU in every published shape gives the same rows; broken rows are named."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from sdvlm.data.msmu import count_msmu, read_msmu
from sdvlm.data.msmu_types import RAW_TYPES, official_type
from sdvlm.data.schema import QuestionType
from sdvlm.types import SdvlmError

ASKED = "<image>\nWhat is the width of the wall shelves?"
QUESTION = "What is the width of the wall shelves?"
ANSWER = "the wall shelves measures 0.37 meters in width."
TURNS = [{"from": "human", "value": ASKED}, {"from": "gpt", "value": ANSWER}]
IMAGE_TYPE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
TURN_TYPE = pa.struct([("from", pa.string()), ("value", pa.string())])


def encoded(picture: Image.Image, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind)
    return stream.getvalue()


def text64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def picture(seed: int = 0, mode: str = "RGB") -> Image.Image:
    shape = {"L": (6, 8), "LA": (6, 8, 2), "RGB": (6, 8, 3), "RGBA": (6, 8, 4)}[mode]
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8), mode)


PNG = encoded(picture())
PIXELS = np.asarray(picture())

CONVERSATIONS = {
    "list of dicts": pa.array([TURNS], pa.list_(TURN_TYPE)),
    "dict of lists": pa.array([{"from": ["human", "gpt"], "value": [ASKED, ANSWER]}]),
    "JSON text": pa.array([json.dumps(TURNS)]),
    "JSON text of a dict of lists": pa.array([json.dumps({"from": ["human", "gpt"], "value": [ASKED, ANSWER]})]),
    "Python literal": pa.array([repr(TURNS)]),
    "NumPy's print of dicts": pa.array(["[" + "\n ".join(map(repr, TURNS)) + "]"]),
    "JSON text, quoted twice": pa.array([json.dumps(json.dumps(TURNS))]),
    "list of JSON texts": pa.array([[json.dumps(turn) for turn in TURNS]]),
}
PICTURES = {
    "base64": ("image_base64", pa.array([text64(PNG)])),
    "base64 with line breaks": ("image_base64", pa.array([base64.encodebytes(PNG).decode()])),
    "data URI": ("image_base64", pa.array(["data:image/png;base64," + text64(PNG)])),
    "large string": ("image_base64", pa.array([text64(PNG)], pa.large_string())),
    "image feature": ("image", pa.array([{"bytes": PNG, "path": None}], IMAGE_TYPE)),
    "image feature with a name": ("image", pa.array([{"bytes": PNG, "path": "frame.png"}], IMAGE_TYPE)),
    "image feature beside": ("image", pa.array([{"bytes": None, "path": "beside.png"}], IMAGE_TYPE)),
    "bytes": ("image", pa.array([PNG])),
    "one in a list": ("image", pa.array([[{"bytes": PNG, "path": None}]], pa.list_(IMAGE_TYPE))),
}


def table(count: int = 3, **columns) -> pa.Table:
    """Rows with pictures 0, 0, 1, 1, ... and types as published."""
    pictures = [text64(encoded(picture(index // 2))) for index in range(count)]
    default = {
        "image_base64": pictures,
        "conversations": pa.array([TURNS] * count, pa.list_(TURN_TYPE)),
        "type": ["width", "zero", "distance", "left"][:count] + ["count"] * (count - 4),
    }
    return pa.table(default | columns)


def save_to_disk(folder, rows: pa.Table, shards: int = 1, state: bool = True) -> None:
    """As ``Dataset.save_to_disk`` writes: IPC streams, their names in ``state.json``."""
    folder.mkdir(parents=True)
    names = [f"data-{index:05d}-of-{shards:05d}.arrow" for index in range(shards)]
    size = -(-len(rows) // shards)
    for index, name in enumerate(names):
        with pa.OSFile(str(folder / name), "wb") as sink, pa.ipc.new_stream(sink, rows.schema) as writer:
            writer.write_table(rows.slice(index * size, size), max_chunksize=2)
    if state:
        (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
        (folder / "dataset_info.json").write_text("{}")


def dataset_dict(folder, **splits) -> None:
    for name, rows in splits.items():
        save_to_disk(folder / name, rows, shards=2)
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": list(splits)}))


def parquet(path, rows: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, path)


def arrow_file(path, rows: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, rows.schema) as writer:
        writer.write_table(rows)


def jsonl(path, rows: pa.Table) -> None:
    path.write_text("\n".join(json.dumps(row) for row in rows.to_pylist()) + "\n")


LAYOUTS = {
    "dataset dict": lambda to: dataset_dict(to / "d", train=table(1), test=table(5)) or to / "d",
    "one split folder": lambda to: save_to_disk(to / "d", table(5), shards=3) or to / "d",
    "shards without state": lambda to: save_to_disk(to / "d", table(5), shards=2, state=False) or to / "d",
    "split folders without a list": lambda to: save_to_disk(to / "d" / "test", table(5), state=False) or to / "d",
    "parquet file": lambda to: parquet(to / "MSMU.parquet", table(5)) or to / "MSMU.parquet",
    "parquet on a hub": lambda to: (
        parquet(to / "d" / "data" / "train-00000-of-00001.parquet", table(1)),
        parquet(to / "d" / "data" / "test-00000-of-00002.parquet", table(5).slice(0, 2)),
        parquet(to / "d" / "data" / "test-00001-of-00002.parquet", table(5).slice(2)),
        to / "d",
    )[-1],
    "parquet files by name": lambda to: (
        parquet(to / "d" / "msmu_train.parquet", table(1)),
        parquet(to / "d" / "msmu_test.parquet", table(5)),
        to / "d",
    )[-1],
    "parquet files of no split": lambda to: (
        parquet(to / "d" / "part10.parquet", table(5).slice(3)),
        parquet(to / "d" / "part9.parquet", table(5).slice(0, 3)),
        to / "d",
    )[-1],
    "arrow stream file": lambda to: save_to_disk(to / "d", table(5)) or to / "d" / "data-00000-of-00001.arrow",
    "arrow file format": lambda to: arrow_file(to / "x.arrow", table(5)) or to / "x.arrow",
    "JSON lines": lambda to: jsonl(to / "x.jsonl", table(5)) or to / "x.jsonl",
    "JSON list": lambda to: [(to / "x.json").write_text(json.dumps(table(5).to_pylist()))] and to / "x.json",
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_rows(layout, tmp_path):
    path = LAYOUTS[layout](tmp_path)
    rows = list(read_msmu(path))
    assert count_msmu(path) == len(rows) == 5
    assert [row.number for row in rows] == [0, 1, 2, 3, 4]
    assert [row.raw_type for row in rows] == ["width", "zero", "distance", "left", "count"]
    assert [row.type.value for row in rows] == [
        "scale_estimation", "zero", "absolute_distance", "relative_position", "count",
    ]  # fmt: skip
    for index, row in enumerate(rows):
        assert np.array_equal(row.image(), np.asarray(picture(index // 2)))
        assert (row.question, row.raw_question, row.answer) == (QUESTION, ASKED, ANSWER)
        assert row.turns == (("human", ASKED), ("gpt", ANSWER))
    ids = [row.image_id for row in rows]
    assert ids[0] == ids[1] != ids[2] == ids[3] != ids[4]


@pytest.mark.parametrize("shape", CONVERSATIONS)
def test_every_shape_of_conversation_gives_the_same_turns(shape, tmp_path):
    parquet(tmp_path / "x.parquet", table(1, conversations=CONVERSATIONS[shape]))
    (row,) = read_msmu(tmp_path / "x.parquet")
    assert row.turns == (("human", ASKED), ("gpt", ANSWER))


@pytest.mark.parametrize("shape", PICTURES)
def test_every_shape_of_picture_gives_the_same_pixels(shape, tmp_path):
    column, cells = PICTURES[shape]
    (tmp_path / "beside.png").write_bytes(PNG)
    parquet(tmp_path / "x.parquet", table(1).drop_columns("image_base64").append_column(column, cells))
    (row,) = read_msmu(tmp_path / "x.parquet")
    assert np.array_equal(row.image(), PIXELS)
    assert row.picture == PNG


def test_a_literal_in_a_conversation_is_parsed_and_never_run(tmp_path):
    trap = tmp_path / "trap"
    parquet(tmp_path / "x.parquet", table(1, conversations=[f"[open({str(trap)!r}, 'w')]"]))
    with pytest.raises(SdvlmError, match="neither JSON nor a Python literal"):
        list(read_msmu(tmp_path / "x.parquet"))
    assert not trap.exists()


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA"])
def test_pictures_of_other_modes_become_rgb(mode, tmp_path):
    given = picture(mode=mode)
    parquet(tmp_path / "x.parquet", table(1, image_base64=[text64(encoded(given))]))
    (row,) = read_msmu(tmp_path / "x.parquet")
    pixels = np.asarray(given)
    colours = pixels[..., :3] if mode == "RGBA" else np.stack([pixels if mode == "L" else pixels[..., 0]] * 3, axis=2)
    assert np.array_equal(row.image(), colours)


def test_palettes_become_their_colours_and_16_bit_grey_keeps_its_upper_bits(tmp_path):
    palette = Image.new("P", (2, 1))
    palette.putpalette([250, 10, 20, 1, 2, 3])
    palette.putdata([1, 0])
    deep = Image.fromarray(np.array([[0x1234, 0xFFFF]], np.uint16))
    parquet(tmp_path / "x.parquet", table(2, image_base64=[text64(encoded(one)) for one in (palette, deep)]))
    colours, grey = read_msmu(tmp_path / "x.parquet")
    assert colours.image().tolist() == [[[1, 2, 3], [250, 10, 20]]]
    assert grey.image().tolist() == [[[0x12] * 3, [0xFF] * 3]]


@pytest.mark.parametrize("size", [[8, 6], "(8, 6)"])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_bare_pixels_are_read_by_their_size_and_mode(mode, size, tmp_path):
    given = picture(mode=mode)
    rows = table(1, image_base64=[text64(given.tobytes())], image_size=[size], image_mode=[mode])
    parquet(tmp_path / "x.parquet", rows)
    (row,) = read_msmu(tmp_path / "x.parquet")
    assert np.array_equal(row.image(), np.asarray(given.convert("RGB")))


BROKEN = {
    "no base64": ({"image_base64": "&&&"}, "no valid base64"),
    "no picture": ({"image_base64": text64(b"hello, I am text")}, "in no format that can be read"),
    "cut short": ({"image_base64": text64(encoded(picture().resize((64, 64)))[:-2000])}, "damaged or cut short"),
    "nothing": ({"image_base64": None}, "wanted one picture"),
    "empty": ({"image_base64": ""}, r"empty \(0 bytes\)"),
    "no turns": ({"conversations": []}, "must be a list"),
    "null turns": ({"conversations": None}, "must be a list"),
    "one turn": ({"conversations": TURNS[:1]}, "one of 'gpt' after it; got turns of human"),
    "only a mark": ({"conversations": [{"from": "human", "value": "<image>\n"}, TURNS[1]]}, "the question is empty"),
    "null text": ({"conversations": [{"from": "human", "value": None}, TURNS[1]]}, "a turn must be"),
    "unknown type": ({"type": "existence"}, "no question type 'existence'; known are scale_estimation"),
    "null type": ({"type": None}, "has no type"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_row_is_refused_with_its_number_or_skipped_and_listed(case, tmp_path):
    change, reason = BROKEN[case]
    rows = table(4).to_pylist()
    rows[2] |= change
    parquet(tmp_path / "x.parquet", pa.Table.from_pylist(rows, table(4).schema))
    with pytest.raises(SdvlmError, match=f"x.parquet: row 2: .*{reason}"):
        list(read_msmu(tmp_path / "x.parquet"))
    broken = []
    assert [row.number for row in read_msmu(tmp_path / "x.parquet", on_broken="skip", broken=broken)] == [0, 1, 3]
    assert [one.number for one in broken] == [2]
    assert "\n" not in broken[0].reason


def test_row_numbers_run_on_over_shards_and_count_broken_rows(tmp_path):
    rows = table(6).to_pylist()
    rows[1]["image_base64"] = rows[4]["image_base64"] = "?"
    save_to_disk(tmp_path / "d", pa.Table.from_pylist(rows, table(6).schema), shards=3)
    broken = []
    assert [row.number for row in read_msmu(tmp_path / "d", on_broken="skip", broken=broken)] == [0, 2, 3, 5]
    assert [(one.number, one.file.name) for one in broken] == [
        (1, "data-00000-of-00003.arrow"), (4, "data-00002-of-00003.arrow"),
    ]  # fmt: skip
    assert count_msmu(tmp_path / "d") == 6


def test_text_that_is_no_unicode_breaks_its_row_only(tmp_path):
    bad = pa.array([b"ok", b"\xff\xfe", b"ok"]).view(pa.string())
    arrow_file(tmp_path / "x.arrow", table(3).append_column("image_mode", bad))
    broken = []
    assert [row.number for row in read_msmu(tmp_path / "x.arrow", on_broken="skip", broken=broken)] == [0, 2]
    assert "cannot be decoded" in broken[0].reason


def test_a_line_that_is_no_json_breaks_its_row_only(tmp_path):
    jsonl(tmp_path / "x.jsonl", table(2))
    with (tmp_path / "x.jsonl").open("a") as file:
        file.write("{half a row\n")
    with pytest.raises(SdvlmError, match=r"x.jsonl: row 2: is no JSON"):
        list(read_msmu(tmp_path / "x.jsonl"))


def test_training_rows_have_no_type_and_may_go_on_for_several_turns(tmp_path):
    more = [*TURNS, {"from": "human", "value": "And?"}, {"from": "gpt", "value": "No."}]
    rows = pa.table({"image": [{"bytes": PNG, "path": None}], "conversations": [json.dumps(more)]})
    parquet(tmp_path / "x.parquet", rows)
    with pytest.raises(SdvlmError, match="row 0: has no type; for data without types pass need_type=False"):
        next(read_msmu(tmp_path / "x.parquet"))
    (row,) = read_msmu(tmp_path / "x.parquet", need_type=False)
    assert (row.type, row.raw_type, row.question, len(row.turns)) == (None, None, QUESTION, 4)


def test_the_mark_is_taken_out_wherever_it_stands(tmp_path):
    for asked in ("<image>\nWhere?", "Where?\n<image>", "Where?<image>"):
        jsonl(tmp_path / "x.jsonl", table(1, conversations=[[{"from": "human", "value": asked}, TURNS[1]]]))
        (row,) = read_msmu(tmp_path / "x.jsonl")
        assert (row.question, row.raw_question) == ("Where?", asked)


def test_every_published_type_has_its_official_one():
    assert {official_type(name) for name in (*RAW_TYPES, *QuestionType)} == set(QuestionType)
    assert official_type("tall_three_objects") is QuestionType.SCALE_COMPARE
    assert official_type("scale_compare") is QuestionType.SCALE_COMPARE


def _truncate(path):
    path.write_bytes(path.read_bytes()[:-300])
    return path


UNUSABLE = {
    "missing": (lambda to: to / "nowhere", "no such file or folder"),
    "empty folder": (lambda to: to, "holds no Arrow, parquet or JSON data"),
    "other file": (lambda to: [(to / "x.csv").touch()] and to / "x.csv", "is no data file; wanted one of"),
    "other split": (lambda to: dataset_dict(to / "d", train=table(1)) or to / "d", "no split 'test'; it has train"),
    "other split by name": (
        lambda to: parquet(to / "d" / "train-00000-of-00001.parquet", table(1)) or to / "d",
        "no files of split 'test'; it has train-00000",
    ),
    "missing shard": (
        lambda to: [save_to_disk(to / "d", table(4), 2), next((to / "d").glob("*1-of*")).unlink()] and to / "d",
        "misses data-00001-of-00002.arrow",
    ),
    "missing shard of no list": (
        lambda to: parquet(to / "d" / "test-00000-of-00003.parquet", table(1)) or to / "d",
        "1 of 3 shards are there",
    ),
    "shard elsewhere": (
        lambda to: (
            [
                save_to_disk(to / "d", table(1)),
                (to / "d" / "state.json").write_text('{"_data_files": [{"filename": "../x.arrow"}]}'),
            ]
            and to / "d"
        ),
        "lies outside the folder",
    ),
    "no state": (
        lambda to: [save_to_disk(to / "d", table(1)), (to / "d" / "state.json").write_text("{}")] and to / "d",
        "must list _data_files",
    ),
    "empty file": (lambda to: [(to / "x.arrow").touch()] and to / "x.arrow", r"is empty \(0 bytes\)"),
    "pointer": (
        lambda to: [(to / "x.arrow").write_text("version https://git-lfs.github.com/spec/v1\n")] and to / "x.arrow",
        "Git LFS pointer",
    ),
    "cut parquet": (lambda to: parquet(to / "x.parquet", table(2)) or _truncate(to / "x.parquet"), "is damaged"),
    "cut arrow": (lambda to: arrow_file(to / "x.arrow", table(2)) or _truncate(to / "x.arrow"), "is damaged"),
    "no list": (lambda to: [(to / "x.json").write_text("{}")] and to / "x.json", "must hold a JSON list"),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_what_cannot_be_read_at_all_is_told_in_one_line(case, tmp_path):
    make, reason = UNUSABLE[case]
    path = make(tmp_path)
    with pytest.raises(SdvlmError, match=reason) as told:
        list(read_msmu(path))
    assert "\n" not in str(told.value)


def test_a_path_in_the_data_does_not_lead_out_of_its_folder(tmp_path):
    (tmp_path / "secret.png").write_bytes(PNG)
    parquet(
        tmp_path / "d" / "x.parquet", table(1, image=[{"bytes": None, "path": "../secret.png"}], image_base64=[None])
    )
    with pytest.raises(SdvlmError, match="row 0"):
        list(read_msmu(tmp_path / "d" / "x.parquet"))


def test_rows_stream_one_after_another(tmp_path):
    """The second shard is not touched while the first is read."""
    save_to_disk(tmp_path / "d", table(4), shards=2)
    (tmp_path / "d" / "data-00001-of-00002.arrow").write_bytes(b"no arrow at all, not even close to it")
    rows = read_msmu(tmp_path / "d")
    assert [next(rows).number, next(rows).number] == [0, 1]
    with pytest.raises(SdvlmError, match=r"data-00001-of-00002\.arrow: is damaged"):
        next(rows)
