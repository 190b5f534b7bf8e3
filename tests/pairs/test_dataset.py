"""Pairs read back: in any order, in other processes, and what is said of damaged data."""

import io
import pickle
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from tests.pairs.conftest import ESTIMATOR, smooth
from torch.utils.data import DataLoader

from sdvlm.data.encode import encode_picture
from sdvlm.pairs import dataset as dataset_module
from sdvlm.pairs.build import build_pairs
from sdvlm.pairs.columns import PAIRS, depth_bytes, depth_of, pair_of, picture_bytes, row_of
from sdvlm.pairs.config import PairsConfig
from sdvlm.pairs.dataset import PairDataset
from sdvlm.pairs.record import Pair
from sdvlm.pairs.source import open_source
from sdvlm.types import Camera, DepthKind, DepthMap, SdvlmError


@pytest.fixture(scope="module")
def folder(pictures, tmp_path_factory):
    """30 pairs in row groups of at most 4, so that there are several."""
    small = dict(vars(PAIRS))
    object.__setattr__(PAIRS, "group_rows", 4)
    try:
        config = PairsConfig(estimator=ESTIMATOR, test_share=0.3)
        return build_pairs(open_source(pictures), tmp_path_factory.mktemp("pairs") / "out", config).out
    finally:
        object.__setattr__(PAIRS, "group_rows", small["group_rows"])


def test_pairs_come_in_any_order_as_they_come_in_turn(folder, monkeypatch):
    monkeypatch.setattr(dataset_module, "_CACHED_GROUPS", 2)
    monkeypatch.setattr(dataset_module, "_OPEN_FILES", 1)
    data = PairDataset(folder)
    in_turn = [data[index] for index in range(len(data))]
    assert [pair.pair_id for pair in in_turn] == data.pair_ids()
    for index in np.random.default_rng(0).permutation(len(data)):
        pair = data[int(index)]
        assert pair.pair_id == in_turn[index].pair_id
        np.testing.assert_array_equal(pair.image, in_turn[index].image)
        np.testing.assert_array_equal(pair.depth.values, in_turn[index].depth.values)
        np.testing.assert_array_equal(data.image(int(index)), pair.image)
    assert len(data._groups) <= 2
    assert len(data._files) == 1


def test_splits_share_nothing_and_are_everything(folder):
    train, test, everything = PairDataset(folder, "train"), PairDataset(folder, "test"), PairDataset(folder)
    assert train.pair_ids() + test.pair_ids() == everything.pair_ids()
    assert len(train) + len(test) == len(everything) == 30
    assert set(train.column("split")) == {"train"}
    assert everything.scene_ids() == [""] * 30
    with pytest.raises(SdvlmError, match="no split 'val'"):
        PairDataset(folder, "val")


def test_numbers_count_from_both_ends_and_end(folder):
    data = PairDataset(folder)
    assert data[-1].pair_id == data[len(data) - 1].pair_id == data.pair_ids()[-1]
    for wrong in (len(data), -len(data) - 1):
        with pytest.raises(IndexError):
            data[wrong]
    assert len(list(data)) == len(data)


def test_it_travels_to_other_processes_even_when_in_use(folder):
    data = PairDataset(folder, "train")
    first = data[0]
    copy = pickle.loads(pickle.dumps(data))
    np.testing.assert_array_equal(copy[0].image, first.image)

    class Sizes(torch.utils.data.Dataset):
        def __len__(self):
            return len(data)

        def __getitem__(self, index):
            return index, float(np.nansum(data[index].depth.values))

    loaded = dict(DataLoader(Sizes(), batch_size=None, num_workers=2, shuffle=True, multiprocessing_context="fork"))
    assert loaded == {index: float(np.nansum(data[index].depth.values)) for index in range(len(data))}


def test_a_folder_that_holds_no_finished_pairs_is_refused(folder, tmp_path):
    with pytest.raises(SdvlmError, match="no finished build; wanted the OUT folder of sdvlm pairs"):
        PairDataset(tmp_path)
    shutil.copytree(folder, tmp_path / "other")
    manifest = tmp_path / "other" / "manifest.json"
    manifest.write_text(manifest.read_text().replace("sdvlm-pairs-1", "sdvlm-built-1"))
    with pytest.raises(SdvlmError, match=r"is of format 'sdvlm-built-1'; wanted 'sdvlm-pairs-1', the OUT .* sdvlm pai"):
        PairDataset(tmp_path / "other")


def test_a_damaged_or_missing_shard_is_named(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "out")
    shard = next((tmp_path / "out" / "data").glob("train*"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-20])
    with pytest.raises(SdvlmError, match=rf"{shard.name}: is cut short, damaged"):
        PairDataset(tmp_path / "out", "train")[0]
    shard.unlink()
    with pytest.raises(SdvlmError, match=rf"{shard.name}: no such file"):
        PairDataset(tmp_path / "out", "train").pair_ids()
    other = next((tmp_path / "out" / "data").glob("test*"))
    shard.write_bytes(other.read_bytes())
    with pytest.raises(SdvlmError, match="is not the file of the manifest"):
        PairDataset(tmp_path / "out", "train")[0]


def metres(low, high, size=(9, 7)):
    values = np.random.default_rng(1).uniform(low, high, (size[1], size[0]))
    values[0, 0] = np.nan
    return values


@pytest.mark.parametrize(
    ("depth", "encoding", "tolerance"),
    [
        (DepthMap(metres(0.3, 60), source="kinect"), "png_mm", {"atol": 0.00051}),
        (DepthMap(metres(0.3, 200), source="lidar"), "npz_f16", {"rtol": 0.001}),
        (DepthMap(metres(-3, 5), DepthKind.RELATIVE, "marigold"), "npz_f16", {"rtol": 0.001, "atol": 1e-4}),
        (DepthMap(metres(0, 3000), DepthKind.DISPARITY, "midas"), "npz_f16", {"rtol": 0.001, "atol": 1e-4}),
        (DepthMap(metres(0, 9e6), DepthKind.DISPARITY, "odd"), "npz_f32", {"rtol": 1e-6}),
        (DepthMap(np.full((7, 9), np.nan)), "png_mm", {}),
    ],
)
def test_depth_comes_back_with_its_kind_source_and_holes(depth, encoding, tolerance):
    data, told = depth_bytes(depth)
    assert told == encoding
    assert depth_bytes(depth)[0] == data
    row = {"depth": data, "depth_encoding": told, "kind": str(depth.kind), "depth_source": depth.source}
    back = depth_of(row)
    assert (back.kind, back.source) == (depth.kind, depth.source)
    np.testing.assert_array_equal(back.valid, depth.valid)
    np.testing.assert_allclose(back.values, depth.values, **tolerance)


def a_row(**changes):
    camera = Camera(48, 40, 50.0, 51.0, 23.5, 19.0)
    pair = Pair("a/b.png", "scene", smooth(0), DepthMap(np.full((40, 48), 2.0), source="kinect"), camera)
    common = {"licence": "MIT", "camera_estimated": True, "phash": 2**64 - 5, "split": "train"}
    return pair, row_of(pair, encode_picture(pair.image), **common) | changes


def test_a_pair_comes_back_from_its_row():
    pair, row = a_row()
    back = pair_of(row)
    assert (back.pair_id, back.scene_id, back.camera) == (pair.pair_id, pair.scene_id, pair.camera)
    np.testing.assert_array_equal(back.image, pair.image)
    assert row["phash"] % 2**64 == 2**64 - 5  # stored as a signed number
    assert set(row) == set(PAIRS.schema().names)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"image": b"JFIF"}, "a/b.png: the picture is in no format"),
        ({"depth": b"x"}, "a/b.png: the depth is no PNG"),
        ({"depth": b"x", "depth_encoding": "npz_f16"}, "a/b.png: the depth is damaged"),
        ({"camera": {"fx": 1}}, "the row is not as sdvlm pairs writes it"),
        ({"image": encode_picture(smooth(0)[:-1])}, "a/b.png: depth is for 48x40 pixels but the image is 48x39"),
    ],
)
def test_a_damaged_row_is_told_with_its_id(changes, said):
    with pytest.raises(SdvlmError, match=said):
        pair_of(a_row(**changes)[1])


def test_a_row_that_lacks_a_column_is_told():
    row = a_row()[1]
    del row["image"]
    with pytest.raises(SdvlmError, match="the row has no 'image'"):
        pair_of(row)


def test_a_picture_is_written_small_or_without_loss():
    image = smooth(3)
    assert np.abs(decoded(picture_bytes(image, 95)).astype(int) - image).mean() < 2
    np.testing.assert_array_equal(decoded(picture_bytes(image, 0)), image)


def decoded(data):
    return np.asarray(Image.open(io.BytesIO(data)))
