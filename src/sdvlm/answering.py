"""From a name to a model, from replies to values: what ``sdvlm ask`` and ``sdvlm demo`` are made of."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sdvlm.data.schema import AnswerKind, TypedAnswer
from sdvlm.eval.answers import parse_kind
from sdvlm.types import DepthMap, RgbdFrame, SdvlmError

if TYPE_CHECKING:
    from sdvlm.models.processor import DepthProcessor
    from sdvlm.models.wrapper import DepthVLM

__all__ = ["NANO", "NANO_NOTE", "Reply", "ask", "ask_prompts", "load_model", "read_reply", "seen_depth"]

NANO = "nano"
"""the name of the embedded model"""

NANO_NOTE = (
    "nano is a small model trained on procedural rooms only: its answers on photographs may be wrong, and it knows no "
    "object that those rooms do not hold (see its model card)"
)

_HOW_MANY = re.compile(r"\bhow many\b|\bnumber of\b|\bcount\b", re.IGNORECASE)
_OF_LENGTH = re.compile(
    r"\b(?:how many|number of) (?:centi|milli)?(?:met(?:er|re)s?|feet|foot|inch(?:es)?|cm|mm)\b", re.I
)
_POINT_ASKED = re.compile(r"\(\s*\d*\.?\d+\s*,\s*\d*\.?\d+\s*\)")


@dataclass(frozen=True)
class Reply:
    """An answer as text and, where it could be read, as values.

    Args:
        question: as asked.
        answer: what the model said.
        typed: the same as values; None where the text is not a length, count, point, yes or no, side or name.
        token_ids: what the model generated, the end token included if it came.
    """

    question: str
    answer: str
    typed: TypedAnswer | None
    token_ids: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values. ``value``: one value, a list of several, or None; ``unit``: "m" for lengths, else None."""
        values = () if self.typed is None else self.typed.values
        return {
            "question": self.question,
            "answer": self.answer,
            "value": values[0] if len(values) == 1 else list(values) or None,
            "unit": None if self.typed is None else self.typed.unit,
            "type": None if self.typed is None else self.typed.kind.value,
            "token_ids": list(self.token_ids),
        }


def load_model(
    model: str = NANO, device: str | None = None, mode: str | None = None, conversation: str | None = None
) -> tuple[DepthVLM, DepthProcessor]:
    """A model that answers, and its processor, ready on a device.

    Args:
        model: ``"nano"`` (shipped with the package), or a folder or hub id of any kind that
            :func:`sdvlm.models.load.load_from` knows: a ``DepthVLM``, a released SD-VLM, or a plain model.
        device: torch device; default: the CPU for nano, else the first accelerator there is.
        mode: ``official`` or ``aligned``: where a model with SD-VLM's depth code pools depth; default: as its
            checkpoint says, which is ``official`` for released weights.
        conversation: ``vicuna_v1``, ``none`` or ``chat``: how prompts are worded; default: as the checkpoint says.

    Raises:
        SdvlmError: nothing loadable is found there, the device cannot be used, or an option is not for this model.
    """
    from sdvlm.models.load import configured, load_from, pick_device

    if model != NANO:
        return load_from(model, device, mode, conversation)
    from sdvlm.nano import load_nano

    vlm, processor = load_nano()
    module: Any = vlm
    module.to(pick_device(device, prefer_cpu=True)).eval()
    return configured(vlm, processor, mode, conversation)


def seen_depth(processor: DepthProcessor, frame: RgbdFrame) -> DepthMap | None:
    """The depth a question about a picture goes with unless said: the frame's, else what the model's own depth network
    sees, where it brings one."""
    return frame.depth if frame.depth is not None else processor.own_depth(frame)


def ask(
    model: DepthVLM,
    processor: DepthProcessor,
    frame: RgbdFrame,
    questions: Sequence[str],
    max_new_tokens: int = 48,
    depth: DepthMap | Literal["auto"] | None = "auto",
) -> list[Reply]:
    """Ask one picture several questions; the picture is read once.

    Args:
        model, processor: from :func:`load_model`.
        frame: the picture, with depth and camera where they are known.
        questions: at least one, none of them empty.
        max_new_tokens: longest answer.
        depth: ``"auto"``: :func:`seen_depth`; a map to use in place of that; None: the picture alone.

    Raises:
        SdvlmError: no question, an empty one, or depth that the model cannot take.
    """
    asked = [question.strip() for question in questions]
    if not asked or not all(asked):
        number = next((index for index, question in enumerate(asked, 1) if not question), 0)
        raise SdvlmError(f"question {number} is empty; ask something" if number else "no question; ask at least one")
    prompts = [processor.question_prompt(question) for question in asked]
    maps: Any = depth if isinstance(depth, str) else [depth]
    replies = ask_prompts(model, processor, [frame], prompts, max_new_tokens, maps)
    return [
        Reply(question, one.answer, read_reply(question, one.answer), one.token_ids)
        for question, one in zip(asked, replies, strict=True)
    ]


def ask_prompts(
    model: DepthVLM,
    processor: DepthProcessor,
    frames: Sequence[RgbdFrame],
    prompts: Sequence[str],
    max_new_tokens: int = 48,
    depth: Sequence[DepthMap | None] | Literal["auto"] = "auto",
) -> list[Reply]:
    """Send prompts exactly as they are, all about the same pictures.

    Args:
        model, processor: from :func:`load_model`.
        frames: the pictures.
        prompts: each with one ``<image>`` a picture, in their order, or with none: that prompt goes without pictures.
        max_new_tokens: longest answer.
        depth: ``"auto"``: :func:`seen_depth` of each picture; else a map or None for each.

    Raises:
        SdvlmError: no prompt, marks and pictures that do not pair up, or depth that the model cannot take.
    """
    from sdvlm.models.prefix import answer_prompts

    if not prompts:
        raise SdvlmError("no prompt; give at least one")
    maps = [seen_depth(processor, frame) for frame in frames] if isinstance(depth, str) else list(depth)
    images, cameras = [frame.image for frame in frames], [frame.camera for frame in frames]
    answers = answer_prompts(model, processor, prompts, images, maps, cameras, max_new_tokens)
    return [
        Reply(prompt, answer.text, read_reply(prompt, answer.text), answer.token_ids)
        for prompt, answer in zip(prompts, answers, strict=True)
    ]


def read_reply(question: str, text: str) -> TypedAnswer | None:
    """The values in a reply to a free question; None where there are none.

    Counts are read only where a count was asked for, names only out of short replies to a question about a point or
    with "or" or "which" in it; the other kinds by what the reply looks like.
    """
    if _HOW_MANY.search(question) and not _OF_LENGTH.search(question):
        return parse_kind(text, AnswerKind.COUNT)
    kinds = [AnswerKind.POINT, AnswerKind.LENGTHS, AnswerKind.LENGTH, AnswerKind.YES_NO, AnswerKind.DIRECTION]
    if _POINT_ASKED.search(question):
        kinds = [AnswerKind.NAME]
    elif re.search(r"\b(?:or|which|what)\b", question, re.IGNORECASE):
        kinds.append(AnswerKind.NAME)
    found = (parse_kind(text, kind) for kind in kinds)
    return next((answer for answer in found if answer is not None), None)
