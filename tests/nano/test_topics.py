"""Rates by topic and wording, counted by hand."""

from dataclasses import replace

import numpy as np

from sdvlm.data.schema import QuestionType
from sdvlm.eval.scoring import Outcome
from sdvlm.nano.exam import held_out_exam
from sdvlm.nano.sitting import Sitting
from sdvlm.nano.topics import gaps, topic_rates


def test_the_questions_of_each_topic_are_counted_in_every_sitting() -> None:
    exam = held_out_exam(24, seed=530_000)
    questions = [question for _, asked in exam for question in asked]
    right = np.random.default_rng(0).random((2, len(questions))) < 0.5
    sittings = [
        Sitting([0] * len(row), [Outcome(QuestionType.COUNT, bool(one), True) for one in row], ["" for _ in row])
        for row in right
    ]
    rates = topic_rates(exam, sittings)
    assert len(rates) > 4
    for topic, (first, second) in rates.items():
        of_topic = [question.template.startswith(f"{topic}/") for question in questions]
        assert (first, second) == (right[0][of_topic].mean(), right[1][of_topic].mean())
    assert topic_rates([(frame, [replace(q, question="?") for q in asked]) for frame, asked in exam], sittings) == rates


def test_gaps_are_taken_to_the_first_wording() -> None:
    rates = {"a/b": [0.8, 0.9, 0.75, 0.71, 0.4], "c/d": [0.5, 0.5, 0.2, 0.19, 0.5]}
    assert gaps(rates) == {"pairs": 8, "within_5": 4, "within_10": 5, "lost": 2}
