"""Work every answer out a second time, from boxes, camera and instance map alone, by another road.

World coordinates instead of camera coordinates, box corners instead of extents, pixels listed instead of histograms,
names read back from their words. A sample passes when its names mean what they should and its numbers agree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from sdvlm.data.categories import may_be_called, may_be_taken_for
from sdvlm.data.names import POSITIONS
from sdvlm.data.observe import Observation
from sdvlm.data.schema import AnswerKind, QuestionSample, QuestionType, TypedAnswer
from sdvlm.scenes.palette import COLORS
from sdvlm.types import SdvlmError

__all__ = ["denoted_ids", "find_faults", "recompute"]

_HALF_CENTIMETRE = 0.005 + 1e-6


def find_faults(sample: QuestionSample, observation: Observation) -> list[str]:
    """What is wrong with a sample of that frame, in words; empty when all is right."""
    faults = []
    text = f"{sample.question} {sample.answer}"
    for name in sample.names:
        if name not in text and sample.type is not QuestionType.COUNT:
            faults.append(f"the name {name!r} is not in the text")
    if sample.type is QuestionType.POSITION and sample.point is not None:
        if sample.objects[0] not in denoted_ids(sample.names[0], observation):
            faults.append(f"{sample.names[0]!r} is not a name of object {sample.objects[0]}")
    elif sample.type not in (QuestionType.COUNT, QuestionType.ZERO):
        for name, instance in zip(sample.names, sample.objects, strict=True):
            means = denoted_ids(name, observation)
            if means != {instance}:
                faults.append(f"{name!r} means {sorted(means)}, not just object {instance}")
    truth = recompute(sample, observation)
    if not _agree(sample.answer_typed, truth):
        faults.append(f"the answer is {sample.answer_typed.values} but should be {truth.values}")
    return faults


def recompute(sample: QuestionSample, observation: Observation) -> TypedAnswer:
    """The true answer of a question about a frame, unrounded, from its definition and the objects it names."""
    answer = sample.answer_typed
    definition = answer.definition
    if definition is None:
        raise SdvlmError(f"a sample needs a definition to be checked; {sample.template} has none")
    values: tuple[float | str, ...]
    if definition in _BEST:
        measure, best = _BEST[definition]
        measured = [measure(observation, instance) for instance in sample.objects]
        values = (sample.names[measured.index(best(measured))],)
    elif definition in ("left_of", "right_of", "side", "nearer_than"):
        values = (_relation(definition, sample.objects[0], sample.objects[1], observation),)
    elif definition == "visible":
        values = (_existence(sample.names[0], observation),)
    elif definition == "visible_instances":
        values = (len(_seen_as(sample.names[0], observation)),)
    elif definition == "mask_centroid":
        values = _pixel_mean(observation, sample.objects[0])
    elif definition == "object_at_point":
        values = (
            sample.names[0] if _instance_at(sample.point, observation) == sample.objects[0] else "something else",
        )
    else:
        values = _lengths(sample, definition, observation)
    return TypedAnswer(answer.kind, values, answer.unit, definition)


def denoted_ids(name: str, observation: Observation) -> set[int]:
    """Visible objects that a name ("red chair", "leftmost red chair") may mean; one for a distinguishing name."""
    words = name.split(" ")
    position = words.pop(0) if words[0] in POSITIONS else None
    color = words.pop(0) if words[0] in COLORS and len(words) > 1 else None
    ids = [
        instance
        for instance in _seen_as(" ".join(words), observation)
        if color is None or _might_be(color, instance, observation)
    ]
    if position is None or not ids:
        return set(ids)
    if position in ("leftmost", "rightmost"):
        places = [_pixel_mean(observation, instance)[0] for instance in ids]
    else:
        places = [_range(observation, instance) for instance in ids]
    extreme = min(places) if position in ("leftmost", "nearest") else max(places)
    return {instance for instance, place in zip(ids, places, strict=True) if place == extreme}


def _agree(stated: TypedAnswer, truth: TypedAnswer) -> bool:
    """Equal texts; numbers equal to rounding; counts exactly."""
    if len(stated.values) != len(truth.values):
        return False
    if stated.kind in (AnswerKind.LENGTH, AnswerKind.LENGTHS, AnswerKind.POINT):
        pairs = zip(stated.numbers, truth.numbers, strict=True)
        return all(abs(said - true) <= _HALF_CENTIMETRE for said, true in pairs)
    return stated.values == truth.values


def _corners(observation: Observation, instance: int) -> NDArray[np.float64]:
    """(8, 3) world."""
    box = next(thing.box for thing in observation.scene_objects if thing.id == instance)
    return box.corners()


def _height(observation: Observation, instance: int) -> float:
    return float(np.ptp(_corners(observation, instance)[:, 2]))


def _range(observation: Observation, instance: int) -> float:
    """Metres from the camera's centre to the middle of the corners."""
    middle = _corners(observation, instance).mean(axis=0)
    return float(np.linalg.norm(middle - observation.T_world_cam[:3, 3]))


def _lengths(sample: QuestionSample, definition: str, observation: Observation) -> tuple[float, ...]:
    middles = [_corners(observation, instance).mean(axis=0) for instance in sample.objects]
    eye, forward = observation.T_world_cam[:3, 3], observation.T_world_cam[:3, 2]
    if definition == "centre_to_centre":
        return (float(np.linalg.norm(middles[0] - middles[1])),)
    if definition == "camera_to_centre":
        return (float(np.linalg.norm(middles[0] - eye)),)
    if definition == "depth_of_centre":
        return (float((middles[0] - eye) @ forward),)
    if definition == "height":  # of the last objects named: a height given for reference comes first
        asked = sample.objects[-len(sample.answer_typed.values) :]
        return tuple(_height(observation, instance) for instance in asked)
    corners = _corners(observation, sample.objects[0])
    sides = sorted(float(np.linalg.norm(corners[other, :2] - corners[0, :2])) for other in (2, 4))
    sizes = {"width": (sides[0],), "length": (sides[1],)}
    return sizes.get(definition, (sides[1], sides[0], _height(observation, sample.objects[0])))


def _relation(definition: str, first: int, second: int, observation: Observation) -> str:
    if definition == "nearer_than":
        return "yes" if _range(observation, first) < _range(observation, second) else "no"
    across = observation.T_world_cam[:3, 0]
    to_second = _corners(observation, second).mean(axis=0) - _corners(observation, first).mean(axis=0)
    in_image = _pixel_mean(observation, second)[0] - _pixel_mean(observation, first)[0]
    if (to_second @ across > 0) != (in_image > 0):
        return "undecided"
    side = "left" if in_image > 0 else "right"
    return side if definition == "side" else ("yes" if definition == f"{side}_of" else "no")


def _existence(name: str, observation: Observation) -> str:
    """Yes if the frame plainly shows such a thing, no if nothing in the whole scene might pass for it."""
    word = name.split(" ")
    color = word.pop(0) if word[0] in COLORS and len(word) > 1 else None
    noun = " ".join(word)
    for instance in _seen_as(noun, observation):
        words = observation.scene_colors.get(instance)
        if color is None or (words is not None and words.name == color):
            return "yes"
    might = [
        thing.id
        for thing in observation.scene_objects
        if may_be_taken_for(thing.category, noun) and (color is None or _might_be(color, thing.id, observation))
    ]
    return "undecided" if might else "no"


def _seen_as(word: str, observation: Observation) -> list[int]:
    """Ids of visible objects that may be called by a word, in no order that matters."""
    visible = set(np.unique(observation.instances).tolist())
    return [
        thing.id for thing in observation.scene_objects if thing.id in visible and may_be_called(thing.category, word)
    ]


def _might_be(color: str, instance: int, observation: Observation) -> bool:
    words = observation.scene_colors.get(instance)
    return words is None or not words.possible or color in words.possible


def _pixel_mean(observation: Observation, instance: int) -> tuple[float, float]:
    """Mean pixel centre over image size: x, y."""
    rows, columns = np.nonzero(observation.instances == instance)
    width, height = observation.size
    return float((columns + 0.5).mean() / width), float((rows + 0.5).mean() / height)


def _instance_at(point: tuple[float, float] | None, observation: Observation) -> int:
    if point is None:
        return 0
    width, height = observation.size
    return int(observation.instances[int(point[1] * height), int(point[0] * width)])


_BEST: Mapping[str, tuple[Callable[[Observation, int], float], Callable[[list[float]], float]]] = {
    "tallest": (_height, max),
    "shortest": (_height, min),
    "nearest": (_range, min),
    "farthest": (_range, max),
}
