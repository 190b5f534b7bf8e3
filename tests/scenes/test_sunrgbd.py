import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sdvlm.scenes.frames_from_boxes import see_boxes
from sdvlm.scenes.reader import open_reader
from sdvlm.scenes.render import Renderer
from sdvlm.scenes.rgbd_folder import RgbdReader
from sdvlm.scenes.rooms import Room
from sdvlm.scenes.scene import SceneObject
from sdvlm.scenes.sunrgbd import SunrgbdReader
from sdvlm.scenes.viewpoints import sample_cameras
from sdvlm.types import Camera, SdvlmError

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data" / "real_rgbd"
SIZE = (160, 120)
PLACE = "kv2/kinect2data/000001_a-resize"
TO_TOOLBOX = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0.0]])


def corners_in_plan(box: Any) -> np.ndarray:
    """(4, 2) x, y of a box's rectangle, going round."""
    half = box.size[:2] / 2
    return np.array([box.center[:2] + box.rotation[:2, :2] @ (half * s) for s in ((-1, -1), (1, -1), (1, 1), (-1, 1))])


def write_official(
    root: Path, image: np.ndarray | Path, depth_m: np.ndarray, camera: Camera, pose: np.ndarray, objects: Any
) -> Path:
    """One picture as the release lays it out; ``pose`` (z-up world) may stand anywhere: the world's origin moves."""
    folder = root / PLACE
    for name in ("image", "depth", "depth_bfx", "extrinsics", "annotation3Dfinal", "annotation2Dfinal"):
        (folder / name).mkdir(parents=True)
    if isinstance(image, Path):
        shutil.copy(image, folder / "image" / "0000001.jpg")
    else:
        Image.fromarray(image).save(folder / "image" / "0000001.jpg", quality=95)
    mm = np.rint(np.nan_to_num(depth_m) * 1000).astype(np.uint16)
    rotated = ((mm.astype(np.uint32) << 3) & 0xFFFF) | (mm.astype(np.uint32) >> 13)
    for name, stored in (("depth_bfx", rotated), ("depth", np.where(mm > 3000, 0, rotated))):
        Image.fromarray(stored.astype(np.uint16)).save(folder / name / "0000001.png")
    K = [[camera.fx, 0, camera.cx + 0.5], [0, camera.fy, camera.cy + 0.5], [0, 0, 1]]
    (folder / "intrinsics.txt").write_text("\n".join(" ".join(f"{value:.6f}" for value in row) for row in K))
    level = TO_TOOLBOX.T @ pose[:3, :3]  # camera to x right, y down, z forward, level
    for time, rows in (("20140601", np.eye(3)), ("20140902", level)):
        text = "\n".join(" ".join(f"{value:.8f}" for value in [*row, 0.0]) for row in rows)
        (folder / "extrinsics" / f"{time}000000.txt").write_text(text)
    listed: list[Any] = [None]  # deleted by an annotator
    for one in objects:
        plan = corners_in_plan(one.box) - pose[:2, 3]
        z, half = one.box.center[2] - pose[2, 3], one.box.size[2] / 2
        polygon = {"X": plan[:, 0].tolist(), "Z": plan[:, 1].tolist(), "Ymin": -(z + half), "Ymax": -(z - half)}
        listed.append({"name": one.category.replace(" ", "_"), "polygon": [polygon | {"rectangle": 1}]})
    (folder / "annotation3Dfinal" / "index.json").write_text(json.dumps({"date": "", "objects": listed, "frames": []}))
    (folder / "annotation2Dfinal" / "index.json").write_text(json.dumps({"objects": [], "frames": []}))
    (folder / "scene.txt").write_text("bedroom")
    return folder


@pytest.fixture(scope="module")
def shot(rooms: list[Room]) -> tuple[Room, Camera, np.ndarray, Any]:
    room = rooms[4]
    renderer = Renderer(room.mesh)
    ((camera, pose),) = sample_cameras(room, np.random.default_rng(1), 1, SIZE, renderer=renderer)
    return room, camera, pose, renderer.render(camera, pose)


@pytest.fixture
def root(shot: Any, tmp_path: Path) -> Path:
    room, camera, pose, drawn = shot
    write_official(tmp_path / "SUNRGBD", drawn.image, drawn.depth_m, camera, pose, room.objects)
    return tmp_path / "SUNRGBD"


def scene_id() -> str:
    return PLACE.replace("/", "__")


def test_an_official_folder_reads_back_as_the_room_it_shows(root: Path, shot: Any) -> None:
    room, camera, pose, drawn = shot
    reader = open_reader(root, "sunrgbd")
    assert reader.scene_ids() == [scene_id()]
    assert reader.missing() == []
    scene = reader.read(scene_id())
    (frame,) = scene.frames
    loaded = frame.load()
    assert np.allclose(frame.camera.matrix, camera.matrix, atol=1e-5)
    near = drawn.depth_m < 7.99  # the toolbox clips at 8 m
    assert np.allclose(loaded.depth.values[near], drawn.depth_m[near], atol=6e-4)
    assert frame.picture() == (root / PLACE / "image" / "0000001.jpg").read_bytes()
    assert (scene.source, scene.mesh, scene.split, scene.box_source) == ("sunrgbd", None, None, "annotated")
    assert [one.category for one in scene.objects] == [one.category for one in room.objects]
    assert [one.id for one in scene.objects] == list(range(2, len(room.objects) + 2))  # the first entry was deleted
    T_ours_room = frame.T_world_cam @ np.linalg.inv(pose)
    assert np.allclose(T_ours_room[:3, :3], np.eye(3), atol=1e-6)
    for ours, theirs in zip(scene.objects, room.objects, strict=True):
        expected = theirs.box.transformed(T_ours_room).corners()
        got = ours.box.corners()
        assert np.linalg.norm(got[:, None] - expected[None], axis=-1).min(axis=1).max() < 1e-5
        assert ours.box.rotation[2, 2] == pytest.approx(1)


def test_its_pixels_are_those_of_the_rendered_objects(root: Path, shot: Any) -> None:
    drawn = shot[3]
    scene = SunrgbdReader(root).read(scene_id())
    (frame,) = scene.frames
    depth = frame.load().depth
    assert depth is not None
    seen = see_boxes(scene.objects, depth.values, frame.camera, frame.T_world_cam)
    theirs = np.where(drawn.instances > 0, drawn.instances + 1, 0)  # ids start at 2 here
    either = (seen.instances > 0) | (theirs > 0)
    assert (seen.instances == theirs)[either].mean() > 0.9


def test_measured_depth_is_read_on_request(root: Path) -> None:
    refined, raw = (
        SunrgbdReader(root, depth=kind).read(scene_id()).frames[0].load().depth for kind in ("refined", "raw")
    )
    assert refined is not None
    assert raw is not None
    assert np.nanmax(raw.values) <= 3.0 < np.nanmax(refined.values)
    shutil.rmtree(root / PLACE / "depth_bfx")
    fallback = SunrgbdReader(root).read(scene_id()).frames[0].load().depth
    assert fallback is not None
    assert np.array_equal(fallback.values, raw.values, equal_nan=True)


def test_odd_annotations_are_left_out_or_made_boxes(root: Path) -> None:
    path = root / PLACE / "annotation3Dfinal" / "index.json"

    def polygon(x: list[Any], z: list[Any], low: Any = 1.0, high: Any = 0.0) -> dict[str, Any]:
        return {"X": x, "Z": z, "Ymin": high, "Ymax": low}

    square = polygon([0, 1, 1, 0], [2, 2, 4, 4])
    entries = [
        {"name": "Night_Stand:2", "polygon": [square]},
        {"name": "chair", "polygon": []},
        {"name": "", "polygon": [square]},
        {"name": "flat", "polygon": [polygon([0, 1, 1, 0], [2, 2, 4, 4], 1.0, 1.0)]},
        {"name": "nowhere", "polygon": [polygon([0, float("nan"), 1, 0], [2, 2, 4, 4])]},
        {"name": "huge", "polygon": [polygon([0, 99, 99, 0], [2, 2, 4, 4])]},
        {"name": "trapeze", "polygon": [polygon([0, 2, 1.5, 0.5], [2, 2, 3, 3])]},
        {"polygon": [square]},
        "chair",
        {"name": "mirrored", "polygon": [polygon([0, 0, 1, 1], [2, 4, 4, 2])]},
    ]
    path.write_text(json.dumps({"objects": entries, "frames": []}))
    scene = SunrgbdReader(root).read(scene_id())
    assert [(one.id, one.category) for one in scene.objects] == [(1, "night stand"), (7, "trapeze"), (10, "mirrored")]
    stand, trapeze, mirrored = (one.box for one in scene.objects)
    assert np.allclose(stand.size, [1, 2, 1])
    assert np.allclose(stand.center, [0.5, 3, -0.5])
    assert np.allclose(trapeze.size, [2, 1, 1])
    assert np.allclose(np.sort(mirrored.size), [1, 1, 2])
    assert np.allclose(mirrored.center, stand.center)


def test_missing_files_are_listed_and_refused(root: Path) -> None:
    folder = root / PLACE
    (folder / "annotation3Dfinal" / "index.json").unlink()
    shutil.rmtree(folder / "extrinsics")
    reader = SunrgbdReader(root)
    assert [(one.path, one.purpose) for one in reader.missing()] == [
        (f"{PLACE}/extrinsics/*.txt", "tilt of the camera"),
        (f"{PLACE}/annotation3Dfinal/index.json", "3D boxes"),
    ]
    with pytest.raises(SdvlmError, match=r"missing extrinsics/\*.txt \(tilt of the camera\), annotation3Dfinal"):
        reader.read(scene_id())


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("intrinsics.txt", "1 2 3", "holds 3 numbers; wanted 9"),
        ("intrinsics.txt", "150 0 900 0 150 60 0 0 1", "intrinsics.txt: camera does not fit: principal point"),
        ("intrinsics.txt", "one", "cannot be read as numbers"),
        ("extrinsics/20140902000000.txt", "1 0 0 0 0 1 0 0 0 0 2 0", "is no rotation"),
        ("extrinsics/20140902000000.txt", "1 0 0 0 0 1 0 0 0 0 -1 0", "mirrors"),
        ("annotation3Dfinal/index.json", "{", "is no readable annotation"),
        ("annotation3Dfinal/index.json", '{"objects": 3}', "must be lists"),
        ("image/0000001.jpg", "hello", "cannot be read as"),
    ],
)
def test_a_damaged_file_is_named(root: Path, file: str, content: str, message: str) -> None:
    (root / PLACE / file).write_text(content)
    with pytest.raises(SdvlmError, match=message) as told:
        SunrgbdReader(root).read(scene_id())
    assert "\n" not in str(told.value)


def test_depth_of_another_size_is_refused(root: Path) -> None:
    Image.fromarray(np.ones((10, 10), np.uint16)).save(root / PLACE / "depth_bfx" / "0000001.png")
    (frame,) = SunrgbdReader(root).read(scene_id()).frames
    with pytest.raises(SdvlmError, match="depth is 10x10 but its camera is for 160x120"):
        frame.load()


def test_other_folders_and_options_are_told(root: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(SdvlmError, match="is it SUN RGB-D"):
        SunrgbdReader(tmp_path / "other").scene_ids()
    with pytest.raises(SdvlmError, match="no picture gone"):
        SunrgbdReader(root).read("gone")
    with pytest.raises(SdvlmError, match="no picture"):
        SunrgbdReader(root).read("..__SUNRGBD__" + scene_id())
    with pytest.raises(SdvlmError, match="boxes must be one of"):
        SunrgbdReader(root, boxes="mat")  # type: ignore[arg-type]
    with pytest.raises(SdvlmError, match="depth must be one of"):
        SunrgbdReader(root, depth="bfx")  # type: ignore[arg-type]
    with pytest.raises(SdvlmError, match=r"no SUNRGBDMeta3DBB_v2.mat here"):
        SunrgbdReader(root, boxes="toolbox").read(scene_id())
    own = SunrgbdReader(root / PLACE)
    assert own.scene_ids() == ["000001_a-resize"]
    assert own.read("000001_a-resize").objects


def test_without_scipy_the_json_serves_and_says_so(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (root / "SUNRGBDMeta3DBB_v2.mat").write_bytes(b"whatever")
    (root / "allsplit.mat").write_bytes(b"whatever")
    monkeypatch.setattr("sdvlm.scenes.sunrgbd.is_installed", lambda name: name != "scipy")
    with caplog.at_level(logging.WARNING):
        scene = SunrgbdReader(root).read(scene_id())
    assert scene.objects[0].id == 2
    assert scene.split is None
    assert "SciPy is not installed; boxes come from annotation3Dfinal" in caplog.text


def write_toolbox(root: Path, objects: tuple[SceneObject, ...], pose: np.ndarray) -> None:
    """The toolbox's tables: boxes 5 cm higher than in the JSON, so that one knows where they come from."""
    scipy_io = pytest.importorskip("scipy.io", reason="the toolbox's tables are MATLAB files; SciPy reads them")
    struct = [("basis", "O"), ("coeffs", "O"), ("centroid", "O"), ("classname", "O")]
    boxes = np.empty((1, len(objects)), dtype=struct)
    for index, one in enumerate(objects):
        axes = one.box.rotation.T * np.array([[1.0], [-1.0], [1.0]])  # left-handed, as half of the real ones are
        centroid = one.box.center - pose[:3, 3] + [0, 0, 0.05]
        boxes[0, index] = (axes, one.box.size[None] / 2, centroid[None], one.category.replace(" ", "_"))
    names = [("sequenceName", "O"), ("groundtruth3DBB", "O"), ("Rtilt", "O")]
    meta = np.empty((1, 2), dtype=names)
    meta[0, 0] = (f"SUNRGBD/{PLACE}/", boxes, pose[:3, :3] @ TO_TOOLBOX.T)
    meta[0, 1] = ("SUNRGBD/xtion/none/", np.zeros((0, 0)), np.eye(3))
    folder = root / "SUNRGBDtoolbox" / "Metadata"
    folder.mkdir(parents=True)
    scipy_io.savemat(folder / "SUNRGBDMeta3DBB_v2.mat", {"SUNRGBDMeta": meta}, do_compression=True)
    split = folder.parent / "traintestSUNRGBD"
    split.mkdir()
    lists = {
        "alltrain": np.array([["/n/data/SUNRGBD/other"]], dtype=object),
        "alltest": np.array([[f"/n/data/SUNRGBD/{PLACE}", "/n/data/SUNRGBD/more"]], dtype=object),
    }
    scipy_io.savemat(split / "allsplit.mat", lists)


def test_with_scipy_the_toolbox_gives_boxes_tilt_and_split(root: Path, shot: Any) -> None:
    room, _, pose, _ = shot
    write_toolbox(root.parent, room.objects, pose)
    (root / PLACE / "extrinsics" / "20140902000000.txt").write_text("1 0 0 0 0 1 0 0 0 0 1 0")  # not what is used
    scene = SunrgbdReader(root).read(scene_id())
    assert scene.split == "test"
    assert np.allclose(scene.frames[0].T_world_cam[:3, :3], pose[:3, :3], atol=1e-6)
    assert [one.id for one in scene.objects] == [one.id for one in room.objects]
    for ours, theirs in zip(scene.objects, room.objects, strict=True):
        expected = theirs.box.corners() - pose[:3, 3] + [0, 0, 0.05]
        assert np.linalg.norm(ours.box.corners()[:, None] - expected[None], axis=-1).min(axis=1).max() < 1e-6
    part = SunrgbdReader(root.parent / "SUNRGBD" / "kv2")
    assert part.read("kinect2data__000001_a-resize").objects
    assert SunrgbdReader(root, boxes="json").read(scene_id()).objects[0].id == 2


@pytest.mark.skipif(not SHARED.exists(), reason="the shared real RGB-D frames are not here")
def test_a_real_bedroom_reads_the_same_in_the_official_layout(tmp_path: Path) -> None:
    theirs = RgbdReader(SHARED).read("sunrgbd__bedroom_000001")
    (frame,) = theirs.frames
    loaded = frame.load()
    assert loaded.depth is not None
    image = frame.image_path
    assert image is not None
    write_official(tmp_path, image, loaded.depth.values, frame.camera, frame.T_world_cam, theirs.objects)
    (ours,) = SunrgbdReader(tmp_path).read(scene_id()).frames
    again = ours.load()
    assert np.array_equal(again.image, loaded.image)
    assert again.depth is not None
    near = loaded.depth.values < 7.99
    assert np.allclose(again.depth.values[near], loaded.depth.values[near], atol=1e-6)
    assert ours.objects is not None
    for mine, other in zip(ours.objects, theirs.objects, strict=True):
        to_cam = [np.linalg.inv(one.T_world_cam) for one in (ours, frame)]
        assert np.allclose(mine.box.transformed(to_cam[0]).center, other.box.transformed(to_cam[1]).center, atol=2e-4)
        assert np.allclose(np.sort(mine.box.size), np.sort(other.box.size), atol=1e-3)
    assert [one.category for one in ours.objects] == [one.category for one in theirs.objects]
