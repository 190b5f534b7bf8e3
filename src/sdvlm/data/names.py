"""Names that mean exactly one object of a picture: by category, else by colour, else by position.

A name is given only when no other object the frame sees, however little of it, could be meant by the same words
(:func:`sdvlm.data.categories.may_be_called`, :attr:`ColorWords.possible`). Where none is found the object stays unnamed
and is not asked about.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from sdvlm.data.categories import may_be_called
from sdvlm.data.observe import Observation, ObservedObject
from sdvlm.data.select import Selection

__all__ = ["POSITIONS", "NameConfig", "Names", "name_objects"]

POSITIONS = ("leftmost", "rightmost", "nearest", "farthest")
"""Position words: the first two by the mean x of the seen pixels, the others by distance of the box centre."""


@dataclass(frozen=True)
class NameConfig:
    """How far apart objects of one kind must be for a position to tell them apart."""

    min_x_share: float = 0.05
    """leftmost, rightmost: gap of mean x to the next candidate, as a share of the picture's width"""
    min_distance_m: float = 0.1
    """nearest, farthest: gap of distance to the next candidate"""
    min_distance_ratio: float = 1.1
    """nearest, farthest: ratio of distance to the next candidate"""


@dataclass(frozen=True)
class Names:
    """What an object may be called in its picture.

    Args:
        plain: by category or colour and category, shortest first ("chair", "red chair").
        placed: with a position word ("leftmost chair"); only where there is no plain name.
    """

    plain: tuple[str, ...]
    placed: tuple[str, ...] = ()


def name_objects(
    selection: Selection, config: NameConfig | None = None, given: Mapping[int, str] | None = None
) -> dict[int, Names]:
    """Distinguishing names of the kept objects, by instance id. Objects that have none are left out.

    The sets of candidates are all objects the frame sees, kept or not.

    Args:
        selection: what the frame sees.
        config: how far apart position words must set objects.
        given: names found and verified already (:mod:`sdvlm.data.reword`), by instance id; they come first.
    """
    config, given = config or NameConfig(), given or {}
    observation = selection.observation
    rivals: dict[str, tuple[ObservedObject, ...]] = {}
    named: dict[int, Names] = {}
    for seen in selection.kept:
        word = seen.category
        if word not in rivals:
            rivals[word] = tuple(one for one in observation.objects if may_be_called(one.category, word))
        same_word = rivals[word]
        plain = [word] if len(same_word) == 1 else []
        color = seen.colors.name
        if color is not None and sum(_may_be_colored(one, color) for one in same_word) == 1:
            plain.append(f"{color} {word}")
        placed = (
            [] if plain else [f"{position} {word}" for position in _positions(seen, same_word, observation, config)]
        )
        if not plain and color is not None and not placed:
            same_color = tuple(one for one in same_word if _may_be_colored(one, color))
            placed = [f"{place} {color} {word}" for place in _positions(seen, same_color, observation, config)]
        if seen.id in given:
            plain.insert(0, given[seen.id])
        if plain or placed:
            named[seen.id] = Names(tuple(plain), tuple(placed))
    return named


def _may_be_colored(seen: ObservedObject, color: str) -> bool:
    """Whether somebody might use that colour word for it; so when its colours are unknown."""
    return not seen.colors.possible or color in seen.colors.possible


def _positions(
    seen: ObservedObject, candidates: tuple[ObservedObject, ...], observation: Observation, config: NameConfig
) -> list[str]:
    """Position words that single it out among the candidates, itself included."""
    others = [one for one in candidates if one.id != seen.id]
    if not others:
        return []
    gap = config.min_x_share * observation.camera.width
    x, xs = seen.centroid_px[0], [one.centroid_px[0] for one in others]
    far, fars = _distance(seen), [_distance(one) for one in others]
    ratio, metres = config.min_distance_ratio, config.min_distance_m
    words = []
    if x + gap < min(xs):
        words.append("leftmost")
    if x - gap > max(xs):
        words.append("rightmost")
    if far * ratio < min(fars) and far + metres < min(fars):
        words.append("nearest")
    if far > max(fars) * ratio and far > max(fars) + metres:
        words.append("farthest")
    return words


def _distance(seen: ObservedObject) -> float:
    """Metres from the camera's centre to the centre of its box."""
    x, y, z = seen.center_cam
    return math.sqrt(x * x + y * y + z * z)
