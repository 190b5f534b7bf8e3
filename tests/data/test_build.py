"""The pipeline from scenes to shards: exact, the same whoever builds it, resumable, honest about what it rejects."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from sdvlm.data.build import PARTS, REJECTED, build, split_of
from sdvlm.data.build_config import BuildConfig
from sdvlm.data.built import iter_records
from sdvlm.data.manifest import MANIFEST
from sdvlm.data.verify_build import verify_build
from sdvlm.engine import EngineConfig
from sdvlm.scenes.reader import open_reader
from sdvlm.scenes.room_dataset import RoomDataset, write_rooms
from sdvlm.scenes.sensor import SensorConfig
from sdvlm.types import SdvlmError

SCENES = 4


@pytest.fixture(scope="session")
def rooms(tmp_path_factory):
    root = tmp_path_factory.mktemp("rooms")
    made = RoomDataset(SCENES, seed=3, frames=3, image_size=(192, 144), supersample=1, sensor=SensorConfig())
    write_rooms(root, made)
    return root


@pytest.fixture(scope="session")
def config():
    return BuildConfig(frames_per_scene=3, test_share=0.4, reasoning_share=0.2)


@pytest.fixture(scope="session")
def whole(rooms, config, tmp_path_factory):
    """The undisturbed build that the others are compared with."""
    return build(open_reader(rooms, "scannet"), tmp_path_factory.mktemp("whole") / "out", config, verify=True)


@pytest.fixture
def spoilt(rooms, tmp_path):
    """A copy of the scenes to damage."""
    return shutil.copytree(rooms, tmp_path / "spoilt")


def content(out):
    """Digest of every file of finished data by its name."""
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and PARTS not in path.parts
    }


def test_every_scene_becomes_rows_with_right_answers(whole):
    assert (whole.built, whole.kept, whole.rejected) == (SCENES, 0, ())
    checked = verify_build(whole.out)
    assert checked.faults == ()
    assert checked.questions == sum(counts["questions"] for counts in whole.manifest.counts.values())
    assert checked.questions > 50
    assert not (whole.out / PARTS).exists()
    assert (whole.out / REJECTED).read_text() == ""


def test_what_was_dropped_is_counted_by_reason(whole):
    dropped = {}
    for counts in whole.manifest.counts.values():
        for reason, number in counts["dropped"].items():
            dropped[reason] = dropped.get(reason, 0) + number
    assert all(number > 0 for number in dropped.values())
    assert {"object: structure", "object: occluded"} & set(dropped) or any("object" in reason for reason in dropped)


def test_a_wrong_answer_on_disk_is_found(whole, tmp_path):
    from sdvlm.data.shards import assemble, write_part
    from sdvlm.data.verify_record import find_record_faults

    record = next(
        one
        for one in iter_records(whole.out, "train")
        if any(s.answer_typed.definition == "height" for s in one.samples)
    )
    assert find_record_faults(record) == []
    taller = tuple(
        type(thing)(**{**vars(thing), "size_lwh": (*thing.size_lwh[:2], thing.size_lwh[2] * 1.5)})
        for thing in record.objects
    )
    write_part(tmp_path / "part.parquet", [type(record)(**{**vars(record), "objects": taller})])
    assemble([("train", tmp_path / "part.parquet")], tmp_path / "out")
    assert verify_build(tmp_path / "out").faults


def test_splits_are_by_scene_and_rescans_stay_together(whole, config):
    scenes = {split: {one.scene_id for one in iter_records(whole.out, split)} for split in whole.manifest.splits}
    assert not set.intersection(*scenes.values()) or len(scenes) == 1
    for number in range(200):
        assert split_of(f"scene{number:04d}_00", config) == split_of(f"scene{number:04d}_07", config)
    share = np.mean([split_of(f"s{number}", config) == "test" for number in range(2000)])
    assert share == pytest.approx(config.test_share, abs=0.04)


def test_another_seed_asks_other_questions_of_the_same_pictures(whole, rooms, config, tmp_path):
    from dataclasses import replace

    other = build(open_reader(rooms, "scannet"), tmp_path / "out", replace(config, seed=1))
    asked = [
        {one.image_id: [sample.question for sample in one.samples] for split in built.manifest.splits
         for one in iter_records(built.out, split)}
        for built in (whole, other)
    ]  # fmt: skip
    assert asked[0].keys() == asked[1].keys()
    assert all(asked[0][image] != asked[1][image] for image in asked[0])


def test_processes_write_the_same_bytes_as_one(whole, rooms, config, tmp_path):
    built = build(open_reader(rooms, "scannet"), tmp_path / "out", config, EngineConfig("processes", 2))
    assert content(built.out) == content(whole.out)


def test_a_run_that_stops_goes_on_and_ends_the_same(whole, rooms, config, tmp_path):
    def stop(scene_id, done, wanted):
        if done == 2:
            raise KeyboardInterrupt

    reader, out = open_reader(rooms, "scannet"), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        build(reader, out, config, progress=stop)
    assert not (out / MANIFEST).exists()
    assert len(list((out / PARTS).glob("*.parquet"))) == 2
    resumed = build(reader, out, config)
    assert (resumed.built, resumed.kept) == (SCENES - 2, 2)
    assert content(out) == content(whole.out)


def test_a_part_cut_short_is_built_again(whole, rooms, config, tmp_path):
    def stop(scene_id, done, wanted):
        if done == 1:
            raise KeyboardInterrupt

    reader, out = open_reader(rooms, "scannet"), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        build(reader, out, config, progress=stop)
    (part,) = (out / PARTS).glob("*.parquet")
    part.write_bytes(part.read_bytes()[:-100])
    assert build(reader, out, config).kept == 0
    assert content(out) == content(whole.out)


def test_a_killed_run_goes_on_and_ends_the_same(whole, rooms, config, tmp_path):
    out = tmp_path / "out"
    words = [sys.executable, "-m", "sdvlm.cli.main", "build", str(rooms), str(out), "--reader", "scannet"]
    words += ["--frames", "3", "--test-share", "0.4", "--reasoning", "0.2"]
    running = subprocess.Popen(words, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=os.environ)
    deadline = time.monotonic() + 60
    while not list((out / PARTS).glob("*.parquet")) and time.monotonic() < deadline and running.poll() is None:
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert not (out / MANIFEST).exists(), "it was done before it could be killed; make the scenes larger"
    subprocess.run(words, check=True, capture_output=True)
    assert content(out) == content(whole.out)


def test_finished_data_is_left_as_it_is(whole, rooms, config):
    before = {path: path.stat().st_mtime_ns for path in whole.out.rglob("*")}
    again = build(open_reader(rooms, "scannet"), whole.out, config)
    assert (again.built, again.kept) == (0, SCENES)
    assert {path: path.stat().st_mtime_ns for path in whole.out.rglob("*")} == before


def test_other_settings_need_another_folder(whole, rooms):
    with pytest.raises(SdvlmError, match="other settings"):
        build(open_reader(rooms, "scannet"), whole.out, BuildConfig(seed=9))


def first_scene(root):
    return root / "scene0000_00"


def cut_picture(root):
    path = sorted((first_scene(root) / "depth").glob("*.png"))[1]
    path.write_bytes(path.read_bytes()[:200])
    return path.stem


def nan_pose(root):
    path = sorted((first_scene(root) / "pose").glob("*.txt"))[0]
    path.write_text(path.read_text().replace(path.read_text().split()[3], "nan", 1))
    return path.stem


def no_aggregation(root):
    (first_scene(root) / "scene0000_00.aggregation.json").unlink()


def other_camera(root):
    path = first_scene(root) / "intrinsic" / "intrinsic_color.txt"
    path.write_text("1170 0 647 0\n0 1171 483 0\n0 0 1 0\n0 0 0 1\n")


def no_objects(root):
    path = first_scene(root) / "scene0000_00.aggregation.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"segGroups": []}))


@pytest.mark.parametrize("spoil", [cut_picture, nan_pose, no_aggregation, other_camera, no_objects])
def test_what_cannot_be_read_is_rejected_with_its_reason_and_the_rest_is_built(spoilt, config, tmp_path, spoil):
    frame = spoil(spoilt)
    built = build(open_reader(spoilt, "scannet"), tmp_path / "out", config)
    lines = [json.loads(line) for line in (built.out / REJECTED).read_text().splitlines()]
    assert [(one["scene_id"], one["frame_id"]) for one in lines] == [("scene0000_00", frame)]
    assert len(lines[0]["reason"]) > 20
    scenes = {one.scene_id for split in built.manifest.splits for one in iter_records(built.out, split)}
    assert len(scenes) == (SCENES if frame else SCENES - 1)
    assert verify_build(built.out).faults == ()


def test_a_rejected_scene_that_was_mended_is_added_by_the_next_run(whole, rooms, spoilt, config, tmp_path):
    no_aggregation(spoilt)
    out = tmp_path / "out"
    assert len(build(open_reader(spoilt, "scannet"), out, config).rejected) == 1
    shutil.copytree(rooms, spoilt, dirs_exist_ok=True)
    mended = build(open_reader(spoilt, "scannet"), out, config)
    assert (mended.built, mended.kept, mended.rejected) == (1, SCENES - 1, ())
    assert content(out) == content(whole.out)


def test_a_rejected_frame_that_was_mended_is_added_by_the_next_run(whole, rooms, spoilt, config, tmp_path):
    cut_picture(spoilt)
    out = tmp_path / "out"
    assert len(build(open_reader(spoilt, "scannet"), out, config).rejected) == 1
    shutil.copytree(rooms, spoilt, dirs_exist_ok=True)
    mended = build(open_reader(spoilt, "scannet"), out, config)
    assert (mended.built, mended.kept, mended.rejected) == (1, SCENES - 1, ())
    assert content(out) == content(whole.out)


def test_a_mended_scene_that_makes_categories_common_changes_the_others_too(rooms, spoilt, config, tmp_path):
    from dataclasses import replace

    config = replace(config, min_scenes=2, min_questions=1)
    reader = open_reader(rooms, "scannet")
    held = {one: {thing.category for thing in reader.read(one).objects} for one in reader.scene_ids()}
    first, second = reader.scene_ids()[:2]
    shared = (held[first] & held[second]) - set.union(*(held[other] for other in list(held)[2:]))
    assert shared, "no category is in exactly these two scenes; draw other rooms"
    no_aggregation(spoilt)
    out = tmp_path / "out"
    build(open_reader(spoilt, "scannet"), out, config)
    shutil.copytree(rooms, spoilt, dirs_exist_ok=True)
    build(open_reader(spoilt, "scannet"), out, config)
    undisturbed = build(reader, tmp_path / "undisturbed", config)
    assert content(out) == content(undisturbed.out)


def test_a_scene_is_rejected_or_in_the_data_never_both(spoilt, config, tmp_path):
    (spoilt / "scene0003_00" / "scene0003_00.aggregation.json").unlink()
    reader, out = open_reader(spoilt, "scannet"), tmp_path / "out"
    build(reader, out, config)
    no_aggregation(spoilt)  # built already: its files are no longer needed
    again = build(reader, out, config)
    assert [one.scene_id for one in again.rejected] == ["scene0003_00"]
    assert again.kept == SCENES - 1
    assert sum(counts["scenes"] for counts in again.manifest.counts.values()) == SCENES - 1


def test_a_shard_that_was_lost_or_cut_is_built_again(whole, rooms, config, tmp_path):
    out = shutil.copytree(whole.out, tmp_path / "out")
    before = content(out)
    shards = sorted((out / "data").glob("*.parquet"))
    shards[0].write_bytes(shards[0].read_bytes()[:1000])
    for shard in shards[1:]:
        shard.unlink()
    assert build(open_reader(rooms, "scannet"), out, config).built == SCENES
    assert content(out) == before


def test_folders_that_no_build_made_are_left_alone(rooms, config, tmp_path):
    reader = open_reader(rooms, "scannet")
    for name in ("parts/mine.txt", "data/train-00000-of-00001.parquet"):
        out = tmp_path / name.partition("/")[0]
        (out / name).parent.mkdir(parents=True)
        (out / name).write_text("mine")
        with pytest.raises(SdvlmError, match="give another folder"):
            build(reader, out, config)
        assert [path for path in out.rglob("*") if path.is_file()] == [out / name]


def test_a_few_rooms_still_have_a_test_split_unless_none_is_wanted(rooms, config, tmp_path):
    from dataclasses import replace

    reader = open_reader(rooms, "scannet")
    few = replace(config, test_share=1e-9, frames_per_scene=1)
    built = build(reader, tmp_path / "few", few)
    assert built.manifest.splits == ("test", "train")
    assert built.manifest.counts["test"]["scenes"] == 1
    assert build(reader, tmp_path / "none", replace(few, test_share=0.0)).manifest.splits == ("train",)


def test_uncommon_categories_are_not_asked_about(rooms, whole, config, tmp_path):
    from dataclasses import replace

    reader = open_reader(rooms, "scannet")
    everywhere = set.intersection(*[{one.category for one in reader.read(s).objects} for s in reader.scene_ids()])
    built = build(reader, tmp_path / "out", replace(config, min_scenes=SCENES, min_questions=1))
    kept = {
        thing.category
        for split in built.manifest.splits
        for one in iter_records(built.out, split)
        for thing in one.objects
        if thing.dropped is None
    }
    assert kept
    assert kept <= everywhere


@pytest.mark.slow
def test_a_ray_cluster_that_loses_a_node_writes_the_same_bytes(whole, rooms, config, tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="Ray is not installed (pip install 'sdvlm[ray]')")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    store = 100 * 2**20
    quick = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 300, "health_check_failure_threshold": 3}
    node = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": store, "_system_config": quick}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    lost = []
    try:
        worker = cluster.add_node(num_cpus=1, object_store_memory=store)

        def lose_a_node(scene_id, done, wanted):
            if done == 1:
                cluster.remove_node(worker, allow_graceful=False)
                lost.append(scene_id)

        engine = EngineConfig("ray", address=cluster.address)
        built = build(open_reader(rooms, "scannet"), tmp_path / "out", config, engine, progress=lose_a_node)
    finally:
        cluster.shutdown()
    assert lost
    assert built.rejected == ()
    assert content(built.out) == content(whole.out)
