"""The verb as it is used: killed, resumed, refused."""

import base64
import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdvlm.data.schema import QuestionType
from sdvlm.eval import msmu_rooms

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "sd_vlm_official"
ASKED = [
    ("What is the width of the bed ?", "the bed measures 1.37 meters in width.", "width"),
    ("what's the total number of chairs in the image?", "2.", "count"),
]


def write_data(path, pictures):
    """MSMU rows as JSON, all pictures once and then all again."""
    rows = []
    for question, answer, kind in ASKED:
        for seed in range(pictures):
            stream = io.BytesIO()
            pixels = np.random.default_rng(seed).integers(0, 255, (18, 24, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(stream, "PNG")
            turns = [{"from": "human", "value": f"<image>\n{question}"}, {"from": "gpt", "value": answer}]
            encoded = base64.b64encode(stream.getvalue()).decode()
            rows.append({"image_base64": encoded, "conversations": turns, "type": kind})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def answers(out):
    lines = (out / "answers.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key != "seconds"} for line in lines]


BLOCKING = """
import os, pathlib, time
import numpy as np
from sdvlm.depth.estimator import DepthEstimate
from sdvlm.types import DepthKind, DepthMap

class Estimator:
    id, licence, kind, uses_camera = "blocking", "none", DepthKind.METRIC, False
    asked = 0

    def estimate(self, images, cameras=None):
        self.asked += 1
        if self.asked == 4 and "BLOCKED" in os.environ:
            pathlib.Path(os.environ["BLOCKED"]).touch()
            time.sleep(600)
        return [DepthEstimate(DepthMap(np.full(image.shape[:2], image.mean() / 50))) for image in images]
"""
"""an estimator that hangs at its fourth picture where the environment says so"""


def test_a_run_killed_in_the_middle_loses_nothing_asks_nothing_twice_and_ends_as_if_it_had_not_been(
    tmp_path, tiny_folder, run_json, monkeypatch
):
    (tmp_path / "blocking_depth.py").write_text(BLOCKING)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("SDVLM_CACHE", str(tmp_path / "cache"))
    data = write_data(tmp_path / "test.jsonl", 6)
    words = ["eval", "msmu", "--data", data, "--model", tiny_folder, "--max-new-tokens", 6, "--device", "cpu"]
    words += ["--depth", "blocking_depth:Estimator", "--controls"]
    out, blocked = tmp_path / "killed", tmp_path / "blocked"
    command = [sys.executable, "-m", "sdvlm.cli.main", *map(str, words), "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(tmp_path), "BLOCKED": str(blocked)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not blocked.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    said = process.communicate()[1].decode()
    assert process.returncode == -signal.SIGKILL, said
    arms = ("", "depth-off", "depth-shuffled")
    kept = {arm: (out / arm / "answers.jsonl").read_bytes().splitlines() for arm in arms if arm != "depth-shuffled"}
    assert {len(lines) for lines in kept.values()} == {6}  # three pictures of six, two questions each
    assert json.loads((out / "run.json").read_text())["status"] == "running"

    resumed = run_json(*words, "--out", out)
    assert resumed["answered"] == 3 * 12 - 6 - 6 - 4  # the first picture waits for the last one's depth
    whole = run_json(*words, "--out", tmp_path / "whole")
    assert whole["answered"] == 3 * 12
    for arm in arms:
        assert answers(out / arm) == answers(tmp_path / "whole" / arm)
        assert [one["number"] for one in answers(out / arm)] == list(range(12))
    for arm, lines in kept.items():
        assert set(lines) <= set((out / arm / "answers.jsonl").read_bytes().splitlines())  # not asked again
    assert resumed["scores"] == whole["scores"]
    log = json.loads((out / "run.json").read_text())
    assert log["status"] == "complete"
    assert len(log["sessions"]) == 2


@pytest.mark.skipif(
    not GOLDEN.is_dir(), reason="the recorded outputs of the released code are not beside this checkout"
)
@pytest.mark.parametrize(("words", "layout"), [([], "vicuna_v1"), (["--conversation", "none"], "raw")])
def test_a_released_checkpoint_is_asked_as_the_released_code_asks_it(tmp_path, run_json, words, layout):
    rows, wanted = [], []
    for case in json.loads((GOLDEN / "cases.json").read_text())["cases"]:
        asked = case["prompt"].partition("USER: ")[2].removesuffix(" ASSISTANT:") if layout != "raw" else case["prompt"]
        if (
            case["format"] == layout
            and asked.startswith("<image>")
            and asked.count("<image>") == 1 > asked.count("USER")
        ):
            encoded = base64.b64encode((GOLDEN / case["image_files"][0]).read_bytes()).decode()
            turns = [{"from": "human", "value": asked}, {"from": "gpt", "value": "1.0 m"}]
            rows.append({"image_base64": encoded, "conversations": turns, "type": "distance"})
            wanted.append((case["prompt"], case["generated_ids"]))
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["eval", "msmu", "--data", tmp_path / "test.jsonl", "--model", GOLDEN / "checkpoint", *words]
    document = run_json(*words, "--max-new-tokens", 16, "--device", "cpu", "--out", tmp_path / "run")
    assert document["pictures"] < len(rows) or layout == "raw"  # several questions behind one picture
    assert [(one["prompt"], one["token_ids"]) for one in answers(tmp_path / "run")] == wanted
    assert json.loads((tmp_path / "run" / "run.json").read_text())["settings"]["depth"]["source"] == "own"


def test_the_folder_is_made_of_the_options_and_refuses_others(tmp_path, tiny_folder, run, run_json):
    data = write_data(tmp_path / "test.jsonl", 3)
    words = ["eval", "msmu", "--data", data, "--model", tiny_folder, "--out", tmp_path / "run", "--limit", 4]
    document = run_json(*words, "--max-new-tokens", 3)
    assert (document["rows"], document["pictures"], document["broken"]) == (4, 3, 0)
    assert document["scores"]["main"]["families"]["scale_estimation"]["asked"] == 3
    log = json.loads((tmp_path / "run" / "run.json").read_text())
    assert log["settings"]["depth"] == {"source": "none"}
    assert log["data"]["data"] == str(data)
    assert log["data"]["limit"] == 4
    assert set(log["model"]["sha256"]) == {"config.json"}
    assert len(log["model"]["sha256"]["config.json"]) == 64
    code, _, said = run(*words, "--max-new-tokens", 4)
    assert code == 2
    assert "max_new_tokens was 3, now 4" in said.splitlines()[-1]


def test_broken_rows_are_refused_with_their_number_or_left_out_and_counted(tmp_path, tiny_folder, run, run_json):
    data = write_data(tmp_path / "test.jsonl", 2)
    lines = data.read_text().splitlines()
    lines[1] = json.dumps({**json.loads(lines[1]), "image_base64": "AAAA"})
    data.write_text("\n".join(lines) + "\n")
    words = ["eval", "msmu", "--data", data, "--model", tiny_folder, "--max-new-tokens", 2, "--out", tmp_path / "run"]
    code, _, said = run(*words)
    assert code == 2
    assert "row 1" in said
    assert not (tmp_path / "run").exists()
    document = run_json(*words, "--on-broken", "skip")
    assert (document["rows"], document["broken"]) == (3, 1)
    assert [one["number"] for one in answers(tmp_path / "run")] == [0, 2, 3]


def test_rooms_are_asked_with_their_controls_and_reported(tmp_path, tiny_folder, run_json, run, monkeypatch):
    small = dataclasses.replace(msmu_rooms.MSMU_ROOMS, counts=dict.fromkeys(QuestionType, 3), digest=None)
    monkeypatch.setattr(msmu_rooms, "MSMU_ROOMS", small)
    monkeypatch.setenv("SDVLM_CACHE", str(tmp_path / "cache"))
    words = ["eval", "rooms", "--model", tiny_folder, "--limit", 16, "--controls", "--max-new-tokens", 2]
    document = run_json(*words, "--out", tmp_path / "rooms")
    assert document["rows"] == 16
    assert set(document["scores"]) == {"main", "depth-off", "depth-shuffled"}
    shown = json.loads((tmp_path / "rooms" / "run.json").read_text())
    assert shown["settings"]["depth"] == {"source": "data"}
    code, out, err = run("report", tmp_path / "rooms")
    assert code == 0, err
    assert "depth withheld" in out
    assert "another picture's depth" in out
    assert "published" not in out
    scaled = run_json(*words, "--scaled", "--out", tmp_path / "scaled")
    assert set(scaled["scores"]) == {"main", "depth-off", "depth-shuffled"}
    code, out, err = run("report", tmp_path / "rooms", tmp_path / "scaled")
    assert code == 0, err
    assert ", scaled, depth withheld" in out
    assert "not all asked the same questions" in out


def test_general_questions_are_asked_scored_by_exact_match_and_reported(tmp_path, tiny_folder, run_json, run):
    (tmp_path / "pictures").mkdir()
    rows = []
    for seed in range(2):
        pixels = np.random.default_rng(seed).integers(0, 255, (18, 24, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{seed}.png")
        turns = [{"from": "human", "value": "<image>\nIs it day?"}, {"from": "gpt", "value": "Yes"}]
        rows.append({"image": f"{seed}.png", "conversations": turns})
    (tmp_path / "vqa.json").write_text(json.dumps(rows))
    words = ["eval", "general", "--data", tmp_path / "vqa.json", "--images", tmp_path / "pictures"]
    words += ["--model", tiny_folder, "--max-new-tokens", 2, "--out", tmp_path / "general"]
    document = run_json(*words)
    assert document["scores"]["main"]["families"]["general"]["asked"] == 2
    assert json.loads((tmp_path / "general" / "scores.json").read_text())["scorer"] == "exact match"
    assert [one["question"] for one in answers(tmp_path / "general")] == ["Is it day?"] * 2
    code, _, err = run(*words[:-1], tmp_path / "controlled", "--controls")  # there is no depth to take away
    assert (code, "no depth" in err) == (2, True)
    code, out, err = run("report", tmp_path / "general")
    assert code == 0, err
    assert "vqa.json" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["msmu"], "needs --data"),
        (["rooms", "--data", "x"], "leave --data out"),
        (["msmu", "--data", "no-such-place"], "no such file or folder"),
        (["vsi"], "msmu"),
        (["built"], "needs --data: OUT of sdvlm build"),
        (["general"], "needs --data: LLaVA JSON"),
        (["rooms", "--images", "x"], "--images is for general data"),
        (["general", "--data", "x", "--scaled"], "--scaled needs depth and lengths that are known"),
        (["built", "--data", "no-such-place"], "no such folder"),
    ],
)
def test_what_cannot_be_asked_is_told_in_one_line(tmp_path, run, words, said):
    code, _, err = run("eval", *words, "--out", tmp_path / "run")
    assert code == 2
    assert said in err.strip().splitlines()[-1]
    assert not (tmp_path / "run").exists()


def test_help_comes_without_torch():
    code = (
        "import sys\nfrom sdvlm.cli.main import main\n"
        "try:\n    main([sys.argv[1], '--help'])\nexcept SystemExit:\n    pass\nassert 'torch' not in sys.modules"
    )
    for verb in ("eval", "report"):
        subprocess.run([sys.executable, "-c", code, verb], check=True, capture_output=True)


def test_a_report_needs_no_torch(tmp_path):
    scores = {"families": {"count": {"asked": 4, "right": 1, "unparsed": 0}}, "model": "m", "bench": "msmu"}
    (tmp_path / "scores.json").write_text(json.dumps(scores))
    code = (
        "import sys\nfrom pathlib import Path\nfrom sdvlm.eval.report import make_report\n"
        "from sdvlm.eval.report_text import to_text\n"
        "to_text(make_report([Path(sys.argv[1])]))\nassert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code, str(Path(tmp_path))], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
