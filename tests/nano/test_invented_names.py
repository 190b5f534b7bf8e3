"""Invented names stand for the most prominent thing, and for nothing else."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from sdvlm.nano.encode import FrameEncoder
from sdvlm.nano.frames import NanoFrame
from sdvlm.nano.invented_names import call_by_invented_name, invented_word, most_prominent
from sdvlm.scenes.furniture import CATEGORIES


def test_the_most_prominent_thing_covers_most_of_the_picture(frames: list[NanoFrame]) -> None:
    for frame in frames:
        shares = {
            instance: int(cover.astype(int).sum()) for instance, cover in zip(frame.ids, frame.coverage, strict=True)
        }
        assert shares[most_prominent(frame)] == max(shares.values())


def renamed(frame: NanoFrame, rng: np.random.Generator) -> Iterator[tuple[dict[str, Any], dict[str, Any], int]]:
    """Questions that get an invented name, before and after, whichever thing is taken for the prominent one."""
    for question in frame.questions:
        for instance in frame.ids:
            now = call_by_invented_name(question, instance, rng)
            if now is not question:
                yield question, now, instance


def test_only_questions_after_that_thing_alone_are_renamed_and_the_answer_stays(frames: list[NanoFrame]) -> None:
    rng, seen = np.random.default_rng(0), 0
    for frame in frames:
        for question, now, instance in renamed(frame, rng):
            seen += 1
            assert tuple(question["objects"]) == (instance,)
            assert now["question"] == question["question"].replace(question["names"][0], now["names"][0])
            same = set(question) - {"question", "names"}
            assert {name: now[name] for name in same} == {name: question[name] for name in same}
    assert seen > 5


def test_a_renamed_question_looks_where_it_looked_before(frames: list[NanoFrame], tokenizer: Tokenizer) -> None:
    rng = np.random.default_rng(1)
    for frame in frames:
        for question, now, _ in renamed(frame, rng):
            encoder = FrameEncoder(frame, tokenizer)
            ((_, target),) = encoder.encode(now).mentions
            assert encoder.encode(question).mentions[0][1] == target


def test_invented_words_are_many_and_none_is_a_category() -> None:
    rng = np.random.default_rng(0)
    words = {invented_word(rng) for _ in range(500)}
    assert len(words) > 450
    assert not words & set(CATEGORIES)
