"""Depth as text: what is written is the median of the pixels it speaks of, and can be read back."""

import numpy as np
import pytest

from sdvlm.fusion.depth_text import grid_text, object_text, parse_grid, parse_objects
from sdvlm.types import DepthKind, DepthMap, SdvlmError


def _scene(height=47, width=61, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.uniform(0.3, 9.0, (height, width))
    values[rng.random(values.shape) < 0.15] = np.nan
    return DepthMap(values)


def test_the_words_are_these():
    depth = DepthMap([[1.0, 2.0, 3.0], [4.5, np.nan, 12.345]])
    wanted = "depth in metres, 2 x 3 cells from the top left, row by row: 1.00 2.00 3.00; 4.50 ? 12.35"
    assert grid_text(DepthMap(depth.values + np.float32(0.001)), 2, 3) == wanted
    objects = [("red chair", (0, 0, 1, 1)), ("lamp", (1, 1, 2, 2))]
    assert object_text(depth, objects) == "distance from the camera: red chair: 1.00 m; lamp: ?"


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 4), (8, 8), (5, 7), (47, 61)])
def test_a_cell_is_the_median_of_its_known_pixels(rows, columns):
    depth = _scene()
    read = parse_grid(grid_text(depth, rows, columns))
    assert read.shape == (rows, columns)
    members = [[[] for _ in range(columns)] for _ in range(rows)]
    for y in range(47):
        for x in range(61):  # the cell that starts last at or before the pixel
            row = max(r for r in range(rows) if r * 47 // rows <= y)
            column = max(c for c in range(columns) if c * 61 // columns <= x)
            members[row][column].append(depth.values[y, x])
    for row in range(rows):
        for column in range(columns):
            known = [v for v in members[row][column] if v == v]
            assert members[row][column]
            if known:
                assert read[row, column] == pytest.approx(np.median(known), abs=0.00501)
            else:
                assert np.isnan(read[row, column])


def test_cells_differ_by_at_most_a_pixel_a_side():
    ramp = DepthMap(np.arange(1, 24)[None].repeat(3, axis=0).astype(float))
    read = parse_grid(grid_text(ramp, 1, 5))[0]
    assert read.tolist() == [2.5, 7.0, 11.5, 16.0, 21.0]  # medians of 4, 5, 4, 5 and 5 columns


def test_a_map_with_fewer_pixels_than_cells_repeats_its_pixels():
    read = parse_grid(grid_text(DepthMap([[1.0, 2.0]]), 3, 4))
    assert read.tolist() == [[1.0, 1.0, 2.0, 2.0]] * 3


def test_scaling_depth_scales_what_is_written():
    """fusion-methods T2."""
    depth = _scene()
    boxes = [("a", (5, 5, 30, 30)), ("b", (20, 10, 60, 45))]
    for factor in (0.5, 2.0):
        one, other = (parse_grid(grid_text(d, 4, 4)) for d in (depth, depth.scaled(factor)))
        np.testing.assert_allclose(other, factor * one, atol=0.0151)
        near, far = (parse_objects(object_text(d, boxes)) for d in (depth, depth.scaled(factor)))
        for (name, z), (same, scaled) in zip(near, far, strict=True):
            assert name == same
            assert scaled == pytest.approx(factor * z, abs=0.0151)


def test_an_object_is_the_median_of_the_middle_half_of_its_box():
    depth = _scene()
    for box in [(4, 8, 24, 40), (0, 0, 61, 47), (10.3, 5.6, 33.9, 29.2), (50, 40, 60.5, 46.5)]:
        left, top, right, bottom = box
        inside = [
            depth.values[y, x]
            for y in range(47)
            for x in range(61)
            if left + 0.25 * (right - left) <= x + 0.5 < left + 0.75 * (right - left)
            and top + 0.25 * (bottom - top) <= y + 0.5 < top + 0.75 * (bottom - top)
        ]
        ((_, said),) = parse_objects(object_text(depth, [("thing", box)]))
        assert said == pytest.approx(np.nanmedian(inside), abs=0.00501)


def test_what_lies_behind_an_object_in_the_corners_of_its_box_does_not_count():
    y, x = np.mgrid[:40, :40] + 0.5
    disc = np.hypot(y - 20, x - 20) <= 12
    depth = DepthMap(np.where(disc, 1.5, 6.0))
    assert parse_objects(object_text(depth, [("ball", (8, 8, 32, 32))])) == [("ball", 1.5)]


@pytest.mark.parametrize(
    ("box", "wanted"),
    [
        ((2.2, 1.2, 2.4, 1.4), 7.0),  # smaller than a pixel: the pixel it lies in
        ((2, 1, 3, 2), 7.0),
        ((3.0, 2.0, 9.0, 9.0), 11.0),  # only its corner is in the map
        ((-5, -5, 1, 1), 0.5),
        ((4, 0, 9, 3), None),  # beside the map
        ((-9, -9, -1, -1), None),
    ],
)
def test_boxes_at_and_beyond_the_edge(box, wanted):
    depth = DepthMap(np.maximum(np.arange(12.0).reshape(3, 4), 0.5) + np.array([[0, 0, 0, 0], [0, 0, 1, 0], [0] * 4]))
    ((_, said),) = parse_objects(object_text(depth, [("thing", box)]))
    assert np.isnan(said) if wanted is None else said == wanted


def test_known_depth_is_never_written_as_zero():
    assert parse_grid(grid_text(DepthMap([[0.001]]), 1, 1)).tolist() == [[pytest.approx(0.01)]]


def test_unknown_depth_is_a_question_mark():
    depth = DepthMap(np.full((4, 4), np.nan))
    assert grid_text(depth, 2, 2).endswith(": ? ?; ? ?")
    assert np.isnan(parse_grid(grid_text(depth, 2, 2))).all()


def test_texts_are_found_inside_a_prompt():
    depth = _scene()
    grid, objects = grid_text(depth, 2, 3), object_text(depth, [("a: b", (0, 0, 20, 20)), ("c", (0, 0, 9, 9))])
    prompt = f"USER: <image>\n{grid}. {objects}\nHow far is 1.25 m? ASSISTANT: 2.00 3.00"
    assert parse_grid(prompt).shape == (2, 3)
    assert [name for name, _ in parse_objects(prompt)] == ["a: b", "c"]


def test_bad_input_is_refused_with_what_was_seen_and_what_is_wanted():
    depth = _scene()
    cases = [
        ("written in metres, got disparity", lambda: grid_text(DepthMap([[1.0]], DepthKind.DISPARITY), 1, 1)),
        ("written in metres, got relative", lambda: object_text(DepthMap([[1.0]], DepthKind.RELATIVE), [])),
        ("got 0 x 4", lambda: grid_text(depth, 0, 4)),
        ("at least one named box", lambda: object_text(depth, [])),
        ("without ';'; got 'a;b'", lambda: object_text(depth, [("a;b", (0, 0, 1, 1))])),
        ("needs a name", lambda: object_text(depth, [(" ", (0, 0, 1, 1))])),
        ("left, top, right, bottom", lambda: object_text(depth, [("a", (5, 0, 1, 1))])),
        ("left, top, right, bottom", lambda: object_text(depth, [("a", (0, 0, np.nan, 1))])),
        ("no depth grid", lambda: parse_grid("How far?")),
        ("says 3 x 3 cells but holds 2 rows", lambda: parse_grid(grid_text(depth, 2, 3).replace("2 x", "3 x"))),
        ("no distances", lambda: parse_objects("How far?")),
        ("no distances", lambda: parse_objects("distance from the camera: far away")),
    ]
    for message, call in cases:
        with pytest.raises(SdvlmError) as caught:
            call()
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)
