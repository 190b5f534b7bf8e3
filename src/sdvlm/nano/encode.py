"""Questions of a training frame as tokens, and which token names which object."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from sdvlm.data.categories import plural
from sdvlm.data.schema import QuestionType
from sdvlm.nano.facts import object_facts
from sdvlm.nano.frames import NanoFrame
from sdvlm.nano.grounding import grounding_targets
from sdvlm.nano.rows import EncodedQuestion, Targets
from sdvlm.nano.tokenizer import special_id

__all__ = ["FAMILIES", "encode_frame"]

FAMILIES = tuple(QuestionType)


def encode_frame(frame: NanoFrame, tokenizer: Tokenizer) -> tuple[list[EncodedQuestion], Targets]:
    """The frame's questions, and the targets of K named sets of objects that their mentions point into.

    Target 0 is "nothing of the kind here"; then one for each set of objects that is named.
    """
    side = round(frame.depth.shape[0] ** 0.5)
    nothing = grounding_targets(torch.zeros(side * side), side)
    targets, facts = [nothing], [object_facts(np.zeros(side * side, np.float32), frame.depth, side)]
    index: dict[tuple[int, ...], int] = {(): 0}
    row_of = {instance: row for row, instance in enumerate(frame.ids)}
    encoded = []
    for question in frame.questions:
        text = tokenizer.encode(question["question"], add_special_tokens=False)
        mentions = []
        for last_char, objects in _mentions(question):
            key = tuple(sorted(instance for instance in objects if instance in row_of))
            if key not in index:
                covered = frame.coverage[[row_of[instance] for instance in key]].astype(np.float32) / 255
                index[key] = len(targets)
                targets.append(grounding_targets(torch.from_numpy(covered.sum(axis=0)), side))
                facts.append(object_facts(covered.sum(axis=0), frame.depth, side))
            token = next(i for i, (start, stop) in enumerate(text.offsets) if start <= last_char < stop)
            mentions.append((1 + token, index[key]))
        answer = tokenizer.encode(question["answer"], add_special_tokens=False).ids
        user, assistant, end = (special_id(tokenizer, mark) for mark in ("<user>", "<assistant>", "<eos>"))
        ids = [user, *text.ids, assistant, *answer, end]
        family = FAMILIES.index(QuestionType(question["type"]))
        encoded.append(EncodedQuestion(ids, 1 + len(text.ids), mentions, family))
    return encoded, Targets(torch.stack(targets).half(), torch.from_numpy(np.stack(facts)))


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
        at = text.find(name.lower())
        if at >= 0:
            found.append((at + len(name) - 1, (objects[place],) if objects else ()))
    return found
