"""What the nano model is asked: questions about pictures, and what may be done to either before it is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from sdvlm.data.built import iter_rows
from sdvlm.data.columns import arrow_schema, sample_of
from sdvlm.data.paraphrase import paraphrases
from sdvlm.data.scaled_question import scaled_question
from sdvlm.data.schema import AnswerKind, QuestionSample, QuestionType
from sdvlm.data.units import UNITS
from sdvlm.data.wording import ask_in_unit
from sdvlm.eval.built_source import look_at
from sdvlm.eval.msmu_rooms import msmu_rooms
from sdvlm.eval.perturb import with_scaled_depth, with_shuffled_depth
from sdvlm.eval.scaled_source import scale_of
from sdvlm.nano.frames import room_views
from sdvlm.types import RgbdFrame

__all__ = [
    "HELD_OUT_SEED",
    "Change",
    "Exam",
    "held_out_exam",
    "in_units",
    "metric_only",
    "other_depth",
    "poorer_depth",
    "reworded",
    "rooms_exam",
    "scaled",
    "shuffled_depth",
]

HELD_OUT_SEED = 500_000
"""seed of held-out rooms; training rooms have seeds from 1,000,000 up, MSMU-Rooms from 700,000"""

Exam = list[tuple[RgbdFrame, list[QuestionSample]]]
Change = Callable[[int, RgbdFrame], RgbdFrame]
"""index of the picture and the picture, to the picture as it is shown"""


def rooms_exam(folder: Path | None = None) -> Exam:
    """Every picture of the test split of built data with its questions.

    Args:
        folder: built data; default MSMU-Rooms, 987 questions (``eval.msmu_rooms``), built on first use.
    """
    asked: dict[str, list[QuestionSample]] = {}
    frames: dict[str, RgbdFrame] = {}
    for row in iter_rows(folder or msmu_rooms(), "test", list(arrow_schema().names)):
        name = row["image_id"]
        if name not in frames:
            frames[name] = look_at(row)()
        asked.setdefault(name, []).extend(sample_of(one) for one in row["questions"])
    return [(frames[name], questions) for name, questions in asked.items()]


def held_out_exam(total: int = 1000, per_frame: int = 10, seed: int = HELD_OUT_SEED) -> Exam:
    """Questions about fresh rooms, as many of each family, at most two pictures a room."""
    quota = {family: total // len(QuestionType) for family in QuestionType}
    exam: Exam = []
    for frame, questions in held_out_views(seed):
        chosen: list[QuestionSample] = []
        for question in questions:
            if quota[question.type] > 0 and len(chosen) < per_frame:
                quota[question.type] -= 1
                chosen.append(question)
        if chosen:
            exam.append((frame, chosen))
        if not any(quota.values()):
            return exam
    raise AssertionError("the views never end")


def held_out_views(seed: int) -> Iterator[tuple[RgbdFrame, list[QuestionSample]]]:
    """Pictures of fresh rooms and what can be asked of them; never ends."""
    for frame, _, questions in room_views(np.random.default_rng(seed), 10**9, 2, 40):
        yield frame, questions


def reworded(exam: Exam) -> list[Exam]:
    """The exam five times, in wordings that training never uses."""
    said = [[(sample, paraphrases(sample)) for sample in questions] for _, questions in exam]
    return [
        [
            (frame, [replace(sample, question=texts[way]) for sample, texts in questions])
            for (frame, _), questions in zip(exam, said, strict=True)
        ]
        for way in range(5)
    ]


def metric_only(exam: Exam) -> Exam:
    """The questions after lengths that name no unit."""
    lengths = (AnswerKind.LENGTH, AnswerKind.LENGTHS)
    kept = [
        (frame, [one for one in asked if one.answer_typed.kind in lengths and "meter" not in one.question])
        for frame, asked in exam
    ]
    return [(frame, asked) for frame, asked in kept if asked]


def in_units(exam: Exam, seed: int = 0) -> Exam:
    """Questions of :func:`metric_only`, each with one of the other units asked for; ``said_unit`` holds which."""
    rng = np.random.default_rng(seed)
    others = [symbol for symbol in UNITS if symbol != "m"]

    def other(sample: QuestionSample) -> QuestionSample:
        unit = others[rng.integers(len(others))]
        return replace(sample, question=ask_in_unit(sample.question, UNITS[unit].word, rng), said_unit=unit)

    return [(frame, [other(one) for one in asked]) for frame, asked in exam]


def scaled(exam: Exam) -> Exam:
    """The same pictures with all depth and all true lengths multiplied by a factor that no picture shows, as
    ``sdvlm eval rooms --scaled`` asks them (``eval.scaled_source``)."""
    out: Exam = []
    for frame, questions in exam:
        factor = scale_of(frame.name)
        found = [scaled_question(one, factor) for one in questions]
        kept = [one for one in found if one is not None]
        if kept:
            out.append((with_scaled_depth(frame, factor), kept))
    return out


def other_depth(exam: Exam) -> Change:
    """Give each picture the depth values of another one of its size, if there is one."""
    by_size: dict[tuple[int, int], list[int]] = {}
    for index, (frame, _) in enumerate(exam):
        by_size.setdefault(frame.size, []).append(index)
    partner = {a: b for group in by_size.values() for a, b in zip(group, group[1:] + group[:1], strict=True)}
    return lambda index, frame: replace(frame, depth=exam[partner[index]][0].depth)


def shuffled_depth(index: int, frame: RgbdFrame) -> RgbdFrame:
    """The right depths in the wrong places: 4 x 4 blocks in another order."""
    return with_shuffled_depth(frame, np.random.default_rng([index, 7]))


def poorer_depth(noise_m: float, holes: float) -> Change:
    """Gaussian noise of single pixels, metres, and a share of the picture's 8 x 8 blocks without depth."""

    def change(index: int, frame: RgbdFrame) -> RgbdFrame:
        assert frame.depth is not None
        rng = np.random.default_rng([index, 11])
        values = frame.depth.values + rng.normal(0, noise_m, frame.depth.values.shape)
        blocks = rng.random((8, 8)) < holes
        height, width = values.shape
        lost = blocks[np.ix_(np.arange(height) * 8 // height, np.arange(width) * 8 // width)]
        values = np.where(lost | (values < 0.05), np.nan, values)
        return replace(frame, depth=replace(frame.depth, values=values.astype(np.float32)))

    return change
