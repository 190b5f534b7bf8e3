import logging
import os
from pathlib import Path

import numpy as np
import pytest

from sdvlm.depth.cache import DepthCache, default_cache_folder, estimate_cached
from sdvlm.depth.estimator import DepthEstimate
from sdvlm.depth.io import read_depth
from sdvlm.types import Camera, DepthKind, DepthMap, SdvlmError


class Brightness:
    """Depth is brightness; keeps count of the pictures it was shown."""

    licence = "MIT"

    def __init__(self, id: str = "brightness", revision: str = "1", kind: DepthKind = DepthKind.METRIC) -> None:
        self.id, self.revision, self.kind = id, revision, kind
        self.uses_camera = False
        self.seen = 0

    def estimate(self, images, cameras=None):  # type: ignore[no-untyped-def]
        self.seen += len(images)
        return [DepthEstimate(DepthMap(1 + image.mean(axis=2) / 50, self.kind, self.id)) for image in images]


class Guessing(Brightness):
    """Works out the camera where none is given."""

    def __init__(self) -> None:
        super().__init__("guessing")
        self.uses_camera = True

    def estimate(self, images, cameras=None):  # type: ignore[no-untyped-def]
        results = []
        for image, camera in zip(images, cameras, strict=True):
            height, width = image.shape[:2]
            used = camera or Camera.from_fov(width, height, 60)
            depth = DepthMap(np.full((height, width), used.fx / 10))
            results.append(DepthEstimate(depth, used, camera_estimated=camera is None))
        self.seen += len(images)
        return results


def picture(seed: int, height: int = 6, width: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def cache(tmp_path: Path) -> DepthCache:
    return DepthCache(tmp_path / "cache")


def test_a_second_call_computes_nothing_and_gives_the_same_maps(cache: DepthCache) -> None:
    images = [picture(0), picture(1, 9, 5), picture(0)]
    estimator = Brightness()
    first = estimate_cached(estimator, images, cache=cache)
    assert estimator.seen == 2  # equal pictures are computed once
    second = estimate_cached(estimator, images, cache=DepthCache(cache.folder))
    assert estimator.seen == 2
    for image, one, two in zip(images, first, second, strict=True):
        np.testing.assert_allclose(one.depth.values, 1 + image.mean(axis=2) / 50, rtol=1e-6)
        np.testing.assert_array_equal(one.depth.values, two.depth.values)
        assert (two.depth.kind, two.depth.source) == (DepthKind.METRIC, "brightness")


def test_only_what_is_missing_is_computed(cache: DepthCache) -> None:
    estimator = Brightness()
    estimate_cached(estimator, [picture(0), picture(1)], cache=cache)
    found = estimate_cached(estimator, [picture(2), picture(1), picture(3)], cache=cache)
    assert estimator.seen == 4
    np.testing.assert_allclose(found[0].depth.values, 1 + picture(2).mean(axis=2) / 50, rtol=1e-6)


def test_the_key_follows_content_estimator_revision_and_kind(cache: DepthCache) -> None:
    image, turned = picture(0, 6, 8), picture(0, 6, 8).reshape(8, 6, 3)
    changed = image.copy()
    changed[0, 0, 0] ^= 1
    keys = {
        cache.key(image, Brightness()),
        cache.key(changed, Brightness()),
        cache.key(turned, Brightness()),
        cache.key(image, Brightness("other")),
        cache.key(image, Brightness(revision="2")),
        cache.key(image, Brightness(kind=DepthKind.DISPARITY)),
    }
    assert len(keys) == 6
    assert cache.key(np.asfortranarray(image), Brightness()) == cache.key(image, Brightness())


def test_the_camera_counts_only_for_estimators_that_use_it(cache: DepthCache) -> None:
    image, camera = picture(0), Camera.from_fov(8, 6, 60)
    assert cache.key(image, Brightness(), camera) == cache.key(image, Brightness())
    assert cache.key(image, Guessing(), camera) != cache.key(image, Guessing())


def test_guessed_cameras_are_kept_and_given_ones_are_the_callers(cache: DepthCache) -> None:
    wide, narrow = Camera.from_fov(8, 6, 90), Camera.from_fov(8, 6, 30)
    for _ in range(2):
        guessed, given = estimate_cached(Guessing(), [picture(0)] * 2, [None, wide], cache)
        assert guessed.camera == Camera.from_fov(8, 6, 60)
        assert guessed.camera_estimated
        assert given.camera == wide
        assert not given.camera_estimated
        assert given.depth.values[0, 0] == np.float32(wide.fx / 10)
    for camera in (wide, narrow, None):  # one entry, whatever the camera
        assert estimate_cached(Brightness(), [picture(0)], [camera], cache)[0].camera == camera


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text", "not a map"])
def test_a_damaged_entry_is_computed_again(cache: DepthCache, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    estimator, image = Brightness(), picture(0, 40, 40)
    expected = estimate_cached(estimator, [image], cache=cache)[0].depth.values
    path = cache.path(cache.key(image, estimator))
    data = bytearray(path.read_bytes())
    if damage == "cut":
        data = data[: len(data) // 2]
    elif damage == "flip":
        data[len(data) // 2] ^= 255
    elif damage == "empty":
        data = bytearray()
    elif damage == "text":
        data = bytearray(b"hello")
    path.write_bytes(data)
    if damage == "not a map":
        np.savez(path, depth=np.zeros(3))
    with caplog.at_level(logging.WARNING):
        found = estimate_cached(estimator, [image], cache=cache)[0].depth.values
    assert "is damaged and will be computed again" in caplog.text
    assert estimator.seen == 2
    np.testing.assert_array_equal(found, expected)
    estimate_cached(estimator, [image], cache=cache)
    assert estimator.seen == 2


def test_an_entry_is_a_depth_file_that_says_its_kind(cache: DepthCache) -> None:
    estimator = Brightness(kind=DepthKind.DISPARITY)
    estimate_cached(estimator, [picture(0)], cache=cache)
    depth = read_depth(cache.path(cache.key(picture(0), estimator)))
    assert (depth.kind, depth.source) == (DepthKind.DISPARITY, "brightness")


def test_a_bounded_cache_drops_the_least_recently_used(tmp_path: Path) -> None:
    estimator = Brightness()
    probe = DepthCache(tmp_path / "probe")
    estimate_cached(estimator, [picture(0)], cache=probe)
    size = probe.path(probe.key(picture(0), estimator)).stat().st_size
    cache = DepthCache(tmp_path / "bounded", max_bytes=3 * size + size // 2)
    keys = [cache.key(picture(seed), estimator) for seed in range(5)]
    for seed in range(3):
        estimate_cached(estimator, [picture(seed)], cache=cache)
        os.utime(cache.path(keys[seed]), (1000 + seed, 1000 + seed))
    estimate_cached(estimator, [picture(0)], cache=cache)  # used again: now the youngest
    estimate_cached(estimator, [picture(3)], cache=cache)
    assert [cache.path(key).exists() for key in keys] == [True, False, True, True, False]
    estimate_cached(estimator, [picture(4)], cache=cache)
    assert [cache.path(key).exists() for key in keys] == [True, False, False, True, True]


def test_the_folder_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SDVLM_CACHE", str(tmp_path))
    assert default_cache_folder() == tmp_path / "depth"
    monkeypatch.delenv("SDVLM_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache_folder() == tmp_path / ".cache" / "sdvlm" / "depth"


def test_nothing_is_written_before_there_is_something_to_keep(cache: DepthCache) -> None:
    assert cache.get(cache.key(picture(0), Brightness())) is None
    assert not cache.folder.exists()


def test_counts_that_disagree_are_refused(cache: DepthCache) -> None:
    with pytest.raises(SdvlmError, match="got 1 images and 2 cameras"):
        estimate_cached(Brightness(), [picture(0)], [None, None], cache)
    with pytest.raises(SdvlmError, match="max_bytes must not be negative"):
        DepthCache(max_bytes=-1)
