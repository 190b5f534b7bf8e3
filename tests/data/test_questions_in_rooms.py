"""The whole chain on procedural rooms: render, observe, select, name, ask, check."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from sdvlm.data.colors import instance_colors
from sdvlm.data.observe import observe
from sdvlm.data.questions import QuestionType, ask_all
from sdvlm.data.select import select
from sdvlm.data.verify import find_faults
from sdvlm.scenes.render import Renderer
from sdvlm.scenes.rooms import make_room
from sdvlm.scenes.viewpoints import sample_cameras


@pytest.fixture(scope="module")
def frames():
    """Observations of a few views of a few rooms."""
    observations = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        room = make_room(rng)
        renderer, colors = Renderer(room.mesh, room.face_materials), instance_colors(room.mesh)
        for camera, pose in sample_cameras(room, rng, 3, (128, 96), renderer=renderer):
            picture = renderer.render(camera, pose)
            ids = tuple(int(one) for one in np.unique(picture.instances) if one > 0)
            amodal = renderer.amodal_counts(camera, pose, ids)
            observations.append(
                observe(room.objects, picture.instances, picture.depth_m, camera, pose, amodal=amodal, colors=colors)
            )
    return observations


def test_questions_about_rooms_have_no_fault(frames):
    families = Counter()
    for index, observation in enumerate(frames):
        for sample in ask_all(select(observation), np.random.default_rng(index)):
            assert find_faults(sample, observation) == [], sample
            families[sample.type] += 1
    assert set(families) == set(QuestionType)
    assert families.total() > 15 * len(frames)


def test_what_is_seen_never_exceeds_what_would_be_seen(frames):
    for observation in frames:
        for seen in observation.objects:
            assert seen.pixel_count <= seen.amodal_count


def test_the_depth_of_an_object_lies_within_its_box(frames):
    for observation in frames:
        for seen in observation.objects:
            nearest, farthest = observation.depth_range_m(seen.id)
            corners = seen.box_cam.corners()[:, 2]
            assert corners.min() - 0.01 <= nearest <= farthest <= corners.max() + 0.01
