import io
import json
import struct
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sdvlm.depth.codes import spatialbot_encode, sunrgbd_encode
from sdvlm.depth.io import read_depth, write_depth
from sdvlm.types import DepthKind, DepthMap, SdvlmError

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data" / "real_rgbd"


def room_m(height: int = 48, width: int = 64) -> np.ndarray:
    """Metres between 1 and 6 on a 0.1 mm raster, with a hole."""
    depth = np.round(1 + 5 * np.linspace(0, 1, height * width).reshape(height, width), 4)
    depth[5:9, 6:20] = np.nan
    return depth


def save_png(path: Path, stored: np.ndarray) -> Path:
    Image.fromarray(stored).save(path)
    return path


def same(depth: DepthMap, expected: np.ndarray, atol: float = 0.0) -> None:
    np.testing.assert_array_equal(depth.valid, ~np.isnan(expected))
    np.testing.assert_allclose(depth.values, expected.astype(np.float32), rtol=1e-6, atol=atol)


def refused(path: Path, match: str, **options: object) -> None:
    """Reading is refused with one line that names the file."""
    with pytest.raises(SdvlmError, match=match) as caught:
        read_depth(path, **options)
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)


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


# kinds


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


def test_a_scale_against_the_files_own_word_is_refused(tmp_path: Path) -> None:
    path = write_depth(tmp_path / "d.png", DepthMap(room_m()), scale_to_m=0.0002)
    refused(path, "a unit is 0.0002 m, but 0.001 was given", scale_to_m=0.001)
    same(read_depth(path, scale_to_m=0.0002), room_m(), atol=1.01e-4)


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SdvlmError, match="unknown depth kind 'inverse'; known: metric, relative, disparity"):
        read_depth(tmp_path / "d.png", kind="inverse")


# damaged files


def test_missing_empty_and_foreign_files_are_refused_in_one_line(tmp_path: Path) -> None:
    refused(tmp_path / "none.png", "no such file")
    (tmp_path / "empty.png").touch()
    refused(tmp_path / "empty.png", r"empty \(0 bytes\)")
    refused(tmp_path, "is a folder")
    (tmp_path / "x.png").write_bytes(b"hello there")
    refused(tmp_path / "x.png", "no known depth format; wanted 16-bit PNG")
    (tmp_path / "x.exr").write_bytes(b"v/1\x01" + bytes(40))
    refused(tmp_path / "x.exr", "is EXR, which is not read here")
    Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save(tmp_path / "x.jpg")
    refused(tmp_path / "x.jpg", "JPEG, which rounds depth away")


@pytest.mark.parametrize("suffix", [".png", ".npz", ".npy", ".tif"])
@pytest.mark.parametrize("keep", [20, 0.3, 0.9])
def test_files_cut_short_are_refused_in_one_line(tmp_path: Path, suffix: str, keep: float) -> None:
    rng = np.random.default_rng(0)
    whole = write_depth(tmp_path / f"whole{suffix}", DepthMap(rng.uniform(1, 5, (60, 80))))
    data = whole.read_bytes()
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(data[: int(keep) if keep > 1 else int(len(data) * keep)])
    refused(cut, "damaged or cut short|depth format")


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_damage_to_a_png_escapes_as_another_exception(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    whole = bytearray(write_depth(folder / "d.png", DepthMap(room_m(12, 16))).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(8, len(whole) - 1))] = data.draw(st.integers(0, 255))
    (folder / "d.png").write_bytes(bytes(whole))
    outcome: object
    try:
        outcome = read_depth(folder / "d.png")
    except SdvlmError as error:
        outcome = str(error)
    assert isinstance(outcome, DepthMap) or "\n" not in str(outcome)


def test_pickled_arrays_are_never_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "d.npy", np.array([[{"a": 1}]], dtype=object), allow_pickle=True)
    refused(tmp_path / "d.npy", "pickled Python objects, which are never loaded")
    np.savez(tmp_path / "d.npz", depth=np.array([[None]], dtype=object))
    refused(tmp_path / "d.npz", "pickled Python objects")


def test_files_that_claim_absurd_sizes_are_refused_before_decoding(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 16, 0, 0, 0, 0)
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + header + bytes(4))
    refused(tmp_path / "bomb.png", "60000x60000 is more than 80,000,000 pixels")
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": (90_000, 90_000)})
    (tmp_path / "bomb.npy").write_bytes(stream.getvalue())
    refused(tmp_path / "bomb.npy", "more than 80,000,000 values")
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w") as archive:
        archive.writestr("depth.npy", stream.getvalue())
    refused(tmp_path / "bomb.npz", "more than 80,000,000 values")


def test_pictures_with_other_contents_are_named(tmp_path: Path) -> None:
    refused(save_png(tmp_path / "a.png", np.zeros((4, 4, 4), dtype=np.uint8)), "4 channels")
    Image.fromarray(np.zeros((4, 4), dtype=np.uint8)).convert("P").save(tmp_path / "p.png")
    refused(tmp_path / "p.png", "palette picture")
    Image.fromarray(np.ones((4, 4), dtype=bool)).save(tmp_path / "m.png")
    refused(tmp_path / "m.png", "a mask, not depth")
    np.save(tmp_path / "c.npy", np.ones((4, 4, 3)))
    refused(tmp_path / "c.npy", r"shape \(4, 4, 3\); wanted numbers of shape \(height, width\)")
    np.save(tmp_path / "i.npy", np.full((4, 4), 7))
    refused(tmp_path / "i.npy", "int64 numbers of unknown unit")
    np.save(tmp_path / "n.npy", np.full((4, 4), -7, dtype=np.int16))
    refused(tmp_path / "n.npy", "negative numbers", scale_to_m=0.001)
    frames = [Image.fromarray(np.full((4, 4), 2.0, dtype=np.float32)) for _ in range(2)]
    frames[0].save(tmp_path / "t.tif", save_all=True, append_images=frames[1:])
    refused(tmp_path / "t.tif", "holds 2 pages")


def test_16_bit_colour_png_is_refused_because_it_would_be_cut_to_8_bits(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)
    (tmp_path / "c.png").write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + header + bytes(4))
    refused(tmp_path / "c.png", "16-bit PNG with several channels")


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
