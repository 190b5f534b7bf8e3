"""Every engine gives the same results; what goes wrong in one job stays there."""

import importlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sdvlm.engine import EngineConfig, run_jobs
from sdvlm.types import SdvlmError

LOCAL, PROCESSES = EngineConfig(), EngineConfig("processes", workers=2)


@pytest.fixture
def work():
    return importlib.import_module("engine_work")


def _as_jobs(values):
    return [(str(index), value) for index, value in enumerate(values)]


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(numbers=st.lists(st.integers(-1000, 1000), max_size=9), workers=st.integers(1, 3))
def test_results_are_those_of_a_plain_loop_whatever_the_engine_and_the_number_of_workers(work, numbers, workers):
    expected = {(str(index), number**2, None) for index, number in enumerate(numbers)}
    for config in (LOCAL, EngineConfig("processes", workers)):
        results = list(run_jobs(_as_jobs(numbers), work.slow_square, config))
        assert len(results) == len(numbers)
        assert {(one.key, one.value, one.error) for one in results} == expected


@pytest.mark.parametrize("config", [LOCAL, PROCESSES], ids=["local", "processes"])
def test_jobs_are_drawn_as_they_are_needed(work, config):
    drawn, most = 0, 0

    def jobs():
        nonlocal drawn
        for number in range(30):
            drawn += 1
            yield str(number), number

    for given_back, _ in enumerate(run_jobs(jobs(), work.square, config)):
        most = max(most, drawn - given_back)
    assert drawn == 30
    assert most <= (config.workers or 1) + 1


@pytest.mark.parametrize("config", [LOCAL, PROCESSES], ids=["local", "processes"])
def test_what_a_job_raises_is_its_error_in_one_line_and_the_others_are_done(work, config):
    jobs = _as_jobs(["fine", "input", "bug", "exit", "also fine"])
    results = {one.key: one for one in run_jobs(jobs, work.wrong, config)}
    assert (results["0"].value, results["4"].value) == ("fine", "also fine")
    assert results["0"].error is results["4"].error is None
    assert results["1"].error == "seen 3, wanted 4"
    assert results["1"].value is None
    assert results["2"].error.startswith("KeyError: 'no such key' (engine_work.py:")
    assert results["3"].error.startswith("SystemExit: 3 (engine_work.py:")


def test_the_seconds_are_those_of_the_work(work):
    (result,) = run_jobs([("a", 1)], partial(_sleep, 0.05), LOCAL)
    assert 0.05 <= result.seconds < 1


def _sleep(seconds, _):
    time.sleep(seconds)


def test_two_jobs_with_one_key_are_refused(work):
    with pytest.raises(SdvlmError, match="two jobs have the key 'a'"):
        list(run_jobs([("a", 1), ("b", 2), ("a", 3)], work.square))


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"kind": "slurm"}, "no engine 'slurm'; choose one of local, processes, ray"),
        ({"kind": "processes", "workers": 0}, "at least 1 worker; got 0"),
        ({"workers": 4}, "engine local does one job at a time"),
        ({"kind": "processes", "address": "auto"}, "only engine ray has an address"),
    ],
)
def test_settings_that_cannot_be_followed_are_refused(settings_, message):
    with pytest.raises(SdvlmError, match=message):
        EngineConfig(**settings_)


def test_workers_are_other_processes_with_one_thread_each_and_ours_is_left_as_it_was(work, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    told = [one.value for one in run_jobs(_as_jobs(range(4)), work.name_and_threads, PROCESSES)]
    assert [pair[1:] for pair in told] == [("1", "1")] * 4
    assert os.getpid() not in {pair[0] for pair in told}
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ


def test_no_more_processes_are_started_than_there_are_jobs(work):
    told = [one.value for one in run_jobs(_as_jobs([0]), work.name_and_threads, EngineConfig("processes", 8))]
    assert len(told) == 1


def test_a_killed_worker_loses_nothing_and_doubles_nothing(work, tmp_path, caplog):
    """Jobs 3 and 5 kill their process with SIGKILL on their first run."""
    jobs = [(str(number), (str(tmp_path), number, int(number in (3, 5)))) for number in range(8)]
    with caplog.at_level(logging.WARNING):
        results = list(run_jobs(jobs, work.die_if_told, PROCESSES))
    assert sorted(one.value for one in results) == list(range(8))
    assert all(one.error is None for one in results)
    runs = Counter(path.stem for path in tmp_path.iterdir())
    assert runs == {str(number): 2 if number in (3, 5) else 1 for number in range(8)}
    assert "3: its process was killed by SIGKILL (out of memory?); running it again (1 of 3)" in caplog.text


def test_a_job_that_always_kills_its_worker_is_given_up_after_three_more_runs(work, tmp_path):
    jobs = [(str(number), (str(tmp_path), number, 99 if number == 1 else 0)) for number in range(4)]
    results = {one.key: one for one in run_jobs(jobs, work.die_if_told, PROCESSES)}
    assert results["1"].error == "its process was killed by SIGKILL (out of memory?), 4 times; giving it up"
    assert [results[key].value for key in "023"] == [0, 2, 3]
    assert len(list(tmp_path.glob("1.*"))) == 4


def test_a_worker_killed_from_outside_is_replaced(work, tmp_path):
    begun, gate = tmp_path / "begun", tmp_path / "gate"
    begun.mkdir()
    results = run_jobs(
        [(str(number), (str(begun), str(gate), number)) for number in range(5)], work.wait_for_file, PROCESSES
    )
    killer = subprocess.Popen([sys.executable, "-c", _KILL_ONE, str(begun), str(gate)])
    assert sorted(one.value for one in results) == list(range(5))
    assert killer.wait() == 0
    assert len(list(begun.iterdir())) == 6  # five jobs, one of them twice


_KILL_ONE = """
import os, pathlib, signal, sys, time
begun, gate = map(pathlib.Path, sys.argv[1:])
while len(list(begun.iterdir())) < 2:
    time.sleep(0.01)
os.kill(int(sorted(begun.iterdir())[0].name.split(".")[1]), signal.SIGKILL)
while len(list(begun.iterdir())) < 3:
    time.sleep(0.01)
gate.touch()
"""


def test_what_cannot_travel_between_processes_is_said(work):
    sent = {one.key: one.error for one in run_jobs(_as_jobs([0]), work.unsendable, PROCESSES)}
    assert sent["0"].startswith("the result cannot be sent: ")
    read = {one.key: one.error for one in run_jobs(_as_jobs([0]), work.unreadable, PROCESSES)}
    assert read["0"].startswith("the result cannot be read: RuntimeError: nobody reads this")
    with pytest.raises(SdvlmError, match="pass a module-level function"):
        list(run_jobs(_as_jobs([0]), lambda job: job, PROCESSES))
    with pytest.raises(SdvlmError, match="job '0' cannot be sent to another process"):
        list(run_jobs(_as_jobs([lambda: None]), work.square, PROCESSES))


def test_workers_that_cannot_start_end_the_run_with_one_line(tmp_path):
    """A script without the guard starts itself again in each of its workers."""
    script = tmp_path / "unguarded.py"
    script.write_text(
        "from sdvlm.engine import EngineConfig, run_jobs\n"
        "def work(job): return job\n"
        "print(list(run_jobs([('a', 1)], work, EngineConfig('processes', 2))))\n"
    )
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert "SdvlmError: worker processes do not start" in ended.stderr
    assert "if __name__ == '__main__'" in ended.stderr.splitlines()[-1]


def test_closing_the_results_early_ends_the_workers(work, tmp_path):
    begun = tmp_path / "begun"
    begun.mkdir()
    gate = tmp_path / "gate"
    results = run_jobs(_gated(begun, gate, open_gate_for=1), work.wait_for_file, PROCESSES)
    assert next(results).value == 0
    pids = {int(path.name.split(".")[1]) for path in begun.iterdir()}
    results.close()
    assert not any(_alive(pid) for pid in pids)


def _gated(begun, gate, open_gate_for):
    """Jobs whose gate is open for the first ``open_gate_for`` and never opens for the others."""
    for number in range(6):
        here = begun if number < open_gate_for else gate
        yield str(number), (str(begun), str(here), number)


def _alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()


_DRIVER = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests were started in the background
sys.path.insert(0, sys.argv[1])
from engine_work import wait_for_file
from sdvlm.engine import EngineConfig, run_jobs
if __name__ == "__main__":
    jobs = [(str(n), (sys.argv[2], sys.argv[3], n)) for n in range(4)]
    list(run_jobs(jobs, wait_for_file, EngineConfig("processes", 2)))
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_the_run(tmp_path, how):
    begun, gate, script = tmp_path / "begun", tmp_path / "gate", tmp_path / "driver.py"
    begun.mkdir()
    script.write_text(_DRIVER)
    driver = subprocess.Popen(
        [sys.executable, script, str(Path(__file__).parent), begun, gate],
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    while len(list(begun.iterdir())) < 2:
        assert driver.poll() is None
        time.sleep(0.01)
    pids = {int(path.name.split(".")[1]) for path in begun.iterdir()}
    if how == signal.SIGINT:  # as a terminal does: to all of them
        os.killpg(driver.pid, how)
    else:  # nobody can clean up after this one: the workers find out when they have something to say
        driver.send_signal(how)
        gate.touch()
    _, said = driver.communicate(timeout=180)
    assert driver.returncode == -how
    assert said.count("Traceback") <= 1  # the driver's own KeyboardInterrupt; the workers are quiet
    patience = time.monotonic() + 10
    while any(_alive(pid) for pid in pids):
        assert time.monotonic() < patience
        time.sleep(0.02)
