"""The Ray engine, on real clusters of this machine: one node, two nodes, and a node killed in the middle."""

import importlib
import logging
import os
import threading
import time
from collections import Counter
from contextlib import contextmanager

import pytest

from sdvlm.engine import EngineConfig, run_jobs
from sdvlm.types import SdvlmError

pytestmark = pytest.mark.slow

_STORE = 100 * 2**20
_QUICK = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 300, "health_check_failure_threshold": 3}


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    pytest.importorskip("ray", reason="Ray is not installed (pip install 'sdvlm[ray]')")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # else anything else on the machine comes first
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.fixture
def work():
    return importlib.import_module("engine_work")


@contextmanager
def _two_nodes():
    """A head and a worker node of one CPU each: real raylets, joined over sockets. Gives the cluster and the worker."""
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": _STORE}
    cluster = Cluster(initialize_head=True, head_node_args=node | {"_system_config": _QUICK})
    try:
        yield cluster, cluster.add_node(num_cpus=1, object_store_memory=_STORE)
    finally:
        cluster.shutdown()


def test_a_cluster_of_our_own_gives_the_same_results_as_this_process_and_ends_with_the_run(work):
    import ray

    jobs = [(str(number), number) for number in range(-6, 6)]
    expected = {(one.key, one.value, one.error) for one in run_jobs(jobs, work.slow_square)}
    results = list(run_jobs(jobs, work.slow_square, EngineConfig("ray", workers=2)))
    assert len(results) == len(jobs)
    assert {(one.key, one.value, one.error) for one in results} == expected
    assert not ray.is_initialized()


def test_one_cluster_errors_bounds_and_killed_workers(work, tmp_path, caplog):
    """One start of Ray (seconds) for what the other engines test one by one."""
    import ray

    ray.init(address="local", num_cpus=2, include_dashboard=False, object_store_memory=_STORE, log_to_driver=False)
    try:
        config = EngineConfig("ray", workers=2)
        kinds = ["fine", "input", "bug", "exit"]
        results = {one.key: one for one in run_jobs(zip(kinds, kinds, strict=True), work.wrong, config)}
        assert results["fine"].value == "fine"
        assert results["input"].error == "seen 3, wanted 4"
        assert results["bug"].error.startswith("KeyError: 'no such key' (engine_work.py:")
        assert results["exit"].error.startswith("SystemExit: 3 (engine_work.py:")

        drawn, most = 0, 0

        def jobs():
            nonlocal drawn
            for number in range(12):
                drawn += 1
                yield str(number), number

        for given_back, _ in enumerate(run_jobs(jobs(), work.square, config)):
            most = max(most, drawn - given_back)
        assert (drawn, most) == (12, 3)

        told = [one.value for one in run_jobs([("a", 0), ("b", 0)], work.name_and_threads, config)]
        assert os.getpid() not in {pid for pid, _, _ in told}
        assert {threads for _, threads, _ in told} == {"1"}

        deaths = [(str(number), (str(tmp_path), number, {2: 1, 4: 99}.get(number, 0))) for number in range(6)]
        with caplog.at_level(logging.WARNING):
            results = {one.key: one for one in run_jobs(deaths, work.die_if_told, config)}
        assert {key: one.value for key, one in results.items()} == {"0": 0, "1": 1, "2": 2, "3": 3, "4": None, "5": 5}
        assert results["4"].error == "its run on the cluster was lost (WorkerCrashedError), 4 times; giving it up"
        assert Counter(path.stem for path in tmp_path.iterdir()) == {**dict.fromkeys("0135", 1), "2": 2, "4": 4}
        assert "2: its run on the cluster was lost (WorkerCrashedError); running it again (1 of 3)" in caplog.text

        unsent = {one.key: one.error for one in run_jobs([("a", 0)], work.unreadable, config)}
        assert "nobody reads this" in unsent["a"]
        assert ray.is_initialized()  # who joined a cluster before keeps it
    finally:
        ray.shutdown()


def test_a_node_killed_in_the_middle_loses_nothing_and_doubles_nothing(work, tmp_path):
    """Results are 0.5 MB, so those of the lost node that were not fetched yet are lost with its object store."""
    with _two_nodes() as (cluster, worker):
        lost_node, killed = worker.node_id, threading.Event()

        def kill_after_some_runs_there():
            while len(list(tmp_path.glob(f"*.{lost_node}.*"))) < 3:
                time.sleep(0.02)
            cluster.remove_node(worker, allow_graceful=False)
            killed.set()

        killer = threading.Thread(target=kill_after_some_runs_there)
        killer.start()
        jobs = [(str(number), (str(tmp_path), number)) for number in range(24)]
        results = list(run_jobs(jobs, work.node_of, EngineConfig("ray", address=cluster.address)))
        killer.join()
    assert killed.is_set()
    assert sorted(one.key for one in results) == sorted(key for key, _ in jobs)  # each once
    assert [one.error for one in results] == [None] * len(jobs)
    assert all(one.value[0] == int(one.key) for one in results)
    assert all(one.value[2] == bytes([int(one.key)]) * 500_000 for one in results)
    nodes = Counter(one.value[1] for one in results)
    assert len(nodes) == 2  # both nodes worked,
    assert nodes[lost_node] < 12  # one of them only for a while,
    assert len(list(tmp_path.iterdir())) > len(jobs)  # and what it was doing was done again


def test_an_address_without_a_cluster_is_said_in_one_line(work):
    with pytest.raises(SdvlmError, match=r"cannot join the Ray cluster '127.0.0.1:1'.*ray start --head"):
        list(run_jobs([("a", 1)], work.square, EngineConfig("ray", address="127.0.0.1:1")))


def test_work_that_the_nodes_cannot_import_ends_the_run_with_one_line(work, monkeypatch):
    monkeypatch.delenv("PYTHONPATH")
    with pytest.raises(
        SdvlmError, match=r"nodes cannot import the work \(No module named 'engine_work'\).*same sdvlm on every node"
    ):
        list(run_jobs([("a", 1)], work.square, EngineConfig("ray", workers=1)))
