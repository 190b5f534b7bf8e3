import numpy as np
import pytest

from sdvlm.scenes.render import Renderer
from sdvlm.scenes.rooms import Room
from sdvlm.scenes.scene import SceneMesh
from sdvlm.scenes.viewpoints import look_at, sample_cameras
from sdvlm.types import Camera


def alone(mesh: SceneMesh, instance: int) -> SceneMesh:
    return SceneMesh(mesh.vertices, mesh.faces[mesh.face_instances == instance], mesh.colors, mesh.instances)


def test_counts_inside_equal_a_rendering_of_the_object_alone(rooms: list[Room]) -> None:
    compared = 0
    for seed, room in enumerate(rooms[:6]):
        renderer = Renderer(room.mesh)
        ((camera, pose),) = sample_cameras(room, np.random.default_rng(seed), 1, (96, 72), renderer=renderer)
        counts = renderer.amodal_counts(camera, pose, [item.id for item in room.objects])
        _, instances = renderer.trace(camera, pose)
        for item in room.objects:
            _, lone = Renderer(alone(room.mesh, item.id)).trace(camera, pose)
            assert counts[item.id] == np.count_nonzero(lone == item.id)
            assert counts[item.id] >= np.count_nonzero(instances == item.id)
            compared += counts[item.id] > 0
    assert compared > 20


def test_what_lies_beyond_the_borders_equals_a_rendering_of_a_wider_picture(rooms: list[Room]) -> None:
    camera = Camera.from_fov(64, 48, 60.0)
    wide = Camera(3 * 64, 3 * 48, camera.fx, camera.fy, camera.cx + 64, camera.cy + 48)
    compared = 0
    for seed, room in enumerate(rooms[:8]):
        renderer = Renderer(room.mesh)
        pose = look_at(seed * 0.9, 0.2, np.array([0.0, 0.0, 1.5]))
        extents = renderer.amodal(camera, pose, [item.id for item in room.objects])
        for item in room.objects:
            _, lone = Renderer(alone(room.mesh, item.id)).trace(wide, pose)
            total = np.count_nonzero(lone)
            inside = np.count_nonzero(lone[48:96, 64:128])
            assert extents[item.id].inside == pytest.approx(inside, abs=2)
            assert extents[item.id].outside == pytest.approx(total - inside, abs=12 + 0.1 * total)
            if total > 200 and 0 < inside < total:
                compared += 1
                assert extents[item.id].truncation == pytest.approx(1 - inside / total, abs=0.1)
    assert compared > 5


def test_a_thing_behind_the_camera_covers_nothing(rooms: list[Room]) -> None:
    room = rooms[0]
    item = room.objects[0]
    away = look_at(np.pi, 0.0, np.array([-20.0, 0.0, 1.0]))
    extent = Renderer(room.mesh).amodal(Camera.from_fov(64, 48, 60.0), away, [item.id])[item.id]
    assert (extent.inside, extent.outside, extent.truncation) == (0, 0, 0.0)
