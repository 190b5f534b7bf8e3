"""How questions and answers are worded. Data only; the published phrasings of MSMU are among them, as they are.

Places: ``{a} {b} {c}`` names of objects in the order of mention, ``{x} {y} {z}`` numbers or points already formatted,
``{many}`` a plural, ``{some}`` a name with "a" or "an", ``{left}`` and ``{right}`` the side asked and the other one,
``{m}`` and ``{meters}`` the unit ("m", "meters" unless another is asked for).
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TEMPLATES", "Template"]


@dataclass(frozen=True)
class Template:
    """The wordings of one topic.

    Args:
        questions: ways to ask, all with the same meaning.
        answer: the sentence MSMU answers with (for yes/no: the "yes").
        short: the bare answer (for yes/no: the "yes").
        answer_no, short_no: the "no" of yes/no topics, else empty.
    """

    questions: tuple[str, ...]
    answer: str
    short: str
    answer_no: str = ""
    short_no: str = ""


TEMPLATES: dict[str, Template] = {
    "scale_estimation/height": Template(
        (
            "What is the height of the {a}?",
            "How tall is the {a}?",
            "How high is the {a} from its bottom to its top?",
            "Could you tell me the height of the {a}?",
            "Estimate the height of the {a} in {meters}.",
            "What is the vertical extent of the {a}?",
        ),
        "The {a} measures {x} {meters} in height.",
        "{x} {m}",
    ),
    "scale_estimation/width": Template(
        (
            "What is the width of the {a}?",
            "How wide is the {a}?",
            "Could you tell me the width of the {a}?",
            "Estimate the width of the {a} in {meters}.",
            "How many {meters} wide is the {a}?",
            "What is the shorter horizontal side of the {a}?",
        ),
        "The {a} measures {x} {meters} in width.",
        "{x} {m}",
    ),
    "scale_estimation/length": Template(
        (
            "What is the length of the {a}?",
            "How long is the {a}?",
            "Could you tell me the length of the {a}?",
            "Estimate the length of the {a} in {meters}.",
            "What is the longer horizontal side of the {a}?",
        ),
        "The {a} measures {x} {meters} in length.",
        "{x} {m}",
    ),
    "scale_estimation/size": Template(
        (
            "What is the size of the {a}?",
            "How big is the {a}?",
            "What are the length, width and height of the {a}?",
            "Could you give me the dimensions of the {a}?",
            "Estimate the size of the {a}: length, width and height in {meters}.",
        ),
        "The {a} is with the size of {x} {m} x {y} {m} x {z} {m}.",
        "{x} {m} x {y} {m} x {z} {m}",
    ),
    "absolute_distance/pair": Template(
        (
            "What is the distance between the {a} and the {b}?",
            "How far is the {a} from the {b}?",
            "How far apart are the {a} and the {b}?",
            "Measure the distance from the {a} to the {b}.",
            "How many {meters} lie between the centers of the {a} and the {b}?",
            "Could you tell me how far the {a} is from the {b}?",
        ),
        "The distance between the {a} and the {b} is {x} {meters}.",
        "{x} {m}",
    ),
    "absolute_distance/camera": Template(
        (
            "How far is the {a} from the camera?",
            "What is the distance between the camera and the {a}?",
            "How far away is the {a}?",
            "How many {meters} is the {a} away from the camera?",
            "Estimate the distance from the camera to the {a}.",
            "What is the distance of the {a} from the viewer?",
        ),
        "The {a} is {x} {meters} away from the camera.",
        "{x} {m}",
    ),
    "absolute_distance/depth": Template(
        (
            "What is the depth of the {a} along the viewing direction?",
            "At what depth in the scene is the {a}?",
            "How deep in the scene is the {a}, measured along the viewing direction?",
            "How far is the {a} along the optical axis?",
            "Give the depth of the {a} from the camera plane in {meters}.",
        ),
        "The {a} is at a depth of {x} {meters}.",
        "{x} {m}",
    ),
    "count/number": Template(
        (
            "what's the total number of {many} in the image?",
            "How many {many} are there in the image?",
            "How many {many} can you see?",
            "Count the {many} in the picture.",
            "What is the number of {many} visible here?",
            "Tell me how many {many} the image shows.",
        ),
        "{x}.",
        "{x}",
    ),
    "position/point": Template(
        (
            "What is the coordinate of the {a} ?",
            "Where is the {a} in the image?",
            "What are the image coordinates of the {a}?",
            "Point to the {a}.",
            "At which position of the image is the {a}?",
            "Give the normalized coordinate of the {a}.",
        ),
        "({x},{y}).",
        "({x},{y})",
    ),
    "position/object": Template(
        (
            "What object is located at ({x},{y})?",
            "What can you find at ({x},{y})?",
            "What object does the position ({x},{y}) belong to?",
            "Which object is at ({x},{y})?",
            "What is at the point ({x},{y}) of the image?",
            "Name the object at ({x},{y}).",
        ),
        "the {a}.",
        "{a}",
    ),
    "refer_obj_estimation/two": Template(
        (
            "The height of the {a} is {x} {m}, what is the height of the {b} ?",
            "Given that the {a} is {x} {m} tall, how tall is the {b}?",
            "If the height of the {a} is {x} {meters}, what is the height of the {b}?",
            "Knowing that the {a} has a height of {x} {m}, estimate the height of the {b}.",
            "The {a} is {x} {m} high. How high is the {b}?",
        ),
        "Since the height of the {a} is {x} {m}, i think the height of the {b} is {y} {meters}.",
        "{y} {m}",
    ),
    "refer_obj_estimation/three": Template(
        (
            "The height of the {a} is {x} {m}, what is the height of the {b} and the {c} ?",
            "Given that the {a} is {x} {m} tall, how tall are the {b} and the {c}?",
            "If the height of the {a} is {x} {meters}, what are the heights of the {b} and the {c}?",
            "Knowing that the {a} has a height of {x} {m}, estimate the heights of the {b} and the {c}.",
            "The {a} is {x} {m} high. How high are the {b} and the {c}?",
        ),
        "Since the height of the {a} is {x} {m}, i think the height of the {b} is {y} {meters} "
        "and the height of the {c} is {z} {meters}.",
        "{y} {m}, {z} {m}",
    ),
    "relative_position/side_of": Template(
        (
            "Is the {a} to the {left} of the {b} from the viewer's perspective ?",
            "From the viewer's perspective, is the {a} to the {left} of the {b}?",
            "Is the {a} on the {left} side of the {b}, as seen by the viewer?",
            "Does the {a} appear to the {left} of the {b} in the image?",
            "Seen from the camera, is the {a} {left} of the {b}?",
        ),
        "Indeed, the {a} is to the {left} of the {b}.",
        "Yes",
        "No, the {a} is to the {right} of the {b}.",
        "No",
    ),
    "relative_position/which_side": Template(
        (
            "Is the {a} to the {left} or to the {right} of the {b} from the viewer's perspective?",
            "On which side of the {b} is the {a}, {left} or {right}, as seen by the viewer?",
            "From the viewer's perspective, is the {a} {left} or {right} of the {b}?",
            "Does the {a} appear {left} or {right} of the {b} in the image?",
            "Seen from the camera, on which side of the {b} is the {a}: {left} or {right}?",
        ),
        "The {a} is to the {x} of the {b}.",
        "{x}",
    ),
    "relative_position/nearer": Template(
        (
            "Is the {a} closer to the camera than the {b}?",
            "Is the {a} nearer to the viewer than the {b}?",
            "From the viewer's perspective, is the {a} in front of the {b}, that is, nearer?",
            "Does the {a} stand closer to the camera than the {b}?",
            "Compared with the {b}, is the {a} nearer to the camera?",
        ),
        "Yes, the {a} is closer to the camera than the {b}.",
        "Yes",
        "No, the {a} is farther from the camera than the {b}.",
        "No",
    ),
    "scale_compare/taller_two": Template(
        (
            "Between the {a} and the {b}, which on is taller?",
            "Which is taller, the {a} or the {b}?",
            "Which one has the greater height: the {a} or the {b}?",
            "Of the {a} and the {b}, which is the taller one?",
            "Is the {a} or the {b} taller?",
        ),
        "The {x} is taller.",
        "{x}",
    ),
    "scale_compare/shorter_two": Template(
        (
            "Between the {a} and the {b}, which one is shorter in height?",
            "Which is shorter in height, the {a} or the {b}?",
            "Which one has the smaller height: the {a} or the {b}?",
            "Of the {a} and the {b}, which is the shorter one in height?",
            "Is the {a} or the {b} less tall?",
        ),
        "The {x} is shorter.",
        "{x}",
    ),
    "scale_compare/tallest_three": Template(
        (
            "What is the tallest among the {a}, the {b}, and the {c}?",
            "Which is the tallest: the {a}, the {b} or the {c}?",
            "Among the {a}, the {b} and the {c}, which one is the tallest?",
            "Of the {a}, the {b} and the {c}, which has the greatest height?",
            "Which of these is tallest, the {a}, the {b} or the {c}?",
        ),
        "The tallest is the {x}.",
        "{x}",
    ),
    "scale_compare/nearer_two": Template(
        (
            "Between the {a} and the {b}, which one is closer to the camera?",
            "Which is closer to the camera, the {a} or the {b}?",
            "Which one is nearer to the viewer: the {a} or the {b}?",
            "Of the {a} and the {b}, which is nearer to the camera?",
            "Is the {a} or the {b} closer to the camera?",
        ),
        "The {x} is closer to the camera.",
        "{x}",
    ),
    "scale_compare/nearest_three": Template(
        (
            "What is the closest to the camera among the {a}, the {b}, and the {c}?",
            "Which is the closest to the camera: the {a}, the {b} or the {c}?",
            "Among the {a}, the {b} and the {c}, which one is nearest to the viewer?",
            "Of the {a}, the {b} and the {c}, which is nearest to the camera?",
            "Which of these is closest to the camera, the {a}, the {b} or the {c}?",
        ),
        "The closest is the {x}.",
        "{x}",
    ),
    "zero/exists": Template(
        (
            "Is there {some} in the image?",
            "Can you see {some} in the picture?",
            "Does the image show {some}?",
            "Is {some} visible in this image?",
            "Do you see {some}?",
        ),
        "Yes, there is {some} in the image.",
        "Yes",
        "No, there is no {a} in the image.",
        "No",
    ),
}
"""By "type/topic"."""
