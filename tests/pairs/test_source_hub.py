"""Data sets of the hub: the part before the network, and the part behind it, through fsspec's own file systems."""

from __future__ import annotations

import io
import tarfile

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from sdvlm.pairs.source import open_source
from sdvlm.pairs.source_hub import hub_files, is_hub_id
from sdvlm.pairs.source_table import TableSource
from sdvlm.pairs.source_webdataset import ShardSource
from sdvlm.types import SdvlmError


def pixels(seed):
    return np.random.default_rng(seed).integers(0, 256, (20, 24, 3), dtype=np.uint8)


def encoded(array):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def repository(tmp_path):
    """Laid out as data sets on the hub are."""
    (tmp_path / "data").mkdir()
    for number, name in enumerate(["train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"]):
        cells = [encoded(pixels(10 * number + row)) for row in range(3)]
        pq.write_table(pa.table({"image": cells}), tmp_path / "data" / f"{name}.parquet")
    return tmp_path


def test_datasets_says_which_files_a_split_has(repository):
    layout, files = hub_files(str(repository), "train")
    assert layout == "table"
    assert [shown for _, shown in files] == ["train/train-00000-of-00002", "train/train-00001-of-00002"]
    _, files = hub_files(str(repository))
    assert len({shown for _, shown in files}) == 3
    pairs = [one for chunk in TableSource("x/y", files).chunks(2) for one in chunk.read()]
    by_split = {one.pair_id: one.image for one in pairs}
    assert np.array_equal(by_split["test/test-00000-of-00001/00000001"], pixels(21))
    with pytest.raises(
        SdvlmError, match=r"has no split 'val'; it has train, test|has no split 'val'; it has test, train"
    ):
        hub_files(str(repository), "val")


def test_shards_are_found_as_such(tmp_path):
    with tarfile.open(tmp_path / "train-0000.tar", "w") as tar:
        entry = tarfile.TarInfo("0.png")
        entry.size = len(encoded(pixels(0)))
        tar.addfile(entry, io.BytesIO(encoded(pixels(0))))
    layout, files = hub_files(str(tmp_path), "train")
    assert layout == "webdataset"
    (chunk,) = ShardSource("x/y", files).chunks(3)
    assert [one.pair_id for one in chunk.read()] == ["train/train-0000/0"]


def test_other_formats_are_refused_with_the_way_round(tmp_path):
    (tmp_path / "train.csv").write_text("a,b\n1,2\n")
    with pytest.raises(SdvlmError, match=r"holds csv; only parquet and \.tar .*save_to_disk"):
        hub_files(str(tmp_path))


def test_files_behind_a_url_are_read_where_they_lie(repository):
    memory = fsspec.filesystem("memory")
    try:
        for path in sorted((repository / "data").glob("train*")):
            memory.pipe(f"/pairs/{path.name}", path.read_bytes())
        with io.BytesIO() as stream:
            with tarfile.open(fileobj=stream, mode="w") as tar:
                entry = tarfile.TarInfo("7.png")
                entry.size = len(encoded(pixels(7)))
                tar.addfile(entry, io.BytesIO(encoded(pixels(7))))
            memory.pipe("/pairs/s.tar", stream.getvalue())
        files = tuple((f"memory://pairs/train-0000{n}-of-00002.parquet", f"train/{n}") for n in range(2))
        pairs = [one for chunk in TableSource("x/y", files).chunks(2) for one in chunk.read()]
        assert [
            np.array_equal(one.image, pixels(seed)) for one, seed in zip(pairs, [0, 1, 2, 10, 11, 12], strict=True)
        ] == [True] * 6
        (chunk,) = ShardSource("x/y", (("memory://pairs/s.tar", "s"),)).chunks(2)
        assert np.array_equal(next(chunk.read()).image, pixels(7))
    finally:
        memory.rm("/pairs", recursive=True)


def test_only_owner_and_name_is_a_hub_id():
    assert is_hub_id("owner/name-1.0")
    assert not any(is_hub_id(text) for text in ("name", "/owner/name", "./owner/name", "a/b/c", "../name", "a b/c"))


def test_a_hub_that_cannot_be_reached_is_told_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path))
    with pytest.raises(SdvlmError, match="sdvlm-tests/none: is no file or folder here") as told:
        open_source("sdvlm-tests/none")
    assert "\n" not in str(told.value)
