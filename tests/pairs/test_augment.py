"""Warped pairs against the geometry they stand for: a textured plane seen by the camera that the warp leaves."""

from dataclasses import replace

import numpy as np
import pytest

from sdvlm.geometry.transform import crop, resize
from sdvlm.pairs.augment import Applied, AugmentConfig, augment
from sdvlm.pairs.record import Pair
from sdvlm.pairs.warp import FLIP, flip, quarter_turn, roll_of, rotate, transform
from sdvlm.types import Camera, DepthKind, DepthMap, SdvlmError

NORMAL = np.array([0.25, -0.35, 0.9])
OFFSET_M = 2.5
HOLE = np.array([0.3, 0.2, 2.6])
HOLE_M = 0.35
CAMERAS = {
    "square": Camera(96, 72, 80.0, 80.0, 48.0, 36.0),
    "off centre": Camera(96, 72, 80.0, 80.0, 39.5, 41.2),
    "oblong pixels": Camera(96, 72, 80.0, 66.0, 45.3, 33.1),
}


def rays(camera):
    u, v = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    return np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones_like(u)], axis=-1)


def seen(camera, change):
    """Depth, colour and hole of the plane's image under ``change``, in a camera: computed from points alone."""
    direction = rays(camera)
    z = OFFSET_M / (direction @ (change @ NORMAL))
    points = (direction * z[..., None]) @ np.linalg.inv(change).T  # where they were before the change
    waves = [np.sin(points @ np.array(k)) for k in ([3.0, 1.0, 0.5], [-1.0, 2.5, 0.3], [0.5, -2.0, 1.0])]
    colour = np.stack([128 + 100 * one for one in waves], axis=-1)
    return z, colour, np.linalg.norm(points - HOLE, axis=-1)


def plane_pair(camera):
    z, colour, distance = seen(camera, np.eye(3))
    depth = DepthMap(np.where(distance < HOLE_M, np.nan, z))
    return Pair("plane", "scene", colour.round().astype(np.uint8), depth, camera)


WARPS = {
    "flip": (flip, FLIP),
    "a quarter": (lambda pair: quarter_turn(pair, 1), np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1.0]])),
    "a half": (lambda pair: quarter_turn(pair, 2), np.diag([-1.0, -1.0, 1.0])),
    "three quarters": (lambda pair: quarter_turn(pair, 3), np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]])),
    "9 degrees": (lambda pair: rotate(pair, 9.0), roll_of(9.0)),
    "-31 degrees": (lambda pair: rotate(pair, -31.0), roll_of(-31.0)),
    "crop": (lambda pair: transform(pair, crop(pair.size, (11, 7, 71, 60))), np.eye(3)),
    "smaller": (lambda pair: transform(pair, resize(pair.size, (77, 59))), np.eye(3)),
    "larger": (lambda pair: transform(pair, resize(pair.size, (131, 101))), np.eye(3)),
}


@pytest.mark.parametrize("camera", CAMERAS.values(), ids=list(CAMERAS))
@pytest.mark.parametrize(("warp", "change"), WARPS.values(), ids=list(WARPS))
def test_a_warped_pair_is_what_the_changed_scene_looks_like_in_its_camera(warp, change, camera):
    warped = warp(plane_pair(camera))
    assert warped.image.shape[:2] == warped.depth.values.shape == (warped.camera.height, warped.camera.width)
    z, colour, distance = seen(warped.camera, change)
    known = warped.depth.valid
    assert known.mean() > 0.5
    # nearest pixel: at most a pixel's diagonal away, where the plane is a few centimetres nearer or farther
    assert np.abs(warped.depth.values - z)[known].max() < 0.06
    assert np.abs(warped.depth.values - z)[known].mean() < 0.015
    inner = np.pad(known, 2)[tuple(slice(2, -2) for _ in range(2))]
    for shift in ((0, 2), (0, -2), (2, 0), (-2, 0)):  # bicubic blurs the border with what lies outside
        inner = inner & np.roll(known, shift, (0, 1))
    assert np.abs(warped.image.astype(float) - colour)[2:-2, 2:-2][inner[2:-2, 2:-2]].max() < 16
    assert np.abs(warped.image.astype(float) - colour)[2:-2, 2:-2][inner[2:-2, 2:-2]].mean() < 2.5
    assert not known[distance < HOLE_M - 0.05].any()


@pytest.mark.parametrize("name", ["flip", "a quarter", "a half", "three quarters"])
def test_exact_warps_move_every_point_exactly(name):
    pair = plane_pair(CAMERAS["oblong pixels"])
    warp, change = WARPS[name]
    warped = warp(pair)

    def points(one):
        cloud = rays(one.camera) * one.depth.values[..., None]
        return cloud[one.depth.valid], one.image[one.depth.valid]

    before, colours = points(pair)
    after, new_colours = points(warped)
    order, new_order = np.lexsort((before @ change.T).round(6).T), np.lexsort(after.round(6).T)
    np.testing.assert_allclose((before @ change.T)[order], after[new_order], atol=1e-5)
    np.testing.assert_array_equal(colours[order], new_colours[new_order])


def test_undoing_an_exact_warp_gives_the_pair_back():
    pair = plane_pair(CAMERAS["off centre"])
    for back in (flip(flip(pair)), quarter_turn(quarter_turn(pair, 1), 3), quarter_turn(pair, 4)):
        np.testing.assert_array_equal(back.image, pair.image)
        np.testing.assert_array_equal(back.depth.values, pair.depth.values)
        assert back.camera == pair.camera


def test_turned_corners_are_black_and_unknown_and_nothing_else_is():
    pair = plane_pair(CAMERAS["square"])
    whole = replace(pair, image=np.maximum(pair.image, 1), depth=DepthMap(np.full((72, 96), 3.0)))
    turned = rotate(whole, 20.0)
    assert not turned.depth.valid[0, 0]
    np.testing.assert_array_equal(turned.image.any(axis=-1), turned.depth.valid)


def test_no_depth_is_invented():
    depth = np.where(np.random.default_rng(0).random((40, 50)) < 0.5, 1.0, 9.0)
    pair = Pair("p", "", np.zeros((40, 50, 3), np.uint8), DepthMap(depth))
    config = AugmentConfig(flip=0.5, quarter_turn=0.5, rotate_degrees=30, crop=(0.5, 1), scale=(0.5, 2))
    for seed in range(20):
        values = augment(pair, np.random.default_rng(seed), config)[0].depth.values
        assert set(np.unique(values[~np.isnan(values)])) <= {1.0, 9.0}


def test_nothing_happens_unless_it_is_asked_for():
    pair = plane_pair(CAMERAS["square"])
    same, applied = augment(pair, np.random.default_rng(0), AugmentConfig())
    assert same is pair
    assert applied == Applied(camera=True)
    assert (applied.keeps_metres, applied.keeps_gravity, applied.effects()) == (True, True, ())


def test_the_same_chance_gives_the_same_pair_and_another_another():
    pair = plane_pair(CAMERAS["square"])
    config = AugmentConfig(flip=0.5, rotate_degrees=10, crop=(0.6, 0.9), scale=(0.5, 1.5))
    (one, told), (two, _), (other, else_) = (augment(pair, np.random.default_rng(s), config) for s in (1, 1, 2))
    np.testing.assert_array_equal(one.image, two.image)
    np.testing.assert_array_equal(one.depth.values, two.depth.values)
    assert told != else_
    assert one.size != other.size


def test_chances_and_ranges_are_those_asked_for():
    pair = Pair("p", "", np.zeros((24, 32, 3), np.uint8), DepthMap(np.ones((24, 32))))
    config = AugmentConfig(flip=0.3, quarter_turn=0.5, rotate_degrees=10, crop=(0.5, 0.75), scale=(0.5, 2.0))
    told = [augment(pair, np.random.default_rng(seed), config)[1] for seed in range(400)]
    assert np.mean([one.mirrored for one in told]) == pytest.approx(0.3, abs=0.07)
    assert np.mean([one.quarter_turns > 0 for one in told]) == pytest.approx(0.5, abs=0.08)
    assert {one.quarter_turns for one in told} == {0, 1, 2, 3}
    assert max(abs(one.degrees) for one in told) <= 10
    assert np.mean([one.degrees for one in told]) == pytest.approx(0, abs=1)
    shares = [(one.crop[2] - one.crop[0]) / (24 if one.quarter_turns % 2 else 32) for one in told]
    assert 0.49 <= min(shares) < 0.54 < 0.71 < max(shares) <= 0.76
    assert np.median([one.scale for one in told]) == pytest.approx(1, abs=0.15)  # even in its logarithm
    assert {one.crop[0] for one in told} >= {0, 5, 10}


def test_what_breaks_is_said():
    pair = plane_pair(CAMERAS["square"])
    cropped = AugmentConfig(crop=(0.5, 0.6))
    known, unknown = (augment(one, np.random.default_rng(0), cropped)[1] for one in (pair, replace(pair, camera=None)))
    assert known.keeps_metres
    assert not unknown.keeps_metres
    assert "no camera" in unknown.effects()[-1]
    mirrored = augment(pair, np.random.default_rng(0), AugmentConfig(flip=1.0))[1]
    assert "left and right" in mirrored.effects()[0]
    assert mirrored.keeps_gravity
    assert not augment(pair, np.random.default_rng(0), AugmentConfig(rotate_degrees=5))[1].keeps_gravity
    relative = replace(pair, depth=DepthMap(pair.depth.values, DepthKind.DISPARITY))
    assert not augment(relative, np.random.default_rng(0), AugmentConfig(flip=1.0))[1].keeps_metres
    assert augment(relative, np.random.default_rng(0), AugmentConfig(flip=1.0))[0].depth.kind is DepthKind.DISPARITY


def test_an_odd_size_and_a_single_pixel_survive_everything():
    config = AugmentConfig(flip=1, quarter_turn=1, rotate_degrees=45, crop=(0.1, 0.2), scale=(0.1, 0.2))
    for size in ((1, 1), (7, 1), (1, 33)):
        pair = Pair("p", "", np.zeros((size[1], size[0], 3), np.uint8), DepthMap(np.ones((size[1], size[0]))))
        changed, _ = augment(pair, np.random.default_rng(0), config)
        assert min(changed.size) >= 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"flip": 1.5}, "probability"),
        ({"rotate_degrees": 90}, "quarter turns"),
        ({"crop": (0.9, 0.5)}, "crop is a range"),
        ({"crop": (0.5, 1.2)}, "crop is a range"),
        ({"scale": (0, 1)}, "scale is a range"),
    ],
)
def test_senseless_settings_are_refused(wrong, said):
    with pytest.raises(SdvlmError, match=said):
        AugmentConfig(**wrong)
