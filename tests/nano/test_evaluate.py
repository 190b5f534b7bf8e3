"""Scoring a run: every row is there, kept, and the same from one process or two."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from sdvlm.eval.constant import ConstantAnswers
from sdvlm.models.processor import DepthProcessor
from sdvlm.models.wrapper import DepthVLM
from sdvlm.nano import evaluate as under_test
from sdvlm.nano.config import NanoConfig, build_processor, build_vlm
from sdvlm.nano.evaluate import evaluate, score_table
from sdvlm.nano.exam import held_out_exam
from sdvlm.nano.sitting import Sitting
from sdvlm.types import SdvlmError


@pytest.fixture
def run_folder(config: NanoConfig, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two arms with random weights, and a small exam in place of MSMU-Rooms."""
    for seed, arm in enumerate(("with-depth", "without-depth")):
        torch.manual_seed(seed)
        model = DepthVLM.from_vlm(build_vlm(config, tokenizer), config.fusion)
        model.save_pretrained(tmp_path / arm / "checkpoint")
        processor = DepthProcessor.for_model(model, build_processor(config, tokenizer))
        processor.save_pretrained(tmp_path / arm / "checkpoint")
    exam = held_out_exam(8, seed=520_000)
    monkeypatch.setattr(under_test, "rooms_exam", lambda folder=None: exam)
    questions = [question for _, asked in exam for question in asked]
    monkeypatch.setattr(under_test, "fitted_constant", lambda: ConstantAnswers(iter(questions)))
    under_test._exam.cache_clear()
    under_test._model.cache_clear()
    yield tmp_path
    under_test._exam.cache_clear()
    under_test._model.cache_clear()


def test_every_row_is_asked_once_and_kept(run_folder: Path) -> None:
    scores = evaluate(run_folder)
    rooms = scores["rows"]["rooms"]
    wanted = {"with depth", "trained without depth", "depth withheld", "another picture's depth", "shuffled depth"}
    wanted |= {"constant", "20% holes", *[f"noise {noise} m" for noise in (0.1, 0.3, 0.5, 0.7)]}
    assert set(rooms) == wanted | {f"wording {way}" for way in range(1, 6)}
    assert set(scores["rows"]["scaled rooms"]) == {"with depth", "trained without depth", "depth withheld"}
    assert set(scores["leads"]["rooms"]) == set(rooms) - {"with depth"}
    assert set(scores["units"]) == {"right", "in_metres", "in_the_unit"}
    topics = {question.topic for _, asked in under_test.rooms_exam() for question in asked}
    assert set(scores["wordings"]["rates"]) == topics
    assert scores["wordings"]["pairs"] == 5 * len(topics)
    assert json.loads((run_folder / "scores.json").read_text()) == scores
    kept = {path: path.stat().st_mtime_ns for path in (run_folder / "sittings").iterdir()}
    (run_folder / "scores.json").unlink()
    again = evaluate(run_folder)
    assert {name: again[name] for name in ("rows", "leads", "units")} == {
        name: scores[name] for name in ("rows", "leads", "units")
    }
    assert {path: path.stat().st_mtime_ns for path in (run_folder / "sittings").iterdir()} == kept
    assert "with depth less trained without depth" in score_table(scores)
    for path in kept:
        said = json.loads(path.read_text())
        assert Sitting.from_dict(said).to_dict() == said


def test_other_weights_are_asked_anew(run_folder: Path) -> None:
    evaluate(run_folder)
    before = set((run_folder / "sittings").iterdir())
    (run_folder / "with-depth" / "checkpoint" / "model.safetensors").write_bytes(
        (run_folder / "without-depth" / "checkpoint" / "model.safetensors").read_bytes()
    )
    under_test._model.cache_clear()
    scores = evaluate(run_folder)
    assert set((run_folder / "sittings").iterdir()) > before
    rooms = scores["rows"]["rooms"]
    assert rooms["depth withheld"] == rooms["trained without depth"]  # the same weights, asked without depth


def test_other_photographs_are_asked_anew(run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rooms = under_test.rooms_exam()
    exams = {None: rooms, Path("a"): held_out_exam(8, seed=521_000), Path("b"): held_out_exam(8, seed=522_000)}
    monkeypatch.setattr(under_test, "rooms_exam", lambda folder=None: exams[folder])
    evaluate(run_folder, Path("a"))
    kept = set((run_folder / "sittings").iterdir())
    evaluate(run_folder, Path("b"))
    added = set((run_folder / "sittings").iterdir()) - kept
    assert len(added) == 4  # two arms, one of them with depth withheld, too, and the constant
    assert all("photographs" in path.name for path in added)


def test_checkpoints_kept_on_the_way_make_a_curve(run_folder: Path) -> None:
    first, last = (run_folder / arm / "checkpoint" for arm in ("without-depth", "with-depth"))
    for step, place in ((200, first), (400, last)):
        shutil.copytree(place, run_folder / "with-depth" / "weights-on-the-way" / f"{step:05d}")
    scores = evaluate(run_folder)
    rows = scores["rows"]["rooms"]
    assert [one["step"] for one in scores["on_the_way"]] == [200, 400]
    assert scores["on_the_way"][1] == {
        "step": 400,
        "with depth": rows["with depth"]["macro"]["rate"],
        "wording 1": rows["wording 1"]["macro"]["rate"],
        "lengths in other units": scores["units"]["right"],
    }
    (run_folder / "with-depth" / "weights-on-the-way" / "00400" / "config.json").unlink()  # half written
    assert [one["step"] for one in evaluate(run_folder)["on_the_way"]] == [200]


def test_a_folder_without_an_arm_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SdvlmError, match="holds no trained arm"):
        evaluate(tmp_path)
