"""Seeing a scene through its frames: rendered and measured depth together decide what is seen."""

import dataclasses

import numpy as np
import pytest

from sdvlm.data.view import SceneViewer, VisibilityConfig
from sdvlm.scenes.room_scene import room_scene
from sdvlm.scenes.rooms import make_room
from sdvlm.scenes.scene import Scene
from sdvlm.scenes.viewpoints import sample_cameras
from sdvlm.types import DepthKind, DepthMap, SdvlmError


@pytest.fixture(scope="module")
def scene():
    rng = np.random.default_rng(4)
    room = make_room(rng)
    return room_scene(room, "room", sample_cameras(room, rng, 2, (160, 120)), supersample=1)


def with_depth(frame, change):
    """The frame with other depth; ``change`` takes and gives (H, W) metres."""
    loaded = frame.load()
    depth = None if change is None else DepthMap(change(loaded.depth.values.copy()), source="sensor")
    return dataclasses.replace(frame, loader=lambda: dataclasses.replace(loaded, depth=depth))


def largest(view):
    return max(view.observation.objects, key=lambda seen: seen.pixel_count)


def test_true_depth_hides_nothing(scene):
    viewer = SceneViewer(scene)
    frame = scene.frames[0]
    seen, rendered = viewer.view(frame), viewer.view(with_depth(frame, None))
    assert np.array_equal(seen.observation.instances, rendered.observation.instances)
    assert rendered.frame.depth.source == "rendered"
    assert np.allclose(rendered.frame.depth.values, seen.frame.depth.values, equal_nan=True)


def test_what_somebody_stands_before_is_hidden_and_counts_against_visibility(scene):
    viewer, frame = SceneViewer(scene), scene.frames[0]
    target = largest(viewer.view(frame))
    x0, _, x1, _ = (int(edge) for edge in target.bounds_px)

    def somebody(depth):
        depth[:, x0 : (x0 + x1) // 2] = 0.5
        return depth

    view = viewer.view(with_depth(frame, somebody))
    hidden = view.observation.object(target.id)
    assert not (view.observation.instances[:, x0 : (x0 + x1) // 2] == target.id).any()
    assert hidden.amodal_count == target.amodal_count
    assert hidden.visibility < target.visibility


def test_what_was_moved_away_since_the_scan_is_not_seen(scene):
    viewer, frame = SceneViewer(scene), scene.frames[0]
    target = largest(viewer.view(frame))

    def gone(depth):
        mask = viewer.view(frame).observation.mask(target.id)
        depth[mask] += 0.6
        return depth

    assert target.id not in {seen.id for seen in viewer.view(with_depth(frame, gone)).observation.objects}


@pytest.mark.parametrize(("share", "all_seen"), [(0.5, True), (0.9, False)])
def test_unmeasured_pixels_count_where_enough_of_the_object_is_confirmed(scene, share, all_seen):
    viewer, frame = SceneViewer(scene, VisibilityConfig(min_confirmed=0.3)), scene.frames[0]
    before = viewer.view(frame).observation
    target = largest(viewer.view(frame))

    def holes(depth):
        rows, columns = np.nonzero(before.mask(target.id))
        lost = np.random.default_rng(0).permutation(len(rows))[: round(share * len(rows))]
        depth[rows[lost], columns[lost]] = np.nan
        return depth

    after = viewer.view(with_depth(frame, holes)).observation.object(target.id).pixel_count
    assert after == (target.pixel_count if all_seen else target.pixel_count - round(share * target.pixel_count))


def test_the_tolerance_grows_with_distance(scene):
    frame = scene.frames[0]
    viewer = SceneViewer(scene, VisibilityConfig(depth_tolerance_m=0.01, depth_tolerance_share=0.05))
    everything = viewer.view(frame).observation.instances
    assert np.array_equal(viewer.view(with_depth(frame, lambda depth: depth * 1.04)).observation.instances, everything)
    assert not viewer.view(with_depth(frame, lambda depth: depth * 1.06)).observation.instances.any()


def test_boxes_and_masks_alone_see_nearly_what_the_mesh_shows(scene):
    boxes_only = dataclasses.replace(scene, mesh=None)
    for frame in scene.frames:
        meshed = SceneViewer(scene).view(frame).observation
        boxed = SceneViewer(boxes_only).view(frame).observation
        assert (meshed.instances == boxed.instances).mean() > 0.95
        masked_frame = dataclasses.replace(frame, instances=lambda meshed=meshed: meshed.instances)
        masked = SceneViewer(boxes_only).view(masked_frame).observation
        assert np.array_equal(masked.instances, meshed.instances)
        assert {seen.colors.name for seen in masked.objects} - {None}


def test_labels_are_said_as_words(scene):
    shouted = tuple(dataclasses.replace(one, category=f"{one.category.upper()}_") for one in scene.objects)
    viewer = SceneViewer(dataclasses.replace(scene, objects=shouted))
    assert {seen.category for seen in viewer.view(scene.frames[0]).observation.objects} <= {
        one.category for one in scene.objects
    }


def test_relative_depth_is_refused(scene):
    frame = scene.frames[0]
    loaded = frame.load()
    relative = dataclasses.replace(loaded, depth=DepthMap(loaded.depth.values, DepthKind.DISPARITY))
    with pytest.raises(SdvlmError, match="depth is disparity"):
        SceneViewer(scene).view(dataclasses.replace(frame, loader=lambda: relative))


def test_boxes_without_depth_are_refused(scene):
    boxes_only = Scene(scene.id, scene.objects, scene.frames)
    with pytest.raises(SdvlmError, match="has no depth, and the scene has no mesh"):
        SceneViewer(boxes_only).view(with_depth(scene.frames[0], None))
