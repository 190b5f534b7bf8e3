"""Invented names stand for the most prominent thing, and for nothing else."""

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


def test_only_questions_after_that_thing_alone_are_renamed_and_the_answer_stays(frames: list[NanoFrame]) -> None:
    rng, renamed = np.random.default_rng(0), 0
    for frame in frames:
        for question in frame.questions:
            now = call_by_invented_name(question, most_prominent(frame), rng)
            if now is question:
                continue
            renamed += 1
            assert tuple(question["objects"]) == (most_prominent(frame),)
            assert question["names"][0] not in now["question"]
            assert now["question"] == question["question"].replace(question["names"][0], now["names"][0])
            assert {k: v for k, v in now.items() if k not in ("question", "names")} == {
                k: v for k, v in question.items() if k not in ("question", "names")
            }
    assert renamed > 0


def test_a_renamed_question_looks_where_it_looked_before(frames: list[NanoFrame], tokenizer: Tokenizer) -> None:
    rng = np.random.default_rng(1)
    seen = 0
    for frame in frames:
        for question in frame.questions:
            now = call_by_invented_name(question, most_prominent(frame), rng)
            if now is not question:
                encoder = FrameEncoder(frame, tokenizer)
                assert [target for _, target in encoder.encode(now).mentions] == [
                    target for _, target in encoder.encode(question).mentions
                ]
                seen += 1
    assert seen


def test_invented_words_are_many_and_none_is_a_category() -> None:
    rng = np.random.default_rng(0)
    words = {invented_word(rng) for _ in range(500)}
    assert len(words) > 450
    assert not words & set(CATEGORIES)
