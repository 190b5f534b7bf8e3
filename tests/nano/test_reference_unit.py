"""A reference height in metres beside an answer in another unit."""

from typing import Any

import pytest

from sdvlm.nano.frames import NanoFrame
from sdvlm.nano.reference_unit import reference_in_metres


def reference(text: str, unit: str) -> dict[str, Any]:
    return {"question": text, "answer": "3.00 ft", "type": "refer_obj_estimation", "said_unit": unit}


@pytest.mark.parametrize(
    ("asked", "unit", "wanted"),
    [
        (
            "The lamp is 5.00 ft high. How high is the table? Answer in feet.", "ft",
            "The lamp is 1.52 m high. How high is the table? Answer in feet.",
        ),
        (
            "If the lamp is 60.0 inches high, how high in inches is the table?", "in",
            "If the lamp is 1.52 meters high, how high in inches is the table?",
        ),
        ("Given 1520 mm for the lamp, what is the table's height in millimeters?", "mm",
         "Given 1.52 m for the lamp, what is the table's height in millimeters?"),
    ],
)  # fmt: skip
def test_only_the_reference_is_said_in_metres(asked: str, unit: str, wanted: str) -> None:
    assert reference_in_metres(reference(asked, unit)) == reference(wanted, unit)


def test_what_gives_no_height_or_asks_in_metres_stays(frames: list[NanoFrame]) -> None:
    changed = 0
    for frame in frames:
        for question in frame.questions:
            now = reference_in_metres(question)
            if question["type"] != "refer_obj_estimation" or question["said_unit"] == "m":
                assert now == question
            else:
                changed += now != question
                assert now["answer"] == question["answer"]
    assert changed > 0
