"""More ways to ask, on top of those in the templates: with ``QuestionConfig.phrasing="all"`` both are drawn from.

They are kept apart because a model that was trained on the questions of the templates alone, from the same seed, must
find them unchanged.
"""

from __future__ import annotations

__all__ = ["MORE_ANSWERS", "MORE_QUESTIONS"]

MORE_QUESTIONS: dict[str, tuple[str, ...]] = {
    "scale_estimation/height": (
        "What height does the {a} have?",
        "How many {meters} tall is the {a}?",
        "I would like to know the height of the {a}.",
        "From the bottom to the top, how much does the {a} measure?",
    ),
    "scale_estimation/width": (
        "What width does the {a} have?",
        "I would like to know the width of the {a}.",
        "How much does the shorter horizontal side of the {a} measure?",
    ),
    "scale_estimation/length": (
        "What length does the {a} have?",
        "How many {meters} long is the {a}?",
        "I would like to know the length of the {a}.",
        "How much does the longer horizontal side of the {a} measure?",
    ),
    "scale_estimation/size": (
        "What size does the {a} have?",
        "How large is the {a}: length, width and height?",
        "I would like to know the length, the width and the height of the {a}.",
    ),
    "absolute_distance/pair": (
        "What distance separates the {a} from the {b}?",
        "I would like to know the distance between the {a} and the {b}.",
        "How much space is there between the middle of the {a} and the middle of the {b}?",
    ),
    "absolute_distance/centres": (
        "What distance separates the middle of the {a} from the middle of the {b}?",
        "I would like to know how far the centers of the {a} and the {b} are apart.",
    ),
    "absolute_distance/surfaces": (
        "What is the clearance between the {a} and the {b}?",
        "I would like to know how far apart the closest surfaces of the {a} and the {b} are.",
    ),
    "absolute_distance/camera": (
        "What distance separates the camera from the {a}?",
        "I would like to know how far the {a} is from where the picture was taken.",
        "How many {meters} lie between the viewer and the {a}?",
    ),
    "absolute_distance/depth": (
        "How many {meters} deep in the scene does the {a} lie?",
        "I would like to know the depth of the {a}, measured along the optical axis.",
        "What depth does the {a} have, seen along the viewing direction?",
    ),
    "count/number": (
        "I would like to know how many {many} are in the image.",
        "What is the count of {many} in this picture?",
        "How many {many} does this view show?",
    ),
    "position/point": (
        "What is the normalized image position of the {a}?",
        "I would like to know the image coordinate of the {a}.",
        "Give x and y of the {a} in the image, each between 0 and 1.",
    ),
    "position/object": (
        "I would like to know what is at ({x},{y}).",
        "What does the image show at ({x},{y})?",
        "Which thing covers the point ({x},{y})?",
    ),
    "refer_obj_estimation/two": (
        "The {a} measures {x} {meters} in height; what height does the {b} have?",
        "Taking the {a} with its height of {x} {m} as a reference, what is the height of the {b}?",
    ),
    "refer_obj_estimation/three": (
        "The {a} measures {x} {meters} in height; what heights do the {b} and the {c} have?",
        "Taking the {a} with its height of {x} {m} as a reference, what are the heights of the {b} and the {c}?",
    ),
    "relative_position/side_of": (
        "As the viewer sees it, is the {a} to the {left} of the {b}?",
        "In the image, is the {a} further to the {left} than the {b}?",
    ),
    "relative_position/which_side": (
        "As the viewer sees it, is the {a} to the {left} or to the {right} of the {b}?",
        "In the image, is the {a} further to the {left} or to the {right} than the {b}?",
    ),
    "relative_position/nearer": (
        "As the viewer sees it, is the {a} nearer than the {b}?",
        "Is the distance from the camera to the {a} smaller than to the {b}?",
    ),
    "relative_position/front_behind": (
        "As the viewer sees it, is the {a} {left} the {b}?",
        "Taking the camera as the viewpoint, is the {a} {left} the {b}?",
    ),
    "scale_compare/taller_two": (
        "Comparing the {a} with the {b}, which one is taller?",
        "Which has more height, the {a} or the {b}?",
    ),
    "scale_compare/shorter_two": (
        "Comparing the {a} with the {b}, which one is shorter in height?",
        "Which has less height, the {a} or the {b}?",
    ),
    "scale_compare/tallest_three": (
        "Comparing the {a}, the {b} and the {c}, which one is the tallest?",
        "Which has the most height: the {a}, the {b} or the {c}?",
    ),
    "scale_compare/nearer_two": (
        "Comparing the {a} with the {b}, which one is nearer to the camera?",
        "Which stands closer to the viewer, the {a} or the {b}?",
    ),
    "scale_compare/nearest_three": (
        "Comparing the {a}, the {b} and the {c}, which one is the nearest to the camera?",
        "Which stands closest to the viewer: the {a}, the {b} or the {c}?",
    ),
    "zero/exists": (
        "Does this picture contain {some}?",
        "I would like to know whether there is {some} in the image.",
    ),
}
"""By topic."""

MORE_ANSWERS: dict[str, tuple[str, ...]] = {
    "scale_estimation/size": ("The {a} is with the length of {x} {m}, width of {y} {m}, and height of {z} {m}.",),
}
"""Other published sentences to answer a topic with, by topic."""
