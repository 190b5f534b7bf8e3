"""Five ways to ask each topic that no other setting ever uses (``QuestionConfig.phrasing="held_out"``).

For measuring whether a model understood the question or only knows its wording: train on "core" or "all",
test on these.
"""

from __future__ import annotations

__all__ = ["HELD_OUT_QUESTIONS"]

HELD_OUT_QUESTIONS: dict[str, tuple[str, ...]] = {
    "scale_estimation/height": (
        "Say how tall the {a} is.",
        "Give me the {a}'s height.",
        "If you stood a ruler upright beside the {a}, what would it read at the top?",
        "What would you say the height of the {a} is?",
        "How much vertical room does the {a} take up?",
    ),
    "scale_estimation/width": (
        "Say how wide the {a} is.",
        "Give me the {a}'s width.",
        "What would you say the width of the {a} is?",
        "Seen from above, how long is the shorter side of the {a}?",
        "What does the {a} measure across, along its narrower side?",
    ),
    "scale_estimation/length": (
        "Say how long the {a} is.",
        "Give me the {a}'s length.",
        "What would you say the length of the {a} is?",
        "Seen from above, how long is the longer side of the {a}?",
        "What does the {a} measure along its longer horizontal side?",
    ),
    "scale_estimation/size": (
        "Say how large the {a} is: its length, its width, its height.",
        "Give me the {a}'s length, width and height.",
        "What would you say the dimensions of the {a} are, in the order length, width, height?",
        "Which length, width and height would a box need to hold the {a} exactly?",
        "State the extents of the {a}, that is, its length, width and height.",
    ),
    "absolute_distance/pair": (
        "Say how far the {a} and the {b} are from each other.",
        "What would you say the distance from the {a} to the {b} is?",
        "How long is a straight line from the {a} to the {b}?",
        "If you stretched a string from the {a} to the {b}, how long would it be?",
        "By how much are the {a} and the {b} separated?",
    ),
    "absolute_distance/centres": (
        "Say how far the middles of the {a} and the {b} are from each other.",
        "What would you say the distance from the middle of the {a} to the middle of the {b} is?",
        "How long is a straight line from the center of the {a} to the center of the {b}?",
        "From midpoint to midpoint, how far is the {a} from the {b}?",
        "By how much are the midpoints of the {a} and the {b} separated?",
    ),
    "absolute_distance/surfaces": (
        "Say how far the {a} and the {b} are apart where they come closest.",
        "What is the least distance between any two points of the {a} and the {b}?",
        "How much free space is left between the {a} and the {b}?",
        "How long is the shortest straight line from the surface of the {a} to that of the {b}?",
        "What is the smallest gap between the {a} and the {b}?",
    ),
    "absolute_distance/camera": (
        "Say how far off the {a} is.",
        "What would you say the distance from the viewer to the {a} is?",
        "How far would a beam from the camera travel to the {a}?",
        "How far does the photographer stand from the {a}?",
        "By how much is the {a} separated from the camera?",
    ),
    "absolute_distance/depth": (
        "Say at which depth the {a} lies.",
        "What would you say the depth of the {a} is, along the camera's line of sight?",
        "How far in front of the image plane is the {a}, along the camera axis?",
        "What is the z coordinate of the {a} in the camera's frame?",
        "How far forward from the camera is the {a}, leaving sideways offsets aside?",
    ),
    "count/number": (
        "Say how many {many} there are.",
        "What number of {many} do you find in the photo?",
        "Go through the image and count the {many}.",
        "How many {many} appear here?",
        "In total, how many {many} are visible?",
    ),
    "position/point": (
        "Say where in the photo the {a} is, as (x,y).",
        "Which (x,y) position does the {a} have in the picture?",
        "Locate the {a} in the image.",
        "Mark the {a} with one point of the image, x and y between 0 and 1.",
        "If you had to click on the {a}, where would you click?",
    ),
    "position/object": (
        "Say what is to be seen at ({x},{y}).",
        "Which item lies under the point ({x},{y})?",
        "If I click on ({x},{y}), what do I hit?",
        "Look at the position ({x},{y}): what is there?",
        "To which object does the pixel at ({x},{y}) belong?",
    ),
    "refer_obj_estimation/two": (
        "Assume the {a} stands {x} {m} tall. What height follows for the {b}?",
        "The {a} has a height of {x} {m}. Judging by that, how tall would you say the {b} is?",
        "With {x} {m} for the height of the {a}, what do you get for the height of the {b}?",
        "We measured the {a}: it is {x} {m} high. What about the height of the {b}?",
        "Use the {a}, {x} {meters} in height, as your yardstick: how tall is the {b}?",
    ),
    "refer_obj_estimation/three": (
        "Assume the {a} stands {x} {m} tall. What heights follow for the {b} and the {c}?",
        "The {a} has a height of {x} {m}. Judging by that, how tall would you say the {b} and the {c} are?",
        "With {x} {m} for the height of the {a}, what do you get for the heights of the {b} and the {c}?",
        "We measured the {a}: it is {x} {m} high. What about the heights of the {b} and the {c}?",
        "Use the {a}, {x} {meters} in height, as your yardstick: how tall are the {b} and the {c}?",
    ),
    "relative_position/side_of": (
        "From your viewpoint, does the {a} lie {left} of the {b}?",
        "Would the viewer find the {a} on the {left} of the {b}?",
        "Looking at the photo, do you see the {a} {left} of the {b}?",
        "To the viewer's eye, is the {a} to the {left} of the {b}?",
        "Going from the {b} to the {a} in the image, do you move {left}?",
    ),
    "relative_position/which_side": (
        "From your viewpoint, does the {a} lie {left} or {right} of the {b}?",
        "Would the viewer find the {a} on the {left} or on the {right} of the {b}?",
        "Looking at the photo, do you see the {a} {left} or {right} of the {b}?",
        "Going from the {b} to the {a} in the image, do you move {left} or {right}?",
        "As seen in the photo, where is the {a} relative to the {b}: {left} or {right}?",
    ),
    "relative_position/nearer": (
        "Would you reach the {a} before the {b}, going straight from the camera to each?",
        "Is the {a} less far away from the viewer than the {b}?",
        "Seen from the camera, does the {a} lie at a smaller distance than the {b}?",
        "Does the photographer stand closer to the {a} than to the {b}?",
        "Of the {a} and the {b}, is it the {a} that is closer to the camera?",
    ),
    "relative_position/front_behind": (
        "From your viewpoint, does the {a} lie {left} the {b}?",
        "Would the viewer say that the {a} is {left} the {b}?",
        "Looking at the photo, do you see the {a} {left} the {b}?",
        "To the viewer's eye, is the {a} {left} the {b}?",
        "With the camera's line of sight as the direction, is the {a} {left} the {b}?",
    ),
    "scale_compare/taller_two": (
        "Put side by side, which would stand higher, the {a} or the {b}?",
        "Name the taller one: the {a} or the {b}.",
        "Does the {a} or the {b} have the larger vertical extent?",
        "Who wins on height, the {a} or the {b}?",
        "Tell me whether the {a} or the {b} is taller.",
    ),
    "scale_compare/shorter_two": (
        "Put side by side, which would stand lower, the {a} or the {b}?",
        "Name the one with less height: the {a} or the {b}.",
        "Does the {a} or the {b} have the smaller vertical extent?",
        "Who loses on height, the {a} or the {b}?",
        "Tell me whether the {a} or the {b} is shorter in height.",
    ),
    "scale_compare/tallest_three": (
        "Put side by side, which would stand highest: the {a}, the {b} or the {c}?",
        "Name the tallest one: the {a}, the {b} or the {c}.",
        "Does the {a}, the {b} or the {c} have the largest vertical extent?",
        "Who wins on height: the {a}, the {b} or the {c}?",
        "Tell me which is the tallest, the {a}, the {b} or the {c}.",
    ),
    "scale_compare/nearer_two": (
        "Going straight from the camera, which would you reach first, the {a} or the {b}?",
        "Name the nearer one, seen from the camera: the {a} or the {b}.",
        "Does the {a} or the {b} have the smaller distance to the photographer?",
        "Seen from the viewpoint, which is less far away, the {a} or the {b}?",
        "Tell me whether the {a} or the {b} is closer to the camera.",
    ),
    "scale_compare/nearest_three": (
        "Going straight from the camera, which would you reach first: the {a}, the {b} or the {c}?",
        "Name the nearest one, seen from the camera: the {a}, the {b} or the {c}.",
        "Does the {a}, the {b} or the {c} have the smallest distance to the photographer?",
        "Seen from the viewpoint, which is the least far away: the {a}, the {b} or the {c}?",
        "Tell me which is closest to the camera, the {a}, the {b} or the {c}.",
    ),
    "zero/exists": (
        "Say whether {some} can be found in the photo.",
        "Would you find {some} in this scene, as far as the image shows?",
        "Looking at the image, is {some} there?",
        "Is {some} part of what the photo shows?",
        "Can {some} be made out in this picture?",
    ),
}
"""By topic."""
