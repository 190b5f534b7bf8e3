"""Counts in cells are those of a plain loop."""

from __future__ import annotations

import math

import numpy as np

from sdvlm.inspect.histograms import LengthHistogram, PointHistogram, WordCounts


def test_lengths_lie_between_the_edges_of_their_cell():
    lengths = 10 ** np.random.default_rng(0).uniform(-1.99, 1.99, 500)
    histogram = LengthHistogram()
    for length in lengths:
        histogram.add(length)
    for place, count in enumerate(histogram.cells):
        assert count == sum(histogram.edge(place) <= length < histogram.edge(place + 1) for length in lengths)
    assert (histogram.lowest, histogram.highest, histogram.total) == (lengths.min(), lengths.max(), 500)


def test_lengths_beyond_the_scale_are_counted_at_its_ends():
    histogram = LengthHistogram()
    for length in (0.0, -1.0, 1e-9, 1e9):
        histogram.add(length)
    assert (histogram.cells[0], histogram.cells[-1], histogram.total) == (3, 1, 4)
    assert math.isclose(histogram.edge(0), 0.01)
    assert math.isclose(histogram.edge(len(histogram.cells)), 100)


def test_points_are_counted_where_they_are_rows_from_the_top():
    histogram = PointHistogram()
    for x, y in ((0.0, 0.0), (0.99, 0.0), (1.0, 1.0), (0.5, 0.25), (-3, 7)):
        histogram.add(x, y)
    filled = {(row, column): count for row, line in enumerate(histogram.cells) for column, count in enumerate(line)}
    expected = {(0, 0): 1, (0, 7): 1, (7, 7): 1, (2, 4): 1, (7, 0): 1}
    assert {place: count for place, count in filled.items() if count} == expected


def test_the_most_frequent_words_come_first_and_the_rest_together():
    words = WordCounts()
    for word, times in (("b", 3), ("a", 3), ("c", 1), ("d", 2)):
        words.add(word, times)
    assert words.top(2) == [("a", 3), ("b", 3), ("2 others", 3)]
    assert words.top(4) == [("a", 3), ("b", 3), ("d", 2), ("c", 1)]


def test_the_number_of_different_words_is_bounded_and_none_is_lost():
    words = WordCounts()
    for number in range(25_000):
        words.add(str(number))
    words.add("0")
    assert len(words.counts) == 20_000
    assert words.total == 25_001
    assert words.top(1) == [("0", 2), ("19999 others", 24_999)]
