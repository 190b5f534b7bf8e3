import io
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdvlm.scenes.reader import MissingFile, open_reader
from sdvlm.scenes.render import Renderer
from sdvlm.scenes.rooms import Room, make_room
from sdvlm.scenes.scannet import ScannetReader, read_scannet_scene
from sdvlm.scenes.scannet_labels import write_label_table
from sdvlm.scenes.scannet_writer import ScanFrame, write_scannet_scene
from sdvlm.scenes.scene import Scene
from sdvlm.scenes.sens import open_sens
from sdvlm.scenes.viewpoints import sample_cameras
from sdvlm.types import Camera, DepthMap, SdvlmError

SIZE, DEPTH_SIZE = (80, 60), (64, 48)
ALIGNMENT = np.array([[0.8, -0.6, 0, 1.5], [0.6, 0.8, 0, -2.0], [0, 0, 1, 0.2], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def room() -> Room:
    return make_room(np.random.default_rng(11))


def shots(room: Room, T_color_depth: np.ndarray | None = None, count: int = 4) -> list[ScanFrame]:
    """Pictures with depth from a camera that stands beside, where a transform is given."""
    renderer = Renderer(room.mesh, room.face_materials)
    poses = sample_cameras(room, np.random.default_rng(0), 1, SIZE)
    ((camera, first),) = poses
    depth_camera = Camera(*DEPTH_SIZE, camera.fx * 0.8, camera.fy * 0.79, 31.3, 24.9)
    beside = np.eye(4) if T_color_depth is None else T_color_depth
    frames = []
    for index in range(count):
        pose = first.copy()
        pose[:3, 3] += [0.05 * index, -0.05 * index, 0.02 * index]
        depth = renderer.trace(depth_camera, pose @ beside)[0]
        image = renderer.render(camera, pose).image
        frames.append(ScanFrame(str(index), image, camera, DepthMap(depth), depth_camera, pose))
    return frames


@pytest.fixture(scope="module")
def both(room: Room, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same shots as extracted folders and as a stream."""
    frames = shots(room)
    made = []
    for sens in (False, True):
        root = tmp_path_factory.mktemp("sens" if sens else "extracted")
        scene = Scene("scene0007_00", room.objects, (), room.mesh)
        write_scannet_scene(scene, root, frames, T_aligned_raw=ALIGNMENT, sens=sens)
        made.append(root)
    return made[0], made[1]


@pytest.fixture
def extracted(both: tuple[Path, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(both[0], tmp_path / "extracted"))


@pytest.fixture
def stream(both: tuple[Path, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(both[1], tmp_path / "stream"))


def test_a_stream_gives_the_scene_of_the_extracted_frames(both: tuple[Path, Path]) -> None:
    assert not (both[1] / "scene0007_00" / "color").exists()
    one, other = (ScannetReader(root).read("scene0007_00") for root in both)
    assert [frame.id for frame in one.frames] == [frame.id for frame in other.frames] == ["0", "1", "2", "3"]
    for a, b in zip(one.frames, other.frames, strict=True):
        assert b.T_world_cam == pytest.approx(a.T_world_cam, abs=1e-6)  # float32 poses in the stream
        assert (b.camera.fx, b.camera.cy) == pytest.approx((a.camera.fx, a.camera.cy), rel=1e-6)
        first, second = a.load(), b.load()
        assert np.array_equal(first.image, second.image)
        moved = np.count_nonzero(~np.isclose(first.depth.values, second.depth.values, atol=1e-6, equal_nan=True))
        assert moved <= 0.002 * first.depth.values.size  # a float32 camera puts a few rays into the next depth pixel
        assert np.isfinite(second.depth.values).mean() > 0.9


def test_the_picture_of_a_frame_decodes_to_its_image(both: tuple[Path, Path]) -> None:
    for root in both:
        frame = ScannetReader(root).read("scene0007_00").frames[1]
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(frame.picture()))), frame.load().image)


def test_a_reader_crosses_processes_and_tells_scenes_of_every_kind_of_root(both: tuple[Path, Path]) -> None:
    root = both[0]
    reader = pickle.loads(pickle.dumps(ScannetReader(root, box="axis_aligned", frame_step=2)))
    assert [frame.id for frame in reader.read("scene0007_00").frames] == ["0", "2"]
    assert ScannetReader(root / "scene0007_00").scene_ids() == ["scene0007_00"]
    release = root.parent / f"{root.name}-release"
    (release / "scans").mkdir(parents=True)
    shutil.copytree(root / "scene0007_00", release / "scans" / "scene0007_00")
    (release / "scannetv2_val.txt").write_text("scene0001_00\nscene0007_00\n")
    assert ScannetReader(release).scene_ids() == ["scene0007_00"]
    for inside in (release, release / "scans"):
        assert open_reader(inside, "scannet").read("scene0007_00").split == "val"
    assert ScannetReader(root).read("scene0007_00").split is None


def test_labels_go_through_the_table(extracted: Path, room: Room) -> None:
    categories = [item.category for item in room.objects]
    (extracted / "scannetv2-labels.combined.tsv").unlink(missing_ok=True)
    lacking = ScannetReader(extracted, labels="nyu40").missing()
    assert [(one.path, "nyu40" in one.purpose) for one in lacking] == [("scannetv2-labels.combined.tsv", True)]
    with pytest.raises(SdvlmError, match=r"scannetv2-labels.combined.tsv"):
        ScannetReader(extracted, labels="nyu40").read("scene0007_00")
    left_out = categories[0]
    write_label_table(extracted / "scannetv2-labels.combined.tsv", set(categories) - {left_out})
    table = [line.split("\t") for line in (extracted / "scannetv2-labels.combined.tsv").read_text().splitlines()]
    nyu = {line[1]: line[6] for line in table[1:]}
    found = [item.category for item in ScannetReader(extracted, labels="nyu40").read("scene0007_00").objects]
    assert found == [nyu.get(category, category) for category in categories]
    assert found != categories
    assert left_out in found


def test_what_is_missing_is_told_without_reading(extracted: Path) -> None:
    scene = extracted / "scene0007_00"
    broken = Path(shutil.copytree(scene, extracted / "scene0008_00"))
    for path in broken.glob("scene0007_00*"):
        path.rename(broken / path.name.replace("0007", "0008"))
    (broken / "scene0008_00.aggregation.json").unlink()
    (broken / "depth" / "2.png").unlink()
    shutil.rmtree(broken / "pose")
    (broken / "color" / "0.jpg").write_bytes(b"not looked at")
    assert ScannetReader(extracted).missing() == [
        MissingFile("scene0008_00", "scene0008_00/scene0008_00.aggregation.json", "objects"),
        MissingFile("scene0008_00", "scene0008_00/depth/2.png", "depth of a frame"),
        MissingFile("scene0008_00", "scene0008_00/pose/*.txt", "pose of every frame"),
    ]
    with pytest.raises(SdvlmError, match=r"aggregation\.json"):
        ScannetReader(extracted).read("scene0008_00")
    for name in ("color", "depth", "intrinsic"):
        shutil.rmtree(scene / name)
    assert [one.path for one in ScannetReader(scene).missing()] == ["scene0007_00.sens"]


@pytest.mark.parametrize(
    ("pose", "reason", "expected"),
    [
        ("-inf -inf -inf -inf\n" * 4, "tracking was lost", True),
        ("nan 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n", "not numbers", False),
        ("0 0 0 0\n" * 4, "not a rotation", False),
        ("1 0 0\n", "expected a 4x4 matrix", False),
    ],
)
def test_frames_without_a_usable_pose_are_skipped_with_the_reason(extracted, pose, reason, expected) -> None:
    (extracted / "scene0007_00" / "pose" / "1.txt").write_text(pose)
    scene = ScannetReader(extracted).read("scene0007_00")
    assert [frame.id for frame in scene.frames] == ["0", "2", "3"]
    (skipped,) = scene.skipped
    assert (skipped.frame_id, skipped.expected) == ("1", expected)
    assert reason in skipped.reason


def test_a_stream_cut_short_keeps_the_frames_before_the_cut(stream: Path) -> None:
    path = stream / "scene0007_00" / "scene0007_00.sens"
    path.write_bytes(path.read_bytes()[:-3000])
    whole = len(open_sens(path))
    assert 0 < whole < 4
    scene = ScannetReader(stream).read("scene0007_00")
    assert [frame.id for frame in scene.frames] == [str(index) for index in range(whole)]
    assert [(one.frame_id, one.expected) for one in scene.skipped] == [(str(n), False) for n in range(whole, 4)]
    assert all(frame.load().size == SIZE for frame in scene.frames)


def test_a_truncated_picture_is_an_error_when_it_is_loaded(extracted: Path) -> None:
    for name in ("depth/0.png", "color/1.jpg"):
        path = extracted / "scene0007_00" / name
        path.write_bytes(path.read_bytes()[:-200])
    frames = ScannetReader(extracted).read("scene0007_00").frames
    for frame in frames[:2]:
        with pytest.raises(SdvlmError, match="cannot be read as a picture"):
            frame.load()
    frames[2].load()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda K: K * [[0.5], [0.5], [1], [1]], "far from the middle"),  # calibrated at half the size
        (lambda K: K * [[3.0], [3.0], [1], [1]], "far from the middle"),  # principal point off the picture
        (lambda K: K * [[1.5, 1, 1, 1], [1, 1.5, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]], "fx_color"),
        (lambda K: K + 9 * np.eye(4, k=2), "mx_color"),
        (lambda K: K * 0, "not an intrinsic"),
    ],
)
def test_the_intrinsics_of_another_camera_are_noticed(extracted: Path, change, message: str) -> None:
    path = extracted / "scene0007_00" / "intrinsic" / "intrinsic_color.txt"
    np.savetxt(path, change(np.loadtxt(path)))
    with pytest.raises(SdvlmError, match=message) as error:
        ScannetReader(extracted).read("scene0007_00")
    assert "intrinsic_color.txt" in str(error.value)


def test_pictures_of_another_shape_than_the_scenes_camera_are_noticed(extracted: Path) -> None:
    for path in (extracted / "scene0007_00" / "color").glob("*.jpg"):
        Image.open(path).resize((60, 80)).save(path)
    with pytest.raises(SdvlmError, match="60x80"):
        ScannetReader(extracted).read("scene0007_00")


def test_an_empty_scene_is_refused(extracted: Path, stream: Path) -> None:
    folder = extracted / "scene0007_00"
    for path in (folder / "pose").glob("*.txt"):
        path.write_text("-inf " * 16)
    with pytest.raises(SdvlmError, match="empty"):
        ScannetReader(extracted).read("scene0007_00")
    (stream / "scene0007_00" / "scene0007_00.aggregation.json").write_text('{"segGroups": []}')
    with pytest.raises(SdvlmError, match="empty"):
        ScannetReader(stream).read("scene0007_00")


@pytest.mark.parametrize("content", ["{", "[]", '{"segGroups": [{"label": "x"}]}', '{"segGroups": 3}', "\xff"])
def test_a_broken_aggregation_is_refused_in_one_line(extracted: Path, content: str) -> None:
    (extracted / "scene0007_00" / "scene0007_00.aggregation.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(SdvlmError) as error:
        ScannetReader(extracted).read("scene0007_00")
    assert "\n" not in str(error.value)


def test_depth_from_beside_the_colour_camera_is_registered_when_the_mesh_says_it_was_not(
    room: Room, tmp_path: Path
) -> None:
    cos, sin = np.cos(0.03), np.sin(0.03)
    T_color_depth = np.array([[cos, 0, sin, 0.07], [0, 1, 0, 0.03], [-sin, 0, cos, 0.04], [0, 0, 0, 1]])
    info_line = "colorToDepthExtrinsics = " + " ".join(map(str, np.linalg.inv(T_color_depth).ravel()))
    renderer = Renderer(room.mesh)
    errors = {}
    for kind, beside in (("beside", T_color_depth), ("registered", None)):
        scene = Scene("scene0000_00", room.objects, (), room.mesh)
        folder = write_scannet_scene(scene, tmp_path / kind, shots(room, beside), T_aligned_raw=ALIGNMENT)
        info = folder / "scene0000_00.txt"
        lines = [line for line in info.read_text().splitlines() if "colorToDepth" not in line]
        info.write_text("\n".join([*lines, info_line]))
        for mode in ("auto", "apply", "ignore"):
            off = []
            for frame in read_scannet_scene(folder, color_to_depth=mode).frames:
                truth, _ = renderer.trace(frame.camera, frame.T_world_cam)
                found = frame.load().depth.values
                assert np.isfinite(found).mean() > 0.85
                off.append(np.nanmedian(np.abs(found - truth)))
            errors[kind, mode] = np.mean(off)
    # half a depth pixel on a slanted floor is a centimetre, with or without registration
    assert errors["beside", "auto"] == errors["beside", "apply"] < 0.02
    assert errors["beside", "ignore"] > 2 * errors["beside", "auto"]
    assert errors["registered", "auto"] == errors["registered", "ignore"] < 0.02
    assert errors["registered", "apply"] > 2 * errors["registered", "auto"]


def test_options_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SdvlmError, match="labels must be one of raw, category, nyu40"):
        ScannetReader(tmp_path, labels="coco")
    with pytest.raises(SdvlmError, match="frame_step"):
        ScannetReader(tmp_path, frame_step=0)
    with pytest.raises(SdvlmError, match=r"holds no ScanNet scene; looked for"):
        ScannetReader(tmp_path).scene_ids()
