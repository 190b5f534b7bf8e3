"""As many batches for every process of a distributed run."""

from __future__ import annotations

from typing import Any

from torch.utils.data import Dataset

from sdvlm.train.example import Example

__all__ = ["Even"]


class Even(Dataset["Example | None"]):
    """A mixture, and behind it None up to a whole multiple: places of which nothing is learned.

    Loaders of distributed runs would repeat rows there, so that the end of an epoch would be another for every number
    of processes.

    Args:
        examples: a map-style data set with epochs.
        multiple: rows that all processes take at a time.
    """

    def __init__(self, examples: Any, multiple: int) -> None:
        self.examples, self.multiple = examples, multiple

    def __len__(self) -> int:
        return -(-len(self.examples) // self.multiple) * self.multiple

    def __getitem__(self, position: int) -> Example | None:
        if position >= len(self):
            raise IndexError(f"there are {len(self)} rows; got position {position}")
        example: Example | None = self.examples[position] if position < len(self.examples) else None
        return example

    def set_epoch(self, epoch: int) -> None:
        """Go to an epoch of the mixture."""
        self.examples.set_epoch(epoch)
