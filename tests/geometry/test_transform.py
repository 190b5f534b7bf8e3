"""Image transforms: what they say of boxes, cameras, depth and pictures must be one and the same map."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sdvlm.geometry.project import project, unproject
from sdvlm.geometry.transform import ImageTransform, center_crop, crop, letterbox, pad, resize, tiles
from sdvlm.types import Camera, DepthMap, SdvlmError

SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))


@st.composite
def transforms(draw, source=None):
    """Any of the constructors, from a given or drawn source size."""
    source = source or draw(SIZES)
    kind = draw(st.sampled_from(["resize", "letterbox", "center_crop", "crop", "pad"]))
    if kind == "crop":
        left, top = draw(st.integers(-5, 5)), draw(st.integers(-5, 5))
        width, height = draw(SIZES)
        return crop(source, (left, top, left + width, top + height))
    if kind == "pad":
        return pad(source, *(draw(st.integers(0, 6)) for _ in range(4)))
    return {"resize": resize, "letterbox": letterbox, "center_crop": center_crop}[kind](source, draw(SIZES))


def _boxes(rng, size, count=6):
    corners = rng.uniform(-5, 5, (count, 2, 2)) + rng.uniform(0, 1, (count, 2, 2)) * size
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


@given(transforms(), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_boxes_come_back_from_the_target(transform, seed):
    boxes = _boxes(np.random.default_rng(seed), transform.source_size)
    np.testing.assert_allclose(transform.boxes_to_source(transform.boxes_to_target(boxes)), boxes, atol=1e-9)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_chain_maps_boxes_and_cameras_as_its_links_do_one_after_the_other(data):
    first = data.draw(transforms())
    second = data.draw(transforms(source=first.target_size))
    chain = first.then(second)
    boxes = _boxes(np.random.default_rng(0), first.source_size)
    expected = second.boxes_to_target(first.boxes_to_target(boxes))
    np.testing.assert_allclose(chain.boxes_to_target(boxes), expected, atol=1e-9)
    camera = Camera(*first.source_size, 11.0, 13.0, 4.0, 6.0)
    one_by_one = second.camera(first.camera(camera))
    np.testing.assert_allclose(chain.camera(camera).matrix, one_by_one.matrix, atol=1e-9)
    assert chain.camera(camera).size == second.target_size


@given(transforms(), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_the_camera_follows_the_picture(transform, seed):
    rng = np.random.default_rng(seed)
    points = rng.uniform([-2, -2, 2], [2, 2, 6], (20, 3))
    camera = Camera(*transform.source_size, *rng.uniform(5, 30, 2), *rng.uniform(0, 20, 2))
    uv, z = project(points, camera)
    moved, moved_z = project(points, transform.camera(camera))
    expected = transform.boxes_to_target(np.concatenate([uv, uv], axis=1))[:, :2]
    np.testing.assert_allclose(moved, expected, atol=1e-9)
    np.testing.assert_array_equal(moved_z, z)


def _replayed_by_hand(transform, values, outside):
    """Each target pixel takes the source pixel that its centre falls into."""
    width, height = transform.target_size
    out = np.full((height, width), outside, values.dtype)
    for i in range(height):
        for j in range(width):
            x, y, _, _ = transform.boxes_to_source([j + 0.5, i + 0.5, j + 0.5, i + 0.5])
            column, row = int(np.floor(x)), int(np.floor(y))
            if 0 <= column < transform.source_size[0] and 0 <= row < transform.source_size[1]:
                out[i, j] = values[row, column]
    return out


@given(transforms(), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_depth_and_labels_take_the_source_pixel_their_centre_falls_into(transform, seed):
    rng = np.random.default_rng(seed)
    shape = transform.source_size[::-1]
    values = rng.uniform(1, 2, shape).astype(np.float32)
    values[rng.random(shape) < 0.2] = np.nan
    depth = DepthMap(values, "relative", "me")
    replayed = transform.depth(depth)
    np.testing.assert_array_equal(replayed.values, _replayed_by_hand(transform, values, np.nan))
    assert (replayed.kind, replayed.source) == (depth.kind, depth.source)
    labels = rng.integers(-3, 9, shape)
    np.testing.assert_array_equal(transform.mask(labels, outside=-7), _replayed_by_hand(transform, labels, -7))


def test_resizing_depth_invents_no_value():
    near_and_far = np.where(np.arange(37) < 11, 1.0, 9.0)[None, :].repeat(5, axis=0)
    resized = resize((37, 5), (13, 3)).depth(DepthMap(near_and_far))
    assert set(np.unique(resized.values)) == {1.0, 9.0}


def test_a_4_by_3_picture_letterboxed_in_a_336_square_fills_rows_42_to_294():
    # reference benchmarks-and-data.md 10.2: 640x480 fills pixel rows 42..294, token rows 3..20 of 14-pixel patches
    transform = letterbox((640, 480), (336, 336))
    np.testing.assert_allclose(transform.boxes_to_target([0, 0, 640, 480]), [0, 42, 336, 294])
    depth = transform.depth(DepthMap(np.ones((480, 640))))
    assert np.array_equal(np.flatnonzero(depth.valid.any(axis=1)), np.arange(42, 294))
    assert depth.valid[42:294].all()


def test_points_of_a_letterboxed_depth_map_lie_where_the_original_points_lie():
    camera = Camera(40, 30, 30.0, 30.0, 20.0, 15.0)
    yy, xx = np.mgrid[0:30, 0:40]
    plane = 2.0 + 0.01 * xx + 0.02 * yy
    transform = letterbox((40, 30), (80, 80))
    depth = transform.depth(DepthMap(plane))
    points = unproject(depth.values, transform.camera(camera))[depth.valid]
    nearest = unproject(plane, camera).reshape(-1, 3)
    gaps = np.linalg.norm(points[::50, None] - nearest[None], axis=-1).min(axis=1)
    assert gaps.max() < 0.05  # half a source pixel at 3 m and 30 pixels of focal length


@pytest.mark.parametrize(("source", "target"), [((7, 6), (4, 3)), ((4, 3), (9, 8)), ((5, 9), (8, 4))])
def test_a_centre_crop_or_pad_leaves_at_most_one_pixel_of_difference_with_less_at_left_and_top(source, target):
    transform = center_crop(source, target)
    left, top, right, bottom = transform.boxes_to_target([0, 0, *source])
    for before, after in ((left, target[0] - right), (top, target[1] - bottom)):
        assert 0 <= abs(after) - abs(before) <= 1


def test_a_padded_picture_holds_the_original_between_its_borders():
    image = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    padded = pad((6, 4), 1, 2, 3, 4).image(image, fill=(9, 8, 7))
    assert padded.shape == (10, 10, 3)
    np.testing.assert_array_equal(padded[2:6, 1:7], image)
    border = np.ones((10, 10), bool)
    border[2:6, 1:7] = False
    assert (padded[border] == [9, 8, 7]).all()


def test_a_cropped_picture_is_the_slice_of_the_original():
    image = np.random.default_rng(0).integers(0, 256, (8, 9, 3), np.uint8)
    np.testing.assert_array_equal(crop((9, 8), (2, 1, 7, 6)).image(image), image[1:6, 2:7])


def test_a_resized_picture_is_what_pillow_makes_of_it():
    image = np.random.default_rng(0).integers(0, 256, (30, 50, 3), np.uint8)
    expected = np.asarray(Image.fromarray(image).resize((20, 17), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(resize((50, 30), (20, 17)).image(image), expected)


def test_a_mark_in_the_picture_lands_in_the_box_the_transform_gives():
    image = np.zeros((90, 120, 3), np.uint8)
    image[30:42, 64:80] = 255
    transform = letterbox((120, 90), (60, 60)).then(crop((60, 60), (5, 5, 55, 55)))
    left, top, right, bottom = transform.boxes_to_target([64, 30, 80, 42]).round().astype(int)
    bright = transform.image(image)[..., 0] > 128
    rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
    assert abs(rows[0] - top) <= 1
    assert abs(rows[-1] + 1 - bottom) <= 1
    assert abs(columns[0] - left) <= 1
    assert abs(columns[-1] + 1 - right) <= 1


@given(SIZES, SIZES)
@settings(max_examples=30, deadline=None)
def test_tiles_cover_each_source_pixel_exactly_once(source, tile):
    count = np.zeros(source[::-1], int)
    for transform in tiles(source, tile):
        assert transform.target_size == tile
        left, top, right, bottom = transform.boxes_to_source([0, 0, *tile]).astype(int)
        count[top:bottom, left:right] += 1
    assert (count == 1).all()


def test_links_that_do_not_meet_are_refused_with_both_sizes():
    with pytest.raises(SdvlmError, match=r"ends at \(4, 4\), the next starts at \(5, 5\)"):
        resize((8, 8), (4, 4)).then(resize((5, 5), (2, 2)))


def test_arrays_and_cameras_of_another_size_are_refused():
    transform = resize((4, 3), (8, 6))
    with pytest.raises(SdvlmError, match="starts at"):
        transform.depth(DepthMap(np.ones((4, 4))))
    with pytest.raises(SdvlmError, match="starts at"):
        transform.image(np.zeros((4, 3, 3), np.uint8))
    with pytest.raises(SdvlmError, match="starts at"):
        transform.camera(Camera.from_fov(3, 4, 60))


@pytest.mark.parametrize("bad", [{"target_size": (0, 3)}, {"scale": (0.0, 1.0)}, {"source_size": (3, -1)}])
def test_a_transform_needs_positive_sizes_and_scales(bad):
    with pytest.raises(SdvlmError, match="positive sizes and scales"):
        ImageTransform(**({"source_size": (4, 3), "target_size": (4, 3)} | bad))
