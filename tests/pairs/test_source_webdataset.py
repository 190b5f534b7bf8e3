from __future__ import annotations

import gzip
import io
import pickle
import tarfile

import numpy as np
import pytest
from PIL import Image

from sdvlm.pairs.source import RawPair, Refusal, open_source
from sdvlm.types import SdvlmError


def pixels(seed):
    return np.random.default_rng(seed).integers(0, 256, (20, 24, 3), dtype=np.uint8)


def encoded(array, suffix="PNG"):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, suffix)
    return stream.getvalue()


def write(path, members, form=tarfile.PAX_FORMAT):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as tar:
        for name, data in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


def samples(count, start=0):
    for number in range(start, start + count):
        yield f"{number:05d}.cls", b"3"
        yield f"{number:05d}.json", b"{}"
        yield f"{number:05d}.png", encoded(pixels(number))


def read_all(source, size=4):
    return [one for chunk in source.chunks(size) for one in pickle.loads(pickle.dumps(chunk)).read()]


@pytest.mark.parametrize("size", [1, 3, 7, 50])
@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_every_sample_comes_once_and_in_order(tmp_path, size, form):
    write(tmp_path / "shard-0000.tar", samples(7), form)
    write(tmp_path / "sub" / "shard-0001.tar", samples(5, 7), form)
    pairs = read_all(open_source(tmp_path), size)
    assert [one.pair_id for one in pairs] == [
        *(f"shard-0000/{number:05d}" for number in range(7)),
        *(f"sub/shard-0001/{number:05d}" for number in range(7, 12)),
    ]
    assert all(np.array_equal(one.image, pixels(seed)) for seed, one in enumerate(pairs))
    assert pairs[3].encoded == encoded(pixels(3))


def test_one_shard_and_a_split_of_shards(tmp_path):
    write(tmp_path / "train-0.tar", samples(2))
    write(tmp_path / "val-0.tar", samples(1, 2))
    assert len(read_all(open_source(tmp_path / "train-0.tar"))) == 2
    assert [one.pair_id for one in read_all(open_source(tmp_path, split="val"))] == ["val-0/00002"]


def test_chunks_are_references_of_a_size_that_does_not_grow_with_the_pictures(tmp_path):
    big = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    write(tmp_path / "a.tar", [(f"{number}.png", encoded(big)) for number in range(8)])
    (chunk,) = open_source(tmp_path / "a.tar").chunks(8)
    assert len(pickle.dumps(chunk)) < 4000 < len(encoded(big))


def test_keys_are_stable_and_change_with_the_shard(tmp_path):
    write(tmp_path / "a.tar", samples(6))
    keys = [chunk.key for chunk in open_source(tmp_path).chunks(2)]
    assert keys == sorted(set(keys)) == [chunk.key for chunk in open_source(tmp_path).chunks(2)]
    write(tmp_path / "a.tar", samples(6, 1))
    assert not set(keys) & {chunk.key for chunk in open_source(tmp_path).chunks(2)}


def test_names_with_folders_long_names_and_names_that_come_again_stay_apart(tmp_path):
    long = "d" * 150 + "/" + "n" * 120
    names = [f"{long}.png", "a/1.png", "b/1.png", "a/1.png"]
    write(tmp_path / "s.tar", [(name, encoded(pixels(seed))) for seed, name in enumerate(names)])
    pairs = read_all(open_source(tmp_path / "s.tar"))
    assert [one.pair_id for one in pairs] == [f"s/{long}", "s/a/1", "s/b/1", "s/a/1#2"]
    assert all(np.array_equal(one.image, pixels(seed)) for seed, one in enumerate(pairs))


def test_member_names_are_never_paths(tmp_path):
    (tmp_path / "victim.png").write_bytes(encoded(pixels(9)))
    write(
        tmp_path / "in" / "s.tar",
        [("../victim.png", encoded(pixels(0))), (str(tmp_path / "victim.png"), encoded(pixels(1)))],
    )
    before = sorted(tmp_path.rglob("*"))
    pairs = read_all(open_source(tmp_path / "in" / "s.tar"))
    assert np.array_equal(pairs[0].image, pixels(0))
    assert np.array_equal(pairs[1].image, pixels(1))
    assert sorted(tmp_path.rglob("*")) == before


def test_links_folders_and_hidden_members_are_no_samples(tmp_path):
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for name, kind in (
            ("folder.png", tarfile.DIRTYPE),
            ("link.png", tarfile.SYMTYPE),
            ("hard.png", tarfile.LNKTYPE),
        ):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc/hostname"
            tar.addfile(entry)
        for name in ("._0.png", "0.png", "nothing"):
            entry = tarfile.TarInfo(name)
            entry.size = len(encoded(pixels(0)))
            tar.addfile(entry, io.BytesIO(encoded(pixels(0))))
    source = open_source(tmp_path / "s.tar")
    assert [one.pair_id for one in read_all(source)] == ["s/0"]
    assert source.skipped == {"members of no sample": 4}


def test_depth_and_picture_are_chosen_by_extension(tmp_path):
    metres = (1 + 4 * np.random.default_rng(0).random((20, 24))).astype(np.float32)
    depth = encoded(np.rint(metres * 1000).astype(np.uint16))
    write(
        tmp_path / "s.tar",
        [("0.depth.png", depth), ("0.rgb.png", encoded(pixels(0))), ("0.seg.png", encoded(pixels(1)))],
    )
    (pair,) = read_all(open_source(tmp_path / "s.tar", column="rgb.png", depth_column="depth.png"))
    assert np.array_equal(pair.image, pixels(0))
    assert np.abs(pair.depth.values - metres).max() < 6e-4
    (pair,) = read_all(open_source(tmp_path / "s.tar", column=".seg.png"))
    assert np.array_equal(pair.image, pixels(1))
    with pytest.raises(SdvlmError, match=r"holds no sample with a picture .*1 samples without a picture"):
        read_all(open_source(tmp_path / "s.tar"))  # three of them, and none has a plain name


def test_a_picture_is_found_beside_its_depth(tmp_path):
    depth = encoded(np.full((20, 24), 1500, np.uint16) + np.arange(24, dtype=np.uint16))
    write(tmp_path / "s.tar", [("0.depth.png", depth), ("0.JPG", encoded(pixels(0), "JPEG"))])
    (pair,) = read_all(open_source(tmp_path / "s.tar", depth_column="depth.png"))
    assert pair.image.shape == (20, 24, 3)
    assert np.isclose(pair.depth.values[0, 0], 1.5)


def test_samples_that_lack_what_was_named_are_refusals_and_those_without_any_picture_are_counted(tmp_path):
    write(tmp_path / "s.tar", [("0.txt", b"a"), ("1.jpg", encoded(pixels(1), "JPEG"))])
    first, second = read_all(open_source(tmp_path / "s.tar", column="jpg"))
    assert first.reason == "s/0: the sample has no member .jpg"
    assert isinstance(second, RawPair)
    source = open_source(tmp_path / "s.tar")
    assert [one.pair_id for one in read_all(source)] == ["s/1"]
    assert source.skipped == {"samples without a picture": 1}
    (refused,) = [one for one in read_all(open_source(tmp_path / "s.tar", depth_column="npy")) if one.pair_id == "s/1"]
    assert refused.reason == "s/1: the sample has no member .npy"


def test_bad_pictures_are_refusals(tmp_path):
    members = [
        ("0.png", b"no picture"),
        ("1.png", encoded(pixels(1))[:200]),
        ("2.png", encoded(pixels(2))),
        ("3.png", b""),
    ]
    write(tmp_path / "s.tar", members)
    found = read_all(open_source(tmp_path / "s.tar"))
    assert [isinstance(one, RawPair) for one in found] == [False, False, True, False]
    assert all(one.reason.startswith(f"{one.pair_id}: ") for one in found if isinstance(one, Refusal))


@pytest.mark.parametrize("left", [0.35, 0.5, 0.77])
def test_of_a_shard_cut_short_the_whole_samples_are_read_and_the_damage_is_told(tmp_path, left):
    whole = write(tmp_path / "a.tar", samples(6)).read_bytes()
    (tmp_path / "a.tar").write_bytes(whole[: int(len(whole) * left)])
    write(tmp_path / "b.tar", samples(2, 6))
    found = read_all(open_source(tmp_path), 4)
    read = [one.pair_id for one in found if isinstance(one, RawPair)]
    assert read[-2:] == ["b/00006", "b/00007"]
    assert 1 <= len(read) - 2 < 6
    assert all(np.array_equal(one.image, pixels(seed)) for seed, one in enumerate(found[: len(read) - 2]))
    (refused,) = [one for one in found if isinstance(one, Refusal)]
    assert refused.pair_id == "a"
    assert "cut short" in refused.reason


def test_a_shard_that_shrinks_after_it_was_listed_is_told_by_sample(tmp_path):
    whole = write(tmp_path / "a.tar", samples(4)).read_bytes()
    (chunk,) = open_source(tmp_path).chunks(4)
    (tmp_path / "a.tar").write_bytes(whole[: len(whole) // 2])
    assert [one.reason for one in chunk.read() if isinstance(one, Refusal)][-1].startswith(
        "a/00003: the shard is cut short"
    )
    (tmp_path / "a.tar").unlink()
    assert [type(one) for one in chunk.read()] == [Refusal] * 4


def test_what_is_no_tar_is_told_with_the_fix(tmp_path):
    whole = write(tmp_path / "a.tar", samples(2)).read_bytes()
    (tmp_path / "b.tar").write_bytes(gzip.compress(whole))
    (tmp_path / "c.tar").write_bytes(b"")
    (tmp_path / "d.tar").write_bytes(b"hello" * 400)
    refused = {one.pair_id: one.reason for one in read_all(open_source(tmp_path)) if isinstance(one, Refusal)}
    assert sorted(refused) == ["b", "c", "d"]
    assert "decompress it first" in refused["b"]
    (tmp_path / "b.tar").rename(tmp_path / "b.tar.gz")
    (refusal,) = read_all(open_source(tmp_path / "b.tar.gz"))
    assert "decompress it first" in refusal.reason
    assert "is empty" in refused["c"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(SdvlmError, match=r"holds no \.tar file"):
        open_source(tmp_path / "empty", reader="webdataset")
