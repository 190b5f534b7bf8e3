"""Derivations that end in a name, a side, a number of things, a place, or yes or no."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sdvlm.data.categories import is_plural, may_be_called, may_be_taken_for, plural, with_article
from sdvlm.data.observe import Observation, ObservedObject
from sdvlm.data.reasoning_lines import centre_point
from sdvlm.data.reasoning_measures import Scene, distance_to, extent, focal_length, height_by
from sdvlm.data.reasoning_steps import Expression, Steps
from sdvlm.scenes.palette import COLORS

__all__ = [
    "best_by_distance",
    "best_by_height",
    "count_things",
    "find_thing",
    "in_order_of_depth",
    "nearer",
    "place_of",
    "side_of",
    "thing_at",
]

_MOST_LISTED = 12
"""things a sentence lists at most"""


def side_of(steps: Steps, scene: Scene, pair: Sequence[ObservedObject]) -> str:
    """ "left" or "right": where the first lies of the second, by columns and by camera x."""
    first, second = pair
    a, b = scene.name(first.id), scene.name(second.id)
    left, right = (first, second) if first.centroid_px[0] < second.centroid_px[0] else (second, first)
    digits, camera = steps.digits, scene.observation.camera
    for name, seen in ((a, first), (b, second)):
        steps.say(f"what is seen of {name} has its middle at column {digits.pixels(seen.centroid_px[0])}")
    columns = [digits.pixels(seen.centroid_px[0]) for seen in (left, right)]
    steps.compare(f"{scene.name(left.id)} is the one further left", columns[0], columns[1])
    points = centre_point(left, scene.observation), centre_point(right, scene.observation)
    if points[0] is not None and points[1] is not None:
        focal, cx = digits.figure(camera.fx), digits.pixels(camera.cx)
        steps.say(f"the optical axis meets the picture at column {cx}, and the focal length is {focal} px")
        across = []
        for seen, point in zip((left, right), (points[0], points[1]), strict=True):
            column, depth = digits.pixels(point.u), digits.length(point.z)
            name = scene.name(seen.id)
            steps.say(f"the center of {name} is at column {column} and a depth of {depth} {steps.unit}")
            across.append(steps.work_out_length(f"to the right of the axis {name} lies", (column - cx) * depth / focal))
        steps.compare("the same holds in space", across[0], across[1])
    side = "left" if left is first else "right"
    steps.say(f"so {a} is to the {side} of {b}")
    return side


def nearer(steps: Steps, scene: Scene, pair: Sequence[ObservedObject]) -> bool | None:
    """Whether the first is nearer to the camera than the second; None where a centre is not in the picture."""
    return _first_is_less(steps, scene, pair, "closer to the camera", _distances(steps, scene, pair))


def in_order_of_depth(steps: Steps, scene: Scene, pair: Sequence[ObservedObject]) -> bool | None:
    """Whether the first is in front of the second: less deep, and nearer; None as in :func:`nearer`."""
    first, second = pair
    if centre_point(first, scene.observation) is None or centre_point(second, scene.observation) is None:
        return None
    depths = [steps.digits.length(seen.center_cam[2]) for seen in pair]
    for seen, depth in zip(pair, depths, strict=True):
        steps.say(f"the center of {scene.name(seen.id)} is at a depth of {depth} {steps.unit}")
    distances = _distances(steps, scene, pair)
    if distances is None or (depths[0].value < depths[1].value) != (distances[0].value < distances[1].value):
        return None
    front = 0 if depths[0].value < depths[1].value else 1
    steps.compare("in depth", depths[front], depths[1 - front])
    return _first_is_less(steps, scene, pair, "in front", distances)


def best_by_height(
    steps: Steps, scene: Scene, things: Sequence[ObservedObject], tallest: bool
) -> ObservedObject | None:
    """The tallest or the shortest; None where a height cannot be told."""
    heights: list[Expression] = []
    focal = focal_length(steps, scene) if scene.reference is None else None
    for index, seen in enumerate(things):
        if focal is None:
            height = height_by(steps, scene, seen, first=index == 0)
        else:
            height = extent(steps, scene, focal, seen, 2, "height")
        if height is None:
            return None
        heights.append(height)
    return _best(steps, scene, things, heights, largest=tallest, word="tallest" if tallest else "shortest")


def best_by_distance(
    steps: Steps, scene: Scene, things: Sequence[ObservedObject], nearest: bool
) -> ObservedObject | None:
    """The nearest or the farthest; None where a centre is not in the picture."""
    distances = _distances(steps, scene, things)
    if distances is None:
        return None
    return _best(steps, scene, things, distances, largest=not nearest, word="closest" if nearest else "farthest")


def count_things(steps: Steps, scene: Scene, category: str) -> int:
    """How many of a category are seen, each at its place."""
    observation = scene.observation
    seen = [one for one in observation.objects if may_be_called(one.category, category)]
    seen.sort(key=lambda one: one.centroid_px)
    places = [f"one at {_point(steps, one, observation)}" for one in seen]
    steps.say(f"I look for {plural(category)} from left to right: {', '.join(places)}")
    ones = " + ".join(["1"] * len(seen))
    steps.say(f"together: {ones} = {len(seen)}" if len(seen) > 1 else "there is no other, so that is 1")
    return len(seen)


def place_of(steps: Steps, scene: Scene, seen: ObservedObject) -> tuple[float, float]:
    """Where an object is in the picture: its middle over the picture's size."""
    camera, digits, (u, v) = scene.observation.camera, steps.digits, seen.centroid_px
    name = scene.name(seen.id)
    x0, y0, x1, y1 = (f"{edge:.0f}" for edge in seen.bounds_px)
    steps.say(f"what is seen of {name} spans columns {x0} to {x1} and rows {y0} to {y1}")
    steps.say(f"the mean of its pixels is column {digits.pixels(u)}, row {digits.pixels(v)}")
    width, height = (Expression(str(side), float(side)) for side in (camera.width, camera.height))
    true = scene.observation.center_normalised(seen)
    x = steps.measure_share("over the picture's width", digits.pixels(u) / width, true[0])
    y = steps.measure_share("over its height", digits.pixels(v) / height, true[1])
    return x.value, y.value


def thing_at(steps: Steps, scene: Scene, seen: ObservedObject, point: tuple[float, float]) -> bool:
    """Follow a point to the object whose pixels hold it; whether that is this one."""
    observation, digits = scene.observation, steps.digits
    width, height = observation.size
    x, y = (Expression(f"{value:.2f}", float(f"{value:.2f}")) for value in point)
    column = steps.work_out("in pixels the column is", x * Expression(str(width), float(width)))
    row = steps.work_out("and the row", y * Expression(str(height), float(height)))
    x0, y0, x1, y1 = (Expression(f"{edge:.0f}", edge) for edge in seen.bounds_px)
    name = scene.name(seen.id)
    steps.say(f"what is seen of {name} spans columns {x0} to {x1} and rows {y0} to {y1}")
    for smaller, larger in ((x0, column), (column, x1), (y0, row), (row, y1)):
        if not smaller.value <= larger.value:
            return False
    steps.say(f"the point lies within: {x0} <= {column} <= {x1} and {y0} <= {row} <= {y1}")
    at = float(observation.depth_m[int(point[1] * height), int(point[0] * width)])
    if at == at:  # known
        steps.say(f"the surface there is at a depth of {digits.length(at)} {steps.unit}")
    steps.say(f"it is part of {name}")
    return int(observation.instances[int(point[1] * height), int(point[0] * width)]) == seen.id


def find_thing(steps: Steps, scene: Scene, name: str) -> bool | None:
    """Whether such a thing is seen; None where nobody can be sure."""
    observation = scene.observation
    color, _, noun = name.partition(" ")
    if color not in COLORS or not noun:
        color, noun = "", name
    alike = [one for one in observation.objects if may_be_called(one.category, noun)]
    right = [one for one in alike if not color or one.colors.name == color]
    if right:
        shown = max(right, key=lambda one: one.pixel_count)
        several = is_plural(shown.category)
        colored = f", and {'they are' if several else 'it is'} {color}" if color else ""
        steps.say(
            f"at {_point(steps, shown, observation)} there {'are' if several else 'is'} "
            f"{with_article(shown.category)}{colored}; "
            f"{'their' if several else 'its'} center is "
            f"{steps.digits.length(shown.center_cam[2])} {steps.unit} deep in the scene"
        )
        return True
    if any(may_be_taken_for(one.category, noun) and _may_be(color, one) for one in observation.objects):
        return None
    if alike:
        listed = [
            f"one at {_point(steps, one, observation)}, {_color_said(one, color)}" for one in alike[:_MOST_LISTED]
        ]
        steps.say(f"the {plural(noun)} I see: {'; '.join(listed)}")
        steps.say(f"none of them is {color}")
        return False
    largest = sorted(observation.objects, key=lambda one: -one.pixel_count)[:_MOST_LISTED]
    listed = [f"{with_article(one.category)} at {_point(steps, one, observation)}" for one in largest]
    if not listed:
        return None
    steps.say(f"I go through what I see: {', '.join(listed)}")
    steps.say(f"none of it is {with_article(noun)}")
    return False


def _distances(steps: Steps, scene: Scene, things: Sequence[ObservedObject]) -> list[Expression] | None:
    if any(centre_point(seen, scene.observation) is None for seen in things):
        return None
    focal = focal_length(steps, scene)
    distances = [distance_to(steps, scene, focal, seen) for seen in things]
    return [one for one in distances if one is not None]


def _first_is_less(
    steps: Steps, scene: Scene, pair: Sequence[ObservedObject], word: str, values: Sequence[Expression] | None
) -> bool | None:
    if values is None:
        return None
    less = 0 if values[0].value < values[1].value else 1
    steps.compare(f"{scene.name(pair[less].id)} is {word}", values[less], values[1 - less])
    return less == 0


def _best(
    steps: Steps,
    scene: Scene,
    things: Sequence[ObservedObject],
    values: Sequence[Expression],
    *,
    largest: bool,
    word: str,
) -> ObservedObject:
    pick: Callable[..., int] = max if largest else min
    best = pick(range(len(things)), key=lambda index: values[index].value)
    for index, value in enumerate(values):
        if index != best:
            smaller, larger = (value, values[best]) if largest else (values[best], value)
            steps.compare(f"{scene.name(things[best].id)} against {scene.name(things[index].id)}", smaller, larger)
    steps.say(f"so the {word} is {scene.name(things[best].id)}")
    return things[best]


def _point(steps: Steps, seen: ObservedObject, observation: Observation) -> str:
    x, y = observation.center_normalised(seen)
    return f"({steps.digits.share(x)},{steps.digits.share(y)})"


def _may_be(color: str, seen: ObservedObject) -> bool:
    return not color or not seen.colors.possible or color in seen.colors.possible


def _color_said(seen: ObservedObject, asked: str) -> str:
    return f"which is {seen.colors.name}" if seen.colors.name else f"which is not {asked}"
