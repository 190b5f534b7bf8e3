"""Replies on disk: nothing lost but a last half line, nothing read twice, shared by processes."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from sdvlm.endpoint.reply_json import find_object
from sdvlm.endpoint.reply_log import ReplyLog, request_key


def test_what_was_put_is_there_for_the_next(tmp_path):
    ReplyLog(tmp_path / "a" / "log.jsonl").put("k", 'a "reply"\nof ü lines', {"model": "m"})
    assert ReplyLog(tmp_path / "a" / "log.jsonl").get("k") == 'a "reply"\nof ü lines'
    (line,) = (tmp_path / "a" / "log.jsonl").read_text().splitlines()
    assert json.loads(line)["model"] == "m"
    assert ReplyLog(tmp_path / "none.jsonl").get("k") is None


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_line_cut_short_costs_only_itself(tmp_path, cut):
    path = tmp_path / "log.jsonl"
    log = ReplyLog(path)
    log.put("one", "1")
    log.put("two", "2")
    path.write_bytes(path.read_bytes()[:-cut])
    again = ReplyLog(path)
    assert (again.get("one"), again.get("two")) == ("1", None)
    again.put("three", "3")
    again.put("two", "2 again")
    last = ReplyLog(path)
    # cut by one, only the line break was missing: mending it brings the line back, and the first reply stays
    assert [last.get(key) for key in ("one", "two", "three")] == ["1", "2" if cut == 1 else "2 again", "3"]


def test_others_may_write_to_the_same_file(tmp_path):
    path = tmp_path / "log.jsonl"
    mine, theirs = ReplyLog(path), pickle.loads(pickle.dumps(ReplyLog(path)))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: (mine if n % 2 else theirs).put(f"k{n}", "x" * 5000 + str(n)), range(200)))
    assert all(mine.get(f"k{n}") == theirs.get(f"k{n}") == "x" * 5000 + str(n) for n in range(200))
    assert len([line for line in path.read_text().splitlines() if line]) == 200


def test_a_killed_writer_leaves_whole_lines(tmp_path):
    path = tmp_path / "log.jsonl"
    code = f"""
from pathlib import Path
from sdvlm.endpoint.reply_log import ReplyLog
log = ReplyLog(Path({str(path)!r}))
for n in range(10**6):
    log.put(str(n), "r" * 3000)
"""
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 30
    while (not path.exists() or path.stat().st_size < 100_000) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    process.wait()
    written = path.read_bytes().count(b"\n")
    log = ReplyLog(path)
    assert written > 10
    assert all(log.get(str(n)) == "r" * 3000 for n in range(written))


def test_a_key_does_not_depend_on_the_order_of_what_was_asked():
    assert request_key({"a": 1, "b": [2.5]}) == request_key({"b": [2.5], "a": 1}) != request_key({"a": 1, "b": [2.4]})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"name": "chair"}', {"name": "chair"}),
        ('Sure:\n```json\n{"name": "chair"}\n```\nDone.', {"name": "chair"}),
        ('First {"name": "a"}, no, {"name": "b", "why": {"x": 1}}', {"name": "b", "why": {"x": 1}}),
        ("{not json} {", None),
        ("{" * 19_000, None),
        ("", None),
        ('{"name": "chair"}' + " " * 30_000, None),
    ],
)
def test_the_last_object_of_a_reply_is_found(text, value):
    assert find_object(text) == value
