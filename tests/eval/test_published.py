import pytest

from sdvlm.data.schema import QuestionType
from sdvlm.eval.published import COLUMNS, PUBLISHED, SHOWN_IN_FIGURES

BY_NAME = {row.name: row for row in PUBLISHED}
ASKED = (47, 96, 259, 87, 161, 40, 106, 191)
"""questions a column, worked back from the published percentages; 987 together"""


def test_there_is_a_column_for_each_family():
    assert set(COLUMNS) == set(QuestionType)
    assert all(len(row.rates) == len(COLUMNS) for row in PUBLISHED)
    assert len(PUBLISHED) == 15


def test_the_columns_of_sd_vlm_average_less_than_what_is_printed():
    row = BY_NAME["SD-VLM"]
    assert row.printed == 56.31
    assert row.mean == pytest.approx(55.74, abs=0.005)
    weighted = sum(rate * asked for rate, asked in zip(row.rates, ASKED, strict=True)) / sum(ASKED)
    assert weighted == pytest.approx(54.81, abs=0.005)


def test_six_printed_averages_are_not_the_mean_of_their_columns():
    off = {row.name for row in PUBLISHED if row.mean is not None and abs(row.mean - row.printed) > 0.015}
    assert off == {"DeepSeek-V3 (text)", "GPT-4o", "InternVL3-78B", "InternVL3-8B", "LLaVA-1.5-7B", "SD-VLM"}
    assert BY_NAME["SD-VLM + CoT"].mean is None


@pytest.mark.parametrize("name", ["SD-VLM", "GPT-4o", "SpatialBot", "SpatialRGPT", "Gemini-2"])
def test_the_percentages_are_whole_numbers_of_questions(name):
    for rate, asked in zip(BY_NAME[name].rates, ASKED, strict=True):
        right = rate * asked / 100
        assert right == pytest.approx(round(right), abs=0.011 * asked / 100 + 1e-9)


def test_what_is_drawn_is_in_the_table():
    assert set(SHOWN_IN_FIGURES) <= set(BY_NAME)
