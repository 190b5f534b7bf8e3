"""Pictures kept for evaluation: chosen by their content, so that no part of a mixture trains on another's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sdvlm.train.example import Example

__all__ = ["Part", "Store", "split_heldout"]

_RANGE = float(2**63)


class Store(Protocol):
    """What the mixture asks of a part of the data."""

    name: str

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Example: ...

    def dialogue_counts(self) -> NDArray[np.int64]: ...

    def held_out_by(self) -> NDArray[np.int64]: ...

    def families(self, index: int, /) -> list[str]: ...


class Part:
    """Some of the examples of a store, in its order.

    Args:
        store: whose.
        chosen: (examples,) their numbers.
    """

    def __init__(self, store: Store, chosen: NDArray[np.int64]) -> None:
        self.store, self.chosen, self.name = store, np.asarray(chosen, dtype=np.int64), store.name

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: int) -> Example:
        return self.store[int(self.chosen[index])]

    def dialogue_counts(self) -> NDArray[np.int64]:
        return self.store.dialogue_counts()[self.chosen]

    def held_out_by(self) -> NDArray[np.int64]:
        return self.store.held_out_by()[self.chosen]

    def families(self, index: int) -> list[str]:
        return self.store.families(int(self.chosen[index]))


def split_heldout(stores: Sequence[Store], share: float, most: int) -> tuple[list[Part], list[Part]]:
    """Part the pictures of a mixture in those to train on and those kept for evaluation.

    A picture's own content decides, whatever the seed, the mixture and the rows it stands in: an example is kept if any
    of its pictures is. Of a share above none at least one example is kept, if there are two.

    Args:
        stores: of the mixture.
        share: of the pictures, 0..1.
        most: pictures kept at most.

    Returns:
        The two parts of each store, in the order of the stores; either may be empty.
    """
    keys = [store.held_out_by() for store in stores]
    pictures = np.unique(np.concatenate(keys)) if keys else np.zeros(0, dtype=np.int64)
    number = int((pictures < share * _RANGE).sum())
    if share > 0:
        number = min(max(number, 1), most, len(pictures) - 1)
    kept = pictures[:number]
    inside = [np.isin(one, kept) for one in keys]
    train = [Part(store, np.flatnonzero(~one)) for store, one in zip(stores, inside, strict=True)]
    held_out = [Part(store, np.flatnonzero(one)) for store, one in zip(stores, inside, strict=True)]
    return train, held_out
