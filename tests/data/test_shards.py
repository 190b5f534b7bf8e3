"""Parts and shards: the same bytes for the same input, whole or not at all, readable by everybody."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from sdvlm.data.built import iter_records, iter_rows
from sdvlm.data.manifest import MANIFEST, check_shards, read_manifest
from sdvlm.data.msmu import read_msmu
from sdvlm.data.msmu_conversation import first_exchange
from sdvlm.data.shards import assemble, read_part_meta, write_part
from sdvlm.types import SdvlmError


def scene_records(make_record, scene: str, frames: int = 3, **options):
    return [make_record(scene, frame, **options) for frame in range(frames)]


@pytest.fixture
def parts(tmp_path, make_record):
    """Six scenes, the last two for the test."""
    listed = []
    for number in range(6):
        path = tmp_path / "parts" / f"scene_{number}.parquet"
        write_part(path, scene_records(make_record, path.stem), {"counts": {"dropped": {"small": number}}})
        listed.append(("train" if number < 4 else "test", path))
    return listed


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_part_says_what_it_holds(tmp_path, make_record):
    records = [*scene_records(make_record, "room", questions=10), make_record("room", 9, questions=0)]
    meta = {"seed": 4, "counts": {"dropped": {"small": 2}}, "name": "Büro"}
    written = write_part(tmp_path / "room.parquet", records, meta)
    read = read_part_meta(tmp_path / "room.parquet")
    assert read == {"format": read["format"], "per": "picture"} | written
    assert {name: read[name] for name in meta} == meta
    assert read["held"]["pictures"] == 3
    assert read["held"]["questions"] == 30
    assert read["held"]["types"]["scale_estimation"] == 6
    assert read["held"]["types"]["zero"] == 3


def test_the_same_records_give_the_same_bytes(tmp_path, make_record):
    for name in ("a", "b"):
        write_part(tmp_path / name, scene_records(make_record, "room"), {"b": 1, "a": {"d": 2, "c": 3}})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("limits", [{}, {"rows_per_shard": 5}, {"bytes_per_shard": 20_000}])
def test_shards_are_the_same_in_whatever_order_parts_are_listed(tmp_path, parts, limits):
    shuffled = [parts[index] for index in np.random.default_rng(0).permutation(len(parts))]
    assemble(parts, tmp_path / "one", settings={"seed": 1}, **limits)
    assemble(shuffled, tmp_path / "two", settings={"seed": 1}, **limits)
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")


def test_every_question_is_in_the_shards_once_in_the_order_of_the_scenes(tmp_path, parts, make_record):
    manifest = assemble(parts, tmp_path / "out", rows_per_shard=5)
    for split, numbers in (("train", range(4)), ("test", (4, 5))):
        wanted = [
            (record.image_id, sample)
            for number in numbers
            for record in scene_records(make_record, f"scene_{number}")
            for sample in record.samples
        ]
        got = [(record.image_id, one) for record in iter_records(tmp_path / "out", split) for one in record.samples]
        assert got == wanted
        assert manifest.counts[split]["questions"] == len(wanted)
    assert [shard.rows for shard in manifest.shards("train")] == [5, 5, 2]
    assert [shard.rows for shard in manifest.shards("test")] == [5] * 9 + [3]
    assert [shard.path for shard in manifest.shards("train")][-1] == "data/train-00002-of-00003.parquet"


def test_counts_of_parts_are_added_up_in_the_manifest(tmp_path, parts):
    assemble(parts, tmp_path / "out", settings={"seed": 7})
    manifest = read_manifest(tmp_path / "out")
    assert manifest.counts["train"]["dropped"] == {"small": 0 + 1 + 2 + 3}
    assert manifest.counts["test"]["dropped"] == {"small": 4 + 5}
    train = {name: manifest.counts["train"][name] for name in ("scenes", "pictures", "rows", "questions")}
    assert train == {"scenes": 4, "pictures": 12, "rows": 12, "questions": 96}
    test = {name: manifest.counts["test"][name] for name in ("scenes", "pictures", "rows", "questions")}
    assert test == {"scenes": 2, "pictures": 6, "rows": 48, "questions": 48}
    assert manifest.settings == {"seed": 7}
    assert manifest.per == {"train": "picture", "test": "question"}
    for shard in manifest.files:
        path = tmp_path / "out" / shard.path
        assert (shard.bytes, shard.sha256) == (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
        assert shard.rows == pq.ParquetFile(path).metadata.num_rows


def test_chosen_questions_alone_are_taken(tmp_path, parts):
    only = {"test": [("scene_4/1", 3), ("scene_5/0", 0), ("scene_4/1", 5)]}
    manifest = assemble(parts, tmp_path / "out", only=only)
    asked = [row["questions"][0]["question"] for row in iter_rows(tmp_path / "out", "test", ["questions"])]
    assert asked == ["scene_4 1: question 3?", "scene_4 1: question 5?", "scene_5 0: question 0?"]
    assert manifest.counts["test"]["pictures"] == 2
    assert manifest.counts["train"]["questions"] == 96


def test_a_chosen_question_that_is_not_there_is_named(tmp_path, parts):
    with pytest.raises(SdvlmError, match="scene_4/1 99"):
        assemble(parts, tmp_path / "out", only={"test": [("scene_4/1", 99)]})
    assert not (tmp_path / "out" / MANIFEST).exists()


def test_assembling_again_replaces_what_was_there(tmp_path, parts):
    out = tmp_path / "out"
    assemble(parts, out, rows_per_shard=2)
    assemble(parts[:3], out)
    assemble(parts[:3], tmp_path / "fresh")
    assert hashes(out) == hashes(tmp_path / "fresh")


def test_a_repeated_picture_is_stored_once(tmp_path, make_record):
    records = scene_records(make_record, "room", 2, questions=40, size=(320, 240))
    write_part(tmp_path / "part", records)
    assemble([("train", tmp_path / "part")], tmp_path / "pictures")
    assemble([("test", tmp_path / "part")], tmp_path / "questions")
    (one,), (many,) = (read_manifest(tmp_path / name).files for name in ("pictures", "questions"))
    assert (one.rows, many.rows) == (2, 80)
    assert many.bytes < 1.2 * one.bytes


def test_datasets_loads_every_value(tmp_path, parts, monkeypatch):
    datasets = pytest.importorskip("datasets", reason="reads what Hugging Face's users read")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    out = tmp_path / "out"
    assemble(parts, out)
    for beside in ("rejected.jsonl", "inspect.html", "parts/scene_9.parquet"):  # what a build may leave there too
        (out / beside).parent.mkdir(exist_ok=True)
        (out / beside).write_text("{}")
    loaded = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    assert {name: split.num_rows for name, split in loaded.items()} == {"train": 12, "test": 48}
    for split in ("train", "test"):
        assert list(loaded[split]) == list(iter_rows(out, split))
    files = {"train": [str(path) for path in (out / "data").glob("train-*.parquet")]}
    again = datasets.load_dataset("parquet", data_files=files, cache_dir=str(tmp_path / "cache"), split="train")
    assert again[0]["questions"][0]["answer"]["numbers"][1:] == [0.5, 1.25]


def test_our_reader_of_published_data_reads_both_splits(tmp_path, parts, make_record):
    out = tmp_path / "out"
    assemble(parts, out)
    pictures = list(read_msmu(out, "train", need_type=False))
    assert [len(row.turns) for row in pictures] == [16] * 12
    first = make_record("scene_0", 0)
    assert pictures[0].picture == first.picture
    assert pictures[0].image().shape == (48, 64, 3)
    questions = list(read_msmu(out, "test"))
    wanted = [
        sample for scene in (4, 5) for frame in range(3) for sample in make_record(f"scene_{scene}", frame).samples
    ]
    assert [(row.type, row.question, row.answer) for row in questions] == [
        (sample.type, sample.question, sample.answer) for sample in wanted
    ]
    assert first_exchange(questions[0].turns)[0].startswith("<image>\n")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_part_cut_short_is_not_taken_for_whole(tmp_path, parts, share):
    path = parts[0][1]
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(SdvlmError, match="cut short, damaged"):
        read_part_meta(path)
    with pytest.raises(SdvlmError, match=r"scene_0\.parquet"):
        assemble(parts, tmp_path / "out")
    assert not (tmp_path / "out" / MANIFEST).exists()


def test_a_shard_that_changed_is_noticed(tmp_path, parts):
    out = tmp_path / "out"
    manifest = assemble(parts, out, rows_per_shard=5)
    assert check_shards(out, manifest) == []
    first, second, third = (out / shard.path for shard in manifest.shards("train"))
    data = bytearray(first.read_bytes())
    data[len(data) // 2] ^= 1
    first.write_bytes(data)
    second.write_bytes(second.read_bytes()[:-1])
    third.unlink()
    changed, shorter, missing = check_shards(out, manifest)
    assert "bytes are not those" in changed
    assert "was written with" in shorter
    assert "is missing" in missing
    assert len(check_shards(out, manifest, hashes=False)) == 2


def test_a_scene_in_two_splits_and_a_picture_listed_twice_are_refused(tmp_path, parts, make_record):
    with pytest.raises(SdvlmError, match="is in another part already"):
        assemble([*parts, ("train", parts[0][1])], tmp_path / "out")
    other = tmp_path / "other.parquet"
    write_part(other, [make_record("scene_5", 50)])
    with pytest.raises(SdvlmError, match="choose one"):
        assemble([*parts, ("train", other)], tmp_path / "out")


def test_parts_without_a_question_make_no_data_set(tmp_path, make_record):
    write_part(tmp_path / "part", [make_record(questions=0)])
    with pytest.raises(SdvlmError, match="hold no question"):
        assemble([("train", tmp_path / "part")], tmp_path / "out")


def test_a_file_of_other_columns_is_no_part(tmp_path, make_record):
    import pyarrow as pa

    pq.write_table(pa.table({"a": [1]}), tmp_path / "part.parquet")
    with pytest.raises(SdvlmError, match="other columns"):
        read_part_meta(tmp_path / "part.parquet")


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"format": "another"}', '{"format": "sdvlm-built-1", "files": [{"path": "x"}]}']
)
def test_a_damaged_manifest_is_refused(tmp_path, text):
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(SdvlmError, match=MANIFEST):
        read_manifest(tmp_path)


def test_a_manifest_may_not_name_files_elsewhere(tmp_path, parts):
    manifest = assemble(parts, tmp_path / "out")
    replace(manifest, files=(replace(manifest.files[0], path="../secret.parquet"),)).write(tmp_path / "out")
    with pytest.raises(SdvlmError, match="outside its folder"):
        read_manifest(tmp_path / "out")


KILLED = """
import os, sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from conftest import build_record
from sdvlm.data import shards
from sdvlm.data.shards import assemble, write_part

def halt(*_):
    print("halted", flush=True)
    time.sleep(60)

def frames():
    for number in range({frames}):
        yield build_record("slow", number)

out = Path({out!r})
{act}
"""
WHILE_WRITING_A_PART = """
from sdvlm.data.parquet import RowWriter
RowWriter._flush = halt
write_part(out / "slow.parquet", frames())
"""
WHILE_ASSEMBLING = """
parts = sorted(("train", path) for path in (out / "parts").iterdir())
write = shards.RowWriter.write
calls = []
def slow(self, rows):
    write(self, rows)
    calls.append(1)
    if len(calls) == 7:
        halt()
shards.RowWriter.write = slow
assemble(parts, out, rows_per_shard=2)
"""
WHILE_PUBLISHING = """
parts = sorted(("train", path) for path in (out / "parts").iterdir())
replace = Path.replace
def stop(self, target):
    if "00002" in target.name:
        halt()
    return replace(self, target)
Path.replace = stop
assemble(parts, out, rows_per_shard=2)
"""


def kill_while(act: str, out: Path) -> None:
    """Run it in a process of its own until it says that it is in the middle, then kill -9."""
    code = textwrap.dedent(KILLED).format(tests=str(Path(__file__).parents[1]), frames=3, out=str(out), act=act)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "halted\n"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()


def test_a_part_whose_writer_is_killed_is_not_there_and_can_be_written_again(tmp_path, make_record):
    kill_while(WHILE_WRITING_A_PART, tmp_path)
    assert [path.suffix for path in tmp_path.iterdir()] == [".tmp"]
    write_part(tmp_path / "slow.parquet", scene_records(make_record, "slow"))
    assert [path.name for path in tmp_path.iterdir()] == ["slow.parquet"]


@pytest.mark.parametrize("act", [WHILE_ASSEMBLING, WHILE_PUBLISHING])
def test_shards_of_a_killed_run_are_no_data_set_and_the_next_run_makes_them_whole(tmp_path, make_record, act):
    out, parts = tmp_path / "out", []
    for number in range(4):
        path = out / "parts" / f"scene_{number}.parquet"
        write_part(path, scene_records(make_record, path.stem))
        parts.append(("train", path))
    earlier = assemble(parts[:2], out)
    kill_while(act, out)
    if act is WHILE_ASSEMBLING:  # what was there is untouched
        assert read_manifest(out) == earlier
        assert check_shards(out, earlier) == []
    else:
        with pytest.raises(SdvlmError, match="no finished build"):
            read_manifest(out)
    assemble(parts, out, rows_per_shard=2)
    assemble(parts, tmp_path / "fresh", rows_per_shard=2)
    left = {name: value for name, value in hashes(out).items() if not name.startswith("parts/")}
    assert left == hashes(tmp_path / "fresh")


def test_memory_does_not_grow_with_the_number_of_parts(tmp_path, make_record):
    code = """
    import resource, sys
    from pathlib import Path
    import sdvlm.data.parquet
    from sdvlm.data.shards import assemble
    object.__setattr__(sdvlm.data.parquet.BUILT, "group_bytes", 4 << 20)  # at its height after a few parts
    parts = [("train", path) for path in Path(sys.argv[1]).iterdir()]
    assemble(parts[: int(sys.argv[2])], Path(sys.argv[3]))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    """
    record = make_record(size=(640, 480))
    for number in range(24):
        name = f"scene_{number:03d}"
        frames = [replace(record, scene_id=name, image_id=f"{name}/{frame}") for frame in range(4)]
        write_part(tmp_path / "parts" / name, frames)
    peak = {}
    for count in (8, 24):
        command = [
            sys.executable,
            "-c",
            textwrap.dedent(code),
            str(tmp_path / "parts"),
            str(count),
            str(tmp_path / "o"),
        ]
        peak[count] = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout) / 1024
    pictures = 4 * len(record.picture) / 2**20  # MiB of one part
    assert peak[24] < peak[8] + 0.25 * (24 - 8) * pictures
