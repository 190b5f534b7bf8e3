"""From a name to a model, from replies to values: what ``sdvlm ask`` and ``sdvlm demo`` are made of."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdvlm.data.schema import AnswerKind, TypedAnswer
from sdvlm.eval.answers import parse_kind
from sdvlm.types import RgbdFrame, SdvlmError

if TYPE_CHECKING:
    from sdvlm.models.processor import DepthProcessor
    from sdvlm.models.wrapper import DepthVLM

__all__ = ["NANO", "NANO_NOTE", "Reply", "ask", "load_model", "read_reply"]

NANO = "nano"
"""the name of the embedded model"""

NANO_NOTE = (
    "nano is a small model trained on procedural rooms only: its answers on photographs may be wrong, it knows no "
    "object that those rooms do not hold, and the weights of this version do not use depth yet (see its model card)"
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
    """

    question: str
    answer: str
    typed: TypedAnswer | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values. ``value``: one value, a list of several, or None; ``unit``: "m" for lengths, else None."""
        values = () if self.typed is None else self.typed.values
        return {
            "question": self.question,
            "answer": self.answer,
            "value": values[0] if len(values) == 1 else list(values) or None,
            "unit": None if self.typed is None else self.typed.unit,
            "type": None if self.typed is None else self.typed.kind.value,
        }


def load_model(model: str = NANO, device: str | None = None) -> tuple[DepthVLM, DepthProcessor]:
    """A model that answers, and its processor, ready on a device.

    Args:
        model: ``"nano"`` (shipped with the package), a folder or a hub id: of a ``DepthVLM``, or of a plain
            vision-language model, which then answers without depth.
        device: torch device; default: the CPU for nano, else the first accelerator there is.

    Raises:
        SdvlmError: nothing loadable is found there, or the device cannot be used.
    """
    import torch

    from sdvlm.models.families import load_processor
    from sdvlm.models.processor import DepthProcessor
    from sdvlm.models.wrapper import DepthVLM

    place = _pick_device(device, prefer_cpu=model == NANO)
    vlm: DepthVLM
    if model == NANO:
        from sdvlm.nano import load_nano

        vlm, processor = load_nano()
    elif _is_plain(model):
        vlm = DepthVLM.from_vlm(model, fusion=None)
        processor = DepthProcessor.for_model(vlm, load_processor(model))
    else:
        vlm, processor = DepthVLM.from_pretrained(model), DepthProcessor.from_pretrained(model)
    module: torch.nn.Module = vlm
    module.to(place).eval()
    return vlm, processor


def _is_plain(model: str) -> bool:
    """Whether a folder or hub id holds a vision-language model without a fusion."""
    from transformers import PreTrainedConfig

    folder = Path(model)
    if not (folder / "config.json").is_file() and not _may_be_hub_id(model):
        return False  # nothing is there; loading it says so
    from sdvlm.models.checkpoint import readable_errors
    from sdvlm.models.wrapper import DepthVLMConfig

    with readable_errors(model):
        values, _ = PreTrainedConfig.get_config_dict(model)
    return values.get("model_type") != DepthVLMConfig.model_type


def _may_be_hub_id(model: str) -> bool:
    """owner/name, unless there is a folder of the owner's name here: then it can only be a mistyped path.

    Raises:
        SdvlmError: it is such a path.
    """
    path = Path(model)
    if path.is_dir() or not re.fullmatch(r"[\w.-]+/[\w.-]+", model):
        return False
    if path.parent.is_dir():
        raise SdvlmError(f"no model folder '{model}', though there is a folder '{path.parent}'; check the name")
    return True


def _pick_device(device: str | None, prefer_cpu: bool) -> Any:
    import torch

    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() and not prefer_cpu else "cpu")
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        said = " ".join(str(error).split())
        raise SdvlmError(f"device {device!r} cannot be used here: {said}; try --device cpu") from error


def ask(
    model: DepthVLM, processor: DepthProcessor, frame: RgbdFrame, questions: Sequence[str], max_new_tokens: int = 48
) -> list[Reply]:
    """Ask one picture several questions; the picture is read once.

    Args:
        model, processor: from :func:`load_model`.
        frame: the picture, with depth and camera where they are known.
        questions: at least one, none of them empty.
        max_new_tokens: longest answer.

    Raises:
        SdvlmError: no question, an empty one, or depth that the model cannot take.
    """
    from sdvlm.models.prefix import answer_questions

    asked = [question.strip() for question in questions]
    if not asked or not all(asked):
        number = next((index for index, question in enumerate(asked, 1) if not question), 0)
        raise SdvlmError(f"question {number} is empty; ask something" if number else "no question; ask at least one")
    answers = answer_questions(model, processor, frame, asked, max_new_tokens=max_new_tokens)
    return [
        Reply(question, answer.text, read_reply(question, answer.text))
        for question, answer in zip(asked, answers, strict=True)
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
