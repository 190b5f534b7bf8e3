"""Conversations as they come into dialogues: one a question, or one a conversation."""

from __future__ import annotations

from collections.abc import Sequence

from sdvlm.data.msmu_conversation import IMAGE_MARK, without_image_marks
from sdvlm.data.schema import TypedAnswer
from sdvlm.train.example import GENERAL, Dialogue
from sdvlm.types import SdvlmError

__all__ = ["dialogues_of", "exchanges_of"]

_ROLES = {
    "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "model": "assistant",
    "chatgpt": "assistant", "system": "system",
}  # fmt: skip


def exchanges_of(turns: Sequence[tuple[str, str]], images: int) -> tuple[str, list[tuple[str, str]]]:
    """The system text (empty: none) and the (question, answer) pairs of a conversation, without image marks.

    What no question stands before, and a last question without an answer, is left out: nothing can be learnt from it.

    Args:
        turns: (speaker, text).
        images: how many pictures the conversation has.

    Raises:
        SdvlmError: an unknown speaker, one that speaks twice in a row, more image marks than pictures, or no answer.
    """
    marks = sum(text.count(IMAGE_MARK) for _, text in turns)
    if marks > images:
        raise SdvlmError(f"the text has {marks} image marks but the row has {images} pictures")
    said = []
    for speaker, text in turns:
        if speaker.lower() not in _ROLES:
            raise SdvlmError(f"a turn is by '{speaker}'; wanted human and gpt, or user and assistant")
        said.append((_ROLES[speaker.lower()], without_image_marks(text)))
    system = ""
    if said and said[0][0] == "system":
        system, said = said[0][1], said[1:]
    if said and said[0][0] == "assistant":
        said = said[1:]
    if said and said[-1][0] == "user":
        said = said[:-1]
    roles = [role for role, _ in said]
    if not said:
        raise SdvlmError("the conversation has no question with an answer")
    if roles != ["user", "assistant"] * (len(said) // 2):
        raise SdvlmError(f"wanted turns of user and assistant one after the other; got {', '.join(roles[:8])}")
    return system, [(said[at][1], said[at + 1][1]) for at in range(0, len(said), 2)]


def dialogues_of(
    turns: Sequence[tuple[str, str]],
    images: int,
    apart: bool,
    families: Sequence[str] = (),
    answers: Sequence[TypedAnswer | None] = (),
    names: Sequence[tuple[str, ...]] = (),
) -> tuple[list[Dialogue], list[str]]:
    """Dialogues of a conversation, and what is wrong with the exchanges that give none.

    Args:
        turns: (speaker, text).
        images: how many pictures it has.
        apart: every question and answer is a dialogue of its own, the system text in each.
        families, answers, names: of each exchange, or empty where nothing is known.

    Raises:
        SdvlmError: the conversation as a whole cannot be used.
    """
    system, exchanges = exchanges_of(turns, images)
    first = (("system", system),) if system else ()
    if any(known and len(known) != len(exchanges) for known in (families, answers, names)):
        raise SdvlmError(f"the row describes {len(families)} questions but its conversation has {len(exchanges)}")
    faults = [_fault(number, *exchange) for number, exchange in enumerate(exchanges, start=1)]
    known_families = list(families) or [GENERAL] * len(exchanges)
    known_answers, known_names = list(answers) or [None] * len(exchanges), list(names) or [()] * len(exchanges)
    spoken = [(("user", question), ("assistant", answer)) for question, answer in exchanges]
    if apart:
        made = [
            Dialogue((*first, *spoken[at]), known_families[at], known_answers[at], tuple(known_names[at]))
            for at, fault in enumerate(faults)
            if fault is None
        ]
        return made, [fault for fault in faults if fault is not None]
    wrong = next((fault for fault in faults if fault is not None), None)
    if wrong is not None:
        raise SdvlmError(wrong)
    family = known_families[0] if len(set(known_families)) == 1 else GENERAL
    whole = (*first, *(turn for exchange in spoken for turn in exchange))
    return [Dialogue(whole, family, known_answers[-1], tuple(known_names[-1]))], []


def _fault(number: int, question: str, answer: str) -> str | None:
    if question and answer:
        return None
    return f"the {'answer to ' if question else ''}question {number} is empty"
