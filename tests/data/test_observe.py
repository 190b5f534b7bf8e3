"""What a frame sees, against loops over pixels and boxes drawn by hand."""

from __future__ import annotations

import time

import numpy as np
import pytest

from sdvlm.data.observe import observe
from sdvlm.geometry.project import project
from sdvlm.scenes.scene import SceneObject
from sdvlm.types import Box3D, Camera, SdvlmError

CAMERA = Camera.from_fov(80, 60, 60)
LOOK_ALONG_Y = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 1], [0, 0, 0, 1]])  # from 1 m above the origin


def cube(identity: int, center, side: float = 0.6, category: str = "box") -> SceneObject:
    return SceneObject(identity, category, Box3D(np.array(center, float), np.full(3, side)))


@pytest.mark.parametrize("seed", range(6))
def test_mask_statistics_equal_a_loop_over_pixels(make_room, seed):
    room = make_room(seed, 48, 36)
    seen = room.observe()
    assert [one.id for one in seen.objects] == sorted(set(np.unique(room.instances)) - {0})
    for one in seen.objects:
        pixels = [(i, j) for i in range(36) for j in range(48) if room.instances[i, j] == one.id]
        rows, columns = [i for i, _ in pixels], [j for _, j in pixels]
        assert one.pixel_count == len(pixels)
        assert one.bounds_px == (min(columns), min(rows), max(columns) + 1, max(rows) + 1)
        assert one.centroid_px == pytest.approx((np.mean(columns) + 0.5, np.mean(rows) + 0.5))
        assert one.touches_border == (0 in rows or 0 in columns or 35 in rows or 47 in columns)
        assert one.visibility == pytest.approx(min(1, len(pixels) / room.amodal[one.id]))
        depths = [room.depth_m[i, j] for i, j in pixels]
        assert seen.depth_range_m(one.id) == (min(depths), max(depths))


def test_an_object_behind_another_is_seen_in_part(draw_boxes):
    free, hidden, cover = cube(1, (-1.2, 4, 1)), cube(2, (0.8, 4, 1)), cube(3, (0.5, 2, 1), 0.3)
    seen = draw_boxes([free, hidden, cover], {}, CAMERA, LOOK_ALONG_Y).observe()
    assert seen.object(1).visibility == 1
    assert 0.2 < seen.object(2).visibility < 0.9
    assert seen.object(3).visibility == 1


def test_truncation_is_the_share_of_the_box_outside_the_picture(draw_boxes):
    half = 4 * np.tan(np.radians(30))  # the picture's edge at 4 m
    centers = [(0, 4, 1), (half, 4, 1), (-half - 0.15, 4, 1)]
    room = draw_boxes([cube(k + 1, c) for k, c in enumerate(centers)], {}, CAMERA, LOOK_ALONG_Y)
    cut = [room.observe().object(k).truncation for k in (1, 2, 3)]
    assert cut[0] == 0
    assert cut[1] == pytest.approx(0.5, abs=0.1)
    assert 0.6 < cut[2] < 0.95


def test_boxes_come_in_the_camera_frame(make_room):
    room = make_room(1)
    for one in room.observe().objects:
        center = np.linalg.solve(room.T_world_cam, np.append(one.object.box.center, 1))[:3]
        assert one.center_cam == pytest.approx(center)
        assert one.box_cam.center == pytest.approx(center)
        assert np.allclose(one.box_cam.size, one.object.box.size)


def test_the_whole_cube_in_view_has_its_centroid_where_its_centre_projects(draw_boxes):
    room = draw_boxes([cube(1, (0.3, 5, 1.2), 0.2)], {}, CAMERA, LOOK_ALONG_Y)
    one = room.observe().object(1)
    uv, _ = project(np.array(one.center_cam), CAMERA)
    assert one.centroid_px == pytest.approx(uv, abs=1.0)


def test_pixels_count_as_seen_only_where_the_sensor_agrees(draw_boxes):
    room = draw_boxes([cube(1, (0, 4, 1))], {}, CAMERA, LOOK_ALONG_Y)
    mask = room.instances == 1
    sensor = room.depth_m.copy()
    columns = np.flatnonzero(mask.any(axis=0))
    sensor[:, columns[: len(columns) // 2]] = 1.0  # somebody walks before the left half
    sensor[np.flatnonzero(mask.any(axis=1))[0]] = np.nan  # and the top row was not measured
    seen = room.observe(sensor_depth_m=sensor)
    expected = mask & (np.abs(sensor - room.depth_m) < 0.1)
    assert np.array_equal(seen.mask(1), expected)
    assert seen.object(1).visibility == pytest.approx(expected.sum() / mask.sum())


def test_ids_that_are_no_objects_count_as_nothing(make_room):
    room = make_room(2)
    dropped = room.objects[0].id
    seen = observe(room.objects[1:], room.instances, room.depth_m, room.camera, room.T_world_cam, amodal=room.amodal)
    assert dropped not in [one.id for one in seen.objects]
    assert not seen.mask(dropped).any()


def test_a_frame_that_sees_nothing_is_empty():
    nothing = np.zeros((60, 80), np.int32)
    seen = observe([cube(1, (0, -4, 1))], nothing, np.full((60, 80), np.nan), CAMERA, LOOK_ALONG_Y, amodal={})
    assert seen.objects == ()


def test_arrays_of_another_size_are_refused_with_both_sizes():
    small = np.zeros((30, 40), np.int32)
    with pytest.raises(SdvlmError, match=r"instances is 40x30 .* 80x60"):
        observe([cube(1, (0, 4, 1))], small, np.zeros((60, 80)), CAMERA, LOOK_ALONG_Y, amodal={})


def test_ids_used_twice_are_refused():
    nothing = np.zeros((60, 80), np.int32)
    with pytest.raises(SdvlmError, match="unique"):
        observe([cube(1, (0, 4, 1))] * 2, nothing, np.ones((60, 80)), CAMERA, LOOK_ALONG_Y, amodal={})


def test_a_frame_is_observed_in_milliseconds(make_room):
    room = make_room(3, 320, 240)
    best = min(_seconds(room.observe) for _ in range(5))
    assert best < 0.02


def _seconds(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
