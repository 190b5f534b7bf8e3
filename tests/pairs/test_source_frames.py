from __future__ import annotations

import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

from sdvlm.pairs.source import Refusal, open_source
from sdvlm.scenes.reader import open_reader
from sdvlm.scenes.room_dataset import RoomDataset, write_rooms
from sdvlm.types import SdvlmError


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("rooms")
    write_rooms(root, RoomDataset(scenes=2, frames=3, image_size=(64, 48), supersample=1))
    return root


@pytest.fixture
def rooms(written, tmp_path):
    return shutil.copytree(written, tmp_path / "rooms")


def read_all(source, size=4):
    return [one for chunk in source.chunks(size) for one in pickle.loads(pickle.dumps(chunk)).read()]


def test_frames_come_with_the_depth_and_camera_that_the_reader_gives(rooms):
    pairs = {one.pair_id: one for one in read_all(open_source(rooms))}
    reader, seen = open_reader(rooms), 0
    for scene_id in reader.scene_ids():
        for frame in reader.read(scene_id).frames:
            loaded, pair = frame.load(), pairs[f"{scene_id}/{frame.id}"]
            assert np.array_equal(pair.image, loaded.image)
            assert np.array_equal(pair.depth.values, loaded.depth.values, equal_nan=True)
            assert pair.camera == loaded.camera
            assert pair.scene_id == scene_id
            seen += 1
    assert seen == len(pairs) == 6


def test_stored_bytes_are_handed_on_where_they_show_the_picture(rooms):
    pairs = read_all(open_source(rooms))
    for pair in pairs:
        path = next(rooms.rglob(f"{pair.scene_id}/color/{pair.pair_id.rpartition('/')[2]}.jpg"))
        assert pair.encoded == path.read_bytes()
        assert np.array_equal(np.asarray(Image.open(path)), pair.image)


def test_bytes_that_viewers_would_turn_are_not_handed_on(rooms):
    path = next(iter(sorted(rooms.rglob("color/*.jpg"))))
    exif = Image.Exif()
    exif[0x0112] = 3
    with Image.open(path) as picture:
        picture.load()
        picture.save(path, "JPEG", exif=exif)
    pair = read_all(open_source(rooms))[0]
    assert np.array_equal(pair.image, np.asarray(Image.open(path)))  # as stored: its camera is that of stored pixels
    assert pair.encoded is None


def test_a_scene_is_a_chunk_and_the_reader_takes_its_options(rooms):
    assert len(list(open_source(rooms).chunks(100))) == 2
    source = open_source(rooms, reader="scannet", frame_step=2)
    assert len(read_all(source)) == 4
    assert source.settings()["options"]["frame_step"] == 2
    with pytest.raises(SdvlmError, match="has no option step"):
        open_source(rooms, step=2)
    with pytest.raises(SdvlmError, match="is read as frames, which takes no column"):
        open_source(rooms, column="image")


def test_a_broken_frame_and_a_broken_scene_are_refusals_by_name(rooms):
    first, second = sorted(path.parent for path in rooms.rglob("color"))
    path = sorted((first / "color").iterdir())[1]
    path.write_bytes(path.read_bytes()[:100])
    sorted(first.glob("pose/*"))[2].write_text("no pose")
    (second / f"{second.name}.txt").unlink()
    found = read_all(open_source(rooms))
    refused = {one.pair_id: one.reason for one in found if isinstance(one, Refusal)}
    assert len(found) - len(refused) == 1
    assert sorted(refused) == sorted([f"{first.name}/{path.stem}", refused_pose(first), second.name])
    assert path.name in refused[f"{first.name}/{path.stem}"]
    assert f"{second.name}.txt" in refused[second.name]


def refused_pose(scene):
    return f"{scene.name}/{sorted(scene.glob('pose/*'))[2].stem}"


def test_depth_all_unknown_is_handed_on_as_such(rooms):
    path = sorted(rooms.rglob("depth/*.png"))[0]
    with Image.open(path) as picture:
        size = picture.size
    Image.fromarray(np.zeros(size[::-1], np.uint16)).save(path)
    pairs = read_all(open_source(rooms))
    assert not pairs[0].depth.valid.any()  # whether such a pair is of use is for the build to say
    assert all(one.depth.valid.any() for one in pairs[1:])
