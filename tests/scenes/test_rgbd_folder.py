import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sdvlm.scenes.reader import open_reader
from sdvlm.scenes.render import Renderer
from sdvlm.scenes.rgbd_folder import RgbdReader
from sdvlm.scenes.rooms import Room
from sdvlm.scenes.viewpoints import sample_cameras
from sdvlm.types import Camera, SdvlmError

SIZE = (160, 120)


@pytest.fixture(scope="module")
def shots(rooms: list[Room]) -> list[tuple[Camera, np.ndarray, Any]]:
    room = rooms[3]
    renderer = Renderer(room.mesh)
    ((camera, first),) = sample_cameras(room, np.random.default_rng(2), 1, SIZE, renderer=renderer)
    second = first.copy()
    second[:3, 3] += [0.1, 0.05, 0.0]
    return [(camera, pose, renderer.render(camera, pose)) for pose in (first, second)]


def write_scene(folder: Path, shots: list, room: Room, **changes: Any) -> Path:
    """As a user would write it: frames 9 and 10, world z up, boxes in the world."""
    (folder / "frames").mkdir(parents=True)
    camera = shots[0][0]
    note: dict[str, Any] = {
        "camera": {
            "width": SIZE[0],
            "height": SIZE[1],
            "K": [[camera.fx, 0, camera.cx - 0.5], [0, camera.fy, camera.cy - 0.5], [0, 0, 1]],
        },
        "objects": [
            {
                "id": one.id,
                "label": one.category,
                "center": one.box.center.tolist(),
                "size": one.box.size.tolist(),
                "yaw": one.box.yaw_rad,
            }
            for one in room.objects
        ],
        "frames": {},
    }
    for name, (_, pose, shot) in zip(("9", "10"), shots, strict=True):
        Image.fromarray(shot.image).save(folder / "frames" / f"{name}.png")
        depth_mm = np.rint(np.nan_to_num(shot.depth_m) * 1000).astype(np.uint16)
        Image.fromarray(depth_mm).save(folder / "frames" / f"{name}.depth.png")
        note["frames"][name] = {"T_world_cam": pose.tolist()}
    note |= changes
    (folder / "scene.json").write_text(json.dumps({key: value for key, value in note.items() if value is not None}))
    return folder


def change(folder: Path, **changes: Any) -> None:
    note = json.loads((folder / "scene.json").read_text()) | changes
    (folder / "scene.json").write_text(json.dumps({key: value for key, value in note.items() if value is not None}))


@pytest.fixture(scope="module")
def written(shots: list, rooms: list[Room], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scene(tmp_path_factory.mktemp("user") / "home" / "kitchen", shots, rooms[3]).parent.parent


@pytest.fixture
def root(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "user"))


def read(root: Path, **options: Any) -> Any:
    return RgbdReader(root, **options).read("home__kitchen")


def test_what_was_written_is_read_back(written: Path, shots: list, rooms: list[Room]) -> None:
    reader = open_reader(written, "rgbd")
    assert reader.scene_ids() == ["home__kitchen"]
    assert reader.missing() == []
    scene = reader.read("home__kitchen")
    assert [frame.id for frame in scene.frames] == ["9", "10"]
    assert (scene.source, scene.box_source, scene.skipped, scene.mesh) == ("rgbd", "annotated", (), None)
    assert [(one.id, one.category) for one in scene.objects] == [(one.id, one.category) for one in rooms[3].objects]
    for ours, theirs in zip(scene.objects, rooms[3].objects, strict=True):
        assert np.allclose(sorted(ours.box.corners().tolist()), sorted(theirs.box.corners().tolist()))
    for frame, (camera, pose, shot) in zip(scene.frames, shots, strict=True):
        loaded = frame.load()
        assert np.array_equal(loaded.image, shot.image)
        assert np.allclose(loaded.depth.values, shot.depth_m, atol=6e-4, equal_nan=True)
        assert np.allclose(frame.camera.matrix, camera.matrix)
        assert np.allclose(frame.T_world_cam, pose)
        assert frame.objects is None
        assert frame.picture() == frame.image_path.read_bytes()


def test_a_scene_folder_itself_can_be_the_root(written: Path) -> None:
    reader = RgbdReader(written / "home" / "kitchen")
    assert reader.scene_ids() == ["kitchen"]
    assert len(reader.read("kitchen").frames) == 2


def test_a_world_with_another_up_is_turned_to_z_up(shots: list, rooms: list[Room], tmp_path: Path) -> None:
    lying = np.array([[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]])  # z up becomes y up
    lying = lying.T
    turned = [(camera, lying @ pose, shot) for camera, pose, shot in shots]
    boxes = [one.box.transformed(lying) for one in rooms[3].objects]
    objects = [
        {"label": "x", "center": b.center.tolist(), "size": b.size.tolist(), "rotation": b.rotation.tolist()}
        for b in boxes
    ]
    write_scene(tmp_path / "s", turned, rooms[3], objects=objects, up=[0, 1, 0])
    scene = RgbdReader(tmp_path).read("s")
    for ours, theirs in zip(scene.objects, rooms[3].objects, strict=True):
        assert ours.box.rotation[2, 2] == pytest.approx(1)
        assert ours.box.size[2] == pytest.approx(theirs.box.size[2])
        assert ours.box.center[2] == pytest.approx(theirs.box.center[2])
        seen_from = [np.linalg.inv(p) @ [*b.center, 1] for p, b in ((scene.frames[0].T_world_cam, ours.box),)]
        assert np.allclose(seen_from, np.linalg.inv(shots[0][1]) @ [*theirs.box.center, 1])


@pytest.mark.parametrize("gravity", ["up_cam", "assume_level", "option"])
def test_boxes_in_the_camera_frame_need_gravity_alone(
    shots: list, rooms: list[Room], tmp_path: Path, gravity: str
) -> None:
    pose = shots[0][1]
    boxes = [one.box.transformed(np.linalg.inv(pose)) for one in rooms[3].objects]
    listed = [
        {"label": "x", "center": b.center.tolist(), "size": b.size.tolist(), "rotation": b.rotation.tolist()}
        for b in boxes
    ]
    frame: dict[str, Any] = {"objects": listed}
    if gravity == "up_cam":
        frame["up_cam"] = pose[2, :3].tolist()
    more: dict[str, Any] = {"assume_level": True} if gravity == "assume_level" else {}
    write_scene(tmp_path / "s", shots, rooms[3], objects=None, frames={"9": frame, "10": frame}, **more)
    scene = RgbdReader(tmp_path, assume_level=gravity == "option").read("s")
    assert scene.objects == ()
    first = scene.frames[0]
    for ours, theirs in zip(first.objects, boxes, strict=True):
        back = ours.box.transformed(np.linalg.inv(first.T_world_cam))
        assert np.allclose(back.center, theirs.center)
    tilts = [np.degrees(np.arccos(min(1.0, one.box.rotation[2, 2]))) for one in first.objects]
    assert (max(tilts) < 0.01) == (gravity == "up_cam")


def write_masks(root: Path, shots: list, **changes: Any) -> None:
    for name, (_, _, shot) in zip(("9", "10"), shots, strict=True):
        Image.fromarray(shot.instances.astype(np.uint16)).save(root / f"home/kitchen/frames/{name}.mask.png")
    change(root / "home/kitchen", **changes)


def test_boxes_of_masks_are_fitted_to_what_the_camera_sees(root: Path, shots: list, rooms: list[Room]) -> None:
    labels = {str(one.id): one.category for one in rooms[3].objects}
    write_masks(root, shots, objects=None, labels=labels)
    scene = read(root)
    assert scene.box_source == "fitted"
    assert scene.objects == ()
    frame, shot = scene.frames[0], shots[0][2]
    assert np.array_equal(frame.instances(), shot.instances)
    truth = {one.id: one for one in rooms[3].objects}
    assert len(frame.objects) >= 3
    for one in frame.objects:
        assert one.category == truth[one.id].category
        corners = (one.box.corners() - truth[one.id].box.center) @ truth[one.id].box.rotation
        assert (np.abs(corners) <= truth[one.id].box.size / 2 + 0.06).all()  # the visible part lies in the whole


def test_masks_keep_the_boxes_that_are_given(root: Path, shots: list, rooms: list[Room]) -> None:
    write_masks(root, shots)
    scene = read(root)
    assert scene.box_source == "annotated"
    assert [one.id for one in scene.frames[0].objects] == [one.id for one in rooms[3].objects]


def test_ids_without_a_label_are_named_and_null_ignores_them(root: Path, shots: list, rooms: list[Room]) -> None:
    shown = [one.id for one in rooms[3].objects if (shots[0][2].instances == one.id).any()]
    labels: dict[str, str | None] = {str(one): "thing" for one in shown[1:]}
    write_masks(root, shots, objects=None, labels=labels)
    with pytest.raises(SdvlmError, match=rf"9.mask.png: holds ids {shown[0]}.* that neither labels nor objects"):
        read(root)
    for one in rooms[3].objects:
        labels.setdefault(str(one.id), None)
    change(root / "home/kitchen", labels=labels)
    ids = [one.id for frame in read(root).frames for one in frame.objects]
    assert ids
    assert shown[0] not in ids


def test_depth_of_its_own_size_comes_onto_the_picture_through_its_camera(root: Path, shots: list) -> None:
    camera = shots[0][0]
    for name in ("9", "10"):
        Image.fromarray(np.full((60, 80), 2500, np.uint16)).save(root / f"home/kitchen/frames/{name}.depth.png")
    with pytest.raises(SdvlmError, match="depth is 80x60 but its camera is for 160x120"):
        read(root).frames[0].load()
    own = {"width": 80, "height": 60, "fx": camera.fx, "fy": camera.fy, "cx": 39.5, "cy": 29.5}
    change(root / "home/kitchen", depth={"camera": own, "scale_to_m": 0.001})
    depth = read(root).frames[0].load().depth.values
    assert depth.shape == (120, 160)
    assert np.isnan(depth[:, 0]).all()  # twice as long a focal length in its pixels: it sees the middle alone
    assert depth[60, 80] == 2.5


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("nan pose", "its pose is not finite"),
        ("cut picture", "9.png: is cut short"),
        ("cut mask", "9.mask.png: cannot be read"),
        ("mask size", "the mask is 80x60 but the picture is 160x120"),
        ("no picture", "9.png: cannot be read as a JPEG or PNG"),
        ("other size", "the picture is 80x60 but its camera is for 160x120"),
        ("cut depth", "9.depth.png: is damaged or cut short"),
    ],
)
def test_a_broken_frame_is_skipped_with_the_reason(
    root: Path, shots: list, rooms: list[Room], fault: str, reason: str
) -> None:
    frames = root / "home/kitchen/frames"
    write_masks(root, shots, objects=None, labels={str(one.id): "thing" for one in rooms[3].objects})
    note = json.loads((root / "home/kitchen/scene.json").read_text())
    if fault == "nan pose":
        note["frames"]["9"]["T_world_cam"][0][3] = float("nan")
        change(root / "home/kitchen", frames=note["frames"])
    elif fault == "no picture":
        (frames / "9.png").write_bytes(b"hello")
    elif fault in ("mask size", "other size"):
        target = "9.mask.png" if fault == "mask size" else "9.png"
        picture = np.ones((60, 80), np.uint8) if fault == "mask size" else np.ones((60, 80, 3), np.uint8)
        Image.fromarray(picture).save(frames / target)
    else:
        target = {"cut picture": "9.png", "cut mask": "9.mask.png", "cut depth": "9.depth.png"}[fault]
        (frames / target).write_bytes((frames / target).read_bytes()[:-200])
    scene = read(root)
    assert [frame.id for frame in scene.frames] == ["10"]
    ((skipped),) = scene.skipped
    assert (skipped.frame_id, skipped.expected) == ("9", False)
    assert reason in skipped.reason
    assert "\n" not in skipped.reason


def test_lost_tracking_is_expected_and_turned_pictures_are_not_guessed_at(root: Path) -> None:
    note = json.loads((root / "home/kitchen/scene.json").read_text())
    change(root / "home/kitchen", frames=note["frames"] | {"9": {"T_world_cam": None}})
    ((skipped),) = read(root).skipped
    assert (skipped.reason, skipped.expected) == ("its pose is null", True)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = root / "home/kitchen/frames/10.png"
    Image.open(picture).save(picture, exif=exif)
    with pytest.raises(SdvlmError, match="no frame can be used"):
        read(root)
    change(root / "home/kitchen", frames=note["frames"])
    assert "EXIF orientation" in read(root).skipped[0].reason


CAMERA = {"width": 160, "height": 120, "fx": 150, "fy": 150, "cx": 80, "cy": 60}
BOX = {"label": "mug", "center": [0, 0, 1], "size": [0.1, 0.1, 0.1]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"camera": None}, "scene.json: camera is missing"),
        ({"camera": CAMERA | {"width": 320}}, r"320x120|no frame can be used"),
        ({"camera": CAMERA | {"cx": 700}}, r"scene.json: camera: camera does not fit: principal point"),
        ({"camera": CAMERA | {"fx": "wide"}}, r'scene.json: camera.fx must be numbers \(one number\); got "wide"'),
        ({"camera": CAMERA | {"f": 3}}, "scene.json: camera.f is no field here; known: width, height"),
        ({"cameras": CAMERA}, "scene.json: cameras is no field here; known: version, camera"),
        ({"objects": {"mug": 1}}, r"scene.json: objects must be a list of JSON objects"),
        ({"objects": [BOX | {"size": [1, 0, 1]}]}, r"scene.json: objects\[0\].size must be three lengths"),
        ({"objects": [BOX | {"yaw": 90}]}, r"objects\[0\].yaw is in radians; got 90"),
        ({"objects": [BOX | {"yaw": 1, "quaternion": [0, 0, 0, 1]}]}, "are both given"),
        ({"objects": [BOX | {"quaternion": [1, 1, 0, 1]}]}, "quaternion .* of length 1.73"),
        ({"objects": [BOX | {"rotation": [[1, 0, 0], [0, 1, 0], [0, 0, -1]]}]}, "is no rotation"),
        ({"objects": [BOX | {"coordinates": "camera"}]}, r"objects\[0\].coordinates must be one of world"),
        ({"objects": [BOX | {"id": 2}, BOX]}, r"objects\[1\].id 2 is taken"),
        ({"objects": [BOX | {"id": 0}]}, r"objects\[0\].id must be a whole number > 0; got 0"),
        ({"objects": [BOX | {"label": " "}]}, r"objects\[0\].label must be a text"),
        ({"objects": [BOX | {"center": [0, 1]}]}, r"objects\[0\].center must be numbers \(3\); got \[0, 1\]"),
        ({"objects": [BOX | {"center": [0, 1e30, 0]}]}, r"objects\[0\].center holds numbers beyond 1e\+09"),
        ({"objects": None}, "objects is missing, and no frame has objects or masks"),
        ({"frames": {"9": {"pose": 1}}}, "scene.json: frames.9.pose is no field here"),
        ({"frames": {}}, "frames.9.T_world_cam is missing; the scene's objects stand in the world"),
        ({"frames": {}, "objects": None}, "which way is up"),
        (
            {"frames": {"9": {"T_world_cam": np.eye(4).tolist()[:2]}}},
            r"T_world_cam must be numbers \(4x4 or 3x4 or 7\)",
        ),
        ({"frames": {"9": {"T_world_cam": np.diag([1, 1, 1, 2.0]).tolist()}}}, "must end in the row 0 0 0 1"),
        ({"depth": {"scale": 0.001}}, "scene.json: depth.scale is no field here; known: scale_to_m"),
        ({"depth": {"codec": "exr"}}, "depth.codec must be one of"),
        ({"up": [0, 0, 0]}, "up must be a direction"),
        ({"labels": {"mug": "1"}}, "labels.mug is no mask id"),
        ({"version": 2}, "scene.json: version is not 1"),
    ],
)
def test_a_wrong_field_is_named(root: Path, changes: dict, message: str) -> None:
    change(root / "home/kitchen", **changes)
    with pytest.raises(SdvlmError, match=message) as told:
        read(root)
    assert "\n" not in str(told.value)


def test_a_pose_can_be_seven_numbers(root: Path, shots: list) -> None:
    half = np.sqrt(0.5)
    frames = {name: {"T_world_cam": [1, 2, 3, -half, 0, 0, half]} for name in ("9", "10")}
    change(root / "home/kitchen", frames=frames)
    expected = [[1, 0, 0, 1], [0, 0, 1, 2], [0, -1, 0, 3], [0, 0, 0, 1]]  # turned by -90 degrees about x
    assert np.allclose(read(root).frames[0].T_world_cam, expected)


def test_missing_files_are_listed_before_work_starts(root: Path) -> None:
    (root / "home/kitchen/frames/10.depth.png").unlink()
    (root / "home/kitchen/frames/9.png").unlink()
    (root / "empty").mkdir()
    (root / "empty/scene.json").write_text("{}")
    told = {(one.scene_id, one.path) for one in RgbdReader(root).missing()}
    assert told == {
        ("empty", "empty/frames"),
        ("home__kitchen", "home/kitchen/frames/10.depth.png"),
        ("home__kitchen", "home/kitchen/frames/9.jpg"),
    }
    with pytest.raises(SdvlmError, match=r"missing frames/10.depth.png \(depth of the picture\), frames/9.jpg"):
        read(root)


def test_an_empty_scene_and_a_folder_of_something_else_are_told(root: Path, tmp_path: Path) -> None:
    shutil.rmtree(root / "home/kitchen/frames")
    (root / "home/kitchen/frames").mkdir()
    change(root / "home/kitchen", frames=None)
    with pytest.raises(SdvlmError, match=r"missing frames/\*.jpg"):
        read(root)
    (tmp_path / "other").mkdir()
    with pytest.raises(SdvlmError, match=r"no scene\.json here or in folders below"):
        RgbdReader(tmp_path / "other").scene_ids()
    (root / "home/kitchen/scene.json").write_text("[")
    assert len(RgbdReader(root).missing()) == 0
    with pytest.raises(SdvlmError, match="is not readable JSON"):
        read(root)
    with pytest.raises(SdvlmError, match="no scene gone"):
        RgbdReader(root).read("gone")


def test_every_nth_frame_can_be_taken(root: Path) -> None:
    assert [frame.id for frame in read(root, frame_step=2).frames] == ["9"]
    with pytest.raises(SdvlmError, match="frame_step"):
        RgbdReader(root, frame_step=0)
