"""Counts of values in a fixed number of cells, so that any number of answers takes the same memory."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

__all__ = ["LengthHistogram", "PointHistogram", "WordCounts"]

_PER_DECADE = 8
_LOWEST, _DECADES = -2, 4  # 1 cm to 100 m
_WORDS = 20_000


@dataclass
class LengthHistogram:
    """Lengths in metres, in equal steps of their logarithm from 1 cm to 100 m; the ends hold what lies beyond."""

    cells: list[int] = field(default_factory=lambda: [0] * (_PER_DECADE * _DECADES))
    lowest: float = math.inf
    highest: float = -math.inf

    def add(self, metres: float) -> None:
        """Count one; zero and negative ones are in the first cell."""
        place = math.floor((math.log10(metres) - _LOWEST) * _PER_DECADE) if metres > 0 else 0
        self.cells[min(max(place, 0), len(self.cells) - 1)] += 1
        self.lowest, self.highest = min(self.lowest, metres), max(self.highest, metres)

    @property
    def total(self) -> int:
        """How many were counted."""
        return sum(self.cells)

    @staticmethod
    def edge(place: int) -> float:
        """Lower edge of a cell in metres."""
        return float(10 ** (_LOWEST + place / _PER_DECADE))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; filled cells alone."""
        cells = [[round(self.edge(place), 4), count] for place, count in enumerate(self.cells) if count]
        return {"from_m": self.lowest, "to_m": self.highest, "count": self.total, "cells": cells}


@dataclass
class PointHistogram:
    """Places in a picture, x and y in 0..1, on a grid of 8 x 8."""

    cells: list[list[int]] = field(default_factory=lambda: [[0] * 8 for _ in range(8)])

    def add(self, x: float, y: float) -> None:
        """Count one."""
        row, column = (min(max(int(8 * value), 0), 7) for value in (y, x))
        self.cells[row][column] += 1

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, rows from the top."""
        return {"count": sum(map(sum, self.cells)), "cells": self.cells}


@dataclass
class WordCounts:
    """How often each of a bounded number of words was met; what comes after they are full is one group, "others"."""

    counts: Counter[str] = field(default_factory=Counter)
    others: int = 0

    def add(self, word: str, times: int = 1) -> None:
        """Count a word."""
        if word in self.counts or len(self.counts) < _WORDS:
            self.counts[word] += times
        else:
            self.others += times

    @property
    def total(self) -> int:
        """How many were counted."""
        return self.counts.total() + self.others

    def top(self, limit: int) -> list[tuple[str, int]]:
        """The most frequent, ties by name, and the rest as "others"."""
        ranked = sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
        rest = self.total - sum(count for _, count in ranked[:limit])
        return ranked[:limit] + ([(f"{len(ranked) - limit} others", rest)] if rest else [])

    def to_dict(self) -> dict[str, int]:
        """Plain JSON values, the thousand most frequent."""
        return dict(self.top(1000))
