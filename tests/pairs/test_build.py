"""Building pairs: what is kept, what is told, and that who built it and how often it was stopped change nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from tests.pairs import pair_estimators
from tests.pairs.conftest import ESTIMATOR, smooth

from sdvlm.data.build_folder import PARTS
from sdvlm.data.manifest import MANIFEST, read_manifest
from sdvlm.engine import EngineConfig
from sdvlm.pairs import build as build_module
from sdvlm.pairs import source_reading
from sdvlm.pairs.augment import AugmentConfig
from sdvlm.pairs.build import DUPLICATES, REJECTED, build_pairs
from sdvlm.pairs.columns import FORMAT
from sdvlm.pairs.config import PairsConfig
from sdvlm.pairs.dataset import PairDataset
from sdvlm.pairs.source import open_source
from sdvlm.scenes.room_dataset import RoomDataset, write_rooms
from sdvlm.types import DepthKind, SdvlmError

CONFIG = PairsConfig(estimator=ESTIMATOR, chunk=8, batch_size=4, test_share=0.3)


def content(out):
    """Every file of a data set and its bytes."""
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def save(path, image, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **options)
    return path


def marked(seed, first):
    image = smooth(seed).copy()
    image[0, 0] = first
    return image


@pytest.fixture(scope="module")
def whole(pictures, tmp_path_factory):
    return build_pairs(open_source(pictures), tmp_path_factory.mktemp("whole") / "out", CONFIG)


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    root = tmp_path_factory.mktemp("rooms")
    write_rooms(root, RoomDataset(3, seed=5, frames=3, image_size=(96, 72), supersample=1))
    return root


def test_every_picture_becomes_a_pair_with_the_depth_the_estimator_gives(whole, pictures):
    data = PairDataset(whole.out)
    assert sorted(data.pair_ids()) == sorted(str(one.relative_to(pictures)) for one in pictures.rglob("*.*"))
    for pair in data:
        image = np.asarray(Image.open(pictures / pair.pair_id))
        np.testing.assert_array_equal(pair.image, image)
        assert (pair.depth.kind, pair.depth.source, pair.camera) == (DepthKind.METRIC, "brightness", None)
        np.testing.assert_allclose(pair.depth.values, 1 + image.mean(axis=2) / 100, atol=0.0006)  # millimetres
    counts = whole.manifest.counts
    assert sum(one["pairs"] for one in counts.values()) == 30
    assert (whole.built, whole.kept, whole.rejected, whole.duplicates) == (4, 0, (), 0)


def test_a_plain_picture_keeps_the_bytes_of_its_file(whole, pictures):
    data = PairDataset(whole.out)
    for index, name in enumerate(data.pair_ids()):
        assert data.row(index)["image"] == (pictures / name).read_bytes()


def test_it_does_not_matter_who_builds(whole, pictures, tmp_path):
    build_pairs(open_source(pictures), tmp_path / "out", CONFIG, EngineConfig("processes", 3))
    assert content(tmp_path / "out") == content(whole.out)


def test_each_picture_is_decoded_once(pictures, tmp_path, monkeypatch):
    seen, decode = [], source_reading.decode
    monkeypatch.setattr(source_reading, "decode", lambda data, name, how: seen.append(name) or decode(data, name, how))
    build_pairs(open_source(pictures), tmp_path / "out", replace(CONFIG, copies=2, augment=AugmentConfig(flip=1.0)))
    assert len(seen) == len(set(seen)) == 30


def test_a_killed_run_goes_on_and_ends_the_same(whole, pictures, tmp_path):
    out = tmp_path / "out"
    slow = ["--estimator", "tests.pairs.pair_estimators:Slow", "--chunk", "8", "--batch-size", "4"]
    words = [sys.executable, "-m", "sdvlm.cli.main", "pairs", str(pictures), str(out), *slow, "--test-share", "0.3"]
    running = subprocess.Popen(words, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list((out / PARTS).glob("*.parquet")) and time.monotonic() < deadline and running.poll() is None:
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert not (out / MANIFEST).exists(), "it was done before it could be killed; make the estimator slower"
    parts = {path: path.stat().st_mtime_ns for path in (out / PARTS).glob("*.parquet")}
    again = build_pairs(open_source(pictures), out, replace(CONFIG, estimator="tests.pairs.pair_estimators:Slow"))
    assert again.kept == len(parts) > 0
    stamped = ("settings", "manifest.json")
    assert [one for one in content(out).items() if not one[0].startswith(stamped)] == [
        one for one in content(whole.out).items() if not one[0].startswith(stamped)
    ]
    assert read_manifest(out, FORMAT).files == whole.manifest.files


def test_a_part_cut_short_is_built_again(whole, pictures, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(build_module, "judge", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            build_pairs(open_source(pictures), out, CONFIG)
    one = sorted((out / PARTS).glob("*.parquet"))[1]
    one.write_bytes(one.read_bytes()[:-100])
    again = build_pairs(open_source(pictures), out, CONFIG)
    assert (again.built, again.kept) == (1, 3)
    assert content(out) == content(whole.out)


def test_a_disk_that_fills_up_leaves_nothing_half_written_and_the_run_goes_on(whole, pictures, tmp_path):
    """A file size limit of the kernel fails a write on the way, as a full disk does."""
    out = tmp_path / "out"
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY)); "
        "from sdvlm.cli.main import main; main(sys.argv[2:])"
    )
    sizes = [shard.bytes for shard in whole.manifest.files]
    words = ["pairs", str(pictures), str(out), "--estimator", ESTIMATOR, "--chunk", "8", "--batch-size", "4"]
    for limit in (9000, max(sizes) - 1000):  # a part does not fit; the parts fit, a shard does not
        command = [sys.executable, "-c", code, str(limit), *words, "--test-share", "0.3"]
        ended = subprocess.run(command, capture_output=True, text=True)
        assert ended.returncode == 1
        assert "File too large" in ended.stderr.splitlines()[-1]
        left = [path for path in out.rglob("*") if path.is_file()]
        assert all(path.suffix in (".txt", ".parquet", ".jsonl") for path in left)
        assert not (out / MANIFEST).exists()
        assert not list((out / "data").glob("*"))
    assert list((out / PARTS).glob("*.parquet"))
    build_pairs(open_source(pictures), out, CONFIG)
    assert content(out) == content(whole.out)


def test_finished_data_is_left_as_it_is(whole, pictures):
    before = {path: path.stat().st_mtime_ns for path in whole.out.rglob("*")}
    again = build_pairs(open_source(pictures), whole.out, CONFIG)
    assert (again.built, again.kept, again.manifest) == (0, 4, whole.manifest)
    assert {path: path.stat().st_mtime_ns for path in whole.out.rglob("*")} == before


def test_other_settings_or_pictures_need_another_folder(whole, pictures, tmp_path):
    with pytest.raises(SdvlmError, match="other settings"):
        build_pairs(open_source(pictures), whole.out, replace(CONFIG, seed=1))
    save(tmp_path / "one.png", smooth(99))
    with pytest.raises(SdvlmError, match="other pictures"):
        build_pairs(open_source(tmp_path), whole.out, CONFIG)
    assert build_pairs(open_source(pictures), whole.out, replace(CONFIG, batch_size=1, device="cpu")).kept == 4


def test_near_duplicates_are_dropped_within_a_chunk_and_across_chunks(tmp_path):
    for number in range(12):
        save(tmp_path / "in" / f"{number:02d}.png", smooth(number))
    save(tmp_path / "in" / "00b.jpg", smooth(0), quality=70)  # in the same chunk
    save(tmp_path / "in" / "zz.jpg", smooth(3), quality=70)  # in the last
    build_pairs(open_source(tmp_path / "in"), tmp_path / "out", replace(CONFIG, chunk=5))
    assert lines(tmp_path / "out" / DUPLICATES) == [
        {"pair_id": "00b.jpg", "of": "00.png"},
        {"pair_id": "zz.jpg", "of": "03.png"},
    ]
    assert len(PairDataset(tmp_path / "out")) == 12
    build_pairs(open_source(tmp_path / "in"), tmp_path / "all", replace(CONFIG, dedupe=None))
    assert len(PairDataset(tmp_path / "all")) == 14


@pytest.fixture
def troubled(tmp_path):
    """Six good pictures among those that cannot be used, and why each cannot."""
    root = tmp_path / "troubled"
    for number in range(6):
        save(root / f"good{number}.png", smooth(number))
    save(root / "nan.png", marked(20, pair_estimators.NAN))
    save(root / "fails.png", marked(21, pair_estimators.FAILS))
    save(root / "small.png", marked(22, pair_estimators.SMALL))
    save(root / "sparse.png", marked(23, pair_estimators.SPARSE))
    (root / "cut.jpg").write_bytes(save(tmp_path / "x.jpg", smooth(24)).read_bytes()[:300])
    (root / "empty.png").write_bytes(b"")
    return root


def test_what_cannot_be_used_is_told_by_name_and_the_rest_is_built(troubled, tmp_path):
    made = build_pairs(open_source(troubled), tmp_path / "out", replace(CONFIG, min_valid=0.1))
    told = {one["pair_id"]: one["reason"] for one in lines(tmp_path / "out" / REJECTED)}
    wanted = {
        "nan.png": "depth of brightness is known for none of the 1920 pixels",
        "fails.png": "brightness failed: RuntimeError: this picture is too much",
        "small.png": "depth of brightness is 48x39 but the picture is 48x40",
        "sparse.png": "depth of brightness is known for 2.50% of the pixels; wanted at least 10.00%",
        "cut.jpg": "",
        "empty.png": "empty",
    }
    assert told.keys() == wanted.keys() == {one.pair_id for one in made.rejected}
    for name, reason in wanted.items():
        assert told[name].startswith(name)
        assert reason in told[name]
        assert "\n" not in told[name]
    assert sorted(PairDataset(tmp_path / "out").pair_ids()) == [f"good{number}.png" for number in range(6)]
    assert not (tmp_path / "out" / PARTS).exists()


def test_by_choice_the_first_one_stops_the_run_which_can_be_gone_on_with(troubled, tmp_path):
    with pytest.raises(SdvlmError, match=r"cut\.jpg"):
        build_pairs(open_source(troubled), tmp_path / "out", CONFIG, strict=True)
    assert not (tmp_path / "out" / MANIFEST).exists()
    for name in ("nan", "fails", "small", "sparse", "cut", "empty"):
        next(troubled.glob(f"{name}.*")).unlink()
    assert build_pairs(open_source(troubled), tmp_path / "out", CONFIG, strict=True).rejected == ()


def test_pictures_none_of_which_can_be_used_are_an_error_with_the_first_reason(tmp_path):
    save(tmp_path / "in" / "nan.png", marked(0, pair_estimators.NAN))
    with pytest.raises(SdvlmError, match=r"none of its 1 pictures could be used; the first: nan.png: depth of bright"):
        build_pairs(open_source(tmp_path / "in"), tmp_path / "out", CONFIG)
    assert not (tmp_path / "out" / MANIFEST).exists()


@pytest.mark.parametrize("engine", ["local", "processes"])
def test_an_estimator_that_does_not_load_ends_the_run_at_once(pictures, engine, tmp_path):
    with pytest.raises(SdvlmError, match="unknown estimator 'depth-anythink'"):
        build_pairs(
            open_source(pictures), tmp_path / "out", PairsConfig(estimator="depth-anythink"), EngineConfig(engine)
        )


def test_sensor_depth_and_camera_are_kept_and_no_estimator_is_loaded(rooms, tmp_path):
    made = build_pairs(open_source(rooms), tmp_path / "out", PairsConfig(estimator="no-such-estimator"))
    data = PairDataset(made.out)
    frames = {raw.pair_id: raw for chunk in open_source(rooms).chunks(64) for raw in chunk.read()}
    assert set(data.pair_ids()) == set(frames)
    for pair in data:
        raw = frames[pair.pair_id]
        assert (pair.scene_id, pair.camera, pair.depth.kind) == (raw.scene_id, raw.camera, DepthKind.METRIC)
        np.testing.assert_allclose(pair.depth.values, raw.depth.values, atol=0.0006)
        np.testing.assert_array_equal(pair.image, raw.image)


def test_depth_can_be_estimated_although_there_is_some_or_refused_where_there_is_none(rooms, pictures, tmp_path):
    inverse = replace(CONFIG, depth="estimated", estimator="tests.pairs.pair_estimators:Inverse")
    pair = PairDataset(build_pairs(open_source(rooms), tmp_path / "estimated", inverse).out)[0]
    assert (pair.depth.source, pair.depth.kind) == ("inverse", DepthKind.DISPARITY)
    assert pair.camera is not None
    np.testing.assert_allclose(pair.depth.values, 1 + pair.image.mean(axis=2) / 100, rtol=1e-3)  # half floats
    with pytest.raises(SdvlmError, match="has no depth of its own"):
        build_pairs(open_source(pictures), tmp_path / "none", replace(CONFIG, depth="sensor"))


def test_large_pictures_shrink_with_their_depth_and_camera(rooms, tmp_path):
    data = PairDataset(build_pairs(open_source(rooms), tmp_path / "out", PairsConfig(max_side=48)).out)
    raw = next(iter(next(iter(open_source(rooms).chunks(64))).read()))
    pair = data[data.pair_ids().index(raw.pair_id)]
    assert pair.size == (48, 36)
    assert (pair.camera.fx, pair.camera.cx) == (raw.camera.fx / 2, raw.camera.cx / 2)
    assert pair.camera.fov_x_deg == pytest.approx(raw.camera.fov_x_deg)
    np.testing.assert_allclose(pair.depth.values, raw.depth.values[1::2, 1::2], atol=0.0006)


def test_scenes_stay_together_and_both_splits_have_one(rooms, tmp_path):
    for seed in range(4):
        config = PairsConfig(test_share=0.02 if seed % 2 else 0.98, seed=seed)
        out = build_pairs(open_source(rooms), tmp_path / str(seed), config).out
        train, test = (set(PairDataset(out, split).scene_ids()) for split in ("train", "test"))
        assert train
        assert test
        assert not train & test
        assert len(train | test) == 3


def test_more_pictures_move_none_between_the_splits(whole, pictures, tmp_path):
    for path in pictures.rglob("*.*"):
        save(tmp_path / "in" / path.relative_to(pictures), np.asarray(Image.open(path)))
    for number in range(10):
        save(tmp_path / "in" / "new" / f"{number}.png", smooth(100 + number))
    made = build_pairs(open_source(tmp_path / "in"), tmp_path / "out", CONFIG)
    for split in ("train", "test"):
        assert set(PairDataset(whole.out, split).pair_ids()) <= set(PairDataset(made.out, split).pair_ids())


def test_augmented_copies_stand_beside_training_pairs_and_say_what_was_done(rooms, tmp_path):
    augment = AugmentConfig(flip=1.0, rotate_degrees=8.0)
    config = PairsConfig(copies=2, augment=augment, test_share=0.4)
    made = build_pairs(open_source(rooms), tmp_path / "out", config)
    train, test = PairDataset(made.out, "train"), PairDataset(made.out, "test")
    assert set(test.column("copy")) == {0}
    assert train.column("copy") == [0, 1, 2] * (len(train) // 3)
    assert len({*train.pair_ids()}) == len(train)
    for index in range(0, len(train), 3):
        pair, copy = train[index], train[index + 1]
        assert (copy.pair_id, copy.scene_id) == (f"{pair.pair_id}#1", pair.scene_id)
        told = json.loads(train.row(index + 1)["augmentation"])
        assert (told["mirrored"], told["keeps_metres"], told["keeps_gravity"]) == (True, True, False)
        assert copy.camera.cx == pytest.approx(pair.camera.width - pair.camera.cx)
        assert not copy.depth.valid.all()
    assert made.manifest.counts["train"]["copies"] == 2 * made.manifest.counts["train"]["pairs"]
    again = build_pairs(open_source(rooms), tmp_path / "again", config, EngineConfig("processes", 2))
    assert content(again.out) == content(made.out)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"depth": "guess"}, "depth must be one of auto, sensor, estimated"),
        ({"copies": 1}, "copies would be all alike"),
        ({"augment": AugmentConfig(flip=0.5)}, "nothing is augmented without copies"),
        ({"max_side": 3}, "at least 16 pixels"),
        ({"dedupe": 40}, "distance of 0 to 15"),
        ({"test_share": 2.0}, "share, 0 to 1"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"quality": 101}, "quality"),
    ],
)
def test_senseless_settings_are_refused(wrong, said):
    with pytest.raises(SdvlmError, match=said):
        PairsConfig(**wrong)


def test_a_file_where_the_folder_should_be_is_refused(pictures, tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(SdvlmError, match="is a file; give a folder"):
        build_pairs(open_source(pictures), tmp_path / "out", CONFIG)
    assert os.listdir(tmp_path) == ["out"]
