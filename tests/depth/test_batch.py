import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdvlm.depth.batch import estimate_files
from sdvlm.depth.cache import DepthCache
from sdvlm.depth.estimator import DepthEstimate
from sdvlm.depth.io import read_depth
from sdvlm.types import Camera, DepthKind, DepthMap, SdvlmError


class Ramp:
    """Depth grows from ``near`` to ``far`` across the picture; remembers the cameras it was given."""

    id, licence = "ramp", "MIT"

    def __init__(self, near: float = 1.0, far: float = 5.0, kind: DepthKind = DepthKind.METRIC) -> None:
        self.near, self.far, self.kind = near, far, kind
        self.groups: list[int] = []
        self.cameras: list[Camera | None] = []

    def estimate(self, images, cameras=None):  # type: ignore[no-untyped-def]
        self.groups.append(len(images))
        self.cameras += list(cameras)
        ramps = [np.linspace(self.near, self.far, image[..., 0].size).reshape(image.shape[:2]) for image in images]
        return [DepthEstimate(DepthMap(ramp, self.kind, self.id)) for ramp in ramps]


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{name}.png" for name in "abc"]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).save(path)
    return paths


def test_metric_maps_become_millimetre_pngs(tmp_path: Path, images: list[Path]) -> None:
    cache = DepthCache(tmp_path / "cache")
    records = list(estimate_files(images, tmp_path / "out", Ramp(), cache=cache))
    assert [Path(record.depth).name for record in records] == ["a.png", "b.png", "c.png"]
    for record in records:
        depth = read_depth(record.depth)
        np.testing.assert_allclose(depth.values, np.linspace(1, 5, 48).reshape(6, 8), atol=0.0005)
        assert (record.width, record.height, record.valid) == (8, 6, 1.0)
        assert (record.near, record.median, record.far) == pytest.approx((1.0, 3.0, 5.0))
        assert (record.kind, record.source, record.licence) == (DepthKind.METRIC, "ramp", "MIT")


def test_maps_without_metres_become_npz_that_say_so(tmp_path: Path, images: list[Path]) -> None:
    estimator = Ramp(0.0, 9.0, DepthKind.DISPARITY)
    record = next(estimate_files(images[:1], tmp_path / "out", estimator, cache=DepthCache(tmp_path / "cache")))
    assert Path(record.depth).name == "a.npz"
    assert read_depth(record.depth).kind is DepthKind.DISPARITY
    with pytest.raises(SdvlmError, match="holds disparity, but metric"):
        read_depth(record.depth, kind="metric")


def test_metres_beyond_16_bits_are_kept_in_npz(
    tmp_path: Path, images: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        record = next(estimate_files(images[:1], tmp_path / "out", Ramp(1, 80), cache=DepthCache(tmp_path / "cache")))
    assert Path(record.depth).suffix == ".npz"
    assert read_depth(record.depth).values.max() == 80
    assert "reaches 80.0 m" in caplog.text


def test_pictures_are_held_a_batch_at_a_time_and_the_cache_is_used(tmp_path: Path, images: list[Path]) -> None:
    estimator, cache = Ramp(), DepthCache(tmp_path / "cache")
    list(estimate_files(images, tmp_path / "out", estimator, cache=cache, batch_size=2))
    assert estimator.groups == [2, 1]
    list(estimate_files(images, tmp_path / "out", estimator, cache=cache, batch_size=2))
    assert estimator.groups == [2, 1]


def test_one_camera_serves_all_pictures(tmp_path: Path, images: list[Path]) -> None:
    estimator = Ramp()
    list(estimate_files(images, tmp_path / "out", estimator, cache=DepthCache(tmp_path / "c"), camera="9,9,3.5,2.5"))
    assert estimator.cameras == [Camera(8, 6, 9, 9, 4, 3)] * 3


def test_two_pictures_of_one_name_are_refused_before_any_work(tmp_path: Path, images: list[Path]) -> None:
    twin = tmp_path / "a.bmp"
    Image.fromarray(np.zeros((6, 8, 3), dtype=np.uint8)).save(twin)
    estimator = Ramp()
    with pytest.raises(SdvlmError, match="would both be written as a; run them apart"):
        list(estimate_files([*images, twin], tmp_path / "out", estimator, cache=DepthCache(tmp_path / "cache")))
    assert estimator.groups == []


def test_pictures_of_one_name_in_several_folders_keep_their_folders(tmp_path: Path, images: list[Path]) -> None:
    frames = [tmp_path / "one" / "rgb.png", tmp_path / "two" / "rgb.png"]
    for image, frame in zip(images, frames, strict=False):
        frame.parent.mkdir()
        image.rename(frame)
    records = list(estimate_files(frames, tmp_path / "out", Ramp(), cache=DepthCache(tmp_path / "cache")))
    assert [record.depth for record in records] == [
        str(tmp_path / "out" / "one" / "rgb.png"),
        str(tmp_path / "out" / "two" / "rgb.png"),
    ]
    assert all(read_depth(record.depth).valid.all() for record in records)


def test_a_picture_is_never_overwritten_by_its_map(tmp_path: Path, images: list[Path]) -> None:
    with pytest.raises(SdvlmError, match="would be overwritten; choose another folder"):
        list(estimate_files(images, tmp_path, Ramp(), cache=DepthCache(tmp_path / "cache")))


def test_a_map_without_a_single_depth_is_an_error(tmp_path: Path, images: list[Path]) -> None:
    with pytest.raises(SdvlmError, match="ramp found no depth in this picture"):
        list(estimate_files(images, tmp_path / "out", Ramp(-2, -1), cache=DepthCache(tmp_path / "cache")))
