"""Colour words of surfaces."""

from __future__ import annotations

import numpy as np
import pytest

from sdvlm.data.colors import color_words, colors_from_pixels, instance_colors
from sdvlm.scenes.palette import COLORS, PLASTIC, pick_color, srgb_to_lab
from sdvlm.scenes.scene import SceneMesh
from sdvlm.types import SdvlmError


def words(*rgb, weights=None):
    samples = np.array(rgb, dtype=np.uint8)
    return color_words(samples, np.ones(len(samples)) if weights is None else np.array(weights, float))


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [  # published CIELAB values of the sRGB primaries under D65
        ((255, 255, 255), (100.0, 0.0, 0.0)),
        ((0, 0, 0), (0.0, 0.0, 0.0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 255, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
    ],
)
def test_lab_of_the_primaries(rgb, lab):
    assert srgb_to_lab(np.array(rgb, dtype=np.uint8)) == pytest.approx(lab, abs=0.15)


@pytest.mark.parametrize(("name", "rgb"), COLORS.items())
def test_a_prototype_goes_by_its_name_and_no_other(name, rgb):
    assert words(rgb) == words(rgb, rgb, rgb)
    assert words(rgb).name == name
    assert words(rgb).possible == {name}


def test_a_colour_picked_for_a_room_is_named_as_it_was_picked():
    rng = np.random.default_rng(0)
    picked = [pick_color(rng, PLASTIC) for _ in range(300)]
    named = [words(color.rgb.round()).name for color in picked]
    wrong = [(color.name, name) for color, name in zip(picked, named, strict=True) if name not in (color.name, None)]
    assert wrong == []
    assert np.mean([name is not None for name in named]) > 0.95


def test_the_larger_part_names_and_the_smaller_makes_possible():
    red, blue = COLORS["red"], COLORS["blue"]
    mixed = words(red, blue, weights=(0.7, 0.3))
    assert mixed.name == "red"
    assert mixed.possible == {"red", "blue"}


def test_a_trace_of_colour_is_overlooked():
    assert words(COLORS["red"], COLORS["blue"], weights=(0.97, 0.03)).possible == {"red"}


def test_a_thing_of_many_colours_has_no_name():
    many = words(*[COLORS[name] for name in ("red", "blue", "green")])
    assert many.name is None
    assert many.possible == {"red", "blue", "green"}


def test_a_colour_between_two_prototypes_has_no_name_but_both_are_possible():
    between = np.mean([COLORS["red"], COLORS["orange"]], axis=0).round()
    assert words(between).name is None
    assert {"red", "orange"} <= words(between).possible


def test_instances_are_weighed_by_area():
    big = np.array([[0, 0, 0], [2, 0, 0], [0, 2, 0]], dtype=np.float32)
    small = big * 0.3 + 5
    mesh = SceneMesh(
        vertices=np.vstack([big, small, small + 5]).astype(np.float32),
        faces=np.arange(9, dtype=np.int32).reshape(3, 3),
        colors=np.repeat(np.array([COLORS["green"], COLORS["red"], COLORS["red"]], dtype=np.uint8), 3, axis=0),
        instances=np.array([4] * 6 + [0] * 3, dtype=np.int32),
    )
    found = instance_colors(mesh)
    assert set(found) == {4}
    assert found[4].name == "green"


def test_pixels_name_each_instance_by_its_own_colour():
    image = np.zeros((40, 60, 3), dtype=np.uint8)
    instances = np.zeros((40, 60), dtype=np.int32)
    for k, name in enumerate(("red", "white", "blue")):
        image[10:30, 20 * k : 20 * k + 20] = COLORS[name]
        instances[10:30, 20 * k : 20 * k + 20] = 7 + k
    found = colors_from_pixels(image, instances)
    assert {instance: words.name for instance, words in found.items()} == {7: "red", 8: "white", 9: "blue"}
    assert found[7].possible == {"red"}


def test_pixels_that_mix_at_an_edge_are_left_out():
    image = np.tile(np.array(COLORS["red"], dtype=np.uint8), (12, 12, 1))
    instances = np.zeros((12, 12), dtype=np.int32)
    instances[2:10, 2:10] = 3
    edge = instances == 3
    edge[3:9, 3:9] = False
    image[edge] = COLORS["blue"]
    assert colors_from_pixels(image, instances)[3].possible == {"red"}


def test_an_instance_that_is_all_edge_still_has_colours():
    image = np.tile(np.array(COLORS["green"], dtype=np.uint8), (9, 9, 1))
    instances = np.zeros((9, 9), dtype=np.int32)
    instances[4, 2:7] = 5
    assert colors_from_pixels(image, instances)[5].name == "green"


def test_a_half_shaded_thing_has_no_colour_name_but_both_are_possible():
    image = np.zeros((20, 20, 3), dtype=np.uint8)
    image[:, :10], image[:, 10:] = COLORS["white"], COLORS["gray"]
    words = colors_from_pixels(image, np.full((20, 20), 2))[2]
    assert words.name is None
    assert words.possible >= {"white", "gray"}


def test_only_so_many_pixels_are_looked_at_and_they_are_spread():
    rng = np.random.default_rng(0)
    red = rng.random((200, 200)) < 0.9
    image = np.where(red[..., None], COLORS["red"], COLORS["blue"]).astype(np.uint8)
    few = colors_from_pixels(image, np.full((200, 200), 1), max_samples=400)[1]
    assert few.name == "red"
    assert few.possible == {"red", "blue"}


def test_a_picture_without_instances_has_no_colours():
    assert colors_from_pixels(np.zeros((5, 5, 3), dtype=np.uint8), np.zeros((5, 5), dtype=np.int32)) == {}


def test_ids_of_another_size_are_refused():
    with pytest.raises(SdvlmError, match="10x20"):
        colors_from_pixels(np.zeros((5, 5, 3), dtype=np.uint8), np.zeros((20, 10), dtype=np.int32))
