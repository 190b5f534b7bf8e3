import math

import numpy as np
import pytest

from sdvlm.types import Box3D, Camera, SdvlmError
from sdvlm.viz.overlay import box_edges, draw_boxes, draw_boxes_3d, draw_token_boxes

CAMERA = Camera.from_fov(160, 120, 60)
GRAY = np.full((120, 160, 3), 90, dtype=np.uint8)


def changed(picture, before=GRAY):
    return (picture.astype(int) - before.astype(int) != 0).any(axis=-1)


def test_edges_of_a_box_ahead_end_at_its_projected_corners():
    box = Box3D(np.array([0.2, -0.1, 3.0]), np.array([1.0, 0.6, 0.8]))
    ends = {(round(u, 6), round(v, 6)) for start, end, _ in box_edges(box, CAMERA) for u, v in (start, end)}
    expected = set()
    for x, y, z in box.corners():  # pinhole written out
        expected.add((round(CAMERA.fx * x / z + CAMERA.cx, 6), round(CAMERA.fy * y / z + CAMERA.cy, 6)))
    assert ends == expected
    assert len(box_edges(box, CAMERA)) == 12


def test_exactly_the_three_edges_at_the_far_corner_are_hidden():
    box = Box3D(np.array([0.7, 0.5, 3.0]), np.array([1.0, 0.6, 0.8]))
    hidden = [segment for segment in box_edges(box, CAMERA) if segment[2]]
    assert len(hidden) == 3
    far = box.corners()[np.argmax(np.linalg.norm(box.corners(), axis=1))]
    u, v = CAMERA.fx * far[0] / far[2] + CAMERA.cx, CAMERA.fy * far[1] / far[2] + CAMERA.cy
    for start, end, _ in hidden:
        assert min(math.dist(start, (u, v)), math.dist(end, (u, v))) < 1e-6


def test_a_box_around_the_camera_gives_finite_segments_and_one_behind_gives_none():
    around = box_edges(Box3D(np.zeros(3), np.array([4.0, 4.0, 4.0])), CAMERA)
    assert around
    assert np.isfinite([[*start, *end] for start, end, _ in around]).all()
    assert box_edges(Box3D(np.array([0.0, 0.0, -5.0]), np.ones(3)), CAMERA) == []


def test_a_drawn_3d_box_changes_pixels_along_its_edges_and_leaves_the_rest():
    box = Box3D(np.array([0.0, 0.0, 4.0]), np.array([1.5, 1.0, 0.5]))
    mask = changed(draw_boxes_3d(GRAY, [("", box)], CAMERA))
    front_left = round(CAMERA.fx * -0.75 / 3.75 + CAMERA.cx)
    assert mask[60, front_left - 1 : front_left + 2].any()
    assert not mask[60, 75:85].any()  # the middle of the box stays clear
    assert not mask[:20].any()


def test_a_camera_of_another_size_is_refused_with_both_sizes():
    with pytest.raises(SdvlmError, match=r"320x240.*160x120"):
        draw_boxes_3d(GRAY, [], Camera.from_fov(320, 240, 60))


def test_names_do_not_cover_each_other():
    boxes = [(name, (60.0, 50.0, 100.0, 90.0)) for name in ("chair", "table", "sofa")]
    one = changed(draw_boxes(GRAY, boxes[:1], width=480), draw_boxes(GRAY, [("", boxes[0][1])], width=480)).sum()
    plain = draw_boxes(GRAY, [("", box) for _, box in boxes], width=480)
    assert changed(draw_boxes(GRAY, boxes, width=480), plain).sum() > 2.5 * one


def test_pictures_are_enlarged_with_their_boxes():
    picture = draw_boxes(GRAY, [("", (40.0, 30.0, 80.0, 60.0))], width=480)
    assert picture.shape == (360, 480, 3)
    rows, columns = np.nonzero(changed(picture, np.full_like(picture, 90)))
    assert [columns.min(), columns.max()] == pytest.approx([120, 240], abs=3)
    assert [rows.min(), rows.max()] == pytest.approx([90, 180], abs=3)


def test_token_boxes_are_tinted_by_their_value_and_tokens_that_look_nowhere_are_left_out():
    boxes = np.array([[0, 0, 80, 120], [np.nan] * 4, [80, 0, 160, 120]])
    picture = draw_token_boxes(GRAY, boxes, [0.0, 5.0, 1.0]).astype(int)
    left, right = picture[60, 40], picture[60, 120]
    assert left.sum() > right.sum() + 60  # small is light, large is dark; the NaN row took no part in the range
    assert not changed(draw_token_boxes(GRAY, boxes[1:2])).any()


def test_tinting_needs_one_value_a_box():
    with pytest.raises(SdvlmError, match="2 boxes"):
        draw_token_boxes(GRAY, np.zeros((2, 4)), [1.0])
