"""Ask one picture everything: eight families, balanced, each question with its exact answer.

Pure: a selection and a generator go in, questions come out. The same generator state gives the same questions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from sdvlm.data.ask_measures import ask_count, ask_distance, ask_reference, ask_scale
from sdvlm.data.ask_relations import ask_comparison, ask_existence, ask_position, ask_side
from sdvlm.data.categories import plural, with_article
from sdvlm.data.facts import Facts, collect_facts
from sdvlm.data.names import POSITIONS, NameConfig, name_objects
from sdvlm.data.question_config import QuestionConfig
from sdvlm.data.schema import QuestionSample, QuestionType
from sdvlm.data.select import Selection
from sdvlm.data.templates import TEMPLATES
from sdvlm.scenes.palette import COLORS

__all__ = ["ASKERS", "QuestionConfig", "QuestionSample", "QuestionType", "ask_all", "iter_phrases"]

Counts = tuple[tuple[str, tuple[int, ...]], ...]
Asker = Callable[[Facts, np.random.Generator, QuestionConfig], QuestionSample | None]

ASKERS: Mapping[QuestionType, Asker] = {
    QuestionType.SCALE_ESTIMATION: ask_scale,
    QuestionType.ABSOLUTE_DISTANCE: ask_distance,
    QuestionType.COUNT: ask_count,
    QuestionType.POSITION: ask_position,
    QuestionType.REFER_OBJ_ESTIMATION: ask_reference,
    QuestionType.RELATIVE_POSITION: ask_side,
    QuestionType.SCALE_COMPARE: ask_comparison,
    QuestionType.ZERO: ask_existence,
}
"""What draws a question of each family."""

_METRES = {"m": "m", "meters": "meters"}

_MAX_EXCESS = 1.5
"""a family takes over at most half its own share again from families a picture gives no questions of"""

_PATIENCE = 8
"""a family is given up for a picture after this many draws in a row that gave nothing new"""


def ask_all(
    selection: Selection,
    rng: np.random.Generator,
    config: QuestionConfig | None = None,
    *,
    name_config: NameConfig | None = None,
    given_names: Mapping[int, str] | None = None,
) -> list[QuestionSample]:
    """Different questions about one picture, at most ``config.per_frame``, the families by their weights.

    Args:
        selection: from :func:`sdvlm.data.select.select`.
        rng: drawn from; nothing else is random.
        config: what to ask and how sure to be.
        name_config: how far apart position words must set objects.
        given_names: names by instance id that a reworder found and verified; preferred to those made here.

    Returns:
        In random order. Fewer than asked for where the picture gives no more, none where it shows nothing to ask about.
    """
    config = config or QuestionConfig()
    if name_config is not None and not config.gravity_known:
        name_config = replace(name_config, sizes=False)
    facts = collect_facts(
        selection,
        name_objects(selection, name_config, given_names),
        config.negative_categories,
        loose_labels=name_config is not None and name_config.loose_labels,
    )
    if not config.complete_labels:
        facts = replace(facts, counts=(), absent=(), absent_colors=())
    facts = replace(facts, counts=_balance(facts.counts, rng))
    families = [family for family, weight in config.weights.items() if weight > 0]
    live = {families[index]: config.weights[families[index]] for index in rng.permutation(len(families))}
    total = sum(live.values())
    most = {family: math.ceil(_MAX_EXCESS * config.per_frame * weight / total) for family, weight in live.items()}
    asked = dict.fromkeys(live, 0)
    misses = dict.fromkeys(live, 0)
    samples: dict[tuple[object, ...], QuestionSample] = {}
    while live and len(samples) < config.per_frame:
        family = min(live, key=lambda one: (asked[one] + 0.5) / live[one])
        sample = ASKERS[family](facts, rng, config)
        key = None if sample is None else _key(sample)
        if sample is None or key is None or key in samples:
            misses[family] += 1
        else:
            samples[key] = sample
            asked[family] += 1
            misses[family] = 0
        if misses[family] >= _PATIENCE or asked[family] >= most[family]:
            del live[family]
    ordered = list(samples.values())
    return [ordered[index] for index in rng.permutation(len(ordered))]


def iter_phrases(categories: Iterable[str]) -> Iterator[str]:
    """Sentences that hold every word questions and answers can be made of, for training a tokenizer.

    Args:
        categories: what objects are called in the scenes to come.
    """
    names = [noun for category in categories for noun in (category, plural(category), with_article(category))]
    names += [f"{color} chair" for color in COLORS]
    names += [f"{position} chair" for position in POSITIONS]
    names += [with_article(f"{color} chair") for color in COLORS]
    yield from names
    numbers = [f"{number / 100:.2f}" for number in range(0, 1000, 7)] + [str(number) for number in range(20)]
    yield from numbers
    for index, template in enumerate(TEMPLATES.values()):
        for text in (*template.questions, template.answer, template.answer_no, template.short, template.short_no):
            fill = {place: names[(index + offset) % len(names)] for offset, place in enumerate("abc")}
            digits = {place: numbers[(index + offset) % len(numbers)] for offset, place in enumerate("xyz")}
            if text:
                words = {"many": "chairs", "some": "a chair", "left": "left", "right": "right"} | _METRES
                yield text.format(**fill, **digits, **words)


def _balance(counts: Counts, rng: np.random.Generator) -> Counts:
    """As many categories that are there once as there are others (one if there are none): most are there once."""
    single = [entry for entry in counts if len(entry[1]) == 1]
    several = [entry for entry in counts if len(entry[1]) > 1]
    chosen = [single[index] for index in rng.permutation(len(single))[: max(1, len(several))]]
    return (*several, *chosen)


def _key(sample: QuestionSample) -> tuple[object, ...]:
    """What makes two questions the same question in other words."""
    topic = sample.template.rsplit("/", 1)[0]
    about_a_category = sample.type in (QuestionType.COUNT, QuestionType.ZERO)
    subject = sample.names if about_a_category else sample.objects
    said = () if sample.answer_typed.unit else sample.answer_typed.values  # a length in feet is the length in metres
    return topic, sample.answer_typed.definition, subject, said
