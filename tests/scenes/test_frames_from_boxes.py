import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdvlm.scenes.frames_from_boxes import see_boxes, see_masks
from sdvlm.scenes.render import Renderer
from sdvlm.scenes.rooms import Room
from sdvlm.scenes.scene import SceneObject
from sdvlm.scenes.viewpoints import sample_cameras
from sdvlm.types import Box3D, Camera, SdvlmError

CAMERA = Camera(32, 24, 30.0, 31.0, 15.0, 12.5)
LEVEL = np.array([[1, 0, 0, 0.0], [0, 0, 1, 0.0], [0, -1, 0, 1.0], [0, 0, 0, 1]])
"""looks along world +y from one metre above the floor"""


def thing(
    one: int, center: tuple[float, float, float], size: tuple[float, float, float], yaw: float = 0
) -> SceneObject:
    return SceneObject(one, "thing", Box3D.from_yaw(np.array(center), np.array(size), yaw))


def wall(at_m: float) -> np.ndarray:
    return np.full((24, 32), at_m, dtype=np.float32)


def points_one_by_one(depth: np.ndarray) -> dict[tuple[int, int], np.ndarray]:
    """World point of each measured pixel, written out for the level camera."""
    points = {}
    for row in range(24):
        for column in range(32):
            z = float(depth[row, column])
            if np.isfinite(z):
                x, y = (column + 0.5 - 15.0) * z / 30.0, (row + 0.5 - 12.5) * z / 31.0
                points[row, column] = np.array([x, z, 1.0 - y])
    return points


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_pixels_of_a_box_are_those_whose_point_lies_in_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    depth = rng.uniform(1.0, 3.0, (24, 32)).astype(np.float32)
    depth[rng.random(depth.shape) < 0.1] = np.nan
    yaw, margin = rng.uniform(-3, 3), 0.02
    center, size = np.array([*rng.uniform(-0.5, 0.5, 1), 2.0, 1.0]), rng.uniform(0.5, 1.5, 3)
    seen = see_boxes([thing(3, tuple(center), tuple(size), yaw)], depth, CAMERA, LEVEL, margin_m=margin)
    axis = np.array([np.cos(yaw), np.sin(yaw)]), np.array([-np.sin(yaw), np.cos(yaw)])
    doubtful = 0
    for pixel, point in points_one_by_one(depth).items():
        offset = point - center
        outside = [abs(offset[:2] @ axis[k]) - size[k] / 2 - margin for k in (0, 1)]
        outside += [offset[2] - size[2] / 2 - margin, -offset[2] - size[2] / 2 + margin]
        if abs(max(outside)) < 1e-4:
            doubtful += 1
        else:
            assert (seen.instances[pixel] == 3) == (max(outside) < 0)
    assert doubtful < 10
    assert (seen.instances[np.isnan(depth)] == 0).all()


def test_small_things_have_a_small_margin() -> None:
    mug = thing(1, (0.0, 2.0, 1.0), (0.2, 0.2, 0.2))
    assert see_boxes([mug], wall(1.895), CAMERA, LEVEL).amodal
    assert not see_boxes([mug], wall(1.885), CAMERA, LEVEL).instances.any()
    cupboard = thing(1, (0.0, 2.0, 1.0), (0.8, 0.2, 0.8))
    assert see_boxes([cupboard], wall(1.885), CAMERA, LEVEL).instances.any()


def test_pixels_before_a_box_hide_it_and_pixels_behind_it_do_not() -> None:
    box = thing(1, (0.0, 2.2, 1.0), (0.8, 0.4, 0.8))  # its front stands 2 m away
    open_view = see_boxes([box], wall(2.1), CAMERA, LEVEL)
    alone = open_view.amodal[1]
    assert alone == np.count_nonzero(open_view.instances) > 50
    half = wall(2.1)
    half[:, :15] = 1.0
    seen = see_boxes([box], half, CAMERA, LEVEL)
    rays = [
        (row, column)
        for row in range(24)
        for column in range(15)
        if abs(column + 0.5 - 15) / 30 * 2.0 <= 0.4 and abs(row + 0.5 - 12.5) / 31 * 2.0 <= 0.4
    ]
    assert seen.amodal[1] - np.count_nonzero(seen.instances) == len(rays) > 20
    half[:, :15] = 5.0
    past = see_boxes([box], half, CAMERA, LEVEL)
    assert past.amodal[1] == np.count_nonzero(past.instances) == np.count_nonzero(seen.instances)
    half[:, :15] = np.nan
    assert see_boxes([box], half, CAMERA, LEVEL).amodal == past.amodal


def test_what_is_nearer_by_less_than_the_tolerance_hides_nothing() -> None:
    box = thing(1, (0.0, 2.5, 1.0), (1.0, 1.0, 1.0))
    depth = wall(2.2)
    depth[:, ::2] = 1.95
    assert see_boxes([box], depth, CAMERA, LEVEL, depth_tolerance_m=0.1).amodal[1] < np.count_nonzero(
        see_boxes([box], wall(2.2), CAMERA, LEVEL).instances
    )
    strict = see_boxes([box], depth, CAMERA, LEVEL, depth_tolerance_m=0.02)
    assert strict.amodal[1] > np.count_nonzero(strict.instances)


def test_a_pillow_on_a_bed_has_its_pixels_to_itself_and_the_bed_counts_them_as_hidden() -> None:
    bed, pillow = thing(1, (0, 2, 1), (1.2, 0.6, 1.0)), thing(2, (0, 2, 1), (0.4, 0.4, 0.4))
    alone = see_boxes([bed], wall(2.0), CAMERA, LEVEL)
    both = see_boxes([pillow, bed], wall(2.0), CAMERA, LEVEL)
    assert np.count_nonzero(both.instances == 2) == both.amodal[2] > 10
    assert np.count_nonzero(both.instances == 1) == alone.amodal[1] - both.amodal[2]
    assert both.amodal[1] == alone.amodal[1]


def test_the_floor_under_a_box_is_not_the_object() -> None:
    row = np.arange(24)[:, None] + 0.5 - 12.5
    with np.errstate(divide="ignore"):
        floor = np.where(row > 0, 31.0 / row, np.nan) * np.ones((1, 32))  # one metre below the camera
    table = thing(1, (0.0, 4.0, 0.4), (2.0, 3.0, 0.8))
    assert see_boxes([table], floor, CAMERA, LEVEL).amodal == {}
    assert see_boxes([table], floor, CAMERA, LEVEL, margin_m=0.0).amodal[1] > 0


def test_boxes_behind_the_camera_or_beside_the_picture_are_not_seen() -> None:
    boxes = [thing(1, (0, -3, 1), (1, 1, 1)), thing(2, (9, 2, 1), (1, 1, 1))]
    seen = see_boxes(boxes, wall(2.0), CAMERA, LEVEL)
    assert seen.amodal == {}
    assert not seen.instances.any()


def test_a_camera_within_a_box_sees_it_and_nothing_hides_it() -> None:
    seen = see_boxes([thing(1, (0, 0, 1), (6, 6, 6))], wall(2.0), CAMERA, LEVEL)
    assert (seen.instances == 1).all()
    assert seen.amodal == {1: 24 * 32}


def test_in_rooms_the_pixels_are_those_of_the_rendered_objects(rooms: list[Room]) -> None:
    rng = np.random.default_rng(5)
    right = wrong = 0
    errors = []
    for room in rooms[:12]:
        renderer = Renderer(room.mesh)
        ((camera, pose),) = sample_cameras(room, rng, 1, (160, 120), renderer=renderer)
        depth, instances = renderer.trace(camera, pose)
        seen = see_boxes(room.objects, depth, camera, pose)
        either = (instances > 0) | (seen.instances > 0)
        right += int((instances == seen.instances)[either].sum())
        wrong += int((instances != seen.instances)[either].sum())
        truth = renderer.amodal_counts(camera, pose, [one.id for one in room.objects])
        for one in np.unique(seen.instances[seen.instances > 0]).tolist():
            shown = np.count_nonzero(instances == one)
            if shown > 200:
                share = np.count_nonzero(seen.instances == one) / seen.amodal[one]
                errors.append(abs(shown / truth[one] - share))
    assert right / (right + wrong) > 0.85
    assert len(errors) > 25
    assert np.median(errors) < 0.05
    assert np.mean(np.array(errors) < 0.25) > 0.85


def test_masks_keep_their_pixels_and_count_what_stands_before_their_boxes() -> None:
    box = thing(7, (0.0, 2.2, 1.0), (0.8, 0.4, 0.8))
    depth = wall(2.1)
    depth[:, :15] = 1.0
    masks = np.zeros((24, 32), dtype=np.int64)
    masks[8:16, 15:20] = 7
    masks[0, 0] = 99
    seen = see_masks(masks, depth, [box], CAMERA, LEVEL)
    assert set(np.unique(seen.instances)) == {0, 7}
    assert np.count_nonzero(seen.instances) == 40
    by_boxes = see_boxes([box], depth, CAMERA, LEVEL)
    assert seen.amodal[7] - 40 == by_boxes.amodal[7] - np.count_nonzero(by_boxes.instances) > 0


@pytest.mark.parametrize(
    ("columns", "nearer", "share"),
    [
        (slice(10, 20), None, 0.0),  # ten by ten pixels, free all round
        (slice(22, 32), None, 10 / 40),  # its right side is the picture's edge
        (slice(10, 20), (slice(5, 15), slice(4, 10)), 10 / 40),  # something nearer along its left side
        (slice(10, 20), (slice(8, 12), slice(12, 16)), 16 / 56),  # something nearer within it
        (slice(10, 15), (slice(5, 15), slice(15, 25)), 10 / 30),  # half of it hidden
    ],
)
def test_the_outline_of_a_mask_tells_how_much_is_hidden(
    columns: slice, nearer: tuple[slice, slice] | None, share: float
) -> None:
    depth, masks = wall(2.0), np.zeros((24, 32), dtype=np.int32)
    depth[:5] = np.nan  # nothing known above
    masks[5:15, columns] = 4
    if nearer is not None:
        depth[nearer], masks[nearer] = 1.0, 0
    shown = int((masks == 4).sum())
    box = [thing(4, (0, 2, 9), (0.1, 0.1, 0.1))]  # elsewhere: the box says nothing
    assert see_masks(masks, depth, box, CAMERA, LEVEL).amodal == {4: shown}
    seen = see_masks(masks, depth, box, CAMERA, LEVEL, from_outline=True)
    assert seen.amodal == {4: int(np.ceil(shown / (1 - share) ** 2 - 1e-9))}


def test_bad_input_is_told() -> None:
    box = thing(1, (0, 2, 1), (1, 1, 1))
    with pytest.raises(SdvlmError, match="depth is 8x4 pixels but the camera is for 32x24"):
        see_boxes([box], np.ones((4, 8)), CAMERA, LEVEL)
    with pytest.raises(SdvlmError, match="unique"):
        see_boxes([box, box], wall(2), CAMERA, LEVEL)
    with pytest.raises(SdvlmError, match="margin"):
        see_boxes([box], wall(2), CAMERA, LEVEL, margin_m=-1)
    with pytest.raises(SdvlmError, match="tolerance"):
        see_boxes([box], wall(2), CAMERA, LEVEL, depth_tolerance_m=float("nan"))
    with pytest.raises(SdvlmError, match="masks are 8x4"):
        see_masks(np.ones((4, 8), int), wall(2), [box], CAMERA, LEVEL)


def test_what_nothing_measured_hides_is_unconfirmed() -> None:
    box = thing(3, (0.0, 2.0, 1.0), (0.6, 0.6, 0.6))
    unknown = np.full((24, 32), np.nan, dtype=np.float32)
    assert see_boxes([box], unknown, CAMERA, LEVEL).unconfirmed == (3,)
    assert see_boxes([box], wall(5.0), CAMERA, LEVEL).unconfirmed == (3,)  # seen through
    assert see_boxes([box], wall(1.0), CAMERA, LEVEL).unconfirmed == ()  # hidden
    seen = see_boxes([box], wall(1.8), CAMERA, LEVEL)
    assert 3 in seen.amodal
    assert seen.unconfirmed == ()
    behind = thing(4, (0.0, -2.0, 1.0), (0.6, 0.6, 0.6))
    aside = thing(5, (9.0, 2.0, 1.0), (0.6, 0.6, 0.6))
    assert see_boxes([behind, aside], unknown, CAMERA, LEVEL).unconfirmed == ()
