"""Names by size: only where nobody could mean another object by them."""

from __future__ import annotations

import numpy as np
import pytest

from sdvlm.data.names import NameConfig, Names, count_outcomes, name_objects
from sdvlm.data.select import select
from sdvlm.data.sizes import SizeMargins
from sdvlm.data.verify import denoted_ids
from sdvlm.scenes.scene import SceneObject
from sdvlm.types import Box3D, Camera, SdvlmError

CAMERA = Camera.from_fov(160, 120, 70)
LOOK_ALONG_Y = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 1], [0, 0, 0, 1]])


@pytest.fixture
def sized(draw_boxes):
    """Size names of boxes of these (length, width, height), standing in a row."""

    def run(*sizes, **margins):
        objects = [
            SceneObject(k + 1, "chair", Box3D(np.array([1.1 * (k - 1), 4.0, 1.0]), np.array(size)))
            for k, size in enumerate(sizes)
        ]
        selection = select(draw_boxes(objects, {}, CAMERA, LOOK_ALONG_Y).observe())
        names = name_objects(selection, NameConfig(sizes=True, size_margins=SizeMargins(**margins)))
        return [names[k + 1].sized if k + 1 in names else () for k in range(len(sizes))]

    return run


@pytest.mark.parametrize("seed", range(200))
def test_every_name_by_size_means_its_object_alone(make_room, seed):
    selection = select(make_room(seed).observe())
    for instance, names in name_objects(selection, NameConfig(sizes=True)).items():
        for name in names.sized:
            assert denoted_ids(name, selection.observation) == {instance}, name


def test_of_two_the_comparative_is_used(sized):
    assert sized((0.5, 0.5, 0.9), (0.5, 0.5, 0.5)) == [
        ("taller chair", "larger chair"),
        ("shorter chair", "smaller chair"),
    ]


def test_of_three_the_superlative(sized):
    names = sized((0.5, 0.5, 1.3), (0.5, 0.5, 0.8), (0.5, 0.5, 0.5))
    assert names == [("tallest chair", "largest chair"), (), ("shortest chair", "smallest chair")]


def test_what_is_larger_in_one_way_and_smaller_in_another_is_not_called_larger(sized):
    assert sized((0.9, 0.9, 0.5), (0.5, 0.5, 0.9)) == [("shorter chair",), ("taller chair",)]


def test_within_the_margin_there_is_no_name_by_size(sized):
    assert sized((0.5, 0.5, 0.59), (0.5, 0.5, 0.5)) == [(), ()]
    assert sized((0.5, 0.5, 0.61), (0.5, 0.5, 0.5), min_volume_ratio=2) == [("taller chair",), ("shorter chair",)]


def test_sizes_are_off_unless_wanted(make_room):
    for seed in range(30):
        assert all(not names.sized for names in name_objects(select(make_room(seed).observe())).values())


def test_a_smaller_margin_than_equal_is_refused():
    with pytest.raises(SdvlmError, match="margins"):
        SizeMargins(min_height_ratio=0.9)


def test_a_given_name_comes_first_unless_it_tells_a_place(draw_boxes):
    objects = [SceneObject(1, "chair", Box3D(np.array([0, 4.0, 1.0]), np.full(3, 0.6)))]
    selection = select(draw_boxes(objects, {}, CAMERA, LOOK_ALONG_Y).observe())
    assert name_objects(selection, given={1: "wooden chair"})[1].plain == ("wooden chair", "chair")
    assert name_objects(selection, given={1: "chair on the left"})[1] == Names(("chair",), ("chair on the left",))
    assert name_objects(selection, given={1: "chair"})[1].plain == ("chair",)
    assert name_objects(selection, given={1: "wooden chair"})[1].best == "wooden chair"


def test_what_has_no_name_counts_as_dropped_for_ambiguity(draw_boxes):
    objects = [SceneObject(k, "chair", Box3D(np.array([1.1 * (k - 2), 4.0, 1.0]), np.full(3, 0.6))) for k in (1, 2, 3)]
    selection = select(draw_boxes(objects, {}, CAMERA, LOOK_ALONG_Y).observe())
    assert count_outcomes(selection, name_objects(selection)) == {"kept": 2, "ambiguous": 1}


@pytest.mark.parametrize("seed", range(20))
def test_outcomes_account_for_every_object_seen(make_room, seed):
    selection = select(make_room(seed).observe())
    counts = count_outcomes(selection, name_objects(selection))
    assert sum(counts.values()) == len(selection.observation.objects)
