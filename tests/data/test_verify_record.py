"""A built frame is checked from its boxes and camera alone; what is spoilt in it is found."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from sdvlm.data.names import NameConfig, name_objects
from sdvlm.data.questions import QuestionConfig, ask_all
from sdvlm.data.record import FrameRecord, ObjectRecord
from sdvlm.data.schema import AnswerKind
from sdvlm.data.select import select
from sdvlm.data.units import UNITS
from sdvlm.data.verify_record import find_record_faults

ROOMS = 120


def record_of_room(room, seed: int, pose: bool = True) -> FrameRecord:
    """The record of a frame of boxes, questions of every kind in it."""
    observation, sizes = room.observe(), NameConfig(sizes=True)
    selection = select(observation)
    config = QuestionConfig(
        units=tuple(UNITS), distance="both", phrasing=("all", "held_out")[seed % 2], depth_order=True
    )
    named = name_objects(selection, sizes)
    reasons = {one: reason for reason, ids in selection.dropped.items() for one in ids}
    stream = io.BytesIO()
    Image.new("RGB", observation.size).save(stream, "PNG")
    objects = tuple(
        ObjectRecord.of(seen, named[seen.id].best if seen.id in named else None, reasons.get(seen.id))
        for seen in observation.objects
    )
    return FrameRecord(
        scene_id="room",
        frame_id="0",
        image_id="room/0",
        picture=stream.getvalue(),
        size=observation.size,
        depth_png=None,
        camera=observation.camera,
        T_world_cam=observation.T_world_cam if pose else None,
        objects=objects,
        samples=tuple(ask_all(selection, np.random.default_rng(seed), config, name_config=sizes)),
    )


@pytest.fixture(scope="module")
def records(make_room):
    return [record_of_room(make_room(seed), seed, pose=seed % 3 > 0) for seed in range(ROOMS)]


def test_built_frames_have_no_fault(records):
    assert sum(len(record.samples) for record in records) > 15 * ROOMS
    assert [fault for record in records for fault in find_record_faults(record)] == []


def test_frames_without_centroids_have_no_fault_either(records):
    for record in records[:40]:
        bare = replace(record, objects=tuple(replace(thing, centroid_px=None) for thing in record.objects))
        assert find_record_faults(bare) == []


def _spoilt(sample):
    answer = sample.answer_typed
    if answer.kind in (AnswerKind.LENGTH, AnswerKind.LENGTHS):
        return replace(answer, values=(answer.numbers[0] + 0.05, *answer.numbers[1:]))
    if answer.kind is AnswerKind.POINT:
        return replace(answer, values=(answer.numbers[0] + 0.02, answer.numbers[1]))
    if answer.kind is AnswerKind.COUNT:
        return replace(answer, values=(answer.numbers[0] + 1,))
    other = {"yes": "no", "no": "yes", "left": "right", "right": "left"}
    return replace(answer, values=(other.get(str(answer.values[0]), "unicorn"),))


def test_every_spoilt_answer_is_found_even_if_the_text_is_spoilt_alike(records, monkeypatch):
    monkeypatch.setattr("sdvlm.data.verify_record.find_text_faults", lambda sample: [])
    missed, spoilt = [], 0
    for record in records[:30]:
        for sample in record.samples:
            if sample.answer_typed.definition in ("object_at_point", "visible"):
                continue  # colours, pixels and the scene outside the picture are not on record
            wrong = replace(record, samples=(replace(sample, answer_typed=_spoilt(sample)),))
            spoilt += 1
            if not find_record_faults(wrong):
                missed.append(sample)
    assert spoilt > 300
    assert missed == []


@pytest.mark.parametrize("change", ["size", "center", "category"])
def test_a_record_whose_objects_were_tampered_with_is_found(records, change):
    for record in records[:10]:
        grown = tuple(_tampered(thing, change) for thing in record.objects)
        assert len(find_record_faults(replace(record, objects=grown))) > 1


def _tampered(thing: ObjectRecord, change: str) -> ObjectRecord:
    if change == "size":
        return replace(thing, size_lwh=tuple(1.1 * side for side in thing.size_lwh))
    if change == "center":
        return replace(thing, center_cam=tuple(1.1 * part for part in thing.center_cam))
    return replace(thing, category="chair")


def test_a_name_that_two_objects_carry_is_found(records):
    record = next(one for one in records if any(len(sample.objects) == 2 for sample in one.samples))
    sample = next(one for one in record.samples if len(one.objects) == 2 and one.names[0] != one.names[1])
    alike = tuple(replace(thing, name=sample.names[0]) for thing in record.objects)
    faults = find_record_faults(replace(record, objects=alike, samples=(sample,)))
    assert any("may also mean" in fault for fault in faults)
