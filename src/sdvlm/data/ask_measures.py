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
from sdvlm.data.units import format_length
from sdvlm.data.wording import any_name, draw_unit, word
from sdvlm.geometry.boxes import surface_distance

__all__ = ["ask_count", "ask_distance", "ask_reference", "ask_scale", "distinct_things", "upright_things"]


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
    things = upright_things(facts.things, config)
    if not things:
        return None
    thing = pick(rng, things)
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
    unit = draw_unit(rng, config)
    texts, said = zip(*(format_length(value, unit) for value in values), strict=True)
    answer = TypedAnswer(kind, said, "m", topic)
    places = dict(zip("xyz", texts, strict=False))
    return word(rng, config, f"scale_estimation/{topic}", answer, places, ids=(thing.id,), names=(name,), unit=unit)


def ask_distance(facts: Facts, rng: np.random.Generator, config: QuestionConfig) -> QuestionSample | None:
    """Distance between two objects, from the camera to one, or its depth."""
    draw = rng.random()
    if draw < 0.5:
        pair = distinct_things(rng, facts.things, 2)
        if pair is None:
            return None
        things, (topic, definition, value) = pair, _apart(facts, pair, rng, config)
    else:
        if not facts.things:
            return None
        things = (pick(rng, facts.things),)
        topic, definition, value = "camera", "camera_to_centre", things[0].distance
        if draw > 0.9:
            topic, definition, value = "depth", "depth_of_centre", things[0].depth
    if value < config.min_length_m:
        return None
    unit = draw_unit(rng, config)
    text, said = format_length(value, unit)
    answer = TypedAnswer(AnswerKind.LENGTH, (said,), "m", definition)
    names = [any_name(rng, thing, config) for thing in things]
    ids = [thing.id for thing in things]
    return word(rng, config, f"absolute_distance/{topic}", answer, {"x": text}, ids=ids, names=names, unit=unit)


def ask_reference(facts: Facts, rng: np.random.Generator, config: QuestionConfig) -> QuestionSample | None:
    """Heights of one or two objects, the height of another being given in the unit of the answer."""
    tall = tuple(thing for thing in upright_things(facts.things, config) if thing.height >= config.min_length_m)
    three = rng.random() < 0.5 and len(tall) > 2
    things = distinct_things(rng, tall, 3 if three else 2)
    if things is None:
        return None
    names = [any_name(rng, thing, config) for thing in things]
    unit = draw_unit(rng, config)
    texts, said = zip(*(format_length(thing.height, unit) for thing in things), strict=True)
    answer = TypedAnswer(AnswerKind.LENGTHS if three else AnswerKind.LENGTH, said[1:], "m", "height")
    places = dict(zip("xyz", texts, strict=False))
    topic = f"refer_obj_estimation/{'three' if three else 'two'}"
    return word(rng, config, topic, answer, places, ids=[thing.id for thing in things], names=names, unit=unit)


def ask_count(facts: Facts, rng: np.random.Generator, config: QuestionConfig) -> QuestionSample | None:
    """How many of a category."""
    if not facts.counts:
        return None
    category, ids = pick(rng, facts.counts)
    answer = TypedAnswer(AnswerKind.COUNT, (len(ids),), None, "visible_instances")
    places = {"many": plural(category), "x": str(len(ids))}
    return word(rng, config, "count/number", answer, places, ids=ids, names=(category,))


def upright_things(things: tuple[Thing, ...], config: QuestionConfig) -> tuple[Thing, ...]:
    """Those whose height, width and length can be told."""
    return tuple(thing for thing in things if thing.upright) if config.gravity_known else ()


def _apart(
    facts: Facts, pair: tuple[Thing, ...], rng: np.random.Generator, config: QuestionConfig
) -> tuple[str, str, float]:
    """Topic, definition and metres of the distance between two objects."""
    surfaces = config.distance == "surfaces" or (config.distance == "both" and rng.random() < 0.5)
    if surfaces:
        first, second = (facts.observation.object(thing.id).object.box for thing in pair)
        return "surfaces", "closest_surfaces", surface_distance(first, second)
    topic = "centres" if config.distance == "both" else "pair"
    return topic, "centre_to_centre", math.dist(pair[0].center, pair[1].center)
