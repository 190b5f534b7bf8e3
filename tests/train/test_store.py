"""A store gives back what its source holds, made once, whole or not at all, in memory that does not grow with it."""

from __future__ import annotations

import base64
import io
import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from sdvlm.data.encode import decode_depth, encode_depth
from sdvlm.data.msmu_picture import decode_picture
from sdvlm.train.config import DataSettings
from sdvlm.train.sources import RawRow, open_source
from sdvlm.train.store import ExampleStore
from sdvlm.types import DepthKind, DepthMap, SdvlmError


def png(seed=0, size=(12, 8)) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, "PNG", compress_level=0)
    return stream.getvalue()


def question(picture, number, **more):
    turns = [{"from": "human", "value": f"<image>\nQ{number}?"}, {"from": "gpt", "value": f"A{number}"}]
    return {"image_base64": base64.b64encode(png(picture)).decode(), "conversations": turns} | more


def write(path, rows):
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return DataSettings(path=str(path), format="msmu")


def test_examples_are_those_of_the_built_data(built_folder, tmp_path, make_record):
    store = ExampleStore.open(DataSettings(path=str(built_folder), name="rooms"), tmp_path)
    records = [make_record(scene, frame, depth=frame == 0) for scene in "ab" for frame in range(2)]
    assert (len(store), store.name, store.depth_kinds) == (4, "rooms", {DepthKind.METRIC})
    assert store.dialogue_counts().tolist() == [8] * 4
    for index, record in enumerate(records):
        example = store[index]
        assert np.array_equal(example.images[0], decode_picture(record.picture))
        assert example.cameras == (record.camera,)
        if record.depth_png is None:
            assert example.depth == (None,)
        else:
            truth = decode_depth(record.depth_png, record.depth_source)
            assert np.array_equal(example.depth[0].values, truth.values, equal_nan=True)
            assert example.depth[0].source == "made up"
        assert [one.answer for one in example.dialogues] == [one.answer_typed for one in record.samples]
        assert [one.names for one in example.dialogues] == [one.names for one in record.samples]
        assert store.families(index) == [one.type.value for one in record.samples]
        assert example.key.startswith("rooms: ")


def test_rows_about_one_picture_become_one_example_wherever_they_stand(tmp_path):
    order = [0, 1, 0, 2, 1, 0]
    settings = write(tmp_path / "x.jsonl", [question(picture, number) for number, picture in enumerate(order)])
    store = ExampleStore.open(settings, tmp_path / "cache")
    asked = [[turns[0][1] for turns in (one.turns for one in store[index].dialogues)] for index in range(len(store))]
    assert asked == [["Q0?", "Q2?", "Q5?"], ["Q1?", "Q4?"], ["Q3?"]]
    assert store.dialogue_counts().tolist() == [3, 2, 1]


def test_text_alone_is_never_put_together(tmp_path):
    turns = [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]
    (tmp_path / "x.json").write_text(json.dumps([{"id": "1", "conversations": turns}] * 3))
    store = ExampleStore.open(DataSettings(path=str(tmp_path / "x.json")), tmp_path / "cache")
    assert len(store) == 3
    assert store[2].images == ()


def test_one_picture_with_two_depth_maps_stays_two_examples(tmp_path):
    for number in (1, 2):
        (tmp_path / f"{number}.png").write_bytes(encode_depth(DepthMap(np.full((8, 12), float(number)))))
    (tmp_path / "p.png").write_bytes(png())
    turns = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]
    rows = [{"messages": turns, "images": ["p.png"], "depth": [f"{number}.png"]} for number in (1, 2, 1)]
    write(tmp_path / "x.jsonl", rows)
    store = ExampleStore.open(DataSettings(path=str(tmp_path / "x.jsonl")), tmp_path / "cache")
    assert [float(store[index].depth[0].values[0, 0]) for index in range(len(store))] == [1.0, 2.0]
    assert store.held_out_by()[0] == store.held_out_by()[1]


def test_a_store_is_made_once_and_again_when_its_source_changes(tmp_path):
    settings, cache = write(tmp_path / "x.jsonl", [question(0, 0)]), tmp_path / "cache"
    first = ExampleStore.open(settings, cache).path
    made = first.stat().st_mtime_ns
    renamed = DataSettings(path=settings.path, format="msmu", name="other", weight=3.0)
    assert ExampleStore.open(renamed, cache).path == first
    assert first.stat().st_mtime_ns == made
    assert ExampleStore.open(DataSettings(path=settings.path, format="msmu", turns="together"), cache).path != first
    write(tmp_path / "x.jsonl", [question(0, 0), question(1, 1)])
    assert len(ExampleStore.open(settings, cache)) == 2


def test_a_damaged_or_half_file_is_made_again(tmp_path):
    settings = write(tmp_path / "x.jsonl", [question(0, 0)])
    path = ExampleStore.open(settings, tmp_path / "cache").path
    path.write_bytes(path.read_bytes()[:700])
    assert len(ExampleStore.open(settings, tmp_path / "cache")) == 1


def test_broken_rows_are_told_or_end_the_work(tmp_path):
    rows = [question(0, 0), question(1, 1) | {"image_base64": "AAAA"}, question(2, 2)]
    settings = write(tmp_path / "x.jsonl", rows)
    stop = DataSettings(path=settings.path, format="msmu", broken="stop")
    for _ in range(2):  # before the store is there, and when it is
        with pytest.raises(SdvlmError, match=r"x.jsonl: x.jsonl row 1: the picture is in no format"):
            ExampleStore.open(stop, tmp_path / "cache")
        store = ExampleStore.open(settings, tmp_path / "cache")
        assert (len(store), store.broken_rows, store.broken[0].key) == (2, 1, "x.jsonl row 1")


def test_nothing_to_train_on_is_refused_with_the_first_reason(tmp_path):
    settings = write(tmp_path / "x.jsonl", [question(1, 1) | {"image_base64": "AAAA"}])
    with pytest.raises(SdvlmError, match=r"nothing to train on: x.jsonl row 0: the picture"):
        ExampleStore.open(settings, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.sqlite"))


def test_a_depth_folder_that_fits_no_picture_is_refused_with_the_name_wanted(tmp_path):
    (tmp_path / "depth").mkdir()
    (tmp_path / "kitchen.png").write_bytes(png())
    turns = [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]
    (tmp_path / "x.json").write_text(json.dumps([{"image": "kitchen.png", "conversations": turns}]))
    settings = DataSettings(path=str(tmp_path / "x.json"), depth=str(tmp_path / "depth"))
    with pytest.raises(SdvlmError, match=r"holds no depth of any picture; wanted files as 'kitchen.png'"):
        ExampleStore.open(settings, tmp_path / "cache")


def test_a_picture_that_goes_missing_later_is_named(tmp_path):
    (tmp_path / "p.png").write_bytes(png())
    turns = [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]
    (tmp_path / "x.json").write_text(json.dumps([{"image": "p.png", "conversations": turns}]))
    store = ExampleStore.open(DataSettings(path=str(tmp_path / "x.json")), tmp_path / "cache")
    (tmp_path / "p.png").unlink()
    with pytest.raises(SdvlmError, match=r"x.json: x.json row 0: .*p.png"):
        store[0]


def test_pictures_that_were_missing_are_found_once_they_are_there(tmp_path):
    (tmp_path / "0.png").write_bytes(png(0))
    turns = [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]
    rows = [{"image": f"{number}.png", "conversations": turns} for number in range(2)]
    (tmp_path / "x.json").write_text(json.dumps(rows))
    settings = DataSettings(path=str(tmp_path / "x.json"))
    for _ in range(2):
        store = ExampleStore.open(settings, tmp_path / "cache")
        assert (len(store), store.broken_rows) == (1, 1)
    (tmp_path / "1.png").write_bytes(png(1))
    store = ExampleStore.open(settings, tmp_path / "cache")
    assert (len(store), store.broken_rows) == (2, 0)
    made = store.path.stat().st_mtime_ns
    ExampleStore.open(settings, tmp_path / "cache")
    assert store.path.stat().st_mtime_ns == made


def test_a_picture_that_no_longer_fits_its_depth_is_named(tmp_path):
    (tmp_path / "p.png").write_bytes(png())
    (tmp_path / "d.png").write_bytes(encode_depth(DepthMap(np.full((8, 12), 2.0))))
    turns = [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]
    (tmp_path / "x.json").write_text(json.dumps([{"image": "p.png", "depth": "d.png", "conversations": turns}]))
    store = ExampleStore.open(DataSettings(path=str(tmp_path / "x.json")), tmp_path / "cache")
    (tmp_path / "p.png").write_bytes(png(size=(20, 20)))
    with pytest.raises(SdvlmError, match="the picture is 20x20 by now"):
        store[0]


def test_workers_and_pickled_copies_read_the_same(built_folder, tmp_path):
    store = ExampleStore.open(DataSettings(path=str(built_folder)), tmp_path)
    store[0]  # open in this process before workers are forked
    copy = pickle.loads(pickle.dumps(store))
    loaded = list(DataLoader(store, batch_size=None, num_workers=2))
    for index, one in enumerate(loaded):
        for other in (store[index], copy[index]):
            assert np.array_equal(one.images[0], other.images[0])
            assert one.dialogues == other.dialogues
    with pytest.raises(IndexError):
        store[4]


CHILD = """
import os, sys
from pathlib import Path
from sdvlm.train.config import DataSettings
from sdvlm.train.sources import open_source
from sdvlm.train.store_file import write_file
what, source, path = sys.argv[1:]
def rows():
    for number, row in enumerate(open_source(DataSettings(path=source, format="msmu"))):
        if number == 600 and what == "kill":
            os.kill(os.getpid(), 9)
        yield row
if what == "limit":
    import resource, signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40000, 40000))
write_file(Path(path), rows(), False)
"""


def child(*arguments):
    return subprocess.run([sys.executable, "-c", CHILD, *map(str, arguments)], capture_output=True, text=True)


def test_a_killed_process_leaves_no_store_and_what_it_left_is_cleared_away(tmp_path):
    write(tmp_path / "x.jsonl", [question(number, number) for number in range(700)])
    path = tmp_path / "cache/made.sqlite"
    assert child("kill", tmp_path / "x.jsonl", path).returncode == -9
    assert not path.exists()
    assert len(list(path.parent.iterdir())) == 1
    assert child("make", tmp_path / "x.jsonl", path).returncode == 0
    assert len(ExampleStore(path, "x")) == 700
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_may_not_grow_is_an_error_of_one_line_and_nothing_stays(tmp_path):
    write(tmp_path / "x.jsonl", [question(number, number) for number in range(700)])
    path = tmp_path / "cache/made.sqlite"
    done = child("limit", tmp_path / "x.jsonl", path)
    assert done.returncode == 1
    assert f"SdvlmError: {path}" in done.stderr.splitlines()[-1]
    assert list(path.parent.iterdir()) == []


def test_two_processes_that_open_the_same_part_at_once_find_one_whole_store(tmp_path):
    write(tmp_path / "x.jsonl", [question(number, number) for number in range(200)])
    code = (
        "import sys; from pathlib import Path; from sdvlm.train.config import DataSettings;"
        "from sdvlm.train.store import ExampleStore;"
        "print(len(ExampleStore.open(DataSettings(path=sys.argv[1], format='msmu'), Path(sys.argv[2]))))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "x.jsonl"), str(tmp_path / "cache")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [one.communicate()[0].strip() for one in running] == ["200", "200"]
    assert len(list((tmp_path / "cache").glob("*.sqlite"))) == 1


PEAK = """
import sys
from pathlib import Path
from sdvlm.train.config import DataSettings
from sdvlm.train.store import ExampleStore
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024
def use(source):
    store = ExampleStore.open(DataSettings(path=source, format="msmu"), Path(sys.argv[3]))
    for index in range(len(store)):
        store[index]
    store.dialogue_counts()
    return len(store)
use(sys.argv[1])
before = peak()
number = use(sys.argv[2])
print(number, peak() - before)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux's account of memory")
@pytest.mark.parametrize("format", ["JSON", "parquet", "Arrow"])
def test_memory_stays_flat_over_a_store_ten_times_the_budget(tmp_path, format):
    picture = 220 * 220 * 3
    for name, count in (("small", 48), ("large", 480)):
        rows = ({"conversations": question(0, 0)["conversations"]} | noise(number) for number in range(count))
        write_as(format, tmp_path / name, rows)
    command = [sys.executable, "-c", PEAK, *(str(tmp_path / name) for name in ("small", "large", "cache"))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    number, growth = map(int, done.stdout.split())
    assert number == 480
    assert growth < 480 * picture / 10


def noise(seed):
    return {"image_base64": base64.b64encode(png(seed, (220, 220))).decode()}


def write_as(format, folder, rows):
    folder.mkdir()
    if format == "JSON":
        with (folder / "train.json").open("w") as stream:
            for number, row in enumerate(rows):
                stream.write(("," if number else "[") + json.dumps(row, indent=1))
            stream.write("]")
    else:
        table = pa.Table.from_pylist(list(rows))
        if format == "parquet":
            pq.write_table(table, folder / "train.parquet", row_group_size=16)
        else:
            with pa.OSFile(str(folder / "train.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table)


def test_the_source_itself_streams(tmp_path):
    settings = write(tmp_path / "x.jsonl", [question(0, 0), question(1, 1)])
    rows = open_source(settings)
    assert isinstance(next(rows), RawRow)
    assert next(rows).key == "x.jsonl row 1"
