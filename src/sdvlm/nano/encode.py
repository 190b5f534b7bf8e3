"""Questions of a training frame as tokens, and which token names which object."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from sdvlm.data.categories import plural
from sdvlm.data.schema import QuestionType
from sdvlm.nano.facts import object_facts
from sdvlm.nano.frames import NanoFrame
from sdvlm.nano.grounding import grounding_targets
from sdvlm.nano.numbers import numbers_said
from sdvlm.nano.rows import EncodedQuestion, Targets
from sdvlm.nano.tokenizer import special_id

__all__ = ["ANSWER_START", "FAMILIES", "FrameEncoder", "encode_frame"]

FAMILIES = tuple(QuestionType)
ANSWER_START = " "
"""stands before every answer, in the chat template too: a name then begins with the token it has in a question"""


class FrameEncoder:
    """A frame's questions as tokens.

    Args:
        frame: with its questions.
        tokenizer: nano's.
    """

    def __init__(self, frame: NanoFrame, tokenizer: Tokenizer) -> None:
        self.frame, self.tokenizer = frame, tokenizer
        self._side = round(frame.depth.shape[0] ** 0.5)
        self._rows = {instance: row for row, instance in enumerate(frame.ids)}
        self._marks = {mark: special_id(tokenizer, f"<{mark}>") for mark in ("user", "assistant", "eos")}
        self._index: dict[tuple[int, ...], int] = {}
        self._attention: list[torch.Tensor] = []
        self._facts: list[NDArray[np.float32]] = []
        self._thing(())

    @property
    def targets(self) -> Targets:
        """What the mentions of the questions encoded so far point into: "nothing of the kind here", then one for each
        set of objects that they name."""
        return Targets(torch.stack(self._attention), torch.from_numpy(np.stack(self._facts)))

    def encode(self, question: dict[str, Any]) -> EncodedQuestion:
        """A question of the frame, perhaps with its lengths multiplied, as tokens."""
        asked = self.tokenizer.encode(question["question"], add_special_tokens=False)
        answer = self.tokenizer.encode(ANSWER_START + question["answer"], add_special_tokens=False)
        mentions = [(1 + _token_at(asked, last), self._thing(objects)) for last, objects in _mentions(question)]
        start = 1 + len(asked.ids)
        said = [
            (start + token, number.value, index)
            for index, number in enumerate(numbers_said(ANSWER_START + question["answer"]))
            for token, (first, stop) in enumerate(answer.offsets)
            if first < number.stop and stop > number.start
        ]
        return EncodedQuestion(
            ids=[self._marks["user"], *asked.ids, self._marks["assistant"], *answer.ids, self._marks["eos"]],
            answer_start=start,
            mentions=mentions,
            family=FAMILIES.index(QuestionType(question["type"])),
            said=said,
            copied=_copied(question, asked, answer, start),
        )

    def _thing(self, objects: tuple[int, ...]) -> int:
        """Index of what these objects cover together, of those the frame shows."""
        key = tuple(sorted(instance for instance in objects if instance in self._rows))
        if key not in self._index:
            covered = np.zeros(self._side**2, np.float32)
            if key:
                covered = (self.frame.coverage[[self._rows[one] for one in key]].astype(np.float32) / 255).sum(axis=0)
            self._index[key] = len(self._attention)
            self._attention.append(grounding_targets(torch.from_numpy(covered), self._side))
            self._facts.append(object_facts(covered, self.frame.depth, self._side, len(key)))
        return self._index[key]


def encode_frame(frame: NanoFrame, tokenizer: Tokenizer) -> tuple[list[EncodedQuestion], Targets]:
    """All questions of a frame, and what their mentions point into."""
    encoder = FrameEncoder(frame, tokenizer)
    encoded = [encoder.encode(question) for question in frame.questions]
    return encoded, encoder.targets


def _mentions(question: dict[str, Any]) -> list[tuple[int, tuple[int, ...]]]:
    """(index of the last character, instance ids) of everything the question names or points at."""
    text, names, objects = question["question"].lower(), question["names"], question["objects"]
    if question["point"] is not None:
        return [(text.rindex(")"), tuple(objects))]
    if question["type"] == QuestionType.COUNT:
        word = plural(names[0]).lower()
        return [(text.index(word) + len(word) - 1, tuple(objects))]
    found: list[tuple[int, tuple[int, ...]]] = []
    for place, name in enumerate(names):
        at = _place_of(name.lower(), text)
        if at >= 0:
            found.append((at + len(name) - 1, (objects[place],) if objects else ()))
    return found


def _copied(question: dict[str, Any], asked: Encoding, answer: Encoding, start: int) -> list[tuple[int, int]]:
    """Of an answer that is one of the question's names: which token of the question each of its tokens repeats.

    The blank before the name is of its first token, or a token of its own.
    """
    if question["answer"] not in question["names"] or question["point"] is not None:
        return []
    first = _place_of(question["answer"].lower(), question["question"].lower())
    if first < 1:
        return []
    begin, end = _token_at(asked, first - 1), _token_at(asked, first + len(question["answer"]) - 1)
    same = asked.ids[begin : end + 1] == answer.ids
    return [(start + index, 1 + begin + index) for index in range(len(answer.ids))] if same else []


def _place_of(name: str, text: str) -> int:
    """Where a name first stands as words of its own, else where its letters first stand, else -1."""
    whole = re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text)
    return whole.start() if whole else text.find(name)


def _token_at(text: Encoding, character: int) -> int:
    return next(index for index, (start, stop) in enumerate(text.offsets) if start <= character < stop)
