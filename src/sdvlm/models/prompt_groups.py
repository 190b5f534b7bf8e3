"""Which prompts about the same pictures begin alike, and for how long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Alike", "alike"]


@dataclass(frozen=True)
class Alike:
    """Prompts that are the same to the end of their last picture.

    Args:
        chosen: which.
        shared: tokens they all begin with, the pictures included and at least one token left over for each; 0: none,
            or one of them ends with its picture.
    """

    chosen: tuple[int, ...]
    shared: int


def alike(prompts: Sequence[Sequence[int]], image_token_id: int) -> list[Alike]:
    """Groups of prompts, given as token ids, in the order of their first ones."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, prompt in enumerate(prompts):
        groups.setdefault(tuple(prompt[: _pictures_end(prompt, image_token_id)]), []).append(index)
    return [
        Alike(tuple(chosen), length if (length := _common([prompts[i] for i in chosen])) >= len(seen) else 0)
        for seen, chosen in groups.items()
    ]


def _pictures_end(prompt: Sequence[int], image_token_id: int) -> int:
    """Where the last picture ends; 0 where there is none."""
    return next((end for end in range(len(prompt), 0, -1) if prompt[end - 1] == image_token_id), 0)


def _common(prompts: Sequence[Sequence[int]]) -> int:
    """Tokens all of them begin with, at least one left over for each."""
    length = min(len(prompt) for prompt in prompts) - 1
    for prompt in prompts[1:]:
        length = next((i for i in range(length) if prompt[i] != prompts[0][i]), length)
    return length
