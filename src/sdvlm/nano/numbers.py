"""Numbers in token ids, as the templates write them: ``1.84 m``, ``1.84 meters``, ``(0.72,0.28)``; a digit is a token.

An answer's number is told to training twice: as digits, one after another, and as a value, read off the states that are
about to say those digits (``ValuesHead``). The value teaches the model to bring the number to where it is said; the
digits alone teach that only once they are right, which takes many times longer. The value is told as a bin among many,
not as one number: a state that only holds a number along one direction is far from the sharp edges between digits.
"""

from __future__ import annotations

import math
import re

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

__all__ = ["VALUES", "NumberTokens", "ValuesHead"]

VALUES = {"log_length": (math.log(0.05), math.log(10.0), 64), "coordinate": (0.0, 1.0, 32)}
"""what a number may be, log of metres or image coordinate: middle of its first and of its last bin, and how many"""


class ValuesHead(nn.Module):
    """Linear read-out of the number that a state is about to say, as a bin.

    Args:
        width: of the states.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.read = nn.Linear(width, sum(bins for _, _, bins in VALUES.values()))

    def losses(self, states: Tensor, said: Tensor) -> Tensor:
        """(K,) cross-entropy of every number that is known. ``states``: (M, D); ``said``: (M, 2), NaN where unknown."""
        logits = self.read(self.norm(states.float())).split([bins for _, _, bins in VALUES.values()], dim=-1)
        found = []
        for kind, (low, high, bins) in enumerate(VALUES.values()):
            known = ~said[:, kind].isnan()
            place = ((said[known, kind] - low) / (high - low) * (bins - 1)).clamp(0, bins - 1)
            share = nn.functional.relu(1 - (place[:, None] - torch.arange(bins, device=place.device)).abs())
            found.append(-(share * logits[kind][known].log_softmax(-1)).sum(-1))
        return torch.cat(found)


class NumberTokens:
    """Finds, reads and writes ``d.dd``.

    Args:
        tokenizer: nano's, with a token for every digit.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        pieces = [tokenizer.id_to_token(index) or "" for index in range(tokenizer.get_vocab_size())]
        self.digits = {index: piece for index, piece in enumerate(pieces) if re.fullmatch(r"\d", piece)}
        self.ids = {piece: index for index, piece in self.digits.items()}
        self.point = tokenizer.token_to_id(".")
        self.units = {tokenizer.encode(unit, add_special_tokens=False).ids[0] for unit in (" m", " meters")}

    def starts(self, ids: list[int]) -> list[int]:
        """Where ``d . d d`` begins, a token behind it and no digit before it."""
        found = []
        for start in range(len(ids) - 4):
            one, point, tens, cents = ids[start : start + 4]
            shaped = point == self.point and {one, tens, cents} <= self.digits.keys()
            if shaped and (start == 0 or ids[start - 1] not in self.digits):
                found.append(start)
        return found

    def is_length(self, ids: list[int], start: int) -> bool:
        """Whether a unit stands behind the number."""
        return ids[start + 4] in self.units

    def read(self, ids: list[int], start: int) -> int:
        """The number in hundredths."""
        return int(self.digits[ids[start]] + self.digits[ids[start + 2]] + self.digits[ids[start + 3]])

    def write(self, ids: list[int], start: int, hundredths: int) -> None:
        """Another number of the same form in its place, 0 to 999 hundredths."""
        ids[start], ids[start + 2], ids[start + 3] = (self.ids[digit] for digit in f"{hundredths:03d}")

    def targets(self, ids: list[int], answer_start: int) -> tuple[list[int], Tensor]:
        """(V,) tokens that predict a token of a number of the answer, and (V, 2) what it is, NaN for what it is not."""
        columns: list[int] = []
        rows: list[tuple[float, float]] = []
        for start in self.starts(ids):
            if start <= answer_start:
                continue
            value = self.read(ids, start) / 100
            length = self.is_length(ids, start)
            row = (math.log(max(value, 0.01)), math.nan) if length else (math.nan, value)
            columns += range(start - 1, start + 3)
            rows += [row] * 4
        return columns, torch.tensor(rows, dtype=torch.float32).view(-1, len(VALUES))
