"""Thresholds: each drops what it should, for the reason it gives."""

from __future__ import annotations

import numpy as np
import pytest

from sdvlm.data.select import SelectConfig, common_categories, select
from sdvlm.scenes.scene import SceneObject
from sdvlm.types import Box3D, Camera, SdvlmError

CAMERA = Camera.from_fov(160, 120, 60)
LOOK_ALONG_Y = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 1], [0, 0, 0, 1]])


def cube(identity: int, center, side: float = 0.6, category: str = "box", rotation=None) -> SceneObject:
    box = Box3D(np.array(center, float), np.full(3, side), np.eye(3) if rotation is None else rotation)
    return SceneObject(identity, category, box)


def lean(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


EDGE = 4 * np.tan(np.radians(30))
CASES = {
    "structure": [cube(1, (0, 4, 1), category="wall")],
    "tilted": [cube(1, (0, 4, 1), rotation=lean(20))],
    "small": [cube(1, (0, 9, 1), 0.25)],
    "large": [cube(1, (0, 3, 1), 4.5)],
    "occluded": [cube(1, (0, 4, 1)), cube(2, (0.05, 2, 1), 0.28)],
    "truncated": [cube(1, (EDGE, 4, 1))],
    "near": [cube(1, (0, 0.25, 1), 0.1)],
    "far": [cube(1, (0, 16, 1), 3)],
}


@pytest.mark.parametrize(("reason", "objects"), CASES.items())
def test_an_unfit_object_is_dropped_for_its_reason(draw_boxes, reason, objects):
    selection = select(draw_boxes(objects, {}, CAMERA, LOOK_ALONG_Y).observe())
    assert selection.dropped[reason] == (1,)
    assert 1 not in [seen.id for seen in selection.kept]


def test_a_plain_object_in_full_view_is_kept(draw_boxes):
    selection = select(draw_boxes([cube(7, (0, 4, 1))], {}, CAMERA, LOOK_ALONG_Y).observe())
    assert [seen.id for seen in selection.kept] == [7]
    assert selection.counts == {"kept": 1}


@pytest.mark.parametrize("seed", range(10))
def test_every_seen_object_is_kept_or_dropped_exactly_once(make_room, seed):
    selection = select(make_room(seed).observe())
    ids = [seen.id for seen in selection.kept] + [one for some in selection.dropped.values() for one in some]
    assert sorted(ids) == [seen.id for seen in selection.observation.objects]
    assert sum(selection.counts.values()) == len(ids)


def test_uncommon_categories_are_dropped_when_a_list_is_given(draw_boxes):
    objects = [cube(1, (-0.8, 4, 1), category="harp"), cube(2, (0.8, 4, 1), category="chair")]
    observation = draw_boxes(objects, {}, CAMERA, LOOK_ALONG_Y).observe()
    allowed = common_categories(["chair", "chair", "harp"], min_count=2)
    selection = select(observation, SelectConfig(allowed_categories=allowed))
    assert selection.dropped == {"uncommon": (1,)}


def test_what_touches_the_border_is_truncated_if_that_is_wanted(draw_boxes):
    observation = draw_boxes([cube(1, (EDGE - 0.2, 4, 1))], {}, CAMERA, LOOK_ALONG_Y).observe()
    assert observation.object(1).touches_border
    assert select(observation).dropped == {}
    assert select(observation, SelectConfig(allow_border=False)).dropped == {"truncated": (1,)}


def test_a_leaning_thing_is_kept_where_leaning_is_allowed(draw_boxes):
    observation = draw_boxes([cube(1, (0, 4, 1), rotation=lean(20))], {}, CAMERA, LOOK_ALONG_Y).observe()
    assert [seen.id for seen in select(observation, SelectConfig(max_tilt_deg=180)).kept] == [1]


def test_categories_of_few_scenes_are_uncommon():
    scenes = [["chair", "chair", "harp"], ["chair", "table"], ["harp", "harp"], ["table"]]
    counted = common_categories((category for scene in scenes for category in set(scene)), min_count=2)
    assert counted == {"chair", "table", "harp"}
    assert common_categories((one for scene in scenes[:2] for one in set(scene)), min_count=2) == {"chair"}


def test_a_share_outside_zero_to_one_is_refused():
    with pytest.raises(SdvlmError, match="min_visibility"):
        SelectConfig(min_visibility=50)
