"""Derivations of lengths and distances: pixels and depth to metres, by a reference object or by the focal length.

Two roads lead from the picture to metres. For heights: vertical extents go with the differences of (row from the
optical axis) * depth, whatever the focal length and the camera's tilt, so one known height gives all others. For
everything else a point at column u, row v and depth z lies (u - cx) * z / f to the right of the optical axis and
(v - cy) * z / f below it, where the focal length f is known or comes from a line of known length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sdvlm.data.observe import Observation, ObservedObject
from sdvlm.data.reasoning_lines import ImagePoint, Line, centre_point, closest_points, line_along
from sdvlm.data.reasoning_steps import Expression, Steps, StepsDisagreeError, root

__all__ = ["Reference", "Scene", "distance_between", "distance_to", "extent", "focal_length", "height_by", "mean_depth"]

_SAME_FOCAL = 1e-5
"""relative difference up to which horizontal and vertical focal length are one"""
_FOCAL_TOLERANCE = 0.005
"""relative error that a focal length from a reference may have, from the rounding of what is printed"""


@dataclass(frozen=True)
class Reference:
    """An object of known height by which others are measured.

    Args:
        name: what it is called.
        line: its vertical line.
        given: its height as the question states it, where it does.
    """

    name: str
    line: Line
    given: Expression | None = None


@dataclass(frozen=True, eq=False)
class Scene:
    """What a derivation may speak of.

    Args:
        observation: the frame.
        names: what its objects are called, by instance id.
        reference: an object of known height, where there is a good one.
    """

    observation: Observation
    names: dict[int, str]
    reference: Reference | None

    def name(self, instance: int) -> str:
        """With its article: "the red chair"."""
        return f"the {self.names[instance]}"


@dataclass(frozen=True)
class Focal:
    """Focal lengths in pixels, horizontal and vertical."""

    x: Expression
    y: Expression


def focal_length(steps: Steps, scene: Scene) -> Focal:
    """Say the focal length: as known, or from the reference."""
    camera, digits = scene.observation.camera, steps.digits
    one = abs(camera.fx - camera.fy) <= _SAME_FOCAL * camera.fx
    _say_axis(steps, scene)
    if scene.reference is None or not one:
        x, y = digits.figure(camera.fx), digits.figure(camera.fy)
        if one:
            steps.say(f"the focal length is {x} px")
        else:
            steps.say(f"the focal length is {x} px across and {y} px down")
        return Focal(x, y)
    reference = scene.reference
    height = digits.length(reference.line.length)
    steps.say(f"I take the {reference.name} as a reference, {height} {steps.unit} tall")
    _say_line(steps, "of it I take", reference.line, ("upper", "lower"))
    across, down, along = _differences(steps, scene, reference.line.start, reference.line.end)
    a = steps.work_out("across, column * depth changes by", across)
    b = steps.work_out("down, row * depth changes by", down)
    c = steps.work_out_length("the depth changes by", along)
    rest = height**2 - c**2
    if rest.value <= 0:
        raise StepsDisagreeError("the reference points along the viewing direction")
    f = steps.work_out("so the focal length is", root((a**2 + b**2) / rest), "px")
    if abs(f.value - camera.fx) > _FOCAL_TOLERANCE * camera.fx:
        raise StepsDisagreeError("the reference does not give the focal length")
    return Focal(f, f)


def height_by(steps: Steps, scene: Scene, seen: ObservedObject, first: bool = True) -> Expression | None:
    """Say an object's height by the reference's; None where there is no line to do it with.

    Args:
        steps: the derivation so far.
        scene: with its reference.
        seen: the object.
        first: whether the reference has still to be introduced.
    """
    reference, line = scene.reference, line_along(seen, 2, scene.observation)
    if reference is None or line is None:
        return None
    name, digits = scene.name(seen.id), steps.digits
    known = reference.given or digits.length(reference.line.length)
    if first:
        _say_axis(steps, scene)
        if reference.given is None:
            steps.say(f"I take the {reference.name} as a reference, {known} {steps.unit} tall")
        else:
            steps.say(f"the {reference.name} is {known} {steps.unit} tall, which gives the scale")
        steps.say("heights go with the change of row from the optical axis * depth, from top to bottom")
    own = _vertical(steps, scene, reference.line, f"the {reference.name}", measured=not first)
    other = _vertical(steps, scene, line, name)
    return steps.measure(f"so the height of {name} is", known * other / own, line.length)


def extent(steps: Steps, scene: Scene, focal: Focal, seen: ObservedObject, axis: int, what: str) -> Expression | None:
    """Say an extent of an object along one axis of its box; None where no such line is in the picture."""
    line = line_along(seen, axis, scene.observation)
    if line is None:
        return None
    name = scene.name(seen.id)
    ends = ("upper", "lower") if axis == 2 else ("one", "other")
    _say_line(steps, f"for the {what} of {name} I take", line, ends)
    return _distance(steps, scene, focal, line.start, line.end, f"so the {what} of {name} is", line.length)


def distance_between(
    steps: Steps, scene: Scene, focal: Focal, pair: Sequence[ObservedObject], surfaces: bool
) -> Expression | None:
    """Say the distance between two objects: of the centres of their boxes, or where these come closest."""
    first, second = pair
    a, b = scene.name(first.id), scene.name(second.id)
    if surfaces:
        points = closest_points(first, second, scene.observation)
        if points is None:
            return None
        steps.say(f"{a} and {b} come closest at {_place(steps, points[0])} and {_place(steps, points[1])}")
    else:
        centres = centre_point(first, scene.observation), centre_point(second, scene.observation)
        if centres[0] is None or centres[1] is None:
            return None
        points = centres[0], centres[1]
        for name, point in ((a, points[0]), (b, points[1])):
            steps.say(f"the center of {name} is at {_place(steps, point)}")
    ends = [point.in_camera(scene.observation.camera) for point in points]
    true_m = float(np.linalg.norm(ends[0] - ends[1]))
    return _distance(steps, scene, focal, *points, f"so the distance between {a} and {b} is", true_m)


def distance_to(steps: Steps, scene: Scene, focal: Focal, seen: ObservedObject) -> Expression | None:
    """Say the distance of an object's centre from the camera; None where it is not in the picture."""
    point = centre_point(seen, scene.observation)
    if point is None:
        return None
    name, digits = scene.name(seen.id), steps.digits
    steps.say(f"the center of {name} is at {_place(steps, point)}")
    cx, cy = _axis(steps, scene)
    z = digits.length(point.z)
    x = steps.work_out_length("to the side", (digits.pixels(point.u) - cx) * z / focal.x)
    y = steps.work_out_length("down", (digits.pixels(point.v) - cy) * z / focal.y)
    true_m = float(np.linalg.norm(seen.center_cam))
    return steps.measure(f"so the distance of {name} is", root(x**2 + y**2 + z**2), true_m)


def mean_depth(steps: Steps, scene: Scene, seen: ObservedObject) -> Expression | None:
    """Say the depth of an object's centre: half way between the nearest and the farthest corner of its box."""
    depths = seen.box_cam.corners()[:, 2]
    if depths.min() <= 0:
        return None
    name, digits = scene.name(seen.id), steps.digits
    near, far = digits.length(float(depths.min())), digits.length(float(depths.max()))
    steps.say(f"the depths of {name} go from {near} {steps.unit} to {far} {steps.unit}")
    formula = (near + far) / Expression("2", 2.0)
    return steps.measure("the center lies half way", formula, seen.center_cam[2])


def _distance(
    steps: Steps, scene: Scene, focal: Focal, start: ImagePoint, end: ImagePoint, what: str, true_m: float
) -> Expression:
    """Back-project both points and take the distance."""
    across, down, along = _differences(steps, scene, start, end)
    x = steps.work_out_length("to the side they differ by", across / focal.x)
    y = steps.work_out_length("down by", down / focal.y)
    z = steps.work_out_length("in depth by", along)
    return steps.measure(what, root(x**2 + y**2 + z**2), true_m)


def _differences(
    steps: Steps, scene: Scene, start: ImagePoint, end: ImagePoint
) -> tuple[Expression, Expression, Expression]:
    """Column * depth, row * depth (from the optical axis) and depth, of the end less the start."""
    digits, (cx, cy) = steps.digits, _axis(steps, scene)
    z0, z1 = digits.length(start.z), digits.length(end.z)
    across = (digits.pixels(end.u) - cx) * z1 - (digits.pixels(start.u) - cx) * z0
    down = (digits.pixels(end.v) - cy) * z1 - (digits.pixels(start.v) - cy) * z0
    return across, down, z1 - z0


def _vertical(steps: Steps, scene: Scene, line: Line, name: str, measured: bool = False) -> Expression:
    """Row from the axis * depth, lower end less upper end; said unless it was before."""
    _, down, _ = _differences(steps, scene, line.start, line.end)
    if measured:
        return steps.digits.figure(down.value)
    part = "vertical edge" if line.is_edge else "vertical line through the center"
    start, end = line.start, line.end
    rows = [
        f"row {steps.digits.pixels(point.v)} at a depth of {steps.digits.length(point.z)} {steps.unit}"
        for point in (start, end)
    ]
    steps.say(f"the {part} of {name} runs from {rows[0]} to {rows[1]}")
    result = steps.work_out("that is", down)
    if result.value <= 0:
        raise StepsDisagreeError("the line has no height in the picture")
    return result


def _say_line(steps: Steps, which: str, line: Line, ends: tuple[str, str]) -> None:
    kind = "vertical" if ends[0] == "upper" else "level"
    part = f"a {kind} edge" if line.is_edge else f"the {kind} line through its center"
    start, end = _place(steps, line.start), _place(steps, line.end)
    steps.say(f"{which} {part}: the {ends[0]} end at {start}, the {ends[1]} end at {end}")


def _say_axis(steps: Steps, scene: Scene) -> None:
    cx, cy = _axis(steps, scene)
    steps.say(f"the optical axis meets the picture at column {cx}, row {cy}")


def _axis(steps: Steps, scene: Scene) -> tuple[Expression, Expression]:
    camera = scene.observation.camera
    return steps.digits.pixels(camera.cx), steps.digits.pixels(camera.cy)


def _place(steps: Steps, point: ImagePoint) -> str:
    digits = steps.digits
    return f"({digits.pixels(point.u)}, {digits.pixels(point.v)}) and a depth of {digits.length(point.z)} {steps.unit}"
