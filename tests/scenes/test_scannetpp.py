import io
import json
import math
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdvlm.scenes.render import Renderer
from sdvlm.scenes.rooms import Room, make_room
from sdvlm.scenes.scannetpp import ScannetppReader
from sdvlm.scenes.scannetpp_objects import annotated_box
from sdvlm.scenes.scannetpp_poses import from_nerfstudio
from sdvlm.scenes.viewpoints import sample_cameras
from sdvlm.types import Box3D, Camera, SdvlmError

from .scannetpp_files import (
    OPENCV,
    Taken,
    counted_depth,
    depth_pngs,
    depth_stream,
    nerfstudio_json,
    transform_matrix,
    write_dslr,
    write_iphone,
    write_scans,
)

SCENE = "0a1b2c3d4e"


@pytest.fixture(scope="module")
def room() -> Room:
    return make_room(np.random.default_rng(5))


@pytest.fixture(scope="module")
def made(room: Room, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Taken], list[Taken], list]:
    """A release of one scene with both devices: its folder, photographs, phone frames, phone depth."""
    root = tmp_path_factory.mktemp("scannetpp")
    folder = root / "data" / SCENE
    write_scans(folder, room)
    poses = [pose for _, pose in sample_cameras(room, np.random.default_rng(1), 2, (96, 64))]
    turned = poses[0] @ np.array([[0.6, -0.8, 0, 0], [0.8, 0.6, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])  # a rolled camera
    photographs = write_dslr(folder, room, [*poses, turned])
    phone, depths = write_iphone(folder, room, poses)
    depth_pngs(folder, depths)
    (root / "splits").mkdir()
    (root / "splits" / "nvs_sem_train.txt").write_text(f"ffffffffff\n{SCENE}\n")
    (root / "splits" / "nvs_sem_val.txt").write_text("eeeeeeeeee\n")
    return root, photographs, phone, depths


@pytest.fixture
def copy(made: tuple, tmp_path: Path) -> Path:
    shutil.copytree(made[0], tmp_path / "copy")
    return tmp_path / "copy" / "data" / SCENE


def straight_directions(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    x = (np.arange(camera.width) + 0.5 - camera.cx) / camera.fx
    y = (np.arange(camera.height) + 0.5 - camera.cy) / camera.fy
    return tuple(np.meshgrid(x, y))


def assert_aligned(image: np.ndarray, truth: np.ndarray) -> None:
    """The same picture but for JPEG and resampling; a shift by one pixel any way makes it clearly worse."""

    def difference(shift: tuple[int, int]) -> float:
        moved = np.roll(truth, shift, axis=(0, 1))[2:-2, 2:-2]
        return float(np.abs(image[2:-2, 2:-2].astype(int) - moved).mean())

    assert np.median(np.abs(image.astype(int) - truth)) <= 1
    assert difference((0, 0)) < 0.8 * min(difference(shift) for shift in ((0, 1), (0, -1), (1, 0), (-1, 0)))


def test_objects_and_mesh_are_those_of_the_room(made: tuple, room: Room) -> None:
    scene = ScannetppReader(made[0]).read(SCENE)
    assert (scene.id, scene.source, scene.split) == (SCENE, "scannetpp", "train")
    found = {item.id: item for item in scene.objects}
    assert {one: item.category for one, item in found.items() if one != 901} == {
        int(item.id): item.category for item in room.objects
    }
    assert 902 not in found  # labelled REMOVE
    for item in room.objects:
        box = found[item.id].box
        assert box.center == pytest.approx(item.box.center, abs=1e-4)
        assert box.size == pytest.approx(item.box.size, abs=1e-3)
    assert scene.mesh.vertices == pytest.approx(room.mesh.vertices)
    assert np.array_equal(scene.mesh.faces, room.mesh.faces)


def test_a_vertex_of_several_objects_goes_to_the_smallest_and_boxes_are_of_all_vertices(
    made: tuple, room: Room
) -> None:
    scene = ScannetppReader(made[0]).read(SCENE)
    assert np.array_equal(scene.mesh.instances, room.mesh.instances)  # the arrangement of two keeps none
    first, second = sorted(int(item.id) for item in room.objects)[:2]
    both = room.mesh.vertices[np.isin(room.mesh.instances, (first, second))]
    arrangement = next(item for item in scene.objects if item.category == "arrangement")
    local = (both - arrangement.box.center) @ arrangement.box.rotation
    assert np.abs(local).max(axis=0) == pytest.approx(arrangement.box.size / 2, abs=1e-4)


def test_photographs_are_straightened_and_have_the_depth_of_the_mesh(made: tuple, room: Room) -> None:
    scene = ScannetppReader(made[0]).read(SCENE)
    renderer = Renderer(room.mesh)
    assert [frame.id for frame in scene.frames] == ["DSC00001", "DSC00002", "DSC00003"]
    for frame, one in zip(scene.frames, made[1], strict=True):
        assert frame.T_world_cam == pytest.approx(one.pose, abs=1e-9)
        loaded = frame.load()
        truth = one.view.image(*straight_directions(frame.camera))
        assert_aligned(loaded.image, truth)
        assert loaded.depth.source == "rendered"
        depth, _ = renderer.trace(frame.camera, one.pose)
        assert np.allclose(loaded.depth.values, depth, atol=1e-5, equal_nan=True)
        assert frame.picture is None  # the file is not what load() returns


def test_the_poses_of_transforms_json_give_the_same_frames_as_colmap(copy: Path, made: tuple) -> None:
    shutil.rmtree(copy / "dslr" / "colmap")
    frames = ScannetppReader(copy).read(SCENE).frames
    assert [frame.id for frame in frames] == ["DSC00001", "DSC00002", "DSC00003"]  # test frames are in
    for frame, one in zip(frames, made[1], strict=True):
        assert frame.T_world_cam == pytest.approx(one.pose, abs=1e-12)


def test_a_transform_matrix_written_out_by_hand_is_undone() -> None:
    # camera at (1, 2, 3) looking along world +x, its y axis down: columns right (-y), down (-z), forward (+x), place
    pose = np.array([[0, 0, 1, 1], [-1, 0, 0, 2], [0, -1, 0, 3], [0, 0, 0, 1]], dtype=float)
    stored = np.array([[-1, 0, 0, 2], [0, 0, -1, 1], [0, -1, 0, -3], [0, 0, 0, 1]], dtype=float)
    assert np.array_equal(np.array(transform_matrix(pose)), stored)
    assert np.array_equal(from_nerfstudio(stored), pose)


def test_undistorted_pictures_are_taken_as_they_are_with_their_own_camera(copy: Path, made: tuple, room: Room) -> None:
    folder = copy / "dslr" / "resized_undistorted_images"
    folder.mkdir()
    straight = (96, 64, 60.0, 60.0, 48.0, 32.0, ())
    nerfstudio_json(copy / "dslr" / "nerfstudio" / "transforms_undistorted.json", "PINHOLE", straight, made[1])
    for index, one in enumerate(made[1]):
        Image.fromarray(np.full((64, 96, 3), 40 * index, np.uint8)).save(folder / one.name)
    for _ in ("with COLMAP", "without"):
        frames = ScannetppReader(copy).read(SCENE).frames
        assert [frame.camera.fx for frame in frames] == [60.0] * 3
        for index, frame in enumerate(frames):
            assert frame.T_world_cam == pytest.approx(made[1][index].pose, abs=1e-9)
            assert abs(int(frame.load().image.mean()) - 40 * index) <= 1
            assert np.array_equal(np.asarray(Image.open(io.BytesIO(frame.picture()))), frame.load().image)
        shutil.rmtree(copy / "dslr" / "colmap", ignore_errors=True)


def check_phone(root: Path, made: tuple, room: Room) -> None:
    scene = ScannetppReader(root, device="iphone").read(SCENE)
    renderer = Renderer(room.mesh)
    assert [frame.id for frame in scene.frames] == ["frame_000000", "frame_000010"]
    for frame, one in zip(scene.frames, made[2], strict=True):
        loaded = frame.load()
        assert loaded.size == (OPENCV[0], OPENCV[1])
        assert loaded.depth.source == "iphone lidar"
        truth = one.view.image(*straight_directions(frame.camera))
        assert_aligned(loaded.image, truth)
        off = np.abs(loaded.depth.values - renderer.trace(frame.camera, one.pose)[0])
        assert np.isfinite(loaded.depth.values).mean() > 0.99
        assert np.nanmedian(off) < 0.01  # a quarter of a pixel on slanted floors
        assert np.nanmean(off < 0.05) > 0.9


def test_phone_frames_have_their_depth_at_the_colour_pixels(made: tuple, room: Room) -> None:
    check_phone(made[0], made, room)


@pytest.mark.parametrize("encoding", [depth_stream, counted_depth, lambda frames: counted_depth(frames, False)])
def test_phone_depth_comes_from_depth_bin_where_it_was_not_extracted(copy: Path, made, room, encoding) -> None:
    shutil.rmtree(copy / "iphone" / "depth")
    video = [np.full((192, 256), 9.0, np.float32)] * 11
    video[0], video[10] = made[3]
    (copy / "iphone" / "depth.bin").write_bytes(encoding(video))
    check_phone(copy, made, room)


def test_frames_that_are_bad_not_extracted_or_damaged_are_skipped_with_the_reason(copy: Path, made: tuple) -> None:
    transforms = copy / "dslr" / "nerfstudio" / "transforms.json"
    document = json.loads(transforms.read_text())
    document["frames"][0]["is_bad"] = True  # DSC00002
    transforms.write_text(json.dumps(document))
    images = copy / "dslr" / "colmap" / "images.txt"
    lines = images.read_text().splitlines()
    lines[5] = " ".join(["3", "nan", *lines[5].split()[2:]])
    images.write_text("\n".join(lines) + "\n")
    scene = ScannetppReader(copy).read(SCENE)
    assert [frame.id for frame in scene.frames] == ["DSC00001"]
    assert [(one.frame_id, one.expected) for one in scene.skipped] == [("DSC00002", True), ("DSC00003", False)]
    (copy / "iphone" / "rgb" / "frame_000010.jpg").unlink()
    phone = ScannetppReader(copy, device="iphone").read(SCENE)
    assert [(one.frame_id, one.expected) for one in phone.skipped] == [("frame_000010", True)]
    (copy / "dslr" / "resized_images" / "DSC00001.JPG").unlink()
    with pytest.raises(SdvlmError, match=r"empty, none of 3 .*no picture"):
        ScannetppReader(copy).read(SCENE)


def test_what_is_missing_is_told_with_what_to_do(copy: Path) -> None:
    release = copy.parent.parent
    assert ScannetppReader(release).missing() == ScannetppReader(release, device="iphone").missing() == []
    (copy / "scans" / "segments_anno.json").unlink()
    shutil.rmtree(copy / "iphone" / "rgb")
    shutil.rmtree(copy / "iphone" / "depth")
    shutil.rmtree(copy / "iphone" / "colmap")
    (copy / "iphone" / "nerfstudio" / "transforms.json").unlink()
    found = {one.path: one.purpose for one in ScannetppReader(release, device="iphone").missing()}
    prefix = f"data/{SCENE}"
    assert sorted(found) == [
        f"{prefix}/iphone/colmap",
        f"{prefix}/iphone/depth.bin",
        f"{prefix}/iphone/rgb",
        f"{prefix}/scans/segments_anno.json",
    ]
    assert "ffmpeg -i" in found[f"{prefix}/iphone/rgb"]
    with pytest.raises(SdvlmError, match="ffmpeg") as error:
        ScannetppReader(release, device="iphone").read(SCENE)
    assert "\n" not in str(error.value)
    assert [one.path for one in ScannetppReader(release).missing()] == [f"{prefix}/scans/segments_anno.json"]


def test_a_reader_crosses_processes_and_takes_the_release_its_scenes_or_one_scene(made: tuple) -> None:
    reader = pickle.loads(pickle.dumps(ScannetppReader(made[0], device="iphone", frame_step=2)))
    assert [frame.id for frame in reader.read(SCENE).frames] == ["frame_000000"]
    for root in (made[0], made[0] / "data", made[0] / "data" / SCENE):
        assert ScannetppReader(root).scene_ids() == [SCENE]
        assert ScannetppReader(root)._splits().get(SCENE) == "train"
    with pytest.raises(SdvlmError, match="no scene 'x'"):
        reader.read("x")
    with pytest.raises(SdvlmError, match="device must be one of dslr, iphone"):
        ScannetppReader(made[0], device="drone")


def test_annotated_boxes_are_written_our_way_and_distrusted_where_they_do_not_hold_the_object(
    made: tuple, room: Room, copy: Path
) -> None:
    boxes = {item.id: item.box for item in ScannetppReader(made[0], box="annotated").read(SCENE).objects}
    for item in room.objects:
        box = boxes[item.id]
        assert box.rotation[2, 2] == pytest.approx(1)
        assert box.size[0] >= box.size[1]
        corners = sorted(map(tuple, box.corners().round(3)))
        assert np.array(corners) == pytest.approx(np.array(sorted(map(tuple, item.box.corners().round(3)))), abs=2e-3)
    true = Box3D.from_yaw(np.array([1.0, 2, 3]), np.array([2.0, 1, 0.5]), 0.4)
    obb = {"centroid": [1, 2, 3], "axesLengths": [2, 1, 0.5], "normalizedAxes": true.rotation.T.ravel().tolist()}
    assert annotated_box(obb, true.corners()) is not None
    for changed in (
        {"centroid": [1.5, 2, 3]},
        {"axesLengths": [1, 0.5, 0.25]},
        {"normalizedAxes": true.rotation.ravel().tolist()},  # turned the other way
        {"normalizedAxes": [1, 0, 0, 0, math.cos(0.3), math.sin(0.3), 0, -math.sin(0.3), math.cos(0.3)]},
        {"axesLengths": "x"},
    ):
        assert annotated_box(obb | changed, true.corners()) is None
    assert annotated_box({}, true.corners()) is None


def test_pictures_stored_smaller_scale_the_lens_and_other_shapes_are_refused(copy: Path, made: tuple) -> None:
    for path in (copy / "dslr" / "resized_images").glob("*.JPG"):
        Image.open(path).resize((48, 32)).save(path)
    whole = ScannetppReader(made[0]).read(SCENE).frames[0].camera
    camera = ScannetppReader(copy).read(SCENE).frames[0].camera
    assert camera.size == (48, 32)
    assert camera.fov_x_deg == pytest.approx(whole.fov_x_deg, abs=2.0)  # half a pixel's margin is more of it
    for path in (copy / "dslr" / "resized_images").glob("*.JPG"):
        Image.open(path).resize((32, 48)).save(path)
    with pytest.raises(SdvlmError, match="different cameras"):
        ScannetppReader(copy).read(SCENE)


def test_a_name_that_leads_out_of_the_folder_is_refused(copy: Path) -> None:
    images = copy / "dslr" / "colmap" / "images.txt"
    images.write_text(images.read_text().replace("DSC00001.JPG", "../../DSC00001.JPG"))
    with pytest.raises(SdvlmError, match="outside"):
        ScannetppReader(copy).read(SCENE)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("scans/segments.json", '{"segIndices": [1, 2]}'),
        ("scans/segments.json", '{"segIndices": ["a"]}'),
        ("scans/segments_anno.json", '{"segGroups": []}'),
        ("scans/mesh_aligned_0.05.ply", "ply"),
        ("dslr/colmap/cameras.txt", "1 PINHOLE"),
        ("dslr/nerfstudio/transforms.json", "{}"),
    ],
)
def test_damaged_files_are_refused_in_one_line(copy: Path, file: str, content: str) -> None:
    (copy / file).write_text(content)
    with pytest.raises(SdvlmError) as error:
        ScannetppReader(copy).read(SCENE)
    assert "\n" not in str(error.value)
