"""The benches measure what they say, and the committed results hold what the project promises."""

import json
import re
import time
from pathlib import Path

import numpy as np
import pytest

from sdvlm.bench import BENCHES, controls, model_controls, run_bench
from sdvlm.bench.answer import bench_answer
from sdvlm.bench.document import document, write_document
from sdvlm.bench.dpe import bench_dpe
from sdvlm.bench.random_llava import bench_questions
from sdvlm.bench.render import bench_render
from sdvlm.bench.startup import bench_startup
from sdvlm.bench.timing import Timing, alternate, ratio
from sdvlm.cli.main import main
from sdvlm.data.schema import AnswerKind, TypedAnswer
from sdvlm.eval.controls import ControlSample
from sdvlm.eval.toy import Training, train_toy
from sdvlm.fusion.config import PLACES, POOLED, FusionConfig
from sdvlm.models.prefix import Answer
from sdvlm.types import DepthMap, RgbdFrame, SdvlmError

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
RESULTS = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in (BENCHMARKS / "results").glob("*.json")}


def test_tasks_are_timed_in_turns_after_a_warm_up():
    said = []
    times = alternate({"a": lambda: said.append("a"), "b": lambda: said.append("b")}, repeats=2, warmup=1)
    assert "".join(said) == "ababab"
    assert [len(times[name].seconds) for name in "ab"] == [2, 2]


def test_a_short_task_is_done_often_and_its_time_is_the_mean():
    said = []
    times = alternate({"a": lambda: said.append("a"), "b": lambda: time.sleep(0.02)}, 1, warmup=0, often={"b": 4})
    assert said == ["a"]
    assert 0.02 <= times["b"].median < 0.06


def test_a_ratio_is_taken_turn_by_turn():
    # a machine that slows down tenfold in the last turn must not change the ratio
    assert ratio(Timing((6.0, 8.0, 70.0)), Timing((2.0, 2.0, 10.0))) == {"median": 4.0, "min": 3.0, "max": 7.0}


def test_no_repeats_are_refused():
    with pytest.raises(SdvlmError, match="at least one repeat"):
        alternate({"a": lambda: None}, repeats=0)


def test_a_result_says_how_where_and_with_what_it_was_measured(tmp_path):
    result = document("answer", {"questions": 4}, {"speedup": 3.0})
    assert result["command"] == "sdvlm bench answer --questions 4"
    assert result["speedup"] == 3.0
    assert {"cpu", "cores", "torch_threads"} <= set(result["hardware"])
    assert {"python", "torch", "transformers", "sdvlm"} <= set(result["versions"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\dZ", result["date"])
    write_document(result, tmp_path / "deep" / "answer.json")
    assert json.loads((tmp_path / "deep" / "answer.json").read_text(encoding="utf-8")) == result
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["answer.json"]


def test_questions_to_time_with_are_all_different():
    assert len(set(bench_questions(64))) > 40


def test_both_ways_of_answering_say_the_same_and_sharing_the_prefix_is_quicker():
    result = bench_answer(questions=6, hidden=128, layers=2, new_tokens=3, repeats=1, shape="none")
    assert result["same_answers"] is True
    times = result["times"]
    assert result["speedup"] == pytest.approx(times["one_by_one"]["median_s"] / times["shared"]["median_s"], rel=0.01)
    assert result["speedup"] > 1


def test_answers_that_depend_on_sharing_are_reported(monkeypatch):
    def answers(model, processor, frame, questions, max_new_tokens, share_prefix):
        return [Answer("", (int(share_prefix),)) for _ in questions]

    monkeypatch.setattr("sdvlm.bench.answer.answer_questions", answers)
    assert bench_answer(questions=2, hidden=64, layers=1, repeats=1, shape="none")["same_answers"] is False


def test_the_cost_of_depth_is_given_for_every_fusion_as_a_share_of_the_prefill():
    result = bench_dpe(hidden=128, layers=1, repeats=1)
    assert set(result["parameters"]) == {*POOLED, "sdvlm"}
    assert result["parameters"]["sdvlm"] == result["added_tokens"] == 0
    assert result["model"]["tokens"] > 576
    times = result["times"]
    for name, share in result["shares_of_prefill"].items():
        assert share["median"] == pytest.approx(times[name]["median_s"] / times["prefill"]["median_s"], rel=0.01)


def test_rendering_counts_frames_per_second():
    result = bench_render(rooms=1, frames=2, repeats=1)
    assert result["views"] == 2
    expected = 2 / result["times"]["render"]["median_s"]
    assert result["frames_per_second"] == pytest.approx(expected, rel=0.02)
    assert result["frames_per_second_geometry_only"] > result["frames_per_second"]


def test_start_up_is_timed_in_fresh_processes():
    result = bench_startup(repeats=1, answers=0)
    times = {name: timing["median_s"] for name, timing in result["times"].items()}
    assert {"empty_python", "import", "help"} <= times.keys()  # which is faster is the bench's to say, not a test's
    assert min(times.values()) > 0
    assert result["help_s"] == times["help"]


def test_the_controls_bench_runs_every_control_on_every_fusion(monkeypatch):
    chosen = {"none": None, "gated": FusionConfig.preset("gated")}
    assert set(controls.every_fusion()) >= {*PLACES, "sdvlm", "none"}
    monkeypatch.setattr(controls, "every_fusion", lambda: chosen)
    result = controls.bench_controls(seeds=1, steps=2, samples=12)
    assert [(row["fusion"], row["task"]) for row in result["toy"][:4]] == [
        ("none", "ordinal"), ("none", "absolute"), ("gated", "ordinal"), ("gated", "absolute"),
    ]  # fmt: skip
    assert [one["name"].split()[0] for one in result["controls"]] == ["T0", "T1", "T3", "T4", "T4b", "T5", "T6", "T7"]
    assert result["passed"] is False  # two steps teach nothing, and the bench says so
    assert "gated: T1 swap" in result["failed"]


def test_the_harness_refuses_to_call_an_untrained_model_a_user_of_depth():
    model = train_toy(FusionConfig.preset("mlp"), "ordinal", Training(steps=2))
    found = {one.name: one.passed for one in controls.harness(model, FusionConfig.preset("mlp"), samples=12)}
    assert found["T0 identity"] is found["T6 locality"] is True
    assert found["T1 swap"] is found["T3 shuffle"] is False


def _measures(frame, questions):
    """Reads the corner's depth; without depth or with a flat one, guesses."""
    if frame.depth is None:
        return [_length(1.0)] * len(questions)
    return [_yes(frame) if "nearer" in question else _length(frame.depth.values[0, 0]) for question in questions]


def _length(value):
    return TypedAnswer(AnswerKind.LENGTH, (float(value),), "m")


def _yes(frame):
    return TypedAnswer(AnswerKind.YES_NO, ("yes" if frame.depth.values[0, 0] < frame.depth.values[0, -1] else "no",))


def test_the_controls_for_models_pass_one_that_measures_and_fail_one_that_recites():
    rng, samples = np.random.default_rng(0), []
    for _ in range(100):
        values = np.kron(np.exp(rng.uniform(-1, 3, (4, 4))), np.ones((4, 4)))
        frame = RgbdFrame(np.zeros((16, 16, 3), np.uint8), DepthMap(values))
        samples += [ControlSample(frame, q, _measures(frame, [q])[0]) for q in ("how far?", "nearer?")]
    measured = {one.name: one.passed for one in model_controls.control_model(_measures, samples, rng)}
    assert all(measured[name] for name in ("T1 swap", "T2 scale", "T3 shuffle", "T4 constant depth", "T4b noise depth"))

    def recites(frame, questions):
        return [_length(2.0)] * len(questions)

    recited = {one.name: one.passed for one in model_controls.control_model(recites, samples, rng)}
    assert not recited["T2 scale"]
    assert not recited["T3 shuffle"]


def test_an_unknown_bench_and_an_option_it_does_not_take_are_refused():
    with pytest.raises(SdvlmError, match="no bench 'speed'; choose one of answer, build, dpe"):
        run_bench("speed")
    with pytest.raises(SdvlmError, match="bench render has no option 'questions'; it has rooms"):
        run_bench("render", questions=3)


@pytest.fixture
def quick(monkeypatch):
    """A bench that takes no time in place of ``answer``."""
    monkeypatch.setattr("sdvlm.bench.answer.bench_answer", lambda questions=16: {"speedup": 1.0 + questions})


def _run(arguments):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    return left.value.code


@pytest.mark.usefixtures("quick")
def test_the_command_prints_one_json_document_and_writes_the_same_to_a_file(capsys, tmp_path):
    out = tmp_path / "answer.json"
    assert _run(["bench", "answer", "--questions", "4", "--json", "--out", str(out)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["speedup"] == 5.0
    assert json.loads(out.read_text(encoding="utf-8")) == printed


@pytest.mark.usefixtures("quick")
def test_the_command_without_json_prints_figures_and_the_machine(capsys):
    assert _run(["bench", "answer"]) == 0
    assert "speedup: 17.0" in (printed := capsys.readouterr().out)
    assert "torch threads" in printed


def test_the_command_refuses_an_unknown_bench_with_code_2_and_one_line(capsys):
    assert _run(["bench", "speed", "--json"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.strip().splitlines()[-1].startswith("error: no bench 'speed'")


def test_every_bench_has_a_committed_result_and_a_line_in_the_readme():
    assert set(RESULTS) >= set(BENCHES)
    readme = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    for name, result in RESULTS.items():
        made_by = ("sdvlm bench ",) if name in BENCHES else ("sdvlm nano ", "sdvlm ablate ")
        assert result["command"].startswith(made_by)
        assert {"date", "hardware", "versions"} <= set(result), name
        assert f"results/{name}.json" in readme


def test_the_committed_results_hold_what_was_promised():
    assert RESULTS["dpe"]["model"]["hidden_size"] >= 1024
    assert RESULTS["dpe"]["share"] < 0.01
    assert (RESULTS["answer"]["questions"], RESULTS["answer"]["model"]["image_tokens"]) == (16, 576)
    assert RESULTS["answer"]["speedup"] >= 6
    assert RESULTS["answer"]["same_answers"]
    assert RESULTS["startup"]["help_s"] < 0.5
    assert RESULTS["render"]["frames_per_second"] >= 20
    nano = RESULTS["nano"]
    assert nano["load_s"] < 1
    assert nano["first_answer_s"] < 1
    assert (nano["questions"], nano["answers_s"] < 2) == (28, True)
    assert nano["peak_memory_mb"] < 1000
    assert nano["weights_mb"] < 20
    built = RESULTS["build"]
    assert built["size"] == [640, 480]
    assert built["frames_per_second_and_core"]["median"] >= 8
    assert built["questions_per_second_and_core"]["median"] >= 200
    assert built["core_hours_for_25000_images_and_700000_questions"] < 16  # under an hour on 16 cores
    assert abs(built["memory"]["worker_grows_by"]) < 0.05
    assert built["same_bytes"]
    assert RESULTS["controls"]["passed"]
    assert RESULTS["pretrain"]["retrieval_pairs"] == 1000
    assert RESULTS["train"]["model"]["image_tokens"] == 576
    speedups = {row["questions"]: row["speedup"] for row in RESULTS["train"]["counts"]}
    assert speedups[16] >= 6
    assert speedups[28] >= 8
    assert RESULTS["train"]["gradient_error"] < 1e-4
    assert RESULTS["train"]["depth_share"] < 0.01
    assert RESULTS["pretrain"]["times_chance"] >= 100
    (aligned,) = (row for row in RESULTS["pretrain"]["objectives"] if row["objective"] == "default")
    assert min(aligned["trunk_r2"], aligned["trunk_scale_r2"]) >= 0.9
