"""Words that ask nothing vary; names, numbers and what is asked do not."""

import re

import numpy as np
from tokenizers import Tokenizer

from sdvlm.data.phrasings import ALL_TEMPLATES, Phrasing, phrasings
from sdvlm.nano.encode import FrameEncoder
from sdvlm.nano.frames import NanoFrame
from sdvlm.nano.noisy_wording import ASKING, noisy_wording


def asking(text: str) -> list[str]:
    return [word for word in re.findall(r"[a-z]+", text.lower()) if word in ASKING]


def test_names_numbers_and_what_is_asked_stay_in_their_order(frames: list[NanoFrame]) -> None:
    rng, changed = np.random.default_rng(0), 0
    for frame in frames:
        for question in frame.questions:
            now = noisy_wording(question, rng)
            changed += now["question"] != question["question"]
            assert re.findall(r"\d+(?:\.\d+)?", now["question"]) == re.findall(r"\d+(?:\.\d+)?", question["question"])
            assert asking(now["question"]) == asking(question["question"])
            assert all(
                now["question"].lower().count(name.lower()) >= 1
                for name in question["names"]
                if name in question["question"]
            )
            assert {k: v for k, v in now.items() if k != "question"} == {
                k: v for k, v in question.items() if k != "question"
            }
    assert changed > 0.5 * sum(len(frame.questions) for frame in frames)


def test_training_is_told_the_same_of_its_tokens(frames: list[NanoFrame], tokenizer: Tokenizer) -> None:
    rng = np.random.default_rng(1)
    for frame in frames:
        for question in frame.questions:
            encoder = FrameEncoder(frame, tokenizer)
            plain, noisy = encoder.encode(question), encoder.encode(noisy_wording(question, rng))
            assert [target for _, target in noisy.mentions] == [target for _, target in plain.mentions]
            assert [noisy.ids[column] for column, _ in noisy.mentions] == [
                plain.ids[column] for column, _ in plain.mentions
            ]
            assert [noisy.ids[source] for _, source in noisy.copied] == [
                plain.ids[source] for _, source in plain.copied
            ]
            assert noisy.ids[noisy.answer_start :] == plain.ids[plain.answer_start :]


def test_new_words_are_invented_and_not_those_of_wordings_that_the_exams_hold_out(frames: list[NanoFrame]) -> None:
    rng, new = np.random.default_rng(2), []
    asked, held_out = (words_of(which) for which in ("all", "held_out"))
    for frame in frames:
        for question in frame.questions:
            said = set(re.findall(r"[a-z]+", noisy_wording(question, rng)["question"].lower()))
            new += sorted(said - set(re.findall(r"[a-z]+", question["question"].lower())))
    assert len(new) > 100
    assert not set(new) & asked
    assert sum(word in held_out for word in new) < 0.01 * len(new), "more than chance would hit upon"


def words_of(which: Phrasing) -> set[str]:
    """The words that a setting's wordings are made of."""
    said = " ".join(text for topic in ALL_TEMPLATES for _, text in phrasings(topic, which))
    return {word for word in re.findall(r"[a-z]+", said.lower()) if len(word) > 1}
