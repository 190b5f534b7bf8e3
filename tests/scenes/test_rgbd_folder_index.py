import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from sdvlm.data.observe import Observation, ObservedObject, observe
from sdvlm.geometry.boxes import center_distance
from sdvlm.scenes.frames_from_boxes import see_boxes, see_masks
from sdvlm.scenes.reader import open_reader
from sdvlm.scenes.rgbd_folder import RgbdReader
from sdvlm.types import SdvlmError

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data" / "real_rgbd"
pytestmark = pytest.mark.skipif(not SHARED.exists(), reason="the shared real RGB-D frames are not here")


@pytest.fixture(scope="module")
def reader() -> RgbdReader:
    return RgbdReader(SHARED)


def look(reader: RgbdReader, scene_id: str) -> Observation:
    scene = reader.read(scene_id)
    (frame,) = scene.frames
    depth = frame.load().depth
    assert depth is not None
    where = (frame.camera, frame.T_world_cam)
    if frame.instances is None:
        seen = see_boxes(scene.objects, depth.values, *where)
    else:
        seen = see_masks(frame.instances(), depth.values, scene.objects, *where)
    return observe(scene.objects, seen.instances, depth.values, *where, amodal=seen.amodal)


def of(observation: Observation, number: int) -> ObservedObject:
    """By position in boxes.json."""
    return observation.object(number + 1)


def test_every_picture_loads(reader: RgbdReader) -> None:
    index = [json.loads(line) for line in (SHARED / "index.jsonl").read_text().splitlines()]
    ids = reader.scene_ids()
    assert len(ids) == len(index) == 50
    assert reader.missing() == []
    for entry in index:
        scene = reader.read(entry["dir"].replace("/", "__"))
        (frame,) = scene.frames
        loaded = frame.load()
        assert loaded.size == (entry["width"], entry["height"])
        assert loaded.depth is not None
        assert loaded.depth.valid.any()
        assert len(scene.objects) == entry["boxes"]
        assert (frame.instances is not None) == entry["instances"]
    assert open_reader(SHARED, "rgbd").name == "rgbd"


def test_camera_and_boxes_are_those_of_the_files(reader: RgbdReader) -> None:
    scene = reader.read("nuscenes__cam_front")
    (frame,) = scene.frames
    meta = json.loads((SHARED / "nuscenes/cam_front/meta.json").read_text())
    assert frame.camera.cx == meta["intrinsics"]["cx"] + 0.5
    assert np.allclose(frame.T_world_cam[2, :3], meta["up_cam"], atol=1e-5)
    listed = json.loads((SHARED / "nuscenes/cam_front/boxes.json").read_text())
    for ours, theirs in zip(scene.objects, listed, strict=True):
        cam = ours.box.transformed(np.linalg.inv(frame.T_world_cam))
        assert ours.category == theirs["label"].replace("_", " ")
        assert np.allclose(cam.center, theirs["center"])
        u = meta["intrinsics"]["fx"] * cam.corners()[:, 0] / cam.corners()[:, 2] + meta["intrinsics"]["cx"]
        if not theirs["truncated"]:
            assert [u.min(), u.max()] == pytest.approx([theirs["bbox_2d"][0], theirs["bbox_2d"][2]], abs=0.6)


def test_the_written_answers_come_out_again(reader: RgbdReader) -> None:
    checked = 0
    for line in (SHARED / "qa.jsonl").read_text().splitlines():
        asked = json.loads(line)
        scene = reader.read(str(Path(asked["image"]).parent).replace("/", "__"))
        (frame,) = scene.frames
        boxes = [scene.objects[number].box for number in asked["objects"]]
        viewer = frame.T_world_cam[:3, 3]
        far = [float(np.linalg.norm(box.center - viewer)) for box in boxes]
        right = [float((np.linalg.inv(frame.T_world_cam) @ [*box.center, 1])[0]) for box in boxes]
        found = {
            "distance_between": lambda boxes=boxes: center_distance(*boxes),
            "distance_camera": lambda far=far: far[0],
            "nearer": lambda far=far: abs(far[0] - far[1]),
            "left_right": lambda right=right: right[0] - right[1],
            "taller": lambda boxes=boxes: abs(boxes[0].size[2] - boxes[1].size[2]),
            "size": lambda boxes=boxes, asked=asked: (
                boxes[0].size[2] if asked["values"]["dimension"] == "height" else boxes[0].size.max()
            ),
        }.get(asked["type"])
        if found is not None:
            assert found() == pytest.approx(asked["value"], abs=2e-3), asked["question"]
            checked += 1
    assert checked == 18


def test_in_the_bedroom_what_stands_before_the_bed_hides_it(reader: RgbdReader) -> None:
    seen = look(reader, "sunrgbd__bedroom_000001")
    names = [one.category for one in seen.scene_objects]
    assert of(seen, names.index("dresser")).visibility > 0.95
    assert of(seen, names.index("ottoman")).visibility > 0.95
    assert of(seen, names.index("bed")).visibility < 0.5  # the tall dresser and the ottoman stand before it


@pytest.mark.parametrize("scene_id", ["ycb_video__0000_000001", "ycb_video__0000_000010", "ycb_video__0002_000001"])
def test_on_the_table_masks_and_boxes_agree(reader: RgbdReader, scene_id: str) -> None:
    scene = reader.read(scene_id)
    (frame,) = scene.frames
    assert frame.instances is not None
    depth = frame.load().depth
    assert depth is not None
    masks = frame.instances()
    counts = json.loads((SHARED / scene_id.replace("__", "/") / "instances.json").read_text())
    assert sorted(one["pixels"] for one in counts) == sorted(int((masks == one.id).sum()) for one in scene.objects)
    by_boxes = see_boxes(scene.objects, depth.values, frame.camera, frame.T_world_cam)
    both = (masks > 0) & (by_boxes.instances > 0)
    assert (masks == by_boxes.instances)[
        both
    ].mean() > 0.85  # the banana's box, along its CAD axes, reaches into the wood block
    for one in look(reader, scene_id).objects:
        assert one.visibility > 0.65


def test_on_the_road_lidar_finds_near_cars_whole(reader: RgbdReader) -> None:
    near, hidden = [], []
    for scene_id in ("kitti_object__000000", "nuscenes__cam_front", "tri_dgp__scene_01_camera_01"):
        seen = look(reader, scene_id)
        listed = json.loads((SHARED / scene_id.replace("__", "/") / "boxes.json").read_text())
        for number, one in enumerate(listed):
            points = one.get("num_lidar_pts", 1000)
            if points > 400 and one["distance_m"] < 20:
                near.append(of(seen, number))
            elif points <= 5 and one["distance_m"] > 40 and number + 1 in {thing.id for thing in seen.objects}:
                hidden.append(of(seen, number))
    assert len(near) >= 4
    for one in near:
        assert one.visibility > 0.9
        x0, y0, x1, y1 = one.bounds_px
        assert one.pixel_count > 0.4 * (x1 - x0) * (y1 - y0)  # a silhouette, not single LiDAR points
    assert np.mean([one.visibility for one in hidden]) < 0.7


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    root = tmp_path / "light"
    folder = shutil.copytree(SHARED / "ycb_video" / "0000_000001", root / "a" / "b")
    for path in folder.iterdir():
        path.chmod(0o644)
    folder.chmod(0o755)
    (root / "index.jsonl").write_text('{"dir": "a/b"}\n')
    return root


def test_bad_input_is_told(copy: Path) -> None:
    folder, reader = copy / "a" / "b", RgbdReader(copy)
    assert reader.scene_ids() == ["a__b"]
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps(meta | {"width": 641}))
    with pytest.raises(SdvlmError, match="the picture is 640x480 but its camera is for 641x480"):
        reader.read("a__b")
    del meta["up_cam"]
    (folder / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(SdvlmError, match=r"a__b/meta\.json: up_cam is missing; boxes need to know"):
        reader.read("a__b")
    (folder / "depth.png").unlink()
    assert [(one.path, one.purpose) for one in reader.missing()] == [("a/b/depth.png", "measured depth")]
    (copy / "index.jsonl").write_text('{"dir": "../b"}\n')
    with pytest.raises(SdvlmError, match="is no folder below the root"):
        reader.scene_ids()
    (copy / "index.jsonl").write_text("dir\n")
    with pytest.raises(SdvlmError, match="wanted JSON lines"):
        reader.scene_ids()
