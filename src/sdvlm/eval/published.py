"""MSMU-Bench as published: what a run is set beside.

Source: the model card of ``cpystan/SD-VLM-7B`` and arXiv 2509.17664, percentages as printed. A language model judged
the answers, under rules that pass a list by its mean ratio. Where the printed average is not the mean of the eight
printed columns, both are kept; SD-VLM's own eight columns average 55.74, not 56.31.
"""

from __future__ import annotations

from dataclasses import dataclass

from sdvlm.data.schema import QuestionType

__all__ = ["CODES", "COLUMNS", "PUBLISHED", "SHOWN_IN_FIGURES", "SOURCE", "PublishedRow"]

SOURCE = "model card of cpystan/SD-VLM-7B and arXiv 2509.17664; percentages, answers judged by a language model"

CODES: dict[QuestionType, tuple[str, str]] = {
    QuestionType.ZERO: ("E", "Existence"),
    QuestionType.COUNT: ("C", "Counting"),
    QuestionType.SCALE_ESTIMATION: ("S", "Scale"),
    QuestionType.POSITION: ("G", "Grounding"),
    QuestionType.RELATIVE_POSITION: ("P", "Relative position"),
    QuestionType.ABSOLUTE_DISTANCE: ("D", "Absolute distance"),
    QuestionType.SCALE_COMPARE: ("K", "Scale comparison"),
    QuestionType.REFER_OBJ_ESTIMATION: ("R", "Reference object"),
}
"""family: letter and name of its column, in the order of the published table"""
COLUMNS = tuple(CODES)


@dataclass(frozen=True)
class PublishedRow:
    """One line of the published table.

    Args:
        name: of the model.
        rates: percentages of the eight columns, in the order of :data:`COLUMNS`; None where not printed.
        printed: the average as printed.
        note: what to know about the line.
    """

    name: str
    rates: tuple[float | None, ...]
    printed: float
    note: str = ""

    @property
    def mean(self) -> float | None:
        """Mean of the eight columns; None where some are not printed."""
        known = [rate for rate in self.rates if rate is not None]
        return sum(known) / len(known) if len(known) == len(COLUMNS) else None

    @property
    def by_family(self) -> dict[QuestionType, float]:
        """The printed columns, by family."""
        return {family: rate for family, rate in zip(COLUMNS, self.rates, strict=True) if rate is not None}


PUBLISHED: tuple[PublishedRow, ...] = (
    PublishedRow("GPT-4-Turbo (text)", (12.76, 5.21, 13.51, 12.64, 24.84, 7.50, 36.79, 12.04), 15.66),
    PublishedRow("Qwen2.5 (text)", (4.25, 0.00, 0.78, 13.79, 0.62, 0.00, 16.04, 1.57), 4.63),
    PublishedRow("DeepSeek-V3 (text)", (0.00, 5.24, 1.54, 6.90, 10.56, 0.00, 25.47, 5.24), 7.39),
    PublishedRow("GPT-4o", (44.68, 41.67, 3.86, 27.59, 67.08, 20.00, 54.72, 2.09), 32.28),
    PublishedRow("Gemini-2", (38.30, 43.75, 23.94, 19.54, 54.66, 12.50, 69.81, 18.85), 35.17),
    PublishedRow("Qwen2.5-VL-72B", (59.57, 35.42, 1.54, 13.79, 57.76, 2.50, 66.04, 9.95), 30.82),
    PublishedRow("Qwen2.5-VL-32B", (29.79, 41.67, 10.81, 18.39, 60.25, 2.50, 46.23, 10.99), 27.59),
    PublishedRow("Qwen2.5-VL-7B", (12.76, 4.17, 0.00, 1.15, 1.24, 0.00, 5.66, 0.52), 3.19),
    PublishedRow(
        "InternVL3-78B",
        (47.62, 42.71, 6.47, 26.32, 56.94, 13.33, 64.10, 16.46),
        33.63,
        "its percentages need other numbers of questions: scored on another subset",
    ),
    PublishedRow("InternVL3-8B", (36.17, 41.67, 4.63, 18.39, 60.25, 2.50, 49.06, 8.38), 28.54),
    PublishedRow(
        "LLaVA-1.5-7B",
        (1.54, 36.46, 5.02, 20.69, 42.86, 5.00, 38.68, 0.52),
        19.45,
        "existence is probably 6.38 (3 of 47), which gives the printed average",
    ),
    PublishedRow("SpatialBot", (10.64, 46.88, 15.83, 28.74, 66.46, 5.00, 50.94, 8.90), 29.17),
    PublishedRow("SpatialRGPT", (10.64, 36.46, 20.08, 17.24, 60.25, 15.00, 62.26, 9.95), 28.98),
    PublishedRow(
        "SD-VLM",
        (87.23, 47.92, 51.35, 42.53, 75.16, 40.00, 55.66, 46.07),
        56.31,
        "its eight columns average 55.74 (54.81 weighted by questions), not the printed 56.31",
    ),
    PublishedRow(
        "SD-VLM + CoT",
        (87.23, None, 51.74, None, None, 50.00, None, 49.32),
        59.19,
        "four columns are not printed",
    ),
)
"""In the order of the card."""

SHOWN_IN_FIGURES = ("SD-VLM", "GPT-4o", "LLaVA-1.5-7B")
"""Published lines that are drawn beside a run; all are in the table."""
