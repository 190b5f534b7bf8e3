"""One scene into records: which frames, which picture bytes, which questions an annotation allows, who may name."""

import dataclasses

import numpy as np
import pytest

from sdvlm.data.build_config import BuildConfig
from sdvlm.data.build_scene import build_scene, frame_rng
from sdvlm.data.encode import encode_picture
from sdvlm.data.schema import QuestionType
from sdvlm.scenes.room_scene import room_scene
from sdvlm.scenes.rooms import make_room
from sdvlm.scenes.scene import SkippedFrame
from sdvlm.scenes.viewpoints import sample_cameras
from sdvlm.types import SdvlmError

CONFIG = BuildConfig(frames_per_scene=None, reasoning_share=0.3, min_questions=1)


@pytest.fixture(scope="module")
def scene():
    rng = np.random.default_rng(8)
    room = make_room(rng)
    return room_scene(room, "room", sample_cameras(room, rng, 5, (160, 120)), supersample=1)


@pytest.fixture(scope="module")
def built(scene):
    return build_scene(scene, CONFIG, verify=True)


def families(built):
    return {sample.type for record in built.records for sample in record.samples}


def definitions(built):
    return {sample.answer_typed.definition for record in built.records for sample in record.samples}


def test_every_record_holds_what_its_frame_sees(built, scene):
    assert [record.frame_id for record in built.records] == ["0", "1", "2", "3", "4"]
    assert built.rejected == ()
    for record, frame in zip(built.records, scene.frames, strict=True):
        assert record.camera == frame.camera
        assert np.array_equal(record.T_world_cam, frame.T_world_cam)
        spoken = {one for sample in record.samples for one in sample.objects}
        assert spoken <= {thing.id for thing in record.objects}
        assert all(thing.name is None for thing in record.objects if thing.dropped is not None)


@pytest.mark.parametrize(("count", "ids"), [(1, ["2"]), (2, ["0", "4"]), (3, ["0", "2", "4"]), (9, list("01234"))])
def test_frames_are_spread_over_the_scene(scene, count, ids):
    built = build_scene(scene, dataclasses.replace(CONFIG, frames_per_scene=count))
    assert [record.frame_id for record in built.records] == ids


def test_a_frame_gives_the_same_questions_whatever_its_neighbours(built, scene):
    alone = build_scene(dataclasses.replace(scene, frames=scene.frames[3:4]), CONFIG)
    assert alone.records[0].samples == built.records[3].samples


def test_generators_differ_by_scene_frame_and_seed_but_not_by_where_names_end():
    draws = {frame_rng(*key).integers(2**60) for key in [(0, "a", "bc"), (0, "ab", "c"), (1, "a", "bc"), (0, "a", "b")]}
    assert len(draws) == 4
    assert frame_rng(0, "a", "b").integers(2**60) == frame_rng(0, "a", "b").integers(2**60)


def test_the_stored_picture_is_kept_byte_for_byte(scene):
    frame = scene.frames[0]
    stored = encode_picture(frame.load().image)
    kept = dataclasses.replace(scene, frames=(dataclasses.replace(frame, picture=lambda: stored),))
    assert build_scene(kept, CONFIG).records[0].picture == stored


def test_some_questions_are_explained(built):
    chains = [sample.reasoning for record in built.records for sample in record.samples if sample.reasoning]
    total = sum(len(record.samples) for record in built.records)
    assert 0.1 < len(chains) / total < 0.5
    assert all(len(chain) > 20 for chain in chains)


def test_what_is_not_annotated_may_be_there_so_neither_counts_nor_existence_are_asked(built, scene):
    asked = {QuestionType.COUNT, QuestionType.ZERO}
    assert asked <= families(built)
    assert not asked & families(build_scene(dataclasses.replace(scene, exhaustive=False), CONFIG))


def test_boxes_fitted_to_visible_points_are_not_asked_for_their_size(built, scene):
    sizes = {"height", "width", "length", "size", "tallest", "shortest"}
    assert sizes & definitions(built)
    fitted = build_scene(dataclasses.replace(scene, box_source="fitted"), CONFIG)
    assert not sizes & definitions(fitted)
    assert QuestionType.ABSOLUTE_DISTANCE in families(fitted)


def test_a_broken_frame_is_rejected_and_an_expected_gap_only_counted(scene):
    def broken():
        raise SdvlmError("the picture is cut short")

    frames = (dataclasses.replace(scene.frames[0], loader=broken), *scene.frames[1:])
    skipped = (SkippedFrame("8", "no pose", True), SkippedFrame("9", "NaN in its pose", False))
    built = build_scene(dataclasses.replace(scene, frames=frames, skipped=skipped), CONFIG)
    assert [(one.frame_id, one.reason) for one in built.rejected] == [
        ("9", "NaN in its pose"),
        ("0", "the picture is cut short"),
    ]
    assert built.dropped["frame: no pose"] == 1
    assert len(built.records) == 4


@pytest.mark.parametrize(("change", "told"), [({"frames": ()}, "no frame"), ({"objects": ()}, "is empty")])
def test_a_scene_without_frames_or_objects_is_refused(scene, change, told):
    with pytest.raises(SdvlmError, match=told):
        build_scene(dataclasses.replace(scene, **change), CONFIG)


def test_given_names_are_used_and_everything_still_agrees(scene):
    class Namer:
        def names(self, frame, selection):
            return {selection.kept[0].id: f"very special {selection.kept[0].category}"} if selection.kept else {}

    built = build_scene(scene, CONFIG, namer=Namer(), verify=True)
    assert built.rejected == ()
    assert any("very special" in sample.question for record in built.records for sample in record.samples)


def test_settings_are_set_by_dotted_names_and_refused_by_name():
    changed = CONFIG.with_settings(
        {"seed": "4", "select.min_visibility": "0.75", "questions.units": "m,cm", "frames_per_scene": "3"}
    )
    assert (changed.seed, changed.select.min_visibility, changed.questions.units) == (4, 0.75, ("m", "cm"))
    assert changed.frames_per_scene == 3
    assert CONFIG.seed == 0
    for wrong in ({"select": "1"}, {"seed.more": "1"}, {"select.nonsense": "1"}, {"seed": '"many"'}):
        with pytest.raises(SdvlmError, match=next(iter(wrong))):
            CONFIG.with_settings(wrong)
