"""Questions whose answer is a place, a name, a side, or yes or no.

Every function takes the facts of a frame and a generator and returns a question, or None where this draw gives none.
Yes and no, left and right, and the place of the right name among the options are drawn first and the question is built
to fit, so that none of them is likelier than another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from sdvlm.data.ask_measures import distinct_things, upright_things
from sdvlm.data.categories import is_plural, singular, with_article
from sdvlm.data.facts import Facts, Thing, pick
from sdvlm.data.question_config import QuestionConfig
from sdvlm.data.schema import AnswerKind, QuestionSample, TypedAnswer
from sdvlm.data.wording import any_name, plain_name, rounded, word
from sdvlm.scenes.palette import COLORS

__all__ = ["ask_comparison", "ask_existence", "ask_position", "ask_side"]

_COLORS = tuple(COLORS)


def ask_position(facts: Facts, rng: np.random.Generator, config: QuestionConfig) -> QuestionSample | None:
    """Where an object is in the image, or which object is at a point of it.

    "What is at" is answered with colour (where there is a plain one) and category, be there others like it or not.
    """
    if rng.random() < 0.5:
        if not facts.things:
            return None
        thing = pick(rng, facts.things)
        name, instance, asked = any_name(rng, thing, config), thing.id, None
        point = (rounded(thing.u), rounded(thing.v))
        answer = TypedAnswer(AnswerKind.POINT, point, None, "mask_centroid")
    else:
        if not facts.present:
            return None
        category, color, instance = pick(rng, facts.present)
        found = _point_on(facts, instance, rng)
        if found is None:
            return None
        point = asked = found
        name = category if color is None else f"{color} {category}"
        answer = TypedAnswer(AnswerKind.NAME, (name,), None, "object_at_point")
    x, y = (f"{value:.2f}" for value in point)
    topic = "position/point" if asked is None else "position/object"
    return word(rng, config, topic, answer, {"x": x, "y": y}, ids=(instance,), names=(name,), point=asked)


def ask_side(facts: Facts, rng: np.random.Generator, config: QuestionConfig) -> QuestionSample | None:
    """Left or right of another object, or nearer than it. Names hold no position word, which would tell the answer."""
    pair = distinct_things(rng, facts.unplaced, 2)
    if pair is None:
        return None
    draw, yes = rng.random(), rng.random() < 0.5
    if draw > 0.75:
        ask = _ask_front if config.depth_order and rng.random() < 0.5 else _ask_nearer
        return ask(pair, yes, rng, config)
    ordered = _left_to_right(pair, config)
    if ordered is None:
        return None
    if draw > 0.5:  # "which side": the answer's side is drawn through the order of mention
        things = ordered if yes else ordered[::-1]
        side = "left" if yes else "right"
        sides = pick(rng, (("left", "right"), ("right", "left")))
        answer = TypedAnswer(AnswerKind.DIRECTION, (side,), None, "side")
        return _word_pair(
            rng,
            config,
            "relative_position/which_side",
            answer,
            things,
            {"left": sides[0], "right": sides[1], "x": side},
        )
    left = rng.random() < 0.5
    things = ordered if left == yes else ordered[::-1]
    sides = ("left", "right") if left else ("right", "left")
    answer = TypedAnswer(AnswerKind.YES_NO, ("yes" if yes else "no",), None, f"{sides[0]}_of")
    return _word_pair(rng, config, "relative_position/side_of", answer, things, {"left": sides[0], "right": sides[1]})


def ask_comparison(facts: Facts, rng: np.random.Generator, config: QuestionConfig) -> QuestionSample | None:
    """Which of two or three objects is the tallest, the shorter, or the nearest."""
    topic, definition, measure, sign = pick(rng, _COMPARISONS)
    able = upright_things(facts.plain, config) if measure is _height else facts.plain
    things = distinct_things(rng, able, 3 if topic.endswith("three") else 2)
    if things is None:
        return None
    ranked = sorted(things, key=lambda thing: sign * measure(thing))
    low, high = sorted(measure(thing) for thing in ranked[:2])
    if not _clearly_more(high, low, config):
        return None
    names = [plain_name(rng, thing, config) for thing in things]
    best = names[things.index(ranked[0])]
    answer = TypedAnswer(AnswerKind.NAME, (best,), None, definition)
    ids = [thing.id for thing in things]
    return word(rng, config, f"scale_compare/{topic}", answer, {"x": best}, ids=ids, names=names)


def ask_existence(facts: Facts, rng: np.random.Generator, config: QuestionConfig) -> QuestionSample | None:
    """Whether there is such a thing: yes for what is clearly seen, no for what the whole scene does not hold."""
    colored = rng.random() < 0.5
    color: str | None
    ids: tuple[int, ...]
    if rng.random() < 0.5:
        present = [entry for entry in facts.present if entry[1] is not None] if colored else facts.present
        if not present:
            return None
        category, color, instance = pick(rng, present)
        ids, verdict = (instance,), "yes"
    else:
        ids, verdict = (), "no"
        if colored and facts.absent_colors and rng.random() < 0.7:
            category, free = pick(rng, facts.absent_colors)
            color = pick(rng, free)
        elif facts.absent:
            category, color = pick(rng, facts.absent), pick(rng, _COLORS)
        else:
            return None
    category = singular(category)
    if is_plural(category):
        return None
    name = f"{color} {category}" if colored else category
    answer = TypedAnswer(AnswerKind.YES_NO, (verdict,), None, "visible")
    return word(rng, config, "zero/exists", answer, {"some": with_article(name)}, ids=ids, names=(name,))


def _clearly_more(larger: float, smaller: float, config: QuestionConfig) -> bool:
    return larger >= smaller * config.min_ratio and larger - smaller >= config.min_gap_m


def _left_to_right(pair: Sequence[Thing], config: QuestionConfig) -> tuple[Thing, Thing] | None:
    """The two in the order they lie in, None where image and camera x do not both say so clearly."""
    first, second = sorted(pair, key=lambda thing: thing.u)
    far_apart = second.u - first.u >= config.min_side_share
    return (first, second) if far_apart and second.center[0] - first.center[0] >= config.min_side_gap_m else None


def _ask_nearer(
    pair: Sequence[Thing], yes: bool, rng: np.random.Generator, config: QuestionConfig
) -> QuestionSample | None:
    near, far = sorted(pair, key=lambda thing: thing.distance)
    if not _clearly_more(far.distance, near.distance, config):
        return None
    answer = TypedAnswer(AnswerKind.YES_NO, ("yes" if yes else "no",), None, "nearer_than")
    return _word_pair(rng, config, "relative_position/nearer", answer, (near, far) if yes else (far, near))


def _ask_front(
    pair: Sequence[Thing], yes: bool, rng: np.random.Generator, config: QuestionConfig
) -> QuestionSample | None:
    """In front of or behind: only where distance and depth clearly agree."""
    near, far = sorted(pair, key=lambda thing: thing.depth)
    if not _clearly_more(far.distance, near.distance, config) or not _clearly_more(far.depth, near.depth, config):
        return None
    front = rng.random() < 0.5
    words = ("in front of", "behind") if front else ("behind", "in front of")
    answer = TypedAnswer(AnswerKind.YES_NO, ("yes" if yes else "no",), None, "in_front_of" if front else "behind")
    things = (near, far) if yes == front else (far, near)
    places = {"left": words[0], "right": words[1]}
    return _word_pair(rng, config, "relative_position/front_behind", answer, things, places)


def _word_pair(
    rng: np.random.Generator,
    config: QuestionConfig,
    topic: str,
    answer: TypedAnswer,
    things: Sequence[Thing],
    places: Mapping[str, str] | None = None,
) -> QuestionSample:
    names = [plain_name(rng, thing, config) for thing in things]
    return word(rng, config, topic, answer, places or {}, ids=[thing.id for thing in things], names=names)


def _point_on(facts: Facts, instance: int, rng: np.random.Generator) -> tuple[float, float] | None:
    """A point with two decimals on the object, its neighbours 0.01 away too; None if a few draws find none."""
    observation = facts.observation
    width, height = observation.size
    seen = observation.object(instance)
    (u, v), (x0, y0, x1, y1) = observation.center_normalised(seen), seen.bounds_px
    for attempt in range(12):
        if attempt == 0 and rng.random() < 0.3:
            x, y = rounded(u), rounded(v)
        else:
            x = rounded((x0 + rng.random() * (x1 - x0)) / width)
            y = rounded((y0 + rng.random() * (y1 - y0)) / height)
        around = ((x, y), (x - 0.01, y), (x + 0.01, y), (x, y - 0.01), (x, y + 0.01))
        if all(_id_at(observation.instances, at_x * width, at_y * height) == instance for at_x, at_y in around):
            return x, y
    return None


def _id_at(instances: np.ndarray, x_px: float, y_px: float) -> int:
    """Instance id at a continuous pixel position, 0 outside the picture."""
    height, width = instances.shape
    inside = 0 <= x_px < width and 0 <= y_px < height
    return int(instances[int(y_px), int(x_px)]) if inside else 0


def _height(thing: Thing) -> float:
    return thing.height


def _distance(thing: Thing) -> float:
    return thing.distance


_COMPARISONS: tuple[tuple[str, str, Callable[[Thing], float], int], ...] = (
    ("taller_two", "tallest", _height, -1),
    ("tallest_three", "tallest", _height, -1),
    ("shorter_two", "shortest", _height, 1),
    ("nearer_two", "nearest", _distance, 1),
    ("nearest_three", "nearest", _distance, 1),
)
"""Topic, definition, what is measured, and -1 where the largest wins."""
