from __future__ import annotations

import io
import os
import pickle
import sys

import numpy as np
import pytest
from PIL import Image

from sdvlm.pairs.decode import DecodeConfig
from sdvlm.pairs.source import RawPair, Refusal, open_source
from sdvlm.pairs.source_reading import Reading
from sdvlm.types import Camera, SdvlmError


def picture(seed, size=(24, 20)):
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)


def write(path, seed=0, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(seed)).save(path, **options)
    return path


def read_all(source, size=3):
    """Everything, each chunk having travelled to a worker."""
    return [one for chunk in source.chunks(size) for one in pickle.loads(pickle.dumps(chunk)).read()]


@pytest.fixture
def folder(tmp_path):
    for seed, name in enumerate(["b/2.png", "a.png", "b/1.png", "c/d/e.PNG", "b.png"]):
        write(tmp_path / name, seed)
    return tmp_path


def test_pictures_of_all_subfolders_come_in_the_order_of_their_names(folder):
    pairs = read_all(open_source(folder))
    assert [one.pair_id for one in pairs] == ["a.png", "b/1.png", "b/2.png", "b.png", "c/d/e.PNG"]
    assert np.array_equal(pairs[1].image, picture(2))
    assert pairs[1].encoded == (folder / "b" / "1.png").read_bytes()
    assert all(one.depth is None and one.camera is None and one.scene_id == "" for one in pairs)


@pytest.mark.parametrize("size", [1, 2, 5, 99])
def test_what_is_read_does_not_depend_on_the_size_of_chunks(folder, size):
    source = open_source(folder)
    assert [one.pair_id for one in read_all(source, size)] == [one.pair_id for one in read_all(source, 3)]
    assert len(list(source.chunks(size))) == -(-5 // size)


def test_keys_are_unique_sorted_file_names_that_stay_while_the_content_does(folder):
    keys = [one.key for one in open_source(folder).chunks(2)]
    assert keys == sorted(set(keys)) == [one.key for one in open_source(folder).chunks(2)]
    assert all(key.replace("-", "").isalnum() for key in keys)
    write(folder / "zz.png", 9)
    assert [one.key for one in open_source(folder).chunks(2)][:2] == keys[:2]
    (folder / "a.png").write_bytes(b"other content")
    changed = [one.key for one in open_source(folder).chunks(2)]
    assert changed[0] != keys[0]
    assert changed[1] == keys[1]


def test_hidden_files_and_other_files_are_skipped_and_counted(folder):
    (folder / ".hidden.png").write_bytes(b"")
    write(folder / ".trash" / "x.png")
    (folder / "b" / "labels.json").write_text("{}")
    (folder / "README").write_text("")
    source = open_source(folder)
    assert len(read_all(source)) == 5
    assert source.skipped == {"hidden": 2, "not a picture by suffix": 2}
    read_all(source)
    assert source.skipped["hidden"] == 2  # of the last pass, not of all


def test_nothing_is_listed_before_it_is_needed(folder):
    chunks = open_source(folder).chunks(1)
    next(chunks)
    write(folder / "zz" / "late.png")
    (folder / "c" / "d" / "e.PNG").unlink()
    assert [chunk.names for chunk in chunks][-1] == ("b.png",)  # the root was listed, c/d was not


def test_bad_files_are_refusals_that_name_them_and_the_others_are_read(folder):
    (folder / "b" / "1.png").write_bytes(b"no picture")
    (folder / "a.png").write_bytes((folder / "a.png").read_bytes()[:300])
    (folder / "b.png").write_bytes(b"")
    Image.new("RGB", (1, 1)).save(folder / "dot.png")
    Image.new("RGB", (30_000, 20)).save(folder / "wide.png")
    Image.fromarray(np.full((20, 20), 900, np.uint16)).save(folder / "depth.png")
    Image.new("RGB", (20, 20)).save(folder / "moves.gif", save_all=True, append_images=[Image.new("RGB", (20, 20), 9)])
    found = read_all(open_source(folder))
    refused = {one.pair_id: one.reason for one in found if isinstance(one, Refusal)}
    assert sorted(refused) == ["a.png", "b.png", "b/1.png", "depth.png", "dot.png", "moves.gif", "wide.png"]
    assert all(reason.startswith(f"{name}: ") and "\n" not in reason for name, reason in refused.items())
    assert [one.pair_id for one in found if isinstance(one, RawPair)] == ["b/2.png", "c/d/e.PNG"]


def test_which_pictures_are_taken_is_a_setting(folder):
    Image.new("RGB", (1, 1)).save(folder / "dot.png")
    reading = Reading(DecodeConfig(min_side=1, max_side=23))
    found = {one.pair_id: one for one in read_all(open_source(folder, reading=reading))}
    assert isinstance(found["dot.png"], RawPair)
    assert isinstance(found["a.png"], Refusal)


def test_a_file_that_goes_away_after_it_was_listed_is_a_refusal(folder):
    chunks = list(open_source(folder).chunks(9))
    (folder / "a.png").unlink()
    (folder / "b.png").unlink()
    (folder / "b.png").mkdir()
    refused = [one.reason for one in chunks[0].read() if isinstance(one, Refusal)]
    assert refused == ["a.png: cannot be read (No such file or directory)", "b.png: cannot be read (Is a directory)"]


def test_links_are_followed_but_not_in_circles(folder):
    (folder / "b" / "up").symlink_to(folder)
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    (folder / "linked.png").symlink_to(folder / "a.png")
    source = open_source(folder)
    found = read_all(source)
    assert [one.pair_id for one in found if isinstance(one, RawPair)][-1] == "linked.png"
    assert [one.pair_id for one in found if isinstance(one, Refusal)] == ["gone.png"]
    assert source.skipped == {"links that lead in a circle": 1}


def test_what_is_no_file_is_not_opened(folder):
    os.mkfifo(folder / "pipe.png")  # reading it would wait for ever
    source = open_source(folder)
    assert len(read_all(source)) == 5
    assert source.skipped == {"not a regular file": 1}


def test_pictures_are_turned_upright_and_their_camera_is_that_of_the_upright_picture(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    write(tmp_path / "turned.png", exif=exif)
    write(tmp_path / "upright.png")
    camera = Camera.from_fov(20, 24, 60)
    turned, upright = read_all(open_source(tmp_path, reading=Reading(camera=camera)))
    assert turned.image.shape == (24, 20, 3)
    assert turned.camera == camera
    assert turned.encoded is None
    assert isinstance(upright, Refusal)
    assert upright.reason.startswith("upright.png: is 24x20 but its camera is for 20x24")


def test_the_folder_of_a_picture_may_be_its_scene(folder):
    scenes = {one.pair_id: one.scene_id for one in read_all(open_source(folder, scene="folder"))}
    assert scenes == {"a.png": "", "b.png": "", "b/1.png": "b", "b/2.png": "b", "c/d/e.PNG": "c/d"}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_that_are_no_text_become_text(tmp_path):
    name = os.fsdecode(b"caf\xe9.png")
    write(tmp_path / name)
    (found,) = read_all(open_source(tmp_path))
    assert found.pair_id == "caf\\xe9.png"
    found.pair_id.encode()


def test_a_folder_without_pictures_says_what_it_holds(tmp_path):
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(SdvlmError, match=r"holds no picture \(seen: 1 not a picture by suffix\)"):
        list(open_source(tmp_path).chunks(1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"column": "image"}, "is read as folder, which takes no column"),
        ({"scene": "room"}, "takes no scene; it takes scene='folder'"),
        ({"frame_step": 2}, "takes no frame_step"),
        ({"reader": "nyu"}, "no reader 'nyu'"),
    ],
)
def test_options_that_would_do_nothing_are_refused(folder, options, message):
    with pytest.raises(SdvlmError, match=message):
        open_source(folder, **options)


def test_a_name_that_is_nothing_is_told(tmp_path):
    for name in (tmp_path / "none", "photos", "some/shard.tar"):
        with pytest.raises(SdvlmError, match="no such file or folder"):
            open_source(name)
    (tmp_path / "a.zip").write_bytes(io.BytesIO().getvalue())
    with pytest.raises(SdvlmError, match="is one file; pass a folder"):
        open_source(tmp_path / "a.zip")


def test_a_chunk_of_nothing_is_refused(folder):
    with pytest.raises(SdvlmError, match="at least 1"):
        next(open_source(folder).chunks(0))
