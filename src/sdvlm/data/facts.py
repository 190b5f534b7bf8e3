"""The plain numbers questions are made of, taken once per frame."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from sdvlm.data.categories import is_countable, may_be_called, may_be_meant, may_be_taken_for
from sdvlm.data.names import Names
from sdvlm.data.observe import Observation, ObservedObject
from sdvlm.data.select import SelectConfig, Selection
from sdvlm.scenes.palette import COLORS

__all__ = ["Facts", "Thing", "collect_facts", "pick"]

_T = TypeVar("_T")
_UPRIGHT = math.cos(math.radians(SelectConfig.max_tilt_deg))


@dataclass(frozen=True, slots=True)
class Thing:
    """One named object: its names and what was measured of it.

    Args:
        id: instance id.
        category: as the scene names it.
        names: what it may be called.
        length, width, height: metres; the longer and shorter horizontal extent, the vertical extent.
        distance, depth: metres from the camera's centre, and along the optical axis, to the box centre.
        center: camera frame, metres.
        u, v: mean position of the seen pixels over the image size.
        upright: its height is the extent along its box's third axis; no extent of another is asked.
    """

    id: int
    category: str
    names: Names
    length: float
    width: float
    height: float
    distance: float
    depth: float
    center: tuple[float, float, float]
    u: float
    v: float
    upright: bool = True


@dataclass(frozen=True, eq=False)
class Facts:
    """What one frame lets one ask.

    Args:
        observation: where it comes from.
        things: named objects.
        plain: those of them that have a name without a word of position or size.
        unplaced: those that have a name without a position word.
        counts: categories with a certain number of visible instances, and their ids.
        present: (category, plain colour or None, id) of what is certainly visible.
        absent: categories that are certainly not in the scene.
        absent_colors: categories of the scene, each with the colours that certainly none of its kind has.
    """

    observation: Observation
    things: tuple[Thing, ...]
    plain: tuple[Thing, ...]
    unplaced: tuple[Thing, ...]
    counts: tuple[tuple[str, tuple[int, ...]], ...]
    present: tuple[tuple[str, str | None, int], ...]
    absent: tuple[str, ...]
    absent_colors: tuple[tuple[str, tuple[str, ...]], ...]


def collect_facts(
    selection: Selection, names: Mapping[int, Names], negative_categories: Sequence[str], *, loose_labels: bool = False
) -> Facts:
    """Gather the facts of a frame.

    Args:
        selection: what the frame sees, sorted.
        names: of the kept objects, from :func:`sdvlm.data.names.name_objects`.
        negative_categories: candidates for what is absent.
        loose_labels: as in :class:`sdvlm.data.names.NameConfig`.
    """
    observation = selection.observation
    things = tuple(_thing(seen, names[seen.id], observation) for seen in selection.kept if seen.id in names)
    return Facts(
        observation=observation,
        things=things,
        plain=tuple(thing for thing in things if thing.names.plain),
        unplaced=tuple(thing for thing in things if thing.names.plain or thing.names.sized),
        counts=_certain_counts(selection, loose_labels),
        present=tuple((seen.category, seen.colors.name, seen.id) for seen in selection.kept),
        absent=_absent(observation, negative_categories),
        absent_colors=_absent_colors(selection),
    )


def pick(rng: np.random.Generator, options: Sequence[_T]) -> _T:
    """One of the options, each as likely (``Generator.choice`` takes ten times as long)."""
    return options[int(rng.random() * len(options))]


def _thing(seen: ObservedObject, names: Names, observation: Observation) -> Thing:
    along, across, height = seen.object.box.size.tolist()
    x, y, z = seen.center_cam
    u, v = observation.center_normalised(seen)
    return Thing(
        id=seen.id,
        category=seen.category,
        names=names,
        length=max(along, across),
        width=min(along, across),
        height=height,
        distance=(x * x + y * y + z * z) ** 0.5,
        depth=z,
        center=(x, y, z),
        u=u,
        v=v,
        upright=bool(seen.object.box.rotation[2, 2] >= _UPRIGHT),
    )


def _certain_counts(selection: Selection, loose: bool) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Categories of which every seen instance is kept: each clearly there, none half hidden, none labelled as many.

    None of which another may be there, unconfirmed, or under a wider label where these are loose.
    """
    fits = may_be_meant if loose else may_be_called
    unsure = {thing.category for thing in selection.observation.unconfirmed}
    kept = {seen.id for seen in selection.kept}
    counts = []
    for category in sorted({seen.category for seen in selection.kept}):
        alike = [seen for seen in selection.observation.objects if may_be_called(seen.category, category)]
        others = {seen.category for seen in selection.observation.objects if seen not in alike} if loose else set()
        if any(fits(other, category) for other in unsure | others):
            continue
        if all(seen.id in kept and is_countable(seen.category) for seen in alike):
            counts.append((category, tuple(seen.id for seen in alike)))
    return tuple(counts)


def _absent(observation: Observation, candidates: Sequence[str]) -> tuple[str, ...]:
    """Candidates that nothing in the whole scene may be taken for."""
    there = {thing.category for thing in observation.scene_objects}
    return tuple(word for word in candidates if not any(may_be_taken_for(category, word) for category in there))


def _absent_colors(selection: Selection) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """For each kept category the colours that nothing taken for it, anywhere in the scene, might have."""
    observation, result = selection.observation, []
    for category in sorted({seen.category for seen in selection.kept}):
        alike = [thing.id for thing in observation.scene_objects if may_be_taken_for(thing.category, category)]
        possible = [observation.scene_colors[one].possible for one in alike if one in observation.scene_colors]
        if len(possible) == len(alike) and all(possible):
            free = tuple(color for color in COLORS if not any(color in colors for colors in possible))
            if free:
                result.append((category, free))
    return tuple(result)
