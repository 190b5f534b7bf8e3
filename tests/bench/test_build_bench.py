"""The build bench measures what it says; the peer's pipeline finds boxes."""

import importlib
import itertools
import math
import sys
from functools import partial

import numpy as np
import pytest

from sdvlm.bench import build, build_peer, build_spans
from sdvlm.bench.build import bench_build, measure_build
from sdvlm.bench.build_source import Copies, write_bench_rooms
from sdvlm.bench.build_spans import STAGES, Spans, timed_stages
from sdvlm.bench.document import document
from sdvlm.data.build_config import BuildConfig
from sdvlm.engine import EngineConfig, run_jobs
from sdvlm.machine import peak_memory_mb
from sdvlm.types import SdvlmError

SIZE = (320, 240)


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    return write_bench_rooms(tmp_path_factory.mktemp("rooms"), 1, 2, SIZE, seed=3)


def test_a_stage_that_calls_another_is_not_charged_for_it():
    ticks = itertools.count()  # each look at the clock is one second later
    spans = Spans(lambda: next(ticks))
    inner = spans.wrap("inner", lambda: None)
    outer = spans.wrap("outer", lambda: [inner(), inner()] and "given back")
    assert outer() == "given back"
    assert spans.seconds == {"inner": 2, "outer": 3}  # 0 [1 2] [3 4] 5


def test_time_is_counted_when_a_stage_fails():
    ticks = itertools.count()
    spans = Spans(lambda: next(ticks))
    with pytest.raises(ZeroDivisionError):
        spans.wrap("failing", lambda: 1 / 0)()
    assert spans.seconds == {"failing": 1}


def test_what_is_timed_is_left_as_it_was():
    module = importlib.import_module("sdvlm.data.build_scene")
    before = module.ask_all
    with timed_stages():
        assert module.ask_all is not before
    assert module.ask_all is before


def test_copies_are_read_anew_under_their_own_ids(rooms):
    copies = Copies(rooms, 3)
    ids = copies.scene_ids()
    assert len(set(ids)) == 3
    read = [copies.read(one) for one in ids]
    assert [one.id for one in read] == ids
    assert read[0].objects is not read[1].objects
    assert [one.category for one in read[0].objects] == [one.category for one in read[2].objects]


def test_every_stage_of_a_build_takes_time(rooms):
    cost = measure_build(build.BuildTask(Copies(rooms, 2), BuildConfig(frames_per_scene=2), timed=True))
    assert set(cost.stages) == set(STAGES)
    assert min(cost.stages.values()) > 0
    assert sum(cost.stages.values()) <= cost.processor_s
    assert cost.pictures == 4
    assert cost.questions > 4 * cost.pictures


def test_the_peak_is_that_of_the_process_itself():
    """A child starts from nothing, whatever its parent has taken."""
    held = np.ones(300 << 17)
    ours = peak_memory_mb()
    assert ours >= 300 == held.nbytes >> 20
    (child,) = run_jobs([("small", ())], partial(build._unpacked, peak_memory_mb), EngineConfig("processes", 1))
    assert child.error is None
    assert 10 < child.value < ours - 150


@pytest.mark.slow
def test_the_bench_reports_rates_shares_memory_and_engines(monkeypatch):
    monkeypatch.setattr(build, "is_installed", lambda module: False)  # Ray takes long to start
    monkeypatch.setattr(build, "_SCENES", (1, 3))
    result = bench_build(scenes=2, frames=2, repeats=1, rooms=1, size=SIZE)
    assert (result["pictures"], result["scenes"]) == (4, 2)
    assert result["questions"] > 16
    asked, seen = (result[f"{what}_per_second_and_core"]["median"] for what in ("questions", "frames"))
    assert asked / seen == pytest.approx(result["questions"] / 4, rel=0.02)
    hours = max(25_000 / seen, 700_000 / asked) / 3600
    assert result["core_hours_for_25000_images_and_700000_questions"] == pytest.approx(hours, abs=0.006)
    shares = result["processor_time"]
    assert set(shares) == {*STAGES, "other"}
    assert sum(one["share"] for one in shares.values()) == pytest.approx(1, abs=0.005)
    milliseconds = sum(one["ms_per_frame"] for one in shares.values())
    assert milliseconds == pytest.approx(1000 / seen, rel=0.02)
    memory = result["memory"]
    assert list(memory["worker_mb"]) == list(memory["with_assembly_mb"]) == ["1", "3"]
    assert 50 < memory["worker_mb"]["3"] <= memory["with_assembly_mb"]["3"]
    grown = memory["worker_mb"]["3"] / memory["worker_mb"]["1"] - 1
    assert memory["worker_grows_by"] == pytest.approx(grown, abs=0.002)
    assert [row["engine"] for row in result["engines"]] == ["local", "1 process", "2 processes"]
    assert result["engines"][1]["speedup_over_1_process"]["median"] == 1
    assert result["same_bytes"] is True


def test_flags_are_spelled_as_the_command_line_takes_them():
    assert document("build", {"scenes": 3, "big": True}, {})["command"] == "sdvlm bench build --scenes 3 --big"


def test_nothing_to_build_is_refused():
    with pytest.raises(SdvlmError, match="at least one scene"):
        bench_build(frames=0)


def test_the_biggest_cluster_stays_and_noise_does_not():
    labels = np.array([0, 1, 1, -1, -1, -1, 1])
    assert build_peer._largest(labels).tolist() == [False, True, True, False, False, False, True]
    assert build_peer._largest(np.array([-1, -1])).all()


def test_the_error_of_sizes_is_the_worst_side_of_the_middle_object():
    truth = [(2.0, 1.0, 0.5)] * 3
    found = [(2.0, 1.0, 0.5), (2.0, 1.2, 0.45), (0.0, 0.0, 0.0)]
    assert build_peer._error(found, truth) == pytest.approx(0.2)


def test_without_its_libraries_the_peer_is_refused_with_what_to_install(monkeypatch):
    monkeypatch.setattr(build_peer, "is_installed", lambda module: False)
    monkeypatch.setitem(sys.modules, "open3d", None)
    with pytest.raises(SdvlmError, match=r"the peer's pipeline needs open3d.*pip install open3d"):
        build_peer.peer_sides()


@pytest.mark.parametrize("library", ["open3d", "sklearn"])
def test_the_peers_box_of_a_clean_cloud_has_the_things_sides(library, monkeypatch):
    """A solid 1.2 x 0.6 x 0.4 m, turned, with a few specks a metre away."""
    pytest.importorskip(library, reason=f"{library} is not installed", exc_type=ImportError)
    monkeypatch.setattr(build_peer, "is_installed", lambda module: (module == "open3d") == (library == "open3d"))
    name, sides = build_peer.peer_sides()
    assert name.startswith("open3d" if library == "open3d" else "scipy")
    rng = np.random.default_rng(0)
    c, s = math.cos(0.4), math.sin(0.4)
    cloud = rng.uniform(-0.5, 0.5, (8000, 3)) * (1.2, 0.6, 0.4) @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    specks = rng.normal((0, 0, 2), 0.01, (5, 3))
    # a box along principal axes of 8,000 random points leans a little, which the short side shows most
    assert sides(np.concatenate([cloud, specks]), rng) == pytest.approx((1.2, 0.6, 0.4), rel=0.3)


def test_the_comparison_times_all_three_ways_on_the_same_objects(rooms, monkeypatch):
    """With a stand-in for the peer's libraries that gives every thing the sides 1, 1, 1."""
    seen = []

    def sides(cloud, rng):
        seen.append(len(cloud))
        return (1.0, 1.0, 1.0)

    monkeypatch.setattr(build_peer, "peer_sides", lambda: ("stand-in", sides))
    result = build_peer.compare_with_peer(rooms, repeats=1)
    assert (result["with"], result["pictures"]) == ("stand-in", 2)
    assert result["objects"] > 0
    assert len(seen) == 3 * result["objects"]  # a warm-up, a timed turn, and one for the errors
    assert min(seen) > 0
    assert set(result["ms_per_object"]) == {"ours", "ours_from_masks", "peer"}
    assert 0 < result["median_error_of_sizes"]["ours_from_masks"] < 1


def test_stages_name_functions_that_exist():
    for path in itertools.chain.from_iterable(build_spans.STAGES.values()):
        module, _, dotted = path.partition(":")
        found = importlib.import_module(module)
        for name in dotted.split("."):
            found = getattr(found, name)
        assert callable(found)
