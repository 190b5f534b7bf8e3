"""Questions whose answer is a number: size, distance, a height from another one, how many.

Every function takes the facts of a frame and a generator and returns a question, or None where this draw gives none.
"""

from __future__ import annotations

import math

import numpy as np

from sdvlm.data.categories import plural
from sdvlm.data.facts import Facts, Thing, pick
from sdvlm.data.question_config import QuestionConfig
from sdvlm.data.schema import AnswerKind, QuestionSample, TypedAnswer
from sdvlm.data.wording import any_name, metres, rounded, word

__all__ = ["ask_count", "ask_distance", "ask_reference", "ask_scale", "distinct_things"]


def distinct_things(rng: np.random.Generator, things: tuple[Thing, ...], n: int) -> tuple[Thing, ...] | None:
    """``n`` different things in random order, None if there are not as many."""
    if len(things) < n:
        return None
    chosen: list[Thing] = []
    while len(chosen) < n:
        thing = pick(rng, things)
        if thing not in chosen:
            chosen.append(thing)
    return tuple(chosen)


def ask_scale(facts: Facts, rng: np.random.Generator, config: QuestionConfig) -> QuestionSample | None:
    """Width, height, length or size of one object."""
    if not facts.things:
        return None
    thing = pick(rng, facts.things)
    name = any_name(rng, thing, config)
    topic = pick(rng, ("width", "height", "size", "height", "width", "size", "length"))
    if topic == "size":
        values: tuple[float, ...] = (thing.length, thing.width, thing.height)
        kind = AnswerKind.LENGTHS
    else:
        values = (getattr(thing, topic),)
        kind = AnswerKind.LENGTH
    if min(values) < config.min_length_m:
        return None
    answer = TypedAnswer(kind, tuple(rounded(value) for value in values), "m", topic)
    places = dict(zip("xyz", (metres(value) for value in values), strict=False))
    return word(rng, config, f"scale_estimation/{topic}", answer, places, ids=(thing.id,), names=(name,))


def ask_distance(facts: Facts, rng: np.random.Generator, config: QuestionConfig) -> QuestionSample | None:
    """Distance between two objects, from the camera to one, or its depth."""
    draw = rng.random()
    if draw < 0.5:
        pair = distinct_things(rng, facts.things, 2)
        if pair is None:
            return None
        topic, definition, things = "pair", "centre_to_centre", pair
        value = math.dist(pair[0].center, pair[1].center)
    else:
        if not facts.things:
            return None
        things = (pick(rng, facts.things),)
        topic, definition, value = "camera", "camera_to_centre", things[0].distance
        if draw > 0.9:
            topic, definition, value = "depth", "depth_of_centre", things[0].depth
    if value < config.min_length_m:
        return None
    answer = TypedAnswer(AnswerKind.LENGTH, (rounded(value),), "m", definition)
    names = [any_name(rng, thing, config) for thing in things]
    ids = [thing.id for thing in things]
    return word(rng, config, f"absolute_distance/{topic}", answer, {"x": metres(value)}, ids=ids, names=names)


def ask_reference(facts: Facts, rng: np.random.Generator, config: QuestionConfig) -> QuestionSample | None:
    """Heights of one or two objects, the height of another being given."""
    tall = tuple(thing for thing in facts.things if thing.height >= config.min_length_m)
    three = rng.random() < 0.5 and len(tall) > 2
    things = distinct_things(rng, tall, 3 if three else 2)
    if things is None:
        return None
    names = [any_name(rng, thing, config) for thing in things]
    heights = [thing.height for thing in things]
    kind = AnswerKind.LENGTHS if three else AnswerKind.LENGTH
    answer = TypedAnswer(kind, tuple(rounded(value) for value in heights[1:]), "m", "height")
    places = dict(zip("xyz", (metres(value) for value in heights), strict=False))
    topic = f"refer_obj_estimation/{'three' if three else 'two'}"
    return word(rng, config, topic, answer, places, ids=[thing.id for thing in things], names=names)


def ask_count(facts: Facts, rng: np.random.Generator, config: QuestionConfig) -> QuestionSample | None:
    """How many of a category."""
    if not facts.counts:
        return None
    category, ids = pick(rng, facts.counts)
    answer = TypedAnswer(AnswerKind.COUNT, (len(ids),), None, "visible_instances")
    places = {"many": plural(category), "x": str(len(ids))}
    return word(rng, config, "count/number", answer, places, ids=ids, names=(category,))
