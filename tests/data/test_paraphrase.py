"""A question said in other words is about the same things."""

import re
from dataclasses import replace

import numpy as np
import pytest

from sdvlm.data.paraphrase import paraphrases
from sdvlm.data.phrasings import ALL_TEMPLATES, phrasings
from sdvlm.data.questions import QuestionConfig
from sdvlm.data.schema import QuestionSample
from sdvlm.data.verify_text import find_text_faults
from sdvlm.nano.frames import room_views
from sdvlm.types import SdvlmError


def asked(**settings: object) -> list[QuestionSample]:
    config = QuestionConfig(40, phrasing="all", **settings)
    return [q for _, _, questions in room_views(np.random.default_rng(5), 2, 2, config) for q in questions]


def test_every_question_has_five_paraphrases_of_its_topic_about_the_same_things() -> None:
    samples = asked()
    assert len({sample.topic for sample in samples}) > 10
    for sample in samples:
        found = paraphrases(sample)
        topic = sample.topic
        assert len(found) == len(set(found)) == len(phrasings(topic, "held_out")) == 5
        numbers = re.findall(r"\d\.\d+", sample.question)
        for text in found:
            assert "{" not in text
            assert all(number in text for number in numbers)


def test_a_question_that_is_not_worded_as_its_label_says_has_none() -> None:
    sample = asked()[0]
    with pytest.raises(SdvlmError, match="is not worded as"):
        paraphrases(QuestionSample(**{**vars(sample), "question": "What?"}))
    in_feet = next(one for one in asked(units=("ft",)) if one.said_unit == "ft")
    with pytest.raises(SdvlmError, match="in metres"):
        paraphrases(in_feet)


def test_every_wording_of_every_topic_says_what_its_question_asks() -> None:
    of_topic: dict[str, list[QuestionSample]] = {}
    for sample in [*asked(), *asked(distance="both", depth_order=True)]:
        of_topic.setdefault(sample.topic, []).append(sample)
    assert set(of_topic) == set(ALL_TEMPLATES)
    for samples in of_topic.values():
        for sample in samples[:2]:
            for text in (*paraphrases(sample, "all"), *paraphrases(sample, "held_out")):
                assert find_text_faults(replace(sample, question=text)) == []
