"""The drawing of depth on token boxes: where each colour, cross and grey lies."""

import numpy as np
import pytest
from PIL import Image

from sdvlm.fusion.pool import pool_depth
from sdvlm.train.overlay import draw_overlay, overlay_picture
from sdvlm.types import DepthKind, DepthMap, SdvlmError

GRAY = np.full((40, 80, 3), 128, dtype=np.uint8)
CELLS = np.array([[x, y, x + 20, y + 20] for y in (0, 20) for x in (0, 20, 40, 60)], dtype=float)


def stepped(kind=DepthKind.METRIC):
    """1 m on the left to 4 m on the right, unknown at the upper right cell."""
    values = np.repeat(np.arange(1, 5, dtype=float), 20)[None].repeat(40, axis=0)
    values[:20, 60:] = np.nan
    return DepthMap(values, kind)


def middle(drawn, cell, scale):
    """Mean brightness of the middle of a cell, between its outline and its centre."""
    left, top = (CELLS[cell][:2] * scale).astype(int)
    return drawn[top + 3 * scale : top + 7 * scale, left + 3 * scale : left + 7 * scale].mean()


def test_far_is_darker_than_near_and_unknown_is_not_tinted():
    drawn = overlay_picture(GRAY, CELLS, pool_depth(stepped(), CELLS, (80, 40)), width=800)
    assert drawn.shape[1] == 800
    lower = [middle(drawn, cell, 10) for cell in (4, 5, 6, 7)]
    assert lower == sorted(lower, reverse=True)
    assert lower[0] - lower[3] > 40


def test_a_token_without_depth_is_crossed_and_only_that():
    grid = pool_depth(stepped(), CELLS, (80, 40))
    drawn = overlay_picture(GRAY, CELLS, grid, width=800)
    cross = (drawn[:400] == (214, 214, 216)).all(axis=-1)
    rows, columns = np.nonzero(cross)
    assert rows.max() <= 210
    assert columns.min() >= 590
    assert cross[100, 700]
    assert cross[50, 650]
    assert cross[50, 750]


def test_disparity_is_light_where_it_is_large():
    drawn = overlay_picture(GRAY, CELLS, pool_depth(stepped(DepthKind.DISPARITY), CELLS, (80, 40)), width=800)
    assert middle(drawn, 7, 10) > middle(drawn, 4, 10) + 40


def test_the_scale_lies_below_and_is_left_out_where_nothing_is_known():
    known = overlay_picture(GRAY, CELLS, pool_depth(stepped(), CELLS, (80, 40)), width=800)
    unknown = overlay_picture(GRAY, CELLS, pool_depth(None, CELLS, (80, 40)), width=800)
    assert unknown.shape[0] == 400
    assert known.shape[0] > 400


def test_padding_that_boxes_cover_is_drawn_grey_around_the_picture():
    boxes = np.array([[0, -20, 80, 20], [0, 20, 80, 60.0]])  # an 80x40 picture padded to a square
    drawn = overlay_picture(GRAY, boxes, pool_depth(stepped(), boxes, (80, 40)).pack(), width=800)
    tinted = pool_depth(None, boxes, (80, 40))
    plain = overlay_picture(GRAY, boxes, tinted, width=800)
    assert drawn.shape[0] > plain.shape[0] == 800
    assert plain[100, 100].mean() < 80 < plain[400 - 40, 120].mean()  # padding is dark, the picture is not
    assert plain[700, 100].mean() < 80


def test_one_depth_everywhere_and_tokens_that_look_nowhere_are_drawn(tmp_path):
    boxes = np.concatenate([CELLS, np.full((1, 4), np.nan)])
    flat = DepthMap(np.full((40, 80), 2.5))
    draw_overlay(GRAY, boxes, pool_depth(flat, boxes, (80, 40)), tmp_path / "seen.png", width=400)
    with Image.open(tmp_path / "seen.png") as picture:
        assert picture.size[0] == 400
        assert picture.mode == "RGB"
    assert [path.name for path in tmp_path.iterdir()] == ["seen.png"]


def test_a_packed_grid_draws_as_its_own():
    grid = pool_depth(stepped(), CELLS, (80, 40))
    np.testing.assert_array_equal(overlay_picture(GRAY, CELLS, grid), overlay_picture(GRAY, CELLS, grid.pack()))


def test_depth_of_other_tokens_is_refused():
    grid = pool_depth(stepped(), CELLS, (80, 40)).pack()
    with pytest.raises(SdvlmError, match="depth is of 7 tokens but there are 8 token boxes"):
        overlay_picture(GRAY, CELLS, grid[1:])
