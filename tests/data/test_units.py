"""Lengths as they are said, and what they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdvlm.data.units import UNITS, format_length, unit_of
from sdvlm.data.wording import ask_in_unit
from sdvlm.eval.lengths import find_lengths
from sdvlm.types import SdvlmError

METRES = {"m": 1.0, "cm": 0.01, "mm": 0.001, "ft": 0.3048, "in": 0.0254}  # NIST Handbook 44, appendix C


@pytest.mark.parametrize(
    ("unit", "text"), [("m", "1.84"), ("cm", "184"), ("mm", "1840"), ("ft", "6.04"), ("in", "72.4")]
)
def test_a_length_has_the_digits_that_its_unit_deserves(unit, text):
    assert format_length(1.84, unit)[0] == text


@given(st.floats(0.1, 50), st.sampled_from(list(UNITS)))
def test_what_is_said_is_what_the_text_says_and_near_the_truth(value, unit):
    text, said = format_length(value, unit)
    assert said == pytest.approx(float(text) * METRES[unit], abs=1e-12)
    assert abs(said - value) <= UNITS[unit].rounding_m + 1e-12
    assert UNITS[unit].rounding_m <= 0.005


@given(st.floats(0.1, 50), st.sampled_from(list(UNITS)))
def test_the_answer_parser_reads_every_unit_as_it_was_meant(value, unit):
    text, said = format_length(value, unit)
    for name in (UNITS[unit].symbol, UNITS[unit].word):
        (found,) = find_lengths(f"The chair measures {text} {name}.")
        assert found.metres == pytest.approx(said, rel=1e-4)


def test_an_unknown_unit_is_refused_with_the_known_ones():
    with pytest.raises(SdvlmError, match=r"furlong.*m, cm, mm, ft, in"):
        unit_of("furlong")


@pytest.mark.parametrize("seed", range(12))
def test_a_unit_does_not_hang_on_how_something_is_measured(seed):
    asked = "What depth does the {a} have, seen along the viewing direction?"
    said = ask_in_unit(asked, "feet", np.random.default_rng(seed))
    assert said.startswith(asked)
    assert said.endswith("feet.")
    plain = {ask_in_unit("How tall is the {a}?", "feet", np.random.default_rng(one)) for one in range(30)}
    assert "How tall is the {a} in feet?" in plain


@pytest.mark.parametrize("symbol", list(UNITS))
def test_a_length_in_a_text_is_found_by_the_word_and_by_the_symbol_of_its_unit_alone(symbol):
    unit = UNITS[symbol]
    text = f"3 {unit.word}, 2.5 {unit.symbol}, 4 {unit.symbol}xyz, 7 of them, 8{unit.symbol}"
    assert unit.said.findall(text) == [("3", unit.word), ("2.5", unit.symbol)]
    for other in UNITS:
        if other != symbol:
            assert UNITS[other].said.search(text) is None
