import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdvlm.depth.codes import spatialbot_encode, sunrgbd_encode
from sdvlm.depth.inspect import inspect_depth
from sdvlm.depth.io import write_depth
from sdvlm.types import DepthKind, DepthMap, SdvlmError

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data" / "real_rgbd"
RAMP_MM = np.linspace(1000, 5000, 4800).astype(np.uint16).reshape(60, 80)


def save_png(path: Path, stored: np.ndarray) -> Path:
    Image.fromarray(stored).save(path)
    return path


def test_a_millimetre_png_is_described_with_its_facts(tmp_path: Path) -> None:
    stored = RAMP_MM[::-1].copy()  # far at the top, as rooms are
    stored[:15] = 0
    report = inspect_depth(save_png(tmp_path / "d.png", stored))
    assert (report.format, report.dtype, report.width, report.height) == ("png", "uint16", 80, 60)
    assert (report.stored_min, report.stored_max, report.holes) == (1000, stored[15:].max(), 0.25)
    assert (report.encoding, report.kind) == ("uint16 millimetres", DepthKind.METRIC)
    assert (report.near_m, report.far_m) == pytest.approx((1.0, stored[15:].max() / 1000))
    assert report.median_m == pytest.approx(np.median(stored[15:]) / 1000)
    assert "KITTI's 1/256 m (--depth-scale 0.00390625)" in report.suggestions[0]


@pytest.mark.parametrize(
    ("stored", "encoding", "kind", "suggestion"),
    [
        (sunrgbd_encode(RAMP_MM), "SUN RGB-D bit shift", DepthKind.METRIC, "codec='sunrgbd'"),
        (spatialbot_encode(RAMP_MM), "SpatialBot three-channel code", DepthKind.METRIC, "codec='spatialbot'"),
        ((RAMP_MM // 20).astype(np.uint8), "8-bit picture of depth (a visualisation)", None, "a visualisation"),
        (
            np.repeat((RAMP_MM // 20).astype(np.uint8)[..., None], 3, axis=2),
            "8-bit picture of depth (a visualisation)",
            None,
            "export the map itself",
        ),
        (np.linspace(0, 65535, 4800).astype(np.uint16).reshape(60, 80), "stretched for viewing", None, "disparity"),
        ((RAMP_MM // 20).astype(np.uint16) * 257, "stretched for viewing", None, "disparity"),
    ],
)
def test_encodings_of_pngs_are_recognised(
    tmp_path: Path, stored: np.ndarray, encoding: str, kind: DepthKind | None, suggestion: str
) -> None:
    report = inspect_depth(save_png(tmp_path / "d.png", stored))
    assert (report.encoding, report.kind) == (encoding, kind)
    assert suggestion in " ".join(report.suggestions)
    assert report.median_m == (pytest.approx(3.0, abs=0.01) if kind else None)


@pytest.mark.parametrize(
    ("values", "encoding", "suggestion"),
    [
        (RAMP_MM[::-1] / 1000, "float metres", None),
        (RAMP_MM / 1000, "float metres", "larger at the bottom"),
        (RAMP_MM.astype(np.float32), "float millimetres or disparity", "--depth-scale 0.001"),
        (RAMP_MM / 1e6, "floats of unknown unit", "--depth-scale"),
        ((RAMP_MM - 1000) / 4000, "stretched for viewing", "--depth-kind disparity"),
        (RAMP_MM.astype(np.int32), "integers of unknown unit", "--depth-scale"),
    ],
)
def test_arrays_are_recognised(tmp_path: Path, values: np.ndarray, encoding: str, suggestion: str | None) -> None:
    np.save(tmp_path / "d.npy", values)
    report = inspect_depth(tmp_path / "d.npy")
    assert report.encoding == encoding
    assert [suggestion in found for found in report.suggestions] == ([] if suggestion is None else [True])


def test_what_a_file_says_of_itself_is_believed(tmp_path: Path) -> None:
    png = inspect_depth(write_depth(tmp_path / "d.png", DepthMap(RAMP_MM / 1000), scale_to_m=0.0002))
    assert (png.encoding, png.reason) == ("units of 0.0002 m", "the file says so itself")
    assert png.median_m == pytest.approx(3.0, abs=0.01)
    npz = inspect_depth(write_depth(tmp_path / "d.npz", DepthMap(RAMP_MM / 1000, DepthKind.DISPARITY)))
    assert (npz.encoding, npz.kind, npz.median_m) == ("float disparity", DepthKind.DISPARITY, None)


def test_sparse_points_tell_the_smallest_image_that_holds_them(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(json.dumps([[10.4, 3, 2.5], [2, 19.6, 4.5], [1, 1, 0]]))
    report = inspect_depth(tmp_path / "p.json")
    assert (report.format, report.width, report.height) == ("points", 11, 21)
    assert (report.near_m, report.median_m, report.far_m) == (2.5, 3.5, 4.5)
    assert report.holes == pytest.approx(1 / 3)
    (tmp_path / "p.json").write_text("[[1, 1, 0]]")
    with pytest.raises(SdvlmError, match="0 valid points"):
        inspect_depth(tmp_path / "p.json")


def test_an_empty_map_is_described_not_refused(tmp_path: Path) -> None:
    report = inspect_depth(save_png(tmp_path / "d.png", np.zeros((4, 4), dtype=np.uint16)))
    assert (report.holes, report.median_m) == (1.0, None)
    assert "0 valid pixels" in report.suggestions[0]


@pytest.mark.skipif(not SHARED.exists(), reason="the shared real RGB-D frames are not here")
def test_every_real_depth_file_is_told_as_what_it_is() -> None:
    files = sorted([*SHARED.glob("*/*/depth.png"), *SHARED.glob("*/*/sparse_depth.json")])
    assert files
    for path in files:
        report = inspect_depth(path)
        assert report.encoding == ("uint16 millimetres" if path.suffix == ".png" else "sparse points")
        assert report.kind is DepthKind.METRIC
        assert report.median_m is not None
        assert 0.3 < report.median_m < 60
