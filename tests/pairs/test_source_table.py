from __future__ import annotations

import base64
import io
import pickle
import tempfile
from collections import Counter

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from sdvlm.pairs.source import RawPair, Refusal, open_source
from sdvlm.pairs.source_reading import Reading
from sdvlm.pairs.source_rows import open_row_file
from sdvlm.types import DepthKind, SdvlmError

SIZE = (24, 20)


def pixels(seed):
    return np.random.default_rng(seed).integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)


def metres(seed, size=SIZE):
    return (1 + 4 * np.random.default_rng(seed).random((size[1], size[0]))).astype(np.float32)


def encoded(array, suffix="PNG"):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, suffix)
    return stream.getvalue()


def millimetres(seed, size=SIZE):
    return encoded(np.rint(metres(seed, size) * 1000).astype(np.uint16))


def write(path, count, start=0, group=4, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [{"bytes": encoded(pixels(start + row)), "path": f"{row}.png"} for row in range(count)]
    pq.write_table(pa.table({"image": cells, **columns}), path, row_group_size=group)
    return path


def read_all(source, size=4):
    return [one for chunk in source.chunks(size) for one in pickle.loads(pickle.dumps(chunk)).read()]


@pytest.mark.parametrize("size", [1, 3, 4, 7, 100])
@pytest.mark.parametrize("group", [1, 4, 30])
def test_every_row_comes_once_and_in_order_whatever_groups_and_chunks(tmp_path, size, group):
    write(tmp_path / "rows.parquet", 30, group=group)
    pairs = read_all(open_source(tmp_path / "rows.parquet"), size)
    assert [one.pair_id for one in pairs] == [f"rows/{row:08d}" for row in range(30)]
    assert all(np.array_equal(one.image, pixels(row)) for row, one in enumerate(pairs))
    assert pairs[3].encoded == encoded(pixels(3))


def test_chunks_hold_about_as_many_rows_as_asked_for(tmp_path):
    write(tmp_path / "rows.parquet", 18, group=6)
    for size, chunks in ((3, 6), (6, 3), (12, 2), (18, 1), (50, 1)):
        held = [len(list(chunk.read())) for chunk in open_source(tmp_path / "rows.parquet").chunks(size)]
        assert max(held) <= size
        assert sum(held) == 18
        assert len(held) == chunks


def test_a_large_row_group_is_read_a_few_rows_at_a_time(tmp_path):
    path = write(tmp_path / "rows.parquet", 100, group=100)
    with open_row_file(str(path), "rows") as file:
        batches = list(file.batches(range(1), ["image"]))
    assert max(batch.num_rows for batch in batches) <= 8
    assert sum(batch.num_rows for batch in batches) == 100


def test_files_of_a_folder_come_in_the_order_of_their_names_and_a_split_is_some_of_them(tmp_path):
    write(tmp_path / "data" / "train-00001-of-00002.parquet", 2, start=2)
    write(tmp_path / "data" / "train-00000-of-00002.parquet", 2)
    write(tmp_path / "data" / "validation-00000-of-00001.parquet", 1, start=9)
    write(tmp_path / "test" / "0000.parquet", 1, start=10)
    write(tmp_path / ".cache" / "train-0.parquet", 1)
    assert Counter(one.pair_id.rpartition("/")[0] for one in read_all(open_source(tmp_path))) == {
        "data/train-00000-of-00002": 2,
        "data/train-00001-of-00002": 2,
        "data/validation-00000-of-00001": 1,
        "test/0000": 1,
    }
    train = read_all(open_source(tmp_path, split="train"))
    assert [np.array_equal(one.image, pixels(seed)) for seed, one in enumerate(train)] == [True] * 4
    assert np.array_equal(read_all(open_source(tmp_path, split="test"))[0].image, pixels(10))
    with pytest.raises(SdvlmError, match="no file of split 'val'; it has data/train"):
        open_source(tmp_path, split="val")


def test_keys_change_with_what_a_file_holds(tmp_path):
    write(tmp_path / "rows.parquet", 8)
    keys = [chunk.key for chunk in open_source(tmp_path / "rows.parquet").chunks(4)]
    assert len(set(keys)) == 2
    assert keys == [chunk.key for chunk in open_source(tmp_path / "rows.parquet").chunks(4)]
    write(tmp_path / "rows.parquet", 9)
    assert not set(keys) & {chunk.key for chunk in open_source(tmp_path / "rows.parquet").chunks(4)}


@pytest.mark.parametrize("split", [None, "train"])
def test_what_datasets_saved_is_read_without_it(tmp_path, split):
    rows = {"label": list(range(9)), "photo": [Image.fromarray(pixels(seed)) for seed in range(9)]}
    features = datasets.Features({"label": datasets.Value("int64"), "photo": datasets.Image()})
    saved = datasets.Dataset.from_dict(rows, features=features)
    if split is not None:
        saved = datasets.DatasetDict({"train": saved, "test": saved.select([0])})
    saved.save_to_disk(tmp_path / "saved")
    pairs = read_all(open_source(tmp_path / "saved", split=split), 2)
    assert len(pairs) == 9
    assert all(np.array_equal(one.image, pixels(seed)) for seed, one in enumerate(pairs))
    if split is not None:
        assert len(read_all(open_source(tmp_path / "saved"))) == 10


def test_parquet_that_datasets_wrote_names_its_picture_column(tmp_path):
    rows = {"thumb": [b"x"], "photo": [Image.fromarray(pixels(1))]}
    features = datasets.Features({"thumb": datasets.Value("binary"), "photo": datasets.Image()})
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "a.parquet")
    assert np.array_equal(read_all(open_source(tmp_path / "a.parquet"))[0].image, pixels(1))


def test_of_several_picture_columns_the_usual_name_or_the_named_one_is_taken(tmp_path):
    cells = {name: [encoded(pixels(seed))] for seed, name in enumerate(["depth_view", "Image", "left", "right"])}
    pq.write_table(pa.table(cells), tmp_path / "a.parquet")
    assert np.array_equal(read_all(open_source(tmp_path / "a.parquet"))[0].image, pixels(1))
    assert np.array_equal(read_all(open_source(tmp_path / "a.parquet", column="right"))[0].image, pixels(3))
    pq.write_table(pa.table({name: cells[name] for name in ("left", "right")}), tmp_path / "b.parquet")
    with pytest.raises(SdvlmError, match="columns left, right could hold the picture; name it"):
        read_all(open_source(tmp_path / "b.parquet"))
    assert np.array_equal(
        read_all(open_source(tmp_path / "b.parquet", depth_column=None, column="left"))[0].image, pixels(2)
    )
    with pytest.raises(SdvlmError, match="has no column 'middle'; it has left, right"):
        read_all(open_source(tmp_path / "b.parquet", column="middle"))
    pq.write_table(pa.table({"caption": ["a"]}), tmp_path / "c.parquet")
    with pytest.raises(SdvlmError, match="none of the columns caption seems to hold the picture"):
        read_all(open_source(tmp_path / "c.parquet"))


def test_a_cell_may_be_bytes_base64_or_a_path_beside_the_file_but_not_one_outside(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "0.png").write_bytes(encoded(pixels(0)))
    (tmp_path / "secret.png").write_bytes(encoded(pixels(5)))
    structs = [{"bytes": None, "path": name} for name in ("0.png", "../secret.png", str(tmp_path / "secret.png"))]
    pq.write_table(
        pa.table({"image": pa.array([*structs, None, {"bytes": b"", "path": None}])}), tmp_path / "in" / "a.parquet"
    )
    first, *others = read_all(open_source(tmp_path / "in" / "a.parquet", column="image"))
    assert np.array_equal(first.image, pixels(0))
    assert [type(one) for one in others] == [Refusal] * 4
    assert others[2].reason == "a/00000003: the cell is empty (null)"
    assert "0 bytes" in others[3].reason
    text = base64.b64encode(encoded(pixels(3))).decode()
    pq.write_table(pa.table({"shot": [text]}), tmp_path / "b.parquet")
    assert np.array_equal(read_all(open_source(tmp_path / "b.parquet", column="shot"))[0].image, pixels(3))


def test_depth_of_a_column_is_metres_however_it_is_stored(tmp_path):
    tables = {
        "png": [{"bytes": millimetres(7), "path": None}],
        "tiff": [encoded(metres(7), "TIFF")],
        "lists": [metres(7).tolist()],
    }
    for name, cells in tables.items():
        path = write(tmp_path / f"{name}.parquet", 1, start=7, depth_map=pa.array(cells))
        (pair,) = read_all(open_source(path, depth_column="depth_map"))
        assert pair.depth.kind is DepthKind.METRIC
        assert np.abs(pair.depth.values - metres(7)).max() < 6e-4
        assert np.array_equal(pair.image, pixels(7))
        assert read_all(open_source(path, column="image"))[0].depth is None


def test_holes_in_stored_depth_stay_unknown(tmp_path):
    holes = np.rint(metres(1) * 1000).astype(np.uint16)
    holes[:5] = 0
    path = write(tmp_path / "a.parquet", 1, depth=[encoded(holes)])
    (pair,) = read_all(open_source(path, depth_column="depth"))
    assert np.array_equal(pair.depth.valid, holes > 0)


def test_depth_that_cannot_belong_to_its_picture_is_a_refusal_by_name(tmp_path):
    cells = [
        encoded(np.zeros((20, 24), np.uint16)),  # all invalid
        millimetres(1, (12, 10)),  # of half the size
        b"no depth",
        None,
        encoded(np.full((20, 24, 3), 9, np.uint8)),  # a picture
        millimetres(1),
    ]
    path = write(tmp_path / "a.parquet", 6, depth=pa.array(cells, pa.binary()))
    found = read_all(open_source(path, depth_column="depth"))
    reasons = [one.reason if isinstance(one, Refusal) else None for one in found]
    assert reasons[-1] is None
    for reason, part in zip(
        reasons,
        ["has 0 valid pixels", "12x10 but the picture is 24x20", "no known depth format", "null", "colour picture"],
        strict=False,
    ):
        assert part in reason
        assert reason.startswith("a/0000000")
        assert "/tmp" not in reason
    resized = read_all(open_source(path, depth_column="depth", reading=Reading(resize_depth=True)))[1]
    assert np.abs(resized.depth.values - np.kron(metres(1, (12, 10)), np.ones((2, 2)))).max() < 6e-4


def test_depth_of_lists_without_a_number_is_a_refusal(tmp_path):
    holes = np.full((20, 24), np.nan, np.float32).tolist()
    path = write(tmp_path / "a.parquet", 2, depth=pa.array([holes, [[1.0, 2.0], [3.0]]]))
    first, second = read_all(open_source(path, depth_column="depth"))
    assert "0 valid pixels" in first.reason
    assert "no rectangle of numbers" in second.reason


def test_kind_and_scale_of_depth_can_be_said(tmp_path):
    path = write(tmp_path / "a.parquet", 1, depth=[encoded(np.full((20, 24), 5000, np.uint16))])
    scaled = read_all(open_source(path, depth_column="depth", reading=Reading(depth_scale=1 / 5000)))[0]
    assert np.allclose(scaled.depth.values, 1.0)
    kind = DepthKind.DISPARITY
    near = read_all(open_source(path, depth_column="depth", reading=Reading(depth_kind=kind)))[0]
    assert near.depth.kind is kind


def test_depth_of_a_picture_that_exif_turns_is_refused(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3
    stream = io.BytesIO()
    Image.fromarray(pixels(0)).save(stream, "JPEG", exif=exif)
    pq.write_table(pa.table({"image": [stream.getvalue()], "depth": [millimetres(0)]}), tmp_path / "a.parquet")
    (refused,) = read_all(open_source(tmp_path / "a.parquet", depth_column="depth"))
    assert "turned by its EXIF orientation" in refused.reason


def test_a_column_may_name_the_scene(tmp_path):
    path = write(tmp_path / "a.parquet", 3, room=["kitchen", None, "attic"])
    assert [one.scene_id for one in read_all(open_source(path, scene="room"))] == ["kitchen", "", "attic"]


def test_bad_pictures_are_refusals_and_the_other_rows_are_read(tmp_path):
    cells = [
        encoded(pixels(0)),
        b"no picture",
        encoded(pixels(2))[:90],
        encoded(np.zeros((1, 1, 3), np.uint8)),
        encoded(pixels(4)),
    ]
    pq.write_table(pa.table({"image": cells}), tmp_path / "a.parquet")
    found = read_all(open_source(tmp_path / "a.parquet"))
    assert [isinstance(one, RawPair) for one in found] == [True, False, False, False, True]
    assert all(one.reason.startswith(f"{one.pair_id}: ") for one in found if isinstance(one, Refusal))


def test_a_damaged_file_among_others_is_one_refusal(tmp_path):
    write(tmp_path / "a.parquet", 3)
    whole = write(tmp_path / "b.parquet", 3, start=3).read_bytes()
    (tmp_path / "b.parquet").write_bytes(whole[:-40])
    (tmp_path / "c.parquet").write_bytes(b"")
    write(tmp_path / "d.parquet", 3, start=6)
    found = read_all(open_source(tmp_path))
    assert [one.pair_id for one in found if isinstance(one, Refusal)] == ["b", "c"]
    assert [one.pair_id[0] for one in found if isinstance(one, RawPair)] == ["a"] * 3 + ["d"] * 3
    with pytest.raises(SdvlmError, match=r"b: .* is cut short, damaged or no table"):
        read_all(open_source(tmp_path / "b.parquet"))


def test_saved_data_cut_short_is_refused_by_name(tmp_path):
    rows = {"image": [Image.fromarray(pixels(seed)) for seed in range(5)]}
    saved = datasets.Dataset.from_dict(rows, features=datasets.Features({"image": datasets.Image()}))
    saved.save_to_disk(tmp_path / "saved")
    (file,) = (tmp_path / "saved").glob("*.arrow")
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(SdvlmError, match=r"^data-00000-of-00001: .* cut short, damaged or no table"):
        read_all(open_source(tmp_path / "saved"))


def test_damage_within_a_file_loses_its_rows_and_says_which(tmp_path):
    path = write(tmp_path / "a.parquet", 12, group=4)
    place = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    broken = bytearray(path.read_bytes())
    broken[place : place + 40] = b"\xff" * 40
    path.write_bytes(broken)
    found = read_all(open_source(path))
    assert [one.pair_id for one in found if isinstance(one, RawPair)] == [
        f"a/{row:08d}" for row in (*range(4), *range(8, 12))
    ]
    (refused,) = [one for one in found if isinstance(one, Refusal)]
    assert refused.reason.endswith("rows 4 to 7 are lost")


def test_a_failing_machine_is_no_fault_of_a_picture(tmp_path, monkeypatch):
    path = write(tmp_path / "a.parquet", 2, depth=[millimetres(0), millimetres(1)])
    chunks = list(open_source(path, depth_column="depth").chunks(4))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))  # as if there were no room for temporary files
    with pytest.raises(OSError, match="No such file or directory"):
        list(chunks[0].read())


def test_each_picture_is_decoded_once_and_none_while_listing(tmp_path, monkeypatch):
    decoders = []
    real = Image._getdecoder
    monkeypatch.setattr(Image, "_getdecoder", lambda *given: decoders.append(given[1]) or real(*given))
    source = open_source(write(tmp_path / "a.parquet", 9, group=9))
    decoders.clear()
    chunks = list(source.chunks(2))
    assert decoders == []
    assert len(chunks) > 2
    assert [one.pair_id for chunk in chunks for one in chunk.read()] == [f"a/{row:08d}" for row in range(9)]
    assert decoders == ["zip"] * 9


def test_a_table_without_rows_is_refused(tmp_path):
    pq.write_table(pa.table({"image": pa.array([], pa.binary())}), tmp_path / "a.parquet")
    with pytest.raises(SdvlmError, match="holds no row"):
        read_all(open_source(tmp_path / "a.parquet"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(SdvlmError, match="no file with rows"):
        open_source(tmp_path / "empty", reader="table")
