"""Questions and answers as rows of tokens that stand behind their pictures' prefixes.

Notation: B pictures, Q questions each, R = B * Q rows of L tokens, P prefix tokens, D hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Prefix", "QuestionRow", "RowBatch", "answer_losses", "collate"]

_IGNORED = -100


@dataclass(frozen=True)
class QuestionRow:
    """One question behind a prefix.

    Args:
        ids: tokens up to the end of the answer, the end token included.
        answer_start: index of the token that predicts the answer's first.
    """

    ids: tuple[int, ...]
    answer_start: int


@dataclass(frozen=True)
class RowBatch:
    """Rows, right-padded; those of one picture lie together.

    Args:
        ids: (R, L) long.
        labels: (R, L) long, the next token wherever an answer is predicted, else -100.
    """

    ids: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Prefix:
    """What stands before the questions of each picture, right-padded.

    Args:
        embeddings: (B, P, D).
        lengths: (B,) long, tokens of each.
    """

    embeddings: Tensor
    lengths: Tensor


def collate(rows: Sequence[QuestionRow], pad_id: int) -> RowBatch:
    """Stack rows."""
    length = max(len(row.ids) for row in rows)
    ids = torch.full((len(rows), length), pad_id)
    labels = torch.full((len(rows), length), _IGNORED)
    for place, row in enumerate(rows):
        tokens = torch.tensor(row.ids)
        ids[place, : len(tokens)] = tokens
        labels[place, row.answer_start : len(tokens) - 1] = tokens[row.answer_start + 1 :]
    return RowBatch(ids, labels)


def answer_losses(vlm: Any, prefix: Prefix, batches: Sequence[RowBatch]) -> Tensor:
    """(K,) cross-entropy of every answer token of all batches.

    The prefix is read once; the rows attend to its keys and values, which are not copied. The gradient is that of
    separate samples.

    Args:
        vlm: a LLaVA whose language model runs ``nano.prefix_attention``.
        prefix: of B pictures.
        batches: each of as many rows of every picture, in the pictures' order.
    """
    model = vlm.model.language_model
    cache = model(inputs_embeds=prefix.embeddings, use_cache=True).past_key_values
    losses = []
    for batch in batches:
        rows, length = batch.ids.shape
        starts = prefix.lengths.repeat_interleave(rows // len(prefix.lengths))
        positions = starts[:, None] + torch.arange(length)
        shared = {"shared_prefix": cache, "prefix_lengths": prefix.lengths}
        out = model(input_ids=batch.ids, position_ids=positions, use_cache=False, **shared)
        asked = batch.labels != _IGNORED
        logits = vlm.lm_head(out.last_hidden_state[asked]).float()
        losses.append(F.cross_entropy(logits, batch.labels[asked], reduction="none"))
    return torch.cat(losses)
