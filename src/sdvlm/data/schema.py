"""What a question about a picture is made of: its type, its typed answer, the objects it speaks of.

A typed answer says what its number means (``definition``), so that "distance" or "width" is never left to the reader.
Type names are those of the official MSMU scoring code.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sdvlm.types import SdvlmError

__all__ = ["DEFINITIONS", "AnswerKind", "QuestionSample", "QuestionType", "TypedAnswer"]


class QuestionType(StrEnum):
    """The eight families of MSMU."""

    SCALE_ESTIMATION = "scale_estimation"
    ABSOLUTE_DISTANCE = "absolute_distance"
    COUNT = "count"
    POSITION = "position"
    REFER_OBJ_ESTIMATION = "refer_obj_estimation"
    RELATIVE_POSITION = "relative_position"
    SCALE_COMPARE = "scale_compare"
    ZERO = "zero"


class AnswerKind(StrEnum):
    """What the values of an answer are."""

    LENGTH = "length"
    """one length in metres"""
    LENGTHS = "lengths"
    """several lengths in metres, in the order asked"""
    COUNT = "count"
    """one whole number"""
    POINT = "point"
    """x and y in 0..1 of the image, from its top left corner"""
    NAME = "name"
    """one object, by name"""
    YES_NO = "yes_no"
    """"yes" or "no" """
    DIRECTION = "direction"
    """"left" or "right", seen by the viewer"""


DEFINITIONS: dict[str, str] = {
    "height": "vertical extent of the object's oriented box",
    "width": "shorter horizontal extent of the object's oriented box",
    "length": "longer horizontal extent of the object's oriented box",
    "size": "length, width and height of the object's oriented box",
    "centre_to_centre": "straight line between the centres of the two objects' boxes",
    "closest_surfaces": "shortest straight line between the surfaces of the two objects' oriented boxes",
    "camera_to_centre": "straight line from the camera's centre to the centre of the object's box",
    "depth_of_centre": "distance of the centre of the object's box along the optical axis",
    "visible_instances": "instances of the category that can be seen in the image",
    "mask_centroid": "mean position of the object's visible pixels, divided by the image size",
    "object_at_point": "the object whose visible pixels hold the point",
    "left_of": "the first object lies left of the second, in the image and in camera x",
    "right_of": "the first object lies right of the second, in the image and in camera x",
    "nearer_than": "the centre of the first object's box is nearer to the camera's centre than that of the second",
    "in_front_of": "the centre of the first object's box is nearer to the camera's centre than that of the second, and "
    "less deep along the optical axis",
    "behind": "the centre of the first object's box is farther from the camera's centre than that of the second, and "
    "deeper along the optical axis",
    "side": "on which side of the second object the first one lies, in the image and in camera x",
    "tallest": "the named object with the largest vertical extent",
    "shortest": "the named object with the smallest vertical extent",
    "nearest": "the named object whose box centre is nearest to the camera's centre",
    "farthest": "the named object whose box centre is farthest from the camera's centre",
    "visible": "whether such an object can be seen in the image",
}
"""What each ``TypedAnswer.definition`` means, in words."""


@dataclass(frozen=True)
class TypedAnswer:
    """An answer as values rather than as a sentence.

    Args:
        kind: what the values are.
        values: lengths, counts and coordinates as floats; names, yes/no and directions as lower-case text.
        unit: "m" for lengths, None otherwise.
        definition: a key of :data:`DEFINITIONS`; None where nobody said (an answer parsed from free text).
    """

    kind: AnswerKind
    values: tuple[float | str, ...]
    unit: str | None = None
    definition: str | None = None

    def __post_init__(self) -> None:
        if not self.values:
            raise SdvlmError(f"an answer of kind {self.kind} needs at least one value; got none")
        if self.definition is not None and self.definition not in DEFINITIONS:
            raise SdvlmError(f"unknown answer definition {self.definition!r}; known: {', '.join(DEFINITIONS)}")

    @property
    def numbers(self) -> tuple[float, ...]:
        """The values of a numeric answer.

        Raises:
            SdvlmError: the answer holds text.
        """
        if any(isinstance(value, str) for value in self.values):
            raise SdvlmError(f"an answer of kind {self.kind} holds text {self.values}, not numbers")
        return tuple(float(value) for value in self.values)

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values: kind, values, unit, definition."""
        return {
            "kind": self.kind.value,
            "values": list(self.values),
            "unit": self.unit,
            "definition": self.definition,
        }


@dataclass(frozen=True)
class QuestionSample:
    """One question about one picture, with its answer and where both came from.

    Args:
        question: as a user would ask it; no image placeholder.
        answer: the answer as text.
        type: family.
        answer_typed: the same answer as values, rounded as in the text.
        objects: instance ids the question speaks of, in the order of mention (empty where it speaks of none).
        names: how each of ``objects`` is called; for questions about a category, that category alone.
        template: which phrasing was used, "type/topic/number".
        point: the point a "what is at (x, y)" question asks about, else None.
        said_unit: unit the text states its lengths in; ``answer_typed`` holds metres whatever it is.
        reasoning: chain of thought that leads to the answer, without repeating it; None where none was made.
    """

    question: str
    answer: str
    type: QuestionType
    answer_typed: TypedAnswer
    objects: tuple[int, ...]
    names: tuple[str, ...]
    template: str
    point: tuple[float, float] | None = None
    said_unit: str = "m"
    reasoning: str | None = None

    @property
    def topic(self) -> str:
        """What is asked, in whichever words: "type/topic" of the template's label."""
        return self.template.rpartition("/")[0]

    @property
    def wording(self) -> str:
        """Which words of its topic it is asked in: what follows the topic in the template's label."""
        return self.template.rpartition("/")[2]
