import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sdvlm.depth.codes import spatialbot_encode, sunrgbd_encode
from sdvlm.depth.io import read_depth, write_depth
from sdvlm.types import DepthKind, DepthMap, SdvlmError

from .depth_files import refused, room_m, same, save_png

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data" / "real_rgbd"


# what a file holds when nobody says


def test_a_16_bit_png_is_millimetres_and_keeps_all_16_bits(tmp_path: Path) -> None:
    stored = np.arange(1000, 5800, dtype=np.uint16).reshape(60, 80)
    stored[0, 0], stored[0, 1] = 0, 65535
    depth = read_depth(save_png(tmp_path / "d.png", stored))
    assert depth.kind is DepthKind.METRIC
    expected = stored / 1000.0
    expected[0, :2] = np.nan  # 0 and the sensor's maximum are unknown
    same(depth, expected)
    assert len(np.unique(depth.values[depth.valid])) == 4798


@pytest.mark.parametrize("scale", [0.0002, 1 / 256, 0.001])
def test_a_scale_turns_stored_units_into_metres(tmp_path: Path, scale: float) -> None:
    stored = np.arange(300, 812, dtype=np.uint16).reshape(16, 32)
    same(read_depth(save_png(tmp_path / "d.png", stored), scale_to_m=scale), stored * scale)


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_float_npy_is_metres_in_any_byte_and_memory_order(tmp_path: Path, dtype: str, order: str) -> None:
    values = room_m().astype(dtype, order=order)
    np.save(tmp_path / "d.npy", values)
    same(read_depth(tmp_path / "d.npy"), values.astype(np.float32))


def test_uint16_npy_follows_the_rule_of_uint16_png(tmp_path: Path) -> None:
    stored = np.arange(1000, 3048, dtype=">u2").reshape(32, 64)
    np.save(tmp_path / "d.npy", stored)
    same(read_depth(tmp_path / "d.npy"), stored / 1000.0)


def test_npz_is_read_from_key_depth_or_from_its_only_key(tmp_path: Path) -> None:
    values = room_m().astype(np.float32)
    np.savez(tmp_path / "a.npz", depth=values, rgb=np.zeros((2, 2, 3)))
    np.savez_compressed(tmp_path / "b.npz", values[None])
    same(read_depth(tmp_path / "a.npz"), values)
    same(read_depth(tmp_path / "b.npz"), values)
    np.savez(tmp_path / "c.npz", left=values, right=values)
    refused(tmp_path / "c.npz", "holds left, right; wanted an array named depth")


def test_float_and_16_bit_tiff_are_read(tmp_path: Path) -> None:
    values = room_m().astype(np.float32)
    Image.fromarray(values).save(tmp_path / "f.tif")
    same(read_depth(tmp_path / "f.tif"), values)
    stored = np.arange(1000, 3048, dtype=np.uint16).reshape(32, 64)
    Image.fromarray(stored).save(tmp_path / "u.tiff")
    same(read_depth(tmp_path / "u.tiff"), stored / 1000.0)


def test_the_format_is_told_by_content_not_by_name(tmp_path: Path) -> None:
    stored = np.arange(1000, 3048, dtype=np.uint16).reshape(32, 64)
    Image.fromarray(stored).save(tmp_path / "d.depth", format="PNG")
    same(read_depth(tmp_path / "d.depth"), stored / 1000.0)


# codes


def test_sunrgbd_files_are_decoded_and_clipped_at_8_metres(tmp_path: Path) -> None:
    depth_mm = np.linspace(500, 9500, 4800).astype(np.uint16).reshape(60, 80)
    depth_mm[0] = 0
    path = save_png(tmp_path / "d.png", sunrgbd_encode(depth_mm))
    expected = np.where(depth_mm == 0, np.nan, np.minimum(depth_mm, 8000) / 1000)
    same(read_depth(path, codec="sunrgbd"), expected)


def test_sunrgbd_files_are_refused_as_millimetres_unless_one_insists(tmp_path: Path) -> None:
    depth_mm = np.linspace(500, 7500, 4800).astype(np.uint16).reshape(60, 80)
    path = save_png(tmp_path / "d.png", sunrgbd_encode(depth_mm))
    refused(path, "SUN RGB-D.*codec='sunrgbd'")
    assert np.nanmedian(read_depth(path, codec="png").values) == pytest.approx(8 * 4.0, rel=0.01)


def test_spatialbots_three_channels_are_decoded_exactly(tmp_path: Path) -> None:
    depth_mm = np.linspace(400, 60_000, 4800).astype(np.uint16).reshape(60, 80)
    path = save_png(tmp_path / "d.png", spatialbot_encode(depth_mm))
    same(read_depth(path, codec="spatialbot"), depth_mm / 1000.0)
    refused(path, "colour picture.*codec='spatialbot'")


def test_a_codec_that_is_not_the_files_is_refused(tmp_path: Path) -> None:
    grey = save_png(tmp_path / "g.png", np.full((8, 8), 1500, dtype=np.uint16))
    refused(grey, "three 8-bit channels", codec="spatialbot")
    refused(grey, "is png, not npy", codec="npy")
    with pytest.raises(SdvlmError, match=r"unknown depth codec 'exr'; known: png"):
        read_depth(grey, codec="exr")
    picture = save_png(tmp_path / "rgb.png", np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8))
    refused(picture, "not SpatialBot's depth code", codec="spatialbot")
    refused(picture, "must be uint16", codec="sunrgbd")


# round trips


@settings(max_examples=30, deadline=None)
@given(
    units=st.lists(st.integers(0, 65534), min_size=6, max_size=6),
    scale=st.sampled_from([0.001, 0.0002, 1 / 256, 0.01]),
)
def test_png_round_trip_is_exact_on_its_own_raster(
    tmp_path_factory: pytest.TempPathFactory, units: list[int], scale: float
) -> None:
    values = np.array([*units, 2.5 // scale, 3 // scale, 2 // scale, *[2.75 // scale] * 9]).reshape(3, 6) * scale
    path = tmp_path_factory.mktemp("png") / "d.png"
    depth = DepthMap(np.where(values > 0, values, np.nan), source="sensor 7")
    again = read_depth(write_depth(path, depth, scale_to_m=scale))
    same(again, depth.values)
    assert (again.kind, again.source) == (DepthKind.METRIC, "sensor 7")


@pytest.mark.parametrize("suffix", [".npz", ".tif", ".tiff"])
@pytest.mark.parametrize("kind", list(DepthKind))
def test_float_files_keep_every_bit_the_kind_and_the_source(tmp_path: Path, suffix: str, kind: DepthKind) -> None:
    values = np.random.default_rng(1).uniform(0.5, 90, (7, 9)).astype(np.float32)
    values[2, 3] = np.nan
    depth = DepthMap(values, kind, "estimator x")
    again = read_depth(write_depth(tmp_path / f"d{suffix}", depth))
    np.testing.assert_array_equal(again.values, depth.values)
    assert (again.kind, again.source) == (kind, "estimator x")


@pytest.mark.parametrize("codec", ["sunrgbd", "spatialbot"])
def test_codes_round_trip_through_a_file(tmp_path: Path, codec: str) -> None:
    depth = DepthMap(np.where(np.isnan(room_m()), np.nan, np.round(room_m(), 3)))
    same(read_depth(write_depth(tmp_path / "d.png", depth, codec=codec), codec=codec), depth.values)


def test_metric_npy_round_trips(tmp_path: Path) -> None:
    depth = DepthMap(room_m())
    same(read_depth(write_depth(tmp_path / "deep" / "er" / "d.npy", depth)), depth.values)


def test_writing_refuses_what_a_format_cannot_hold(tmp_path: Path) -> None:
    far = DepthMap(np.full((2, 2), 65.536))
    with pytest.raises(SdvlmError, match=r"65\.54 m does not fit 16 bits at 0\.001"):
        write_depth(tmp_path / "d.png", far)
    same(read_depth(write_depth(tmp_path / "d.png", far, scale_to_m=0.002)), far.values)
    relative = DepthMap(np.ones((2, 2)), DepthKind.DISPARITY)
    with pytest.raises(SdvlmError, match=r"this map is disparity; write \.npz"):
        write_depth(tmp_path / "r.png", relative)
    with pytest.raises(SdvlmError, match=r"got \.jpg"):
        write_depth(tmp_path / "d.jpg", far)
    assert [path.name for path in tmp_path.iterdir()] == ["d.png"]


def test_known_depth_stays_known_however_near(tmp_path: Path) -> None:
    depth = DepthMap(np.array([[0.0001, 2.0], [np.nan, 2.0]]))
    same(read_depth(write_depth(tmp_path / "d.png", depth)), np.array([[0.001, 2.0], [np.nan, 2.0]]))


def test_maps_without_a_valid_pixel_are_refused(tmp_path: Path) -> None:
    refused(save_png(tmp_path / "z.png", np.zeros((4, 5), dtype=np.uint16)), "0 valid pixels of 20")
    np.save(tmp_path / "n.npy", np.full((4, 4), np.nan))
    refused(tmp_path / "n.npy", "0 valid pixels of 16")


def test_a_foreign_tiff_description_is_ignored_and_a_broken_note_of_ours_is_refused(tmp_path: Path) -> None:
    values = room_m().astype(np.float32)
    Image.fromarray(values).save(tmp_path / "a.tif", description="made by a camera")
    same(read_depth(tmp_path / "a.tif"), values)
    Image.fromarray(values).save(tmp_path / "b.tif", description=json.dumps({"sdvlm_depth": {"kind": "wrong"}}))
    refused(tmp_path / "b.tif", "its note about depth cannot be read")


# real data


def real_depth_files() -> list[Path]:
    return sorted(SHARED.glob("*/*/depth.png"))


@pytest.mark.skipif(not SHARED.exists(), reason="the shared real RGB-D frames are not here")
def test_every_real_depth_png_reads_as_its_description_says(tmp_path: Path) -> None:
    files = real_depth_files()
    assert files
    for path in files:
        meta = json.loads(path.with_name("meta.json").read_text())
        depth = read_depth(path)
        assert depth.kind is DepthKind.METRIC
        assert depth.size == (meta["width"], meta["height"])
        assert depth.valid.mean() == pytest.approx(meta["depth_valid_fraction"], abs=1e-3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stored = np.asarray(Image.open(path)).astype(np.float64)
        np.testing.assert_allclose(depth.values[depth.valid], stored[stored > 0] / 1000, rtol=1e-6)
        again = write_depth(tmp_path / "again.png", depth)
        np.testing.assert_array_equal(read_depth(again).values, depth.values)
        shifted = save_png(tmp_path / "shifted.png", sunrgbd_encode(np.minimum(stored, 8000).astype(np.uint16)))
        if depth.values[depth.valid].max() < 20:  # indoors: the shift must be noticed on real depth
            refused(shifted, "SUN RGB-D")


@pytest.mark.skipif(not SHARED.exists(), reason="the shared real RGB-D frames are not here")
def test_every_real_sparse_file_reads_at_its_image_size() -> None:
    files = sorted(SHARED.glob("*/*/sparse_depth.json"))
    assert files
    for path in files:
        meta = json.loads(path.with_name("meta.json").read_text())
        depth = read_depth(path, size=(meta["width"], meta["height"]))
        points = np.array(json.loads(path.read_text()))
        assert 0 < depth.valid.sum() <= len(points)
        assert np.isin(depth.values[depth.valid], points[:, 2].astype(np.float32)).all()
