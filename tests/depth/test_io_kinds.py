"""Reading refuses what does not hold what it is taken for."""

from pathlib import Path

import numpy as np
import pytest

from sdvlm.depth.io import read_depth, write_depth
from sdvlm.types import DepthKind, DepthMap, SdvlmError

from .depth_files import refused, room_m, same, save_png


def test_a_file_that_says_disparity_is_refused_as_metric_by_its_own_word(tmp_path: Path) -> None:
    disparity = DepthMap(np.linspace(1, 9, 48).reshape(6, 8), DepthKind.DISPARITY)
    for name in ("d.npz", "d.tif"):
        path = write_depth(tmp_path / name, disparity)
        refused(path, "says of itself that it holds disparity, but metric.*--depth-kind disparity", kind="metric")
        assert read_depth(path, kind="disparity").kind is DepthKind.DISPARITY


def test_an_array_named_disparity_is_disparity(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", disparity=np.linspace(1, 9, 48).reshape(6, 8))
    assert read_depth(tmp_path / "d.npz").kind is DepthKind.DISPARITY
    refused(tmp_path / "d.npz", "holds disparity", kind="metric")


@pytest.mark.parametrize("top", [1.0, 255.0])
@pytest.mark.parametrize("kind", [None, "metric"])
def test_min_max_normalised_floats_are_refused_as_metres(tmp_path: Path, top: float, kind: str | None) -> None:
    values = np.linspace(0, top, 4800).reshape(60, 80).astype(np.float32)
    np.save(tmp_path / "d.npy", values)
    refused(tmp_path / "d.npy", f"span exactly 0..{top:g}.*--depth-kind disparity", kind=kind)
    disparity = read_depth(tmp_path / "d.npy", kind="disparity")
    np.testing.assert_array_equal(disparity.values, values)
    assert disparity.valid.all()  # 0 is far, not a hole
    if top == 1.0:  # a scale vouches for the numbers
        same(read_depth(tmp_path / "d.npy", scale_to_m=10.0), np.where(values > 0, values * 10, np.nan))


def test_a_16_bit_png_stretched_over_its_range_is_refused_as_metres(tmp_path: Path) -> None:
    stored = np.linspace(0, 65535, 4800).astype(np.uint16).reshape(60, 80)
    path = save_png(tmp_path / "d.png", stored)
    refused(path, "span exactly 0..65535")
    depth = read_depth(path, kind="disparity")
    assert depth.values[-1, -1] == 65535  # the nearest point, not a sensor limit


def test_millimetres_in_a_float_file_are_refused_with_the_scale_as_fix(tmp_path: Path) -> None:
    np.save(tmp_path / "d.npy", (room_m() * 1000).astype(np.float32))
    refused(tmp_path / "d.npy", "median would be 3.* not metres.*--depth-scale")
    same(read_depth(tmp_path / "d.npy", scale_to_m=0.001), room_m(), atol=1e-6)


def test_a_scale_that_gives_absurd_metres_is_refused(tmp_path: Path) -> None:
    path = save_png(tmp_path / "d.png", np.arange(1000, 3048, dtype=np.uint16).reshape(32, 64))
    refused(path, "median would be 2023.5 m", scale_to_m=1.0)
    refused(path, "the unit is wrong", scale_to_m=1e-6)
    for scale in (0.0, -1.0, float("nan")):
        with pytest.raises(SdvlmError, match="positive number of metres"):
            read_depth(path, scale_to_m=scale)


def test_8_bit_pictures_are_refused_unless_kind_or_scale_is_given(tmp_path: Path) -> None:
    stored = np.arange(256, dtype=np.uint8).reshape(16, 16)
    path = save_png(tmp_path / "d.png", stored)
    refused(path, "8 bits a pixel: a picture of depth")
    refused(path, "8 bits a pixel", kind="metric")
    same(read_depth(path, scale_to_m=0.05), np.where(stored > 0, stored * 0.05, np.nan))
    assert read_depth(path, kind="disparity").kind is DepthKind.DISPARITY


def test_floats_that_grow_downwards_are_read_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    inverse = 1 / np.linspace(6, 1, 60)[:, None] * np.ones((1, 80))
    np.save(tmp_path / "d.npy", inverse)
    for kind, warned in ((None, True), ("metric", True), ("disparity", False)):
        caplog.clear()
        read_depth(tmp_path / "d.npy", kind=kind)
        assert ("as inverse depth is" in caplog.text) is warned


def test_a_scale_against_the_files_own_word_is_refused(tmp_path: Path) -> None:
    path = write_depth(tmp_path / "d.png", DepthMap(room_m()), scale_to_m=0.0002)
    refused(path, "a unit is 0.0002 m, but 0.001 was given", scale_to_m=0.001)
    same(read_depth(path, scale_to_m=0.0002), room_m(), atol=1.01e-4)


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SdvlmError, match="unknown depth kind 'inverse'; known: metric, relative, disparity"):
        read_depth(tmp_path / "d.png", kind="inverse")
