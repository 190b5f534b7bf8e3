import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdvlm.scenes.render import Renderer
from sdvlm.scenes.rooms import Room, make_room
from sdvlm.scenes.scannet import read_scannet_scene
from sdvlm.scenes.scannet_writer import ScanFrame, write_scannet_scene
from sdvlm.scenes.scene import Scene
from sdvlm.scenes.viewpoints import sample_cameras
from sdvlm.types import Camera, DepthMap, SdvlmError

SIZE, DEPTH_SIZE = (80, 60), (64, 48)


def alignment() -> np.ndarray:
    cos, sin = np.cos(0.6), np.sin(0.6)
    return np.array([[cos, -sin, 0, 1.5], [sin, cos, 0, -2.0], [0, 0, 1, 0.2], [0, 0, 0, 1]])


def shots(room: Room) -> list[ScanFrame]:
    renderer = Renderer(room.mesh, room.face_materials)
    ((camera, first),) = sample_cameras(room, np.random.default_rng(0), 1, SIZE)
    depth_camera = Camera(*DEPTH_SIZE, camera.fx * 0.8, camera.fy * 0.79, 31.3, 24.9)
    second = first.copy()
    second[:3, 3] += [0.1, -0.1, 0.05]
    frames = []
    for name, pose in (("0", first), ("20", second)):
        image = renderer.render(camera, pose).image
        depth = DepthMap(renderer.trace(depth_camera, pose)[0])
        frames.append(ScanFrame(name, image, camera, depth, depth_camera, pose))
    return frames


@pytest.fixture(scope="module")
def room() -> Room:
    return make_room(np.random.default_rng(11))


@pytest.fixture(scope="module")
def written(room: Room, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[ScanFrame]]:
    root = tmp_path_factory.mktemp("scans")
    frames = shots(room)
    scene = Scene("scene0007_00", room.objects, (), room.mesh)
    return write_scannet_scene(scene, root, frames, T_aligned_raw=alignment()), frames


@pytest.fixture
def copy(written: tuple[Path, list[ScanFrame]], tmp_path: Path) -> Path:
    return Path(shutil.copytree(written[0], tmp_path / written[0].name))


def test_objects_mesh_and_boxes_read_back_as_written(room: Room, written: tuple[Path, list[ScanFrame]]) -> None:
    scene = read_scannet_scene(written[0])
    assert scene.id == "scene0007_00"
    assert [(item.id, item.category) for item in scene.objects] == [(item.id, item.category) for item in room.objects]
    for found, made in zip(scene.objects, room.objects, strict=True):
        assert found.box.center == pytest.approx(made.box.center, abs=1e-5)
        assert found.box.size == pytest.approx(made.box.size, abs=1e-4)
        assert found.box.rotation == pytest.approx(made.box.rotation, abs=2e-3)
    assert scene.mesh.vertices == pytest.approx(room.mesh.vertices, abs=2e-6)
    assert np.array_equal(scene.mesh.faces, room.mesh.faces)
    assert np.array_equal(scene.mesh.colors, room.mesh.colors)
    assert np.array_equal(scene.mesh.instances, room.mesh.instances)


def test_frames_read_back_with_their_cameras_poses_and_pictures(written: tuple[Path, list[ScanFrame]]) -> None:
    scene = read_scannet_scene(written[0])
    assert [frame.id for frame in scene.frames] == ["0", "20"]
    for frame, shot in zip(scene.frames, written[1], strict=True):
        assert frame.camera == shot.camera
        assert frame.T_world_cam == pytest.approx(shot.T_world_cam, abs=1e-12)
        loaded = frame.load()
        assert loaded.size == SIZE
        assert np.abs(loaded.image.astype(int) - shot.image).mean() < 3  # JPEG
        assert frame.image_path is not None
        assert frame.image_path.is_file()


def test_instance_masks_of_the_read_scene_equal_those_of_the_room(
    room: Room, written: tuple[Path, list[ScanFrame]]
) -> None:
    scene = read_scannet_scene(written[0])
    for frame in scene.frames:
        _, before = Renderer(room.mesh).trace(frame.camera, frame.T_world_cam)
        _, after = Renderer(scene.mesh).trace(frame.camera, frame.T_world_cam)
        assert np.count_nonzero(before != after) <= 3  # rays along edges, float32 vertices
        assert len(np.unique(before)) > 2


def test_depth_is_brought_to_the_colour_pixels_within_half_a_millimetre(written: tuple[Path, list[ScanFrame]]) -> None:
    for frame, shot in zip(read_scannet_scene(written[0]).frames, written[1], strict=True):
        depth = frame.load().depth.values
        assert depth.shape == (SIZE[1], SIZE[0])
        c, d = shot.camera, shot.depth_camera
        for row in range(0, SIZE[1], 7):
            for column in range(0, SIZE[0], 7):
                u = (column + 0.5 - c.cx) / c.fx * d.fx + d.cx
                v = (row + 0.5 - c.cy) / c.fy * d.fy + d.cy
                if 0 <= u < d.width and 0 <= v < d.height:
                    assert depth[row, column] == pytest.approx(shot.depth.values[int(v), int(u)], abs=0.00051)
                else:
                    assert np.isnan(depth[row, column])


def test_files_hold_the_unaligned_frame_and_integer_pixel_centres(
    room: Room, written: tuple[Path, list[ScanFrame]]
) -> None:
    folder, frames = written
    pose = np.loadtxt(folder / "pose" / "20.txt")
    assert alignment() @ pose == pytest.approx(frames[1].T_world_cam)
    assert not np.allclose(pose, frames[1].T_world_cam)
    K = np.loadtxt(folder / "intrinsic" / "intrinsic_color.txt")
    assert K[0, 2] == frames[0].camera.cx - 0.5
    info = dict(line.split(" = ") for line in (folder / "scene0007_00.txt").read_text().splitlines())
    assert np.array(info["axisAlignment"].split(), float).reshape(4, 4) == pytest.approx(alignment())
    assert (int(info["colorWidth"]), int(info["depthHeight"])) == (80, 48)
    stored = np.asarray(Image.open(folder / "depth" / "0.png"))
    assert stored.dtype == np.uint16
    assert stored[20, 30] == round(float(frames[0].depth.values[20, 30]) * 1000)
    groups = json.loads((folder / "scene0007_00.aggregation.json").read_text())["segGroups"]
    assert [group["objectId"] for group in groups] == list(range(len(room.objects)))


def test_axis_aligned_boxes_are_minimum_and_maximum_after_alignment(
    room: Room, written: tuple[Path, list[ScanFrame]]
) -> None:
    scene = read_scannet_scene(written[0], box="axis_aligned")
    for item in scene.objects:
        vertices = room.mesh.vertices[room.mesh.instances == item.id]
        assert item.box.center - item.box.size / 2 == pytest.approx(vertices.min(axis=0), abs=1e-5)
        assert item.box.center + item.box.size / 2 == pytest.approx(vertices.max(axis=0), abs=1e-5)
        assert np.array_equal(item.box.rotation, np.eye(3))


def test_a_scene_without_alignment_stays_in_its_own_frame(copy: Path) -> None:
    info = copy / "scene0007_00.txt"
    info.write_text("".join(line for line in info.read_text().splitlines(True) if "axisAlignment" not in line))
    frame = read_scannet_scene(copy).frames[0]
    assert frame.T_world_cam == pytest.approx(np.loadtxt(copy / "pose" / "0.txt"))


def test_frames_with_an_infinite_pose_are_skipped(copy: Path) -> None:
    (copy / "pose" / "0.txt").write_text("-inf -inf -inf -inf\n" * 4)
    assert [frame.id for frame in read_scannet_scene(copy).frames] == ["20"]


def test_pictures_exported_at_another_size_scale_the_camera(copy: Path, written: tuple[Path, list[ScanFrame]]) -> None:
    for name in ("0", "20"):
        path = copy / "color" / f"{name}.jpg"
        Image.open(path).resize((40, 30)).save(path)
    frame = read_scannet_scene(copy).frames[0]
    camera = written[1][0].camera
    assert frame.camera.size == (40, 30)
    assert (frame.camera.fx, frame.camera.cx) == pytest.approx((camera.fx / 2, camera.cx / 2))
    assert frame.load().depth.size == (40, 30)


def test_all_missing_files_are_named_at_once(copy: Path) -> None:
    (copy / "depth" / "20.png").unlink()
    (copy / "scene0007_00.aggregation.json").unlink()
    with pytest.raises(SdvlmError) as error:
        read_scannet_scene(copy)
    assert "depth/20.png" in str(error.value)
    assert "scene0007_00.aggregation.json" in str(error.value)
    assert "\n" not in str(error.value)


def test_broken_files_are_refused_in_one_line(copy: Path) -> None:
    segments = copy / "scene0007_00_vh_clean_2.0.010000.segs.json"
    whole = segments.read_text()
    segments.write_text(json.dumps({"segIndices": [1, 2, 3]}))
    with pytest.raises(SdvlmError, match="same resolution"):
        read_scannet_scene(copy)
    segments.write_text("{")
    with pytest.raises(SdvlmError, match="expected JSON"):
        read_scannet_scene(copy)
    segments.write_text(whole)
    (copy / "intrinsic" / "extrinsic_depth.txt").write_text("1 0 0 0.1\n0 1 0 0\n0 0 1 0\n0 0 0 1\n")
    with pytest.raises(SdvlmError, match="registered"):
        read_scannet_scene(copy)


def test_a_scene_that_cannot_be_written_leaves_nothing_behind(room: Room, tmp_path: Path) -> None:
    first, second = shots(room)
    other = ScanFrame("1", second.image, Camera.from_fov(*SIZE, 33.0), second.depth, second.depth_camera, np.eye(4))
    with pytest.raises(SdvlmError, match="one camera"):
        write_scannet_scene(Scene("scene0000_00", room.objects, (), room.mesh), tmp_path, [first, other])
    assert list(tmp_path.iterdir()) == []
