"""Work every answer out a second time, from boxes, camera and instance map alone, by another road.

World coordinates instead of camera coordinates, box corners instead of extents, pixels listed instead of histograms,
names read back from their words, numbers read back from the text. A sample passes when its names mean what they should
and its numbers agree to the rounding of the unit they are said in.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from sdvlm.data.categories import is_countable, may_be_called, may_be_taken_for
from sdvlm.data.names import POSITIONS, SIZES
from sdvlm.data.observe import Observation
from sdvlm.data.schema import QuestionSample, QuestionType, TypedAnswer
from sdvlm.data.verify_boxes import BEST, BoxView
from sdvlm.data.verify_text import agree, find_text_faults, given_reference_m, rounding_of
from sdvlm.scenes.palette import COLORS
from sdvlm.types import SdvlmError

__all__ = ["denoted_ids", "find_faults", "recompute"]


def find_faults(
    sample: QuestionSample, observation: Observation, given_names: Mapping[int, str] | None = None
) -> list[str]:
    """What is wrong with a sample of that frame, in words; empty when all is right.

    Args:
        sample: the question.
        observation: the frame it is about.
        given_names: names that were given for it (:func:`sdvlm.data.names.name_objects`), by instance id.
    """
    faults = find_text_faults(sample)
    if sample.type is QuestionType.POSITION and sample.point is not None:
        if sample.objects[0] not in denoted_ids(sample.names[0], observation):
            faults.append(f"{sample.names[0]!r} is not a name of object {sample.objects[0]}")
    elif sample.type not in (QuestionType.COUNT, QuestionType.ZERO):
        for name, instance in zip(sample.names, sample.objects, strict=True):
            means = denoted_ids(name, observation, given_names)
            if means != {instance}:
                faults.append(f"{name!r} means {sorted(means)}, not just object {instance}")
    truth = recompute(sample, observation)
    if not agree(sample, truth):
        faults.append(f"the answer is {sample.answer_typed.values} but should be {truth.values}")
    reference = given_reference_m(sample)
    if reference is not None:
        height = _boxes(observation).height(sample.objects[0])
        if not abs(reference - height) <= rounding_of(sample):
            faults.append(f"the question gives {reference} m for a height of {height:.4f} m")
    return faults


def recompute(sample: QuestionSample, observation: Observation) -> TypedAnswer:
    """The true answer of a question about a frame, unrounded, from its definition and the objects it names."""
    answer, boxes = sample.answer_typed, _boxes(observation)
    definition = answer.definition
    if definition is None:
        raise SdvlmError(f"a sample needs a definition to be checked; {sample.template} has none")
    values: tuple[float | str, ...]
    if definition in BEST:
        values = (sample.names[boxes.best(definition, sample.objects)],)
    elif definition in ("left_of", "right_of", "side"):
        values = (_side(definition, sample.objects[0], sample.objects[1], observation),)
    elif definition in ("nearer_than", "in_front_of", "behind"):
        values = (boxes.order(definition, sample.objects[0], sample.objects[1]),)
    elif definition == "visible":
        values = (_existence(sample.names[0], observation),)
    elif definition == "visible_instances":
        values = (_count(sample.names[0], observation),)
    elif definition == "mask_centroid":
        values = _pixel_mean(observation, sample.objects[0])
    elif definition == "object_at_point":
        values = (
            sample.names[0] if _instance_at(sample.point, observation) == sample.objects[0] else "something else",
        )
    else:
        values = boxes.lengths(definition, sample.objects, len(answer.values))
    return TypedAnswer(answer.kind, values, answer.unit, definition)


def denoted_ids(name: str, observation: Observation, given_names: Mapping[int, str] | None = None) -> set[int]:
    """Visible objects that a name may mean; one for a distinguishing name.

    Understands category, colour, and one word of position or size ("red chair", "leftmost red chair", "larger box"); a
    given name means whom it was given to, and whoever else its words fit.
    """
    given = {instance for instance, one in (given_names or {}).items() if one == name}
    words = name.split(" ")
    telling = words.pop(0) if words[0] in (*POSITIONS, *SIZES) and len(words) > 1 else None
    color = words.pop(0) if words[0] in COLORS and len(words) > 1 else None
    ids = [
        instance
        for instance in _seen_as(" ".join(words), observation)
        if color is None or _might_be(color, instance, observation)
    ]
    given |= _unconfirmed(" ".join(words), color, observation)
    if telling is None or not ids:
        return given | set(ids)
    if telling in SIZES:
        return given | _boxes(observation).meant_by_size(telling, ids)
    if telling in ("leftmost", "rightmost"):
        places = [_pixel_mean(observation, instance)[0] for instance in ids]
    else:
        places = [_boxes(observation).range(instance) for instance in ids]
    extreme = min(places) if telling in ("leftmost", "nearest") else max(places)
    return given | {instance for instance, place in zip(ids, places, strict=True) if place == extreme}


@lru_cache(maxsize=2)
def _boxes(observation: Observation) -> BoxView:
    """The scene's boxes in the world, seen by the frame's camera."""
    pose = observation.T_world_cam
    corners = {thing.id: thing.box.corners() for thing in observation.scene_objects}
    return BoxView(corners, pose[:3, 3], pose[:3, 0], pose[:3, 2], np.array([0.0, 0.0, 1.0]))


def _side(definition: str, first: int, second: int, observation: Observation) -> str:
    in_image = _pixel_mean(observation, second)[0] - _pixel_mean(observation, first)[0]
    if _boxes(observation).lies_left(first, second) != (in_image > 0):
        return "undecided"
    side = "left" if in_image > 0 else "right"
    return side if definition == "side" else ("yes" if definition == f"{side}_of" else "no")


def _count(word: str, observation: Observation) -> int:
    """How many the frame sees, -1 where a label stands for several things at once, or where there may be more."""
    if _unconfirmed(word, None, observation):
        return -1
    categories = {thing.id: thing.category for thing in observation.scene_objects}
    ids = _seen_as(word, observation)
    return len(ids) if all(is_countable(categories[instance]) for instance in ids) else -1


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
    visible = _visible(observation)
    return [
        thing.id for thing in observation.scene_objects if thing.id in visible and may_be_called(thing.category, word)
    ]


def _unconfirmed(word: str, color: str | None, observation: Observation) -> set[int]:
    """What the picture may show although no pixel of it is confirmed, and the words fit."""
    return {
        thing.id
        for thing in observation.unconfirmed
        if may_be_called(thing.category, word) and (color is None or _might_be(color, thing.id, observation))
    }


@lru_cache(maxsize=2)
def _visible(observation: Observation) -> frozenset[int]:
    """Ids in the instance map."""
    return frozenset(np.unique(observation.instances).tolist())


def _might_be(color: str, instance: int, observation: Observation) -> bool:
    words = observation.scene_colors.get(instance)
    return words is None or not words.possible or color in words.possible


@lru_cache(maxsize=64)
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
