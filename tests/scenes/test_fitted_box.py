import numpy as np
import pytest

from sdvlm.geometry.project import transform_points, unproject
from sdvlm.scenes.fitted_box import fit_box, largest_cluster
from sdvlm.scenes.render import Renderer
from sdvlm.scenes.rooms import Room
from sdvlm.scenes.upright_box import upright_box
from sdvlm.scenes.viewpoints import sample_cameras
from sdvlm.types import Camera

CAMERA = Camera(160, 120, 150.0, 150.0, 80.0, 60.0)
LEVEL = np.array([[1, 0, 0, 0.0], [0, 0, 1, 0.0], [0, -1, 0, 1.0], [0, 0, 0, 1]])


def block() -> tuple[np.ndarray, np.ndarray]:
    """A block's front, 0.8 m wide and 0.4 m high, 2 m before the camera, and a wall 4 m away."""
    depth, mask = np.full((120, 160), 4.0), np.zeros((120, 160), dtype=bool)
    mask[45:75, 50:110] = True
    depth[mask] = 2.0
    return mask, depth


def test_a_mask_that_spills_onto_the_wall_gives_the_box_of_the_object() -> None:
    mask, depth = block()
    clean = fit_box(mask, depth, CAMERA, LEVEL)
    spilt = mask.copy()
    spilt[42:78, 46:114] = True
    box = fit_box(spilt, depth, CAMERA, LEVEL)
    assert clean is not None
    assert box is not None
    assert clean.size[[0, 2]] == pytest.approx([0.8, 0.4], abs=0.05)
    assert box.size == pytest.approx(clean.size, abs=0.03)
    assert box.center == pytest.approx([0, 2, 1], abs=0.03)
    assert abs(box.rotation[2, 2]) == pytest.approx(1)
    naive = upright_box(transform_points(LEVEL, unproject(depth, CAMERA)[spilt]))
    assert naive.size.max() > 1.8  # what a box around every point of the mask would say


def test_noise_on_single_pixels_does_not_stretch_the_box() -> None:
    mask, depth = block()
    rng = np.random.default_rng(0)
    rows, columns = np.nonzero(mask)
    some = rng.choice(len(rows), 40, replace=False)
    depth[rows[some], columns[some]] += rng.uniform(0.3, 1.5, 40)
    box = fit_box(mask, depth, CAMERA, LEVEL)
    assert box is not None
    assert box.size.max() < 0.85


def test_in_rooms_the_box_is_that_of_the_visible_points(rooms: list[Room]) -> None:
    errors = []
    for seed, room in enumerate(rooms[:10]):
        renderer = Renderer(room.mesh)
        ((camera, pose),) = sample_cameras(room, np.random.default_rng(seed), 1, (320, 240), renderer=renderer)
        depth, instances = renderer.trace(camera, pose)
        points = transform_points(pose, unproject(depth, camera))
        for one in room.objects:
            mask = instances == one.id
            if np.count_nonzero(mask) > 400:
                box = fit_box(mask, depth, camera, pose)
                assert box is not None
                errors.append(float(np.abs(box.center - upright_box(points[mask]).center).max()))
    assert len(errors) > 30
    assert np.median(errors) < 0.03  # the rim that is left out is a pixel wide
    assert np.mean(np.array(errors) < 0.1) > 0.85  # the others are cut in two by something before them


def test_without_points_there_is_no_box() -> None:
    mask, depth = block()
    assert fit_box(mask, np.full_like(depth, np.nan), CAMERA, LEVEL) is None
    few = np.zeros_like(mask)
    few[60, 60:80] = True
    assert fit_box(few, depth, CAMERA, LEVEL) is None


def test_thin_things_keep_their_rim() -> None:
    _, depth = block()
    pole = np.zeros((120, 160), dtype=bool)
    pole[45:75, 60:62] = True
    box = fit_box(pole, depth, CAMERA, LEVEL)
    assert box is not None
    assert box.size[2] == pytest.approx(29 / 150 * 2)
    assert box.size.min() > 0


def test_clusters_part_at_gaps_and_the_biggest_is_kept() -> None:
    rng = np.random.default_rng(1)
    big, small = rng.uniform(0, 1, (3000, 3)), rng.uniform((1.5, 0, 0), (2.5, 1, 1), (500, 3))
    kept = largest_cluster(np.concatenate([small, big]), 0.2)
    assert kept.tolist() == [False] * 500 + [True] * 3000
