from collections import Counter

import numpy as np
import pytest
import trimesh

from sdvlm.geometry.boxes import boxes_overlap
from sdvlm.scenes.furniture import CATEGORIES
from sdvlm.scenes.palette import COLORS
from sdvlm.scenes.rooms import Room, RoomConfig, make_room
from sdvlm.types import SdvlmError

FLOOR, WALL = 0, -1


def mesh_of(room: Room, instance: int) -> trimesh.Trimesh:
    faces = room.mesh.faces[room.mesh.face_instances == instance]
    return trimesh.Trimesh(room.mesh.vertices.astype(float), faces, process=False)


def footprint(box, steps: int = 5) -> np.ndarray:
    """(steps * steps, 2) points spread over the inner part of a box's rectangle."""
    u, v = np.meshgrid(np.linspace(-0.4, 0.4, steps), np.linspace(-0.4, 0.4, steps))
    local = np.column_stack([u.ravel() * box.size[0], v.ravel() * box.size[1], np.zeros(steps * steps)])
    return (local @ box.rotation.T + box.center)[:, :2]


def first_hits(mesh: trimesh.Trimesh, origins: np.ndarray, up: float) -> np.ndarray:
    """Distance along +z (up=1) or -z (up=-1) to the mesh; infinite where it is missed."""
    directions = np.tile([0.0, 0.0, up], (len(origins), 1))
    points, rays, _ = mesh.ray.intersects_location(origins, directions, multiple_hits=False)
    distance = np.full(len(origins), np.inf)
    distance[rays] = np.abs(points[:, 2] - origins[rays, 2])
    return distance


def test_no_two_things_overlap(rooms: list[Room]) -> None:
    for room in rooms:
        for index, a in enumerate(room.objects):
            for b in room.objects[index + 1 :]:
                if room.supports[a.id] != b.id and room.supports[b.id] != a.id:
                    assert not boxes_overlap(a.box, b.box, 1e-4), (room.kind, a, b)


def test_what_stands_on_a_thing_rests_on_it_and_does_not_sink_into_it(rooms: list[Room]) -> None:
    pairs = 0
    for room in rooms:
        by_id = {item.id: item for item in room.objects}
        for item in room.objects:
            if room.supports[item.id] in (FLOOR, WALL):
                continue
            carrier = mesh_of(room, by_id[room.supports[item.id]].id)
            bottom = item.box.center[2] - item.box.size[2] / 2
            grid = footprint(item.box)
            below = first_hits(carrier, np.column_stack([grid, np.full(len(grid), bottom + 0.002)]), -1.0)
            assert np.mean(below < 0.006) >= 0.8, (item, below)  # cushions have seams
            above = first_hits(carrier, np.column_stack([grid, np.full(len(grid), bottom + 0.001)]), 1.0)
            assert (above > item.box.size[2] - 0.002).all(), (item.category, by_id[room.supports[item.id]].category)
            pairs += 1
    assert pairs > 30


def test_everything_is_inside_and_stands_on_the_floor_or_hangs_on_a_wall(rooms: list[Room]) -> None:
    for room in rooms:
        half = room.size[:2] / 2
        for item in room.objects:
            vertices = room.mesh.vertices[room.mesh.instances == item.id]
            assert (np.abs(vertices[:, :2]) <= half + 1e-5).all()
            assert vertices[:, 2].min() >= -1e-6
            assert vertices[:, 2].max() <= room.size[2] + 1e-5
            if room.supports[item.id] == FLOOR:
                assert vertices[:, 2].min() == pytest.approx(0.0, abs=1e-6)
            if room.supports[item.id] == WALL:
                assert (half - np.abs(vertices[:, :2]).max(axis=0)).min() == pytest.approx(0.0, abs=1e-5)


def test_boxes_are_tight_around_the_vertices(rooms: list[Room]) -> None:
    for room in rooms[:10]:
        for item in room.objects:
            local = (room.mesh.vertices[room.mesh.instances == item.id] - item.box.center) @ item.box.rotation
            assert local.max(axis=0) == pytest.approx(item.box.size / 2, abs=1e-5)
            assert local.min(axis=0) == pytest.approx(-item.box.size / 2, abs=1e-5)


def test_rooms_have_the_promised_sizes_and_numbers(rooms: list[Room]) -> None:
    for room in rooms:
        assert 3.0 <= room.size[:2].min() <= room.size[:2].max() <= 10.0
        assert 2.4 <= room.size[2] <= 3.2
        assert 6 <= len(room.objects) <= 18
        assert [item.id for item in room.objects] == list(range(1, len(room.objects) + 1))
        assert set(np.unique(room.mesh.instances)) == set(range(len(room.objects) + 1))
        assert len(room.face_materials) == len(room.mesh.faces)


def test_classes_colours_and_repeated_classes_vary(rooms: list[Room]) -> None:
    categories = Counter(item.category for room in rooms for item in room.objects)
    assert len(categories) >= 20
    assert set(categories) <= set(CATEGORIES)
    assert {color for room in rooms for color in room.colors.values()} == set(COLORS)
    furniture = [
        Counter(item.category for item in room.objects if item.category not in ("door", "window")) for room in rooms
    ]
    assert sum(max(counts.values()) >= 2 for counts in furniture) >= len(rooms) // 2


def test_a_seed_gives_the_same_room_and_another_seed_another() -> None:
    first, again, other = (make_room(np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert np.array_equal(first.mesh.vertices, again.mesh.vertices)
    assert np.array_equal(first.mesh.colors, again.mesh.colors)
    assert first.colors == again.colors
    assert first.mesh.vertices.shape != other.mesh.vertices.shape or not np.array_equal(
        first.mesh.vertices, other.mesh.vertices
    )


def test_configuration_is_followed_and_checked() -> None:
    config = RoomConfig(side_m=(4.0, 4.5), objects=(8, 9), kinds=("office",))
    room = make_room(np.random.default_rng(0), config)
    assert room.kind == "office"
    assert 4.0 <= room.size[:2].min() <= room.size[:2].max() <= 4.5
    assert 8 <= len(room.objects) <= 9
    with pytest.raises(SdvlmError, match="room kinds"):
        RoomConfig(kinds=("castle",))
    with pytest.raises(SdvlmError, match="side_m"):
        RoomConfig(side_m=(1.0, 4.0))
    with pytest.raises(SdvlmError, match="no room held"):
        make_room(np.random.default_rng(0), RoomConfig(side_m=(3.0, 3.1), objects=(60, 61), kinds=("bathroom",)))
