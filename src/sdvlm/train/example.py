"""What training learns from: pictures, and every dialogue about them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sdvlm.data.schema import TypedAnswer
from sdvlm.types import Camera, DepthMap, SdvlmError

__all__ = ["GENERAL", "Dialogue", "Example"]

GENERAL = "general"
"""family of a dialogue that is of none of MSMU's"""


@dataclass(frozen=True)
class Dialogue:
    """A conversation about the pictures of an example; it knows nothing of the example's other dialogues.

    Args:
        turns: (role, text) with roles "user" and "assistant" in turns, "system" only first; no image marks: all
            pictures stand before the first user text.
        family: question type (``data.schema.QuestionType``), or ``GENERAL``.
        answer: the last answer as values, where the data says so.
        names: the objects the last question speaks of, in the order of mention, where the data says so.

    Raises:
        SdvlmError: no answer to learn, or roles out of order.
    """

    turns: tuple[tuple[str, str], ...]
    family: str = GENERAL
    answer: TypedAnswer | None = None
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        spoken = [role for role, _ in self.turns if role != "system"]
        wanted = ["user", "assistant"] * (len(spoken) // 2)
        if not spoken or spoken != wanted or any(role == "system" for role, _ in self.turns[1:]):
            said = ", ".join(role for role, _ in self.turns) or "none"
            raise SdvlmError(f"a dialogue is turns of user and assistant, the last an answer; got {said}")


@dataclass(frozen=True, eq=False)
class Example:
    """Pictures (one, several or none) and the dialogues about them.

    Args:
        key: says which it is, in messages: source, split and row.
        source: name of the part of the mixture it comes from.
        dialogues: at least one.
        images: (H, W, 3) uint8 RGB each.
        depth: of each picture, its size, or None.
        cameras: of each picture, its size, or None.
    """

    key: str
    source: str
    dialogues: tuple[Dialogue, ...]
    images: tuple[NDArray[np.uint8], ...] = field(default=(), repr=False)
    depth: tuple[DepthMap | None, ...] = ()
    cameras: tuple[Camera | None, ...] = ()

    def __post_init__(self) -> None:
        for name in ("depth", "cameras"):
            if not getattr(self, name):
                object.__setattr__(self, name, (None,) * len(self.images))
            if len(getattr(self, name)) != len(self.images):
                raise SdvlmError(f"{self.key}: {name} must hold one entry for each of {len(self.images)} pictures")
        if not self.dialogues:
            raise SdvlmError(f"{self.key}: there is no dialogue to learn from")
