"""Invented names stand for the most prominent thing, and for nothing else."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from sdvlm.data.categories import COMMON_CATEGORIES
from sdvlm.nano.encode import FrameEncoder
from sdvlm.nano.frames import NanoFrame
from sdvlm.nano.invented_names import call_by_invented_name, invented_name, most_prominent


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
            now = call_by_invented_name(question, frame, instance, rng)
            if now is not question:
                yield question, now, instance


def test_only_questions_that_name_the_thing_are_renamed_and_nothing_else_in_them_changes(
    frames: list[NanoFrame],
) -> None:
    rng, alone, beside, every, answered = np.random.default_rng(0), 0, 0, 0, 0
    for frame in frames:
        for question, now, instance in renamed(frame, rng):
            place = list(question["objects"]).index(instance)
            other = [old != new for old, new in zip(question["names"], now["names"], strict=True)]
            assert question["type"] not in ("count", "zero")
            assert other[place]
            assert sum(other) in (1, len(other))
            alone, every = alone + (len(other) == 1), every + (sum(other) > 1)
            beside += sum(other) < len(other)
            text = question["question"]
            for old, new in zip(question["names"], now["names"], strict=True):
                text = re.sub(rf"(?<=[Tt]he ){re.escape(old)}\b", new, text)
            assert now["question"] == text
            new_names = dict(zip(question["names"], now["names"], strict=True))
            answered += question["answer"] in new_names
            assert now["answer"] == new_names.get(question["answer"], question["answer"])
            same = set(question) - {"question", "names", "answer"}
            assert {name: now[name] for name in same} == {name: question[name] for name in same}
    assert min(alone, beside, every) > 5
    assert answered > 0


def test_a_renamed_question_looks_where_it_looked_before_and_repeats_the_new_name(
    frames: list[NanoFrame], tokenizer: Tokenizer
) -> None:
    rng, repeated = np.random.default_rng(1), 0
    for frame in frames:
        for question, now, _ in renamed(frame, rng):
            encoder = FrameEncoder(frame, tokenizer)
            before, after = encoder.encode(question), encoder.encode(now)
            assert [target for _, target in after.mentions] == [target for _, target in before.mentions]
            if now["answer"] != question["answer"]:
                repeated += 1
                said = after.ids[after.answer_start + 1 : -1]
                assert [after.ids[source] for _, source in after.copied] == said
    assert repeated > 0


def test_of_a_half_known_name_the_known_word_is_what_the_thing_is_or_nothing_in_the_picture() -> None:
    rng, shown, own, absent = np.random.default_rng(0), ["chair", "lamp"], 0, 0
    for _ in range(500):
        name = invented_name(rng, "chair", shown, "How tall is the ?")
        known = [word for word in COMMON_CATEGORIES if word in (name.rpartition(" ")[2], name.partition(" ")[0])]
        assert "lamp" not in known
        own, absent = own + ("chair" in known), absent + bool(set(known) - {"chair"})
    assert own > 50
    assert absent > 50


def test_a_half_known_name_holds_no_other_word_for_a_thing_that_the_picture_shows() -> None:
    rng, said = np.random.default_rng(0), set()
    for _ in range(3000):
        name = invented_name(rng, "desk", ["desk", "sofa", "chair"], "How tall is the ?")
        said |= {word for word in COMMON_CATEGORIES if name.endswith(" " + word) or name.startswith(word + " ")}
    assert not said & {"sofa", "couch", "office chair", "armchair"}
    assert len(said) > 20


def test_a_known_word_of_nothing_in_the_picture_stands_alone_beside_another_or_beside_one_that_means_nothing() -> None:
    rng, alone, both, one = np.random.default_rng(2), 0, 0, 0
    for _ in range(500):
        name = invented_name(rng, "chair", ["chair"], "How tall is the ?")
        if "chair" in name:
            continue
        known = [word for word in COMMON_CATEGORIES if f" {word} " in f" {name} "]
        rest = name
        for word in known:
            rest = rest.replace(word, "").strip()
        alone, both, one = alone + (name in known), both + (len(known) > 1 and not rest), one + bool(known and rest)
    assert min(alone, both, one) > 10


def test_what_a_name_says_besides_its_kind_sometimes_stays(frames: list[NanoFrame]) -> None:
    rng, stayed, went = np.random.default_rng(3), 0, 0
    for frame in frames:
        kinds = dict(zip(frame.ids, frame.categories, strict=True))
        for plain in frame.questions:
            if len(plain["objects"]) != 1 or kinds.get(plain["objects"][0]) != plain["names"][0]:
                continue
            text = plain["question"].replace(plain["names"][0], "teal " + plain["names"][0])
            question = {**plain, "question": text, "names": ["teal " + plain["names"][0]]}
            for _ in range(10):
                now = call_by_invented_name(question, frame, plain["objects"][0], rng)
                if now is not question:
                    same = now["names"][0].startswith("teal ")
                    stayed, went = stayed + same, went + (not same)
                    assert now["names"][0] in now["question"]
                    assert ("teal" in now["question"]) == same
    assert min(stayed, went) > 5


def test_no_half_known_name_holds_a_word_that_the_question_holds_beside_it() -> None:
    rng = np.random.default_rng(0)
    names = [invented_name(rng, "chair", ["chair"], "Is the  higher than the chair?") for _ in range(200)]
    assert not any("chair" in name.split() for name in names)
