"""The mixture that training reads: which dialogues about which pictures stand in which row of which epoch.

Every part is an endless sequence of passes over its rows, each in an order of its own; an epoch takes the next
``weight`` passes' worth of it. So half a weight shows the other half next epoch, and a weight of two shows all twice.
All of it is a function of seed and epoch: the same for any number of workers and processes, and after resuming.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from sdvlm.train.config import TrainConfig
from sdvlm.train.example import Example
from sdvlm.train.parts import Part, Store, split_heldout
from sdvlm.train.vary import vary
from sdvlm.types import SdvlmError

__all__ = ["Drawn", "Mixture", "Part", "Store", "split_heldout"]

_ORDER, _PASS, _CUT, _VARY = range(4)
"""streams of random numbers"""


@dataclass(frozen=True)
class Drawn:
    """One row to be trained on.

    Args:
        store: number of the part.
        index: of the example in it.
        dialogues: numbers of its dialogues, in the order they are packed.
        epoch: it is drawn in.
        serial: its place in the whole training, epochs on end.
    """

    store: int
    index: int
    dialogues: tuple[int, ...]
    epoch: int
    serial: int


class Mixture(Dataset[Example]):
    """Rows of one epoch, by position; positions beyond the epoch's end are those of the next ones.

    Packed (``config.pack``), a row is a picture with at most ``config.dialogues`` of its dialogues: one with more of
    them stands in several rows. Else a row is one dialogue.

    Args:
        stores: parts, in the order of ``weights``.
        config: ``pack``, ``dialogues``, ``vary`` and the weights in ``data`` are used.
        seed: of everything drawn.
        vary: False for evaluation: every dialogue once, in order, as it is, in each epoch.

    Raises:
        SdvlmError: there is nothing to draw from, or not one part for each entry of ``config.data``.
    """

    def __init__(self, stores: Sequence[Store], config: TrainConfig, seed: int, vary: bool = True) -> None:
        self.stores, self.config, self.seed, self.varied = tuple(stores), config, seed, vary
        if vary and len(self.stores) != len(config.data):
            raise SdvlmError(f"the mixture has {len(config.data)} entries of data but {len(self.stores)} parts")
        at_most = config.dialogues if config.pack else 1
        self._counts = [store.dialogue_counts() for store in self.stores]
        self._ends = [np.cumsum(-(-counts // at_most)) for counts in self._counts]
        rows = [int(ends[-1]) if len(ends) else 0 for ends in self._ends]
        weights = [part.weight for part in config.data] if vary else [1.0] * len(rows)
        self._shares = [round(number * weight) for number, weight in zip(rows, weights, strict=True)]
        self._rows = rows
        if vary and not sum(self._shares):
            raise SdvlmError("the mixture is empty: no part has an example to train on, or the weights are too small")
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()  # workers that go on see it change
        self._planned: tuple[int, NDArray[np.int64]] | None = None

    @classmethod
    def split_heldout(cls, stores: Sequence[Store], config: TrainConfig, seed: int) -> tuple[Mixture, Mixture | None]:
        """The mixture to train on and the one to evaluate on, which share no picture; None if none is to be kept.

        Raises:
            SdvlmError: as the class.
        """
        train, held_out = split_heldout(stores, config.heldout, config.heldout_most)
        kept = cls(held_out, config, seed, vary=False)
        return cls(train, config, seed), kept if len(kept) else None

    def __len__(self) -> int:
        return sum(self._shares)

    @property
    def epoch(self) -> int:
        """The epoch whose rows positions from 0 on are."""
        return int(self._epoch[0])

    def set_epoch(self, epoch: int) -> None:
        """Go to an epoch, in this process and in the loader's workers."""
        self._epoch[0] = int(epoch)

    def drawn(self, position: int) -> Drawn:
        """What stands at a position, without reading it.

        Raises:
            IndexError: before the first row, or beyond the last of an evaluation.
        """
        if position < 0 or (position >= len(self) and not self.varied):
            raise IndexError(f"the mixture has {len(self)} rows an epoch; got position {position}")
        further, at = divmod(int(position), len(self))
        epoch = self.epoch + further if self.varied else 0
        store, number, passed = (int(value) for value in self._plan(epoch)[at])
        index = int(np.searchsorted(self._ends[store], number, side="right"))
        first = int(self._ends[store][index - 1]) if index else 0
        dialogues = self._cut(store, index, number - first, int(self._ends[store][index]) - first, passed)
        return Drawn(store, index, dialogues, epoch, epoch * len(self) + at)

    def __getitem__(self, position: int) -> Example:
        drawn = self.drawn(position)
        example = self.stores[drawn.store][drawn.index]
        example = replace(example, dialogues=tuple(example.dialogues[number] for number in drawn.dialogues))
        if not self.varied:
            return example
        return vary(example, self.config.vary, self._rng(_VARY, drawn.epoch, drawn.serial))

    def __iter__(self) -> Iterator[Example]:
        """The rows of the epoch."""
        return (self[position] for position in range(len(self)))

    def families(self, position: int) -> list[str]:
        """Families of the dialogues at a position, as drawn; pictures are not read."""
        drawn = self.drawn(position)
        known = self.stores[drawn.store].families(drawn.index)
        return [known[number] for number in drawn.dialogues]

    def _plan(self, epoch: int) -> NDArray[np.int64]:
        """(rows, 3): part, row number in it, and which pass over the part it belongs to."""
        if self._planned is None or self._planned[0] != epoch:
            parts = [self._taken(store, epoch) for store in range(len(self.stores))]
            plan = np.concatenate(parts) if parts else np.zeros((0, 3), dtype=np.int64)
            if self.varied:
                plan = plan[self._rng(_ORDER, epoch).permutation(len(plan))]
            self._planned = epoch, plan
        return self._planned[1]

    def _taken(self, store: int, epoch: int) -> NDArray[np.int64]:
        """The rows of a part that an epoch takes."""
        rows, share = self._rows[store], self._shares[store]
        places = epoch * share + np.arange(share)
        passes, at = np.divmod(places, max(rows, 1))
        numbers = np.empty(share, dtype=np.int64)
        for one in np.unique(passes):
            order = self._rng(_PASS, store, int(one)).permutation(rows) if self.varied else np.arange(rows)
            numbers[passes == one] = order[at[passes == one]]
        return np.stack([np.full(share, store), numbers, passes], axis=1)

    def _cut(self, store: int, index: int, piece: int, pieces: int, passed: int) -> tuple[int, ...]:
        """One of the pieces, alike in size, that an example's shuffled dialogues are cut into in a pass."""
        count = int(self._counts[store][index])
        order = self._rng(_CUT, store, passed, index).permutation(count) if self.varied else np.arange(count)
        start, end = piece * count // pieces, (piece + 1) * count // pieces
        return tuple(int(number) for number in order[start:end])

    def _rng(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *stream])

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_planned": None}
