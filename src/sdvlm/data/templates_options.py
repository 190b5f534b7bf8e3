"""Topics that are asked only when an option of the question config wants them. Places as in the other templates.

Distances here say what they are measured between; front and behind are asked like left and right, so ``{left}`` is the
order asked ("in front of", "behind") and ``{right}`` the other one.
"""

from __future__ import annotations

from sdvlm.data.templates import Template

__all__ = ["OPTIONAL_TEMPLATES"]

OPTIONAL_TEMPLATES: dict[str, Template] = {
    "absolute_distance/centres": Template(
        (
            "What is the distance between the center of the {a} and the center of the {b}?",
            "How far is the center of the {a} from the center of the {b}?",
            "Measured from center to center, how far apart are the {a} and the {b}?",
            "How many {meters} lie between the centers of the {a} and the {b}?",
            "What is the center-to-center distance of the {a} and the {b}?",
        ),
        "The distance between the centers of the {a} and the {b} is {x} {meters}.",
        "{x} {m}",
    ),
    "absolute_distance/surfaces": Template(
        (
            "What is the shortest distance between the surfaces of the {a} and the {b}?",
            "How wide is the gap between the {a} and the {b} at its narrowest?",
            "How far is the closest point of the {a} from the closest point of the {b}?",
            "How many {meters} lie between the closest surfaces of the {a} and the {b}?",
            "Measured between their closest points, how far apart are the {a} and the {b}?",
        ),
        "The closest surfaces of the {a} and the {b} are {x} {meters} apart.",
        "{x} {m}",
    ),
    "relative_position/front_behind": Template(
        (
            "From the viewer's perspective, is the {a} {left} the {b}?",
            "Is the {a} {left} the {b}, as seen from the camera?",
            "Seen by the viewer, does the {a} stand {left} the {b}?",
            "Looking along the viewing direction, is the {a} {left} the {b}?",
            "From where the camera stands, is the {a} {left} the {b}?",
        ),
        "Yes, the {a} is {left} the {b}.",
        "Yes",
        "No, the {a} is {right} the {b}.",
        "No",
    ),
}
"""By "type/topic"."""
