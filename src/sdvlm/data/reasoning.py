"""The derivation of an answer from geometry, in words: a chain of thought that is always right.

Each derivation speaks only of what a viewer could point at: objects by their distinguishing names, places in the
picture, depths, and a reference object of known height where there is one. Every step holds with the numbers it
prints, and the last one is the sample's own answer (:mod:`sdvlm.data.reasoning_steps`); where that cannot be reached
there is no derivation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from sdvlm.data import reasoning_relations as relations
from sdvlm.data.names import Names, name_objects
from sdvlm.data.observe import Observation, ObservedObject
from sdvlm.data.reasoning_lines import line_along
from sdvlm.data.reasoning_measures import (
    Reference,
    Scene,
    distance_between,
    distance_to,
    extent,
    focal_length,
    height_by,
    mean_depth,
)
from sdvlm.data.reasoning_steps import MAX_EXTRA, Digits, Expression, Steps, StepsDisagreeError
from sdvlm.data.schema import AnswerKind, QuestionSample, QuestionType
from sdvlm.data.select import select

__all__ = ["explain"]

_MIN_REFERENCE_M = 0.2
_MIN_REFERENCE_PX = 20.0
_WITHOUT_SCALE = frozenset(
    {
        "depth_of_centre",
        "visible_instances",
        "mask_centroid",
        "object_at_point",
        "left_of",
        "right_of",
        "side",
        "visible",
    }
)
"""definitions whose derivations need no reference"""

Deriver = Callable[[Steps, Scene, QuestionSample], "tuple[float | str, ...] | None"]
"""Says the steps; returns the answer they lead to, None where the picture does not show what they need"""


def explain(
    sample: QuestionSample,
    observation: Observation,
    rng: np.random.Generator,
    *,
    names: Mapping[int, Names] | None = None,
) -> str | None:
    """A derivation that ends in a sample's answer, without the answer's own sentence.

    Args:
        sample: a question about the frame, with its typed answer.
        observation: of the frame.
        rng: draws the reference object, and whether there is one.
        names: what objects may be called, by instance id; default: the geometric names of what ``select`` keeps.

    Returns:
        Sentences in the sample's unit; None where the picture does not show what a derivation needs (an end of every
        edge outside it), or where the answer is not the one that geometry gives.
    """
    definition = sample.answer_typed.definition
    derive = _DERIVE.get(definition or "")
    if derive is None:
        return None
    named = name_objects(select(observation)) if names is None else names
    reference = _reference(sample, observation, named, rng)
    scenes = [Scene(observation, _said_names(sample), reference)]
    if reference is not None:
        scenes.append(Scene(observation, _said_names(sample), None))
    for scene in scenes:
        for extra in range(MAX_EXTRA + 1):
            steps = Steps(Digits(sample.said_unit, extra))
            try:
                reached = derive(steps, scene, sample)
            except (StepsDisagreeError, ZeroDivisionError):
                continue
            if reached is None:
                break
            if _is_answer(reached, sample):
                return _close(steps, sample)
    return None


def _reference(
    sample: QuestionSample, observation: Observation, names: Mapping[int, Names], rng: np.random.Generator
) -> Reference | None:
    """The object the question gives the height of; else, every other time, one that stands free and is not asked of."""
    if sample.answer_typed.definition in _WITHOUT_SCALE:
        return None
    if sample.type is QuestionType.REFER_OBJ_ESTIMATION:
        seen = observation.object(sample.objects[0])
        line = line_along(seen, 2, observation)
        given = Digits(sample.said_unit).answer(float(seen.object.box.size[2]))
        return None if line is None else Reference(sample.names[0], line, given)
    if rng.random() < 0.5:
        return None
    others = [(instance, its) for instance, its in sorted(names.items()) if instance not in sample.objects]
    for index in rng.permutation(len(others)):
        instance, its = others[index]
        line = line_along(observation.object(instance), 2, observation)
        if line is None or line.hidden or not (its.plain or its.placed):
            continue
        if line.length >= _MIN_REFERENCE_M and line.span_px >= _MIN_REFERENCE_PX:
            return Reference((*its.plain, *its.placed)[0], line)
    return None


def _said_names(sample: QuestionSample) -> dict[int, str]:
    return dict(zip(sample.objects, sample.names, strict=False))


def _seen(scene: Scene, sample: QuestionSample) -> list[ObservedObject]:
    return [scene.observation.object(instance) for instance in sample.objects]


def _height(steps: Steps, scene: Scene, sample: QuestionSample) -> tuple[float | str, ...] | None:
    asked = _seen(scene, sample)[-len(sample.answer_typed.values) :]
    if scene.reference is not None:
        return _values([height_by(steps, scene, seen, first=index == 0) for index, seen in enumerate(asked)])
    focal = focal_length(steps, scene)
    if sample.type is QuestionType.REFER_OBJ_ESTIMATION:  # the rounded height given is too coarse to multiply with
        if extent(steps, scene, focal, _seen(scene, sample)[0], 2, "height") is None:
            return None
        steps.say("that is the height given, so the same way serves for what is asked")
    return _values([extent(steps, scene, focal, seen, 2, "height") for seen in asked])


def _horizontal(what: str) -> Deriver:
    def derive(steps: Steps, scene: Scene, sample: QuestionSample) -> tuple[float | str, ...] | None:
        (seen,) = _seen(scene, sample)
        return _values([extent(steps, scene, focal_length(steps, scene), seen, _axis_of(seen, what), what)])

    return derive


def _size(steps: Steps, scene: Scene, sample: QuestionSample) -> tuple[float | str, ...] | None:
    (seen,) = _seen(scene, sample)
    focal = focal_length(steps, scene)
    parts = ("length", "width", "height")
    return _values([extent(steps, scene, focal, seen, _axis_of(seen, what), what) for what in parts])


def _between(surfaces: bool) -> Deriver:
    def derive(steps: Steps, scene: Scene, sample: QuestionSample) -> tuple[float | str, ...] | None:
        pair = _seen(scene, sample)
        return _values([distance_between(steps, scene, focal_length(steps, scene), pair, surfaces)])

    return derive


def _from_camera(steps: Steps, scene: Scene, sample: QuestionSample) -> tuple[float | str, ...] | None:
    return _values([distance_to(steps, scene, focal_length(steps, scene), _seen(scene, sample)[0])])


def _depth(steps: Steps, scene: Scene, sample: QuestionSample) -> tuple[float | str, ...] | None:
    return _values([mean_depth(steps, scene, _seen(scene, sample)[0])])


def _count(steps: Steps, scene: Scene, sample: QuestionSample) -> tuple[float | str, ...] | None:
    return (float(relations.count_things(steps, scene, sample.names[0])),)


def _point(steps: Steps, scene: Scene, sample: QuestionSample) -> tuple[float | str, ...] | None:
    return relations.place_of(steps, scene, _seen(scene, sample)[0])


def _object_at(steps: Steps, scene: Scene, sample: QuestionSample) -> tuple[float | str, ...] | None:
    if sample.point is None:
        return None
    return (sample.names[0],) if relations.thing_at(steps, scene, _seen(scene, sample)[0], sample.point) else None


def _side(steps: Steps, scene: Scene, sample: QuestionSample) -> tuple[float | str, ...] | None:
    side = relations.side_of(steps, scene, _seen(scene, sample))
    definition = sample.answer_typed.definition
    return (side,) if definition == "side" else _yes_no(definition == f"{side}_of")


def _nearer(steps: Steps, scene: Scene, sample: QuestionSample) -> tuple[float | str, ...] | None:
    return _yes_no(relations.nearer(steps, scene, _seen(scene, sample)))


def _order(behind: bool) -> Deriver:
    def derive(steps: Steps, scene: Scene, sample: QuestionSample) -> tuple[float | str, ...] | None:
        first = relations.in_order_of_depth(steps, scene, _seen(scene, sample))
        return None if first is None else _yes_no(first != behind)

    return derive


def _best(by_height: bool, flag: bool) -> Deriver:
    def derive(steps: Steps, scene: Scene, sample: QuestionSample) -> tuple[float | str, ...] | None:
        rank = relations.best_by_height if by_height else relations.best_by_distance
        best = rank(steps, scene, _seen(scene, sample), flag)
        return None if best is None else (scene.names[best.id],)

    return derive


def _exists(steps: Steps, scene: Scene, sample: QuestionSample) -> tuple[float | str, ...] | None:
    return _yes_no(relations.find_thing(steps, scene, sample.names[0]))


def _yes_no(verdict: bool | None) -> tuple[str] | None:
    return None if verdict is None else ("yes" if verdict else "no",)


def _values(results: list[Expression | None]) -> tuple[float | str, ...] | None:
    """Lengths in the unit they are said in; None where one is missing."""
    found = tuple(result.value for result in results if result is not None)
    return found if len(found) == len(results) else None


def _axis_of(seen: ObservedObject, what: str) -> int:
    """The axis of its box that is its length, width or height."""
    along, across, _ = seen.object.box.size.tolist()
    return 2 if what == "height" else int((what == "length") != (along >= across))


def _is_answer(reached: tuple[float | str, ...], sample: QuestionSample) -> bool:
    """Whether the derivation's outcome is what the sample's text says."""
    answer = sample.answer_typed
    if answer.kind in (AnswerKind.LENGTH, AnswerKind.LENGTHS):
        said = Digits(sample.said_unit)
        return reached == tuple(said.answer(value).value for value in answer.numbers)
    if answer.kind in (AnswerKind.COUNT, AnswerKind.POINT):
        return reached == answer.numbers
    return reached == answer.values


def _close(steps: Steps, sample: QuestionSample) -> str:
    """The steps with a last sentence where they do not name the answer yet."""
    answer = sample.answer_typed
    if answer.kind is AnswerKind.YES_NO:
        steps.say(f"so the answer is {answer.values[0]}")
    elif answer.kind is AnswerKind.LENGTHS:
        said = [f"{steps.digits.answer(value)} {steps.unit}" for value in answer.numbers]
        steps.say(f"in the order asked that is {', '.join(said)}")
    elif answer.kind is AnswerKind.POINT:
        x, y = (steps.digits.share(value) for value in answer.numbers)
        steps.say(f"so it is at ({x},{y})")
    return steps.text()


_DERIVE: Mapping[str, Deriver] = {
    "height": _height,
    "width": _horizontal("width"),
    "length": _horizontal("length"),
    "size": _size,
    "centre_to_centre": _between(surfaces=False),
    "closest_surfaces": _between(surfaces=True),
    "camera_to_centre": _from_camera,
    "depth_of_centre": _depth,
    "visible_instances": _count,
    "mask_centroid": _point,
    "object_at_point": _object_at,
    "left_of": _side,
    "right_of": _side,
    "side": _side,
    "nearer_than": _nearer,
    "in_front_of": _order(behind=False),
    "behind": _order(behind=True),
    "tallest": _best(by_height=True, flag=True),
    "shortest": _best(by_height=True, flag=False),
    "nearest": _best(by_height=False, flag=True),
    "farthest": _best(by_height=False, flag=False),
    "visible": _exists,
}
"""By the definition of the answer."""
