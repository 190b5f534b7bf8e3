"""Names that mean exactly one object of a picture: by category, else by colour, position or size.

A name is given only when no other object the frame sees, however little of it, could be meant by the same words
(:func:`sdvlm.data.categories.may_be_called`, :attr:`ColorWords.possible`). Where none is found the object stays unnamed
and is not asked about by name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from sdvlm.data.categories import may_be_called, may_be_meant
from sdvlm.data.colors import ColorWords
from sdvlm.data.observe import Observation, ObservedObject
from sdvlm.data.select import Selection
from sdvlm.data.sizes import SIZES, SizeMargins, size_words
from sdvlm.scenes.scene import SceneObject

__all__ = ["POSITIONS", "SIZES", "NameConfig", "Names", "count_outcomes", "name_objects"]

POSITIONS = ("leftmost", "rightmost", "nearest", "farthest")
"""Position words: the first two by the mean x of the seen pixels, the others by distance of the box centre."""

_TELLING = frozenset(
    {
        "left",
        "right",
        "leftmost",
        "rightmost",
        "middle",
        "center",
        "near",
        "nearest",
        "nearer",
        "close",
        "closest",
        "far",
    }
    | {
        "closer",
        "farther",
        "farthest",
        "front",
        "behind",
        "back",
        "background",
        "foreground",
        "tall",
        "taller",
        "tallest",
    }
    | {"short", "shorter", "shortest", "high", "higher", "highest", "low", "lower", "lowest", "top", "bottom"}
)
"""Words of given names that would tell an answer: where the object is, or how tall."""


@dataclass(frozen=True)
class NameConfig:
    """How far apart objects of one kind must be for a position or a size to tell them apart."""

    min_x_share: float = 0.05
    """leftmost, rightmost: gap of mean x to the next candidate, as a share of the picture's width"""
    min_distance_m: float = 0.1
    """nearest, farthest: gap of distance to the next candidate"""
    min_distance_ratio: float = 1.1
    """nearest, farthest: ratio of distance to the next candidate"""
    sizes: bool = False
    """whether there are names by size, "the tallest chair", "the larger box" ..."""
    loose_labels: bool = False
    """whether sources label things by wider words than they deserve, as people do: what is labelled "chair" may be an
    office chair, so where there is one, no other is "the office chair", and office chairs are not counted"""
    size_margins: SizeMargins = field(default_factory=SizeMargins)
    """... and how much an object must exceed the next candidate for them"""


@dataclass(frozen=True)
class Names:
    """What an object may be called in its picture.

    Args:
        plain: by category or colour and category, shortest first ("chair", "red chair"); before them what was given.
        placed: with a position word ("leftmost chair"); only where there is no plain name.
        sized: with a size word ("larger box"); only where there is no plain name and sizes are wanted.
    """

    plain: tuple[str, ...] = ()
    placed: tuple[str, ...] = ()
    sized: tuple[str, ...] = ()

    @property
    def best(self) -> str:
        """The one to show: the first there is."""
        return (self.plain + self.placed + self.sized)[0]


def name_objects(
    selection: Selection, config: NameConfig | None = None, given: Mapping[int, str] | None = None
) -> dict[int, Names]:
    """Distinguishing names of the kept objects, by instance id. Objects that have none are left out.

    The sets of candidates are all objects the frame sees, kept or not, and those it may show unconfirmed.

    Args:
        selection: what the frame sees.
        config: how far apart words of position and size must set objects.
        given: names found and verified already (:mod:`sdvlm.data.reword`), by instance id; they come first, among the
            placed names if they hold a word that tells where or how tall the object is.
    """
    config, given = config or NameConfig(), given or {}
    observation = selection.observation
    fits = may_be_meant if config.loose_labels else may_be_called
    rivals: dict[str, tuple[ObservedObject, ...]] = {}
    unsure: dict[str, tuple[SceneObject, ...]] = {}
    named: dict[int, Names] = {}
    for seen in selection.kept:
        word = seen.category
        if word not in rivals:
            rivals[word] = tuple(one for one in observation.objects if fits(one.category, word))
            unsure[word] = tuple(one for one in observation.unconfirmed if fits(one.category, word))
        names = _names(seen, rivals[word], unsure[word], observation, config)
        if seen.id in given:
            names = _with_given(names, given[seen.id])
        if names.plain or names.placed or names.sized:
            named[seen.id] = names
    return named


def count_outcomes(selection: Selection, named: Mapping[int, Names]) -> dict[str, int]:
    """How many seen objects were kept and named, and how many dropped for each reason: ``ambiguous`` has no name.

    Args:
        selection: what the frame sees.
        named: from :func:`name_objects`.
    """
    counts = selection.counts | {"kept": len(named)}
    ambiguous = len(selection.kept) - len(named)
    return counts | ({"ambiguous": ambiguous} if ambiguous else {})


def _names(
    seen: ObservedObject,
    same_word: tuple[ObservedObject, ...],
    unsure: tuple[SceneObject, ...],
    observation: Observation,
    config: NameConfig,
) -> Names:
    """By colour, else by position, else by position among those of its colour; sizes alike, where wanted.

    Where something unconfirmed may be meant too there are no words of place or size.
    """
    word, color = seen.category, seen.colors.name
    plain = [word] if len(same_word) == 1 and not unsure else []
    unsure_color = tuple(one for one in unsure if _may_be_colored(observation.scene_colors.get(one.id), color))
    if color is not None and not unsure_color and sum(_may_be_colored(one.colors, color) for one in same_word) == 1:
        plain.append(f"{color} {word}")
    if plain:
        return Names(tuple(plain))
    alone = not unsure
    placed = [f"{place} {word}" for place in _positions(seen, same_word, observation, config) if alone]
    sized = [f"{size} {word}" for size in _sizes(seen, same_word, config) if alone]
    if color is not None and not unsure_color:
        same_color = tuple(one for one in same_word if _may_be_colored(one.colors, color))
        if not placed:
            placed = [f"{place} {color} {word}" for place in _positions(seen, same_color, observation, config)]
        if not sized:
            sized = [f"{size} {color} {word}" for size in _sizes(seen, same_color, config)]
    return Names((), tuple(placed), tuple(sized))


def _with_given(names: Names, name: str) -> Names:
    if _TELLING & set(name.lower().replace("-", " ").split()):
        return Names(names.plain, (name, *names.placed), names.sized)
    return Names((name, *(one for one in names.plain if one != name)), names.placed, names.sized)


def _may_be_colored(words: ColorWords | None, color: str | None) -> bool:
    """Whether somebody might use that colour word for it; so when its colours are unknown."""
    return words is None or not words.possible or color in words.possible


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


def _sizes(seen: ObservedObject, candidates: tuple[ObservedObject, ...], config: NameConfig) -> list[str]:
    """Size words that single it out among the candidates, where wanted."""
    return size_words(seen, candidates, config.size_margins) if config.sizes else []


def _distance(seen: ObservedObject) -> float:
    """Metres from the camera's centre to the centre of its box."""
    x, y, z = seen.center_cam
    return math.sqrt(x * x + y * y + z * z)
