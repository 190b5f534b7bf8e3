"""Shared-prefix packing: all dialogues about a picture in one row, behind one copy of the picture.

Each dialogue attends to the prefix and to itself, and its positions go on where the prefix ends, so every token sees
what it would see alone: loss and gradient are those of separate rows, at the cost of the prefix once. A plain row is a
packed one that is all prefix.

Notation: B rows of L tokens; segment 0 is the prefix, k >= 1 the k-th dialogue, -1 padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sdvlm.models.conversation import Tokens
from sdvlm.models.prompt_groups import alike

__all__ = ["IGNORED", "PADDING", "Row", "block_mask", "flex_block_mask", "pack", "places", "plain_row", "stack_rows"]

IGNORED = -100
PADDING = -1


@dataclass(frozen=True)
class Row:
    """Dialogues about the same pictures as one row of tokens.

    Args:
        ids: prefix, then the rest of each dialogue.
        labels: the token itself where it is learned, else -100.
        segments: of each token: 0 in the prefix, k in the k-th dialogue.
        dialogues: which of the example's dialogues these are.
    """

    ids: tuple[int, ...]
    labels: tuple[int, ...]
    segments: tuple[int, ...]
    dialogues: tuple[int, ...]


def plain_row(tokens: Tokens, index: int = 0) -> Row:
    """One dialogue alone."""
    return Row(tokens.ids, _labels(tokens, 0), (0,) * len(tokens.ids), (index,))


def pack(dialogues: Sequence[Tokens], budget: int, image_token_id: int) -> list[Row]:
    """Rows that hold every dialogue once, none longer than ``budget`` tokens unless one dialogue alone is.

    Dialogues that differ before their last picture ends, or learn a token of what they share, stand in rows of their
    own.

    Args:
        dialogues: about the same pictures, with ``learned``.
        budget: longest packed row.
        image_token_id: stands for pictures; all of them must lie in the prefix.
    """
    rows: list[Row] = []
    for group in alike([one.ids for one in dialogues], image_token_id):
        shared = min([group.shared, *(_first_learned(dialogues[index]) - 1 for index in group.chosen)])
        holds_pictures = image_token_id not in dialogues[group.chosen[0]].ids[max(shared, 0) :]
        if len(group.chosen) == 1 or shared <= 0 or not holds_pictures:
            rows += [plain_row(dialogues[index], index) for index in group.chosen]
            continue
        waiting: list[int] = []
        length = shared
        for index in group.chosen:
            more = len(dialogues[index].ids) - shared
            if waiting and length + more > budget:
                rows.append(_packed(dialogues, waiting, shared))
                waiting, length = [], shared
            waiting.append(index)
            length += more
        rows.append(_packed(dialogues, waiting, shared))
    return rows


def stack_rows(rows: Sequence[Row], pad_id: int, side: str = "right") -> dict[str, Tensor]:
    """Rows padded to one length: ``input_ids``, ``labels``, ``segments``, ``attention_mask``, each (B, L) long."""
    width = max(len(row.ids) for row in rows)

    def padded(values: list[tuple[int, ...]], filler: int) -> Tensor:
        fill = [(filler,) * (width - len(one)) for one in values]
        return torch.tensor([f + v if side == "left" else v + f for f, v in zip(fill, values, strict=True)])

    segments = padded([row.segments for row in rows], PADDING)
    return {
        "input_ids": padded([row.ids for row in rows], pad_id),
        "labels": padded([row.labels for row in rows], IGNORED),
        "segments": segments,
        "attention_mask": (segments != PADDING).long(),
    }


def block_mask(segments: Tensor) -> Tensor:
    """(B, 1, L, L) bool from (B, L): which tokens (last axis) each token sees.

    Padding sees itself, so that no row of the softmax is empty.
    """
    query, key = segments[:, :, None], segments[:, None, :]
    place = torch.arange(segments.shape[1], device=segments.device)
    causal = place[:, None] >= place[None, :]
    seen = (causal & (key != PADDING) & ((key == 0) | (key == query))) | (place[:, None] == place[None, :])
    return seen[:, None]


def flex_block_mask(segments: Tensor) -> Any:
    """The same as a FlexAttention ``BlockMask``, which skips blocks of tokens that see nothing of each other."""
    from torch.nn.attention.flex_attention import create_block_mask

    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        theirs = segments[batch, key]
        mine = segments[batch, query]
        shown = (query >= key) & (theirs != PADDING) & ((theirs == 0) | (theirs == mine))
        return shown | (query == key)

    rows, length = segments.shape
    return create_block_mask(sees, rows, None, length, length, device=str(segments.device))


def places(segments: Tensor) -> Tensor:
    """(B, L) long: how many tokens stand before each in its own dialogue, the prefix included; 0 at padding."""
    index = torch.arange(segments.shape[1], device=segments.device).expand_as(segments)
    begins = torch.ones_like(segments, dtype=torch.bool)
    begins[:, 1:] = segments[:, 1:] != segments[:, :-1]
    start = torch.where(begins, index, 0).cummax(dim=1).values  # of each token's run
    prefix = (segments == 0).sum(dim=1, keepdim=True)
    found = index - start + torch.where(segments > 0, prefix, 0)
    return torch.where(segments == PADDING, 0, found)


def _packed(dialogues: Sequence[Tokens], chosen: Sequence[int], shared: int) -> Row:
    ids = list(dialogues[chosen[0]].ids[:shared])
    labels, segments = [IGNORED] * shared, [0] * shared
    for number, index in enumerate(chosen, start=1):
        rest = dialogues[index].ids[shared:]
        ids += rest
        labels += _labels(dialogues[index], shared)
        segments += [number] * len(rest)
    return Row(tuple(ids), tuple(labels), tuple(segments), tuple(chosen))


def _labels(tokens: Tokens, start: int) -> tuple[int, ...]:
    pairs = zip(tokens.ids[start:], tokens.learned[start:], strict=True)
    return tuple(id if learned else IGNORED for id, learned in pairs)


def _first_learned(tokens: Tokens) -> int:
    """Index of the first token a model is trained to say; the length where there is none."""
    return tokens.learned.index(True) if True in tokens.learned else len(tokens.ids)
