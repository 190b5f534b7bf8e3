"""What is on the disk survives; what was cut off is dropped; two writers never meet."""

import json
import subprocess
import sys

import pytest

from sdvlm.eval.run_folder import RunFolder, read_json, write_json, writing_alone
from sdvlm.types import SdvlmError

RECORDS = [{"number": number, "answer": f"größer {number}"} for number in (3, 1, 2)]


def test_answers_are_there_when_append_returns_and_are_sorted_at_the_end(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.append(RECORDS[:2])
    folder.append(RECORDS[2:])
    assert [json.loads(line) for line in folder.answers.read_text().splitlines()] == RECORDS
    assert folder.done == {1, 2, 3}
    folder.sort()
    assert list(RunFolder(tmp_path / "run").records()) == sorted(RECORDS, key=lambda one: one["number"])


@pytest.mark.parametrize("keep", range(1, len(json.dumps(RECORDS[2], ensure_ascii=False).encode()) + 1))
def test_a_last_line_cut_anywhere_is_dropped_and_only_that_line(tmp_path, keep):
    folder = RunFolder(tmp_path)
    folder.append(RECORDS[:2])
    whole = folder.answers.read_bytes()
    line = (json.dumps(RECORDS[2], ensure_ascii=False) + "\n").encode()
    folder.answers.write_bytes(whole + line[:keep])
    again = RunFolder(tmp_path)
    assert again.dropped
    assert again.done == {1, 3}
    assert again.answers.read_bytes() == whole
    again.append(RECORDS[2:])
    assert list(again.records()) == RECORDS


def test_a_block_of_zeros_as_power_cuts_leave_it_is_dropped_too(tmp_path):
    folder = RunFolder(tmp_path)
    folder.append(RECORDS)
    with folder.answers.open("ab") as stream:
        stream.write(b"\0" * 100)
    assert RunFolder(tmp_path).done == {1, 2, 3}


def test_a_sound_file_is_not_touched(tmp_path):
    folder = RunFolder(tmp_path)
    folder.append(RECORDS)
    before = folder.answers.stat().st_mtime_ns
    assert not RunFolder(tmp_path).dropped
    assert folder.answers.stat().st_mtime_ns == before


@pytest.mark.parametrize("line", ["not json", "[1]", '{"answer": "no number"}'])
def test_damage_that_no_kill_can_cause_is_refused_with_the_line(tmp_path, line):
    (tmp_path / "answers.jsonl").write_text(f'{{"number": 0}}\n{line}\n{{"number": 2}}\n')
    with pytest.raises(SdvlmError, match=r"line 2 of .*answers\.jsonl"):
        RunFolder(tmp_path)


def test_a_folder_has_one_writer_at_a_time_over_processes_and_the_lock_dies_with_its_holder(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from sdvlm.eval.run_folder import writing_alone\n"
        "with writing_alone(Path(sys.argv[1])): print('mine', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "mine\n"
        with pytest.raises(SdvlmError, match="another process is writing"), writing_alone(tmp_path):
            pass
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    with writing_alone(tmp_path):
        pass


def test_a_missing_or_foreign_document_is_told_in_one_line(tmp_path):
    with pytest.raises(SdvlmError, match="no file"):
        read_json(tmp_path / "run.json")
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(SdvlmError, match="not a JSON document"):
        read_json(tmp_path / "run.json")
    write_json({"a": [1]}, tmp_path / "run.json")
    assert read_json(tmp_path / "run.json") == {"a": [1]}
