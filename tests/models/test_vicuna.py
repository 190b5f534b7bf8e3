"""The released template, its chunks and its label mask, told from the released code by hand."""

from __future__ import annotations

import logging

import pytest

from sdvlm.models.vicuna import IGNORED, PICTURE, chunked_ids, picture_first, released_labels, vicuna_prompt
from sdvlm.types import SdvlmError

from .llama_llava import llama_tokenizer

SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, "
    "and polite answers to the user's questions."
)
MARK = "<image>"


def test_the_template_is_byte_for_byte_the_released_one() -> None:
    turns = [("user", "<image>\nHow tall?"), ("assistant", "0.75 m"), ("user", "And wide?")]
    assert vicuna_prompt(turns, ask=True) == (
        f"{SYSTEM} USER: <image>\nHow tall? ASSISTANT: 0.75 m</s>USER: And wide? ASSISTANT:"
    )
    assert vicuna_prompt(turns[:2], ask=False) == f"{SYSTEM} USER: <image>\nHow tall? ASSISTANT: 0.75 m</s>"
    assert vicuna_prompt([("user", "Hi")], ask=True, system="Be brief.") == "Be brief. USER: Hi ASSISTANT:"


def test_an_empty_turn_is_written_without_its_separator() -> None:
    assert vicuna_prompt([("user", ""), ("assistant", "x")], ask=False) == f"{SYSTEM} USER:ASSISTANT: x</s>"


@pytest.mark.parametrize("turns", [[("assistant", "x")], [("user", "a"), ("user", "b")]])
def test_turns_that_do_not_alternate_are_refused(turns: list[tuple[str, str]]) -> None:
    with pytest.raises(SdvlmError, match="take turns"):
        vicuna_prompt(turns, ask=True)


def test_an_answer_cannot_be_asked_for_after_an_answer() -> None:
    with pytest.raises(SdvlmError, match="has to end with what the user says"):
        vicuna_prompt([("user", "a"), ("assistant", "b")], ask=True)


@pytest.mark.parametrize(
    ("value", "moved"),
    [
        ("How tall is it? <image>", "<image>\nHow tall is it?"),
        ("<image> How tall?", "<image>\nHow tall?"),
        ("How <image> tall?", "<image>\nHow  tall?"),
        ("<image>", "<image>"),
        (" no picture ", " no picture "),
        ("<image>\n<image>\nWhich?", "<image>\n<image>\nWhich?"),
    ],
)
def test_a_picture_moves_to_the_front_of_its_turn(value: str, moved: str) -> None:
    assert picture_first(value, MARK) == moved


def test_chunks_are_texts_of_their_own_behind_one_begin_token() -> None:
    tokenizer = llama_tokenizer()

    def pieces(text: str) -> list[str]:
        return [
            MARK if i == PICTURE else tokenizer.convert_ids_to_tokens(i) for i in chunked_ids(tokenizer, text, MARK)
        ]

    assert pieces("<image> How") == ["<s>", MARK, "▁", "▁How"]
    assert pieces("How<image>") == ["<s>", "▁How", MARK]
    assert pieces("<image>\n<image>tall") == ["<s>", MARK, "▁", "<0x0A>", MARK, "▁tall"]
    assert pieces("How tall") == ["<s>", "▁How", "▁tall"]
    assert pieces("") == ["<s>"]


def labelled(turns: list[tuple[str, str]], **settings: object) -> tuple[list[int], list[int], str]:
    tokenizer = llama_tokenizer(**settings)
    text = vicuna_prompt([(role, picture_first(said, MARK)) for role, said in turns], ask=False)
    ids = chunked_ids(tokenizer, text, MARK)
    labels = released_labels(tokenizer, text, ids, MARK)
    assert all(label in (IGNORED, token) for label, token in zip(labels, ids, strict=True))
    return ids, labels, tokenizer.decode([label for label in labels if label != IGNORED])


@pytest.mark.parametrize("legacy", [False, True])
def test_the_answers_and_their_ends_are_learned_and_nothing_else(legacy: bool) -> None:
    turns = [("user", "<image> How tall?"), ("assistant", "It is 0.75 m."), ("user", "So"), ("assistant", "It.")]
    ids, labels, said = labelled(turns, legacy=legacy)
    assert said.replace(" ", "") == "Itis0.75m.</s>It.</s>"
    assert labels[ids.index(PICTURE)] == IGNORED


def test_a_sample_whose_rounds_do_not_add_up_is_masked_whole_and_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        _, labels, _ = labelled([("user", "a"), ("assistant", "b ASSISTANT: c"), ("user", "d"), ("assistant", "e")])
    assert set(labels) == {IGNORED}
    assert "nothing is learned" in caplog.text


def test_padding_tokens_spelt_out_in_the_text_count_as_padding(caplog: pytest.LogCaptureFixture) -> None:
    """``total_len`` of the released code counts what is not the pad token, which is ``<unk>``."""
    with caplog.at_level(logging.WARNING):
        _, labels, _ = labelled([("user", "How"), ("assistant", "<unk> tall")])
    assert set(labels) == {IGNORED}
