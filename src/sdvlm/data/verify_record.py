"""Check a built frame by itself: every answer that its objects' boxes and its camera decide, worked out again.

No mesh and no instance map: what only pixels decide is checked as far as the recorded bounds and centroids allow. What
a record cannot tell is left alone, never guessed: colours, and what the scene holds outside the picture.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sdvlm.data.categories import is_countable, may_be_called, may_be_taken_for
from sdvlm.data.names import POSITIONS, SIZES
from sdvlm.data.record import FrameRecord, ObjectRecord
from sdvlm.data.schema import QuestionSample, QuestionType, TypedAnswer
from sdvlm.data.verify_boxes import BEST, BoxView
from sdvlm.data.verify_text import agree, find_text_faults, given_reference_m, rounding_of
from sdvlm.scenes.palette import COLORS

__all__ = ["find_record_faults"]

_ROUNDING_SHARE = 0.005 + 1e-6


def find_record_faults(record: FrameRecord) -> list[str]:
    """What is wrong with the questions of a built frame, in words, each with its question; empty when all is right."""
    checker = _Checker(record)
    return [f"{sample.question!r}: {fault}" for sample in record.samples for fault in checker.faults(sample)]


class _Checker:
    """What the record says, in a form that questions can be asked of."""

    def __init__(self, record: FrameRecord) -> None:
        self.size = record.size
        self.things: Mapping[int, ObjectRecord] = {thing.id: thing for thing in record.objects}
        corners = {instance: thing.box_cam.corners() for instance, thing in self.things.items()}
        up = None if record.T_world_cam is None else np.asarray(record.T_world_cam)[2, :3]
        axes = np.eye(3)
        self.boxes = BoxView(corners, np.zeros(3), axes[0], axes[2], up)

    def faults(self, sample: QuestionSample) -> list[str]:
        unknown = [instance for instance in sample.objects if instance not in self.things]
        if unknown:
            return [f"the record has no object {unknown}"]
        faults = find_text_faults(sample) + self._name_faults(sample)
        truth = self._truth(sample)
        if truth is not None and not agree(sample, TypedAnswer(sample.answer_typed.kind, truth)):
            faults.append(f"the answer is {sample.answer_typed.values} but should be {truth}")
        reference = given_reference_m(sample)
        if reference is not None:
            height = self.boxes.height(sample.objects[0])
            if not abs(reference - height) <= rounding_of(sample):
                faults.append(f"the question gives {reference} m for a height of {height:.4f} m")
        return faults

    def _truth(self, sample: QuestionSample) -> tuple[float | str, ...] | None:
        """The true values, None where the record agrees as far as it can tell."""
        definition, ids = sample.answer_typed.definition, sample.objects
        if definition is None:
            return ("an answer with a definition",)
        if definition in BEST:
            return (sample.names[self.boxes.best(definition, ids)],)
        if definition in ("left_of", "right_of", "side"):
            return (self._side(definition, ids[0], ids[1]),)
        if definition in ("nearer_than", "in_front_of", "behind"):
            return (self.boxes.order(definition, ids[0], ids[1]),)
        if definition == "visible":
            return self._existence(sample)
        if definition == "visible_instances":
            alike = [thing for thing in self.things.values() if may_be_called(thing.category, sample.names[0])]
            return (len(alike) if all(is_countable(thing.category) for thing in alike) else -1,)
        if definition == "mask_centroid":
            return self._centroid(sample)
        if definition == "object_at_point":
            inside = sample.point is not None and self._within(self.things[ids[0]], sample.point, 0.0)
            return None if inside else ("something else",)
        return self.boxes.lengths(definition, ids, len(sample.answer_typed.values))

    def _side(self, definition: str, first: int, second: int) -> str:
        """By camera x; undecided where the pixels' centroids lie the other way."""
        left = self.boxes.lies_left(first, second)
        places = self.things[first].centroid_px, self.things[second].centroid_px
        if places[0] is not None and places[1] is not None and (places[0][0] < places[1][0]) != left:
            return "undecided"
        side = "left" if left else "right"
        return side if definition == "side" else ("yes" if definition == f"{side}_of" else "no")

    def _existence(self, sample: QuestionSample) -> tuple[str] | None:
        """Yes needs such a thing in the picture; no needs none, unless a colour the record does not know decides."""
        color, noun = _split_color(sample.names[0].split(" "))
        said_yes = sample.answer_typed.values == ("yes",)
        if said_yes:
            there = [self.things[instance] for instance in sample.objects]
            return ("yes",) if there and all(may_be_called(one.category, noun) for one in there) else ("no",)
        if color is None and any(may_be_taken_for(thing.category, noun) for thing in self.things.values()):
            return ("undecided",)
        return None

    def _centroid(self, sample: QuestionSample) -> tuple[float, ...] | None:
        thing = self.things[sample.objects[0]]
        if thing.centroid_px is not None:
            return thing.centroid_px[0] / self.size[0], thing.centroid_px[1] / self.size[1]
        x, y = sample.answer_typed.numbers
        return None if self._within(thing, (x, y), _ROUNDING_SHARE) else (float("nan"), float("nan"))

    def _within(self, thing: ObjectRecord, point: tuple[float, float], slack: float) -> bool:
        """Whether a point of the picture, in shares of its sides, lies within the bounds of the seen pixels."""
        (width, height), (x0, y0, x1, y1) = self.size, thing.bounds_px
        across = x0 / width - slack <= point[0] <= x1 / width + slack
        return across and y0 / height - slack <= point[1] <= y1 / height + slack

    def _name_faults(self, sample: QuestionSample) -> list[str]:
        if sample.type in (QuestionType.COUNT, QuestionType.ZERO):
            return []
        faults = []
        for name, instance in zip(sample.names, sample.objects, strict=True):
            if sample.point is not None:
                if not may_be_called(self.things[instance].category, _split_color(name.split(" "))[1]):
                    faults.append(f"{name!r} is not a name of object {instance}")
                continue
            others = self._certain_others(name, instance)
            if others:
                faults.append(f"{name!r} may also mean {sorted(others)}, not just object {instance}")
        return faults

    def _certain_others(self, name: str, instance: int) -> set[int]:
        """Other objects that a name certainly fits as well, or fits instead, as far as the record can tell.

        Names with a colour are checked against those that carry the same name only: colours are not on record.
        """
        same = {one for one, thing in self.things.items() if thing.name == name and one != instance}
        words = name.split(" ")
        telling = words.pop(0) if words[0] in (*POSITIONS, *SIZES) and len(words) > 1 else None
        color, noun = _split_color(words)
        ids = [one for one, thing in self.things.items() if may_be_called(thing.category, noun)]
        if color is not None or not ids or instance not in ids:
            return same
        if telling is None:
            return same | set(ids) - {instance}
        return same | self._meant(telling, ids, instance) - {instance}

    def _meant(self, telling: str, ids: list[int], instance: int) -> set[int]:
        if telling in SIZES:
            return self.boxes.meant_by_size(telling, ids)
        if telling in ("nearest", "farthest"):
            sign = 1 if telling == "nearest" else -1
            return {one for one in ids if sign * self.boxes.range(one) <= sign * self.boxes.range(instance)}
        sign = 1 if telling == "leftmost" else -1
        places = {one: self.things[one].centroid_px for one in ids}
        own = places[instance]
        return {one for one, place in places.items() if own and place and sign * place[0] <= sign * own[0]}


def _split_color(words: list[str]) -> tuple[str | None, str]:
    """Colour word, if there is one, and the rest."""
    has_color = words[0] in COLORS and len(words) > 1
    return (words[0], " ".join(words[1:])) if has_color else (None, " ".join(words))
