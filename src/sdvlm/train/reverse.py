"""Near and far exchanged: the depth of a picture, and the answers of who is nearer."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from sdvlm.data.categories import is_plural
from sdvlm.data.schema import AnswerKind, TypedAnswer
from sdvlm.train.example import Dialogue
from sdvlm.types import DepthMap

__all__ = ["reversed_depth", "reversed_dialogue"]

_VERDICTS = ("nearer_than", "in_front_of", "behind")
_CHOICES = ("nearest", "farthest")
_OTHER = {
    "closer to": "farther from", "nearer to": "farther from", "farther from": "closer to",
    "in front of": "behind", "behind": "in front of",
}  # fmt: skip
_RELATION = re.compile(r"\b(?:" + "|".join(_OTHER) + r")\b")
_VERDICT = re.compile(r"(yes|no)\b(.*)", re.IGNORECASE | re.DOTALL)


def reversed_depth(depth: DepthMap) -> DepthMap:
    """The nearest becomes as far as the farthest was and the other way round: z_min + z_max - z where z is known."""
    if not depth.valid.any():
        return depth
    values = depth.values.astype(np.float64)
    turned = np.nanmin(values) + np.nanmax(values) - values
    return replace(depth, values=turned.astype(np.float32))


def reversed_dialogue(dialogue: Dialogue) -> Dialogue | None:
    """The dialogue with the answer that reversed depth makes true.

    Distances from the camera turn with depth except where two objects lie very differently far from the optical axis:
    in rooms of random boxes 3 of 100 answers stay what they were.

    Returns:
        None unless it is one question of which of two objects is nearer or farther, or whether one is in front of the
        other, with a typed answer in a sentence whose reverse is certain.
    """
    answer = dialogue.answer
    spoken = [text for role, text in dialogue.turns if role != "system"]
    if answer is None or len(dialogue.names) != 2 or len(spoken) != 2:
        return None
    made: tuple[str, str] | None = None
    if answer.kind is AnswerKind.YES_NO and answer.definition in _VERDICTS:
        made = _other_verdict(spoken[1], str(answer.values[0]))
    elif answer.kind is AnswerKind.NAME and answer.definition in _CHOICES:
        made = _other_name(spoken[1], str(answer.values[0]), dialogue.names)
    if made is None:
        return None
    text, value = made
    typed = TypedAnswer(answer.kind, (value,), answer.unit, answer.definition)
    return replace(dialogue, turns=(*dialogue.turns[:-1], ("assistant", text)), answer=typed)


def _other_verdict(text: str, value: str) -> tuple[str, str] | None:
    """Yes for no, and in a sentence the relation that then holds."""
    found = _VERDICT.fullmatch(text.strip())
    if found is None or found[1].lower() != value:
        return None
    other = "no" if value == "yes" else "yes"
    rest = found[2]
    if len(rest) > 1:
        if len(_RELATION.findall(rest)) != 1 or re.search(r"\d|\n|\bnot\b", rest):
            return None
        rest = _RELATION.sub(lambda match: _OTHER[match[0]], rest)
    return (other.capitalize() if found[1][0].isupper() else other) + rest, other


def _other_name(text: str, value: str, names: tuple[str, ...]) -> tuple[str, str] | None:
    """The one name for the other, where the sentence names it once and nothing else of the two."""
    if value not in names or names[0] == names[1]:
        return None
    other = names[1] if value == names[0] else names[0]
    own = re.compile(rf"\b{re.escape(value)}\b", re.IGNORECASE)
    if is_plural(value) != is_plural(other) or len(own.findall(text)) != 1:
        return None
    without = own.sub("", text)
    if value in other or re.search(rf"\b{re.escape(other)}\b", without, re.IGNORECASE) or re.search(r"\d|\n", text):
        return None
    written = own.findall(text)[0]
    return own.sub(lambda _: other.capitalize() if written[0].isupper() else other, text), other
