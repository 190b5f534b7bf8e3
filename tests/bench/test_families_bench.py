"""What the seam costs is measured on every family that runs here, and the committed figures keep the limits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from sdvlm.bench.families import bench_families
from sdvlm.bench.random_family import random_family
from sdvlm.bench.timing import alternate, quartiles
from sdvlm.models.families.published import PUBLISHED
from sdvlm.models.grid import TokenGrid
from sdvlm.models.skeleton import build_skeleton
from sdvlm.models.wrapper import DepthVLM

RESULT = Path(__file__).parents[2] / "benchmarks" / "results" / "families.json"
ONCE = {"repeats": 1, "layers": 1}
SIZE = (160, 120)


def test_shuffled_turns_do_each_task_once_and_not_always_behind_the_same_one() -> None:
    said: list[str] = []
    tasks = {name: lambda name=name: said.append(name) for name in "abc"}
    alternate(tasks, repeats=20, warmup=0, shuffle=True)
    turns = ["".join(said[at : at + 3]) for at in range(0, 60, 3)]
    assert all(sorted(turn) == ["a", "b", "c"] for turn in turns)
    assert {turn[turn.index("b") - 1] for turn in turns if turn[0] != "b"} == {"a", "c"}


def test_quartiles_are_those_of_numpy() -> None:
    values = [3.0, 1.0, 4.0, 1.5, 9.0]
    found = quartiles(values)
    assert [found["q1"], found["median"], found["q3"]] == pytest.approx(np.percentile(values, [25, 50, 75]))
    assert quartiles([2.0]) == {"median": 2.0, "q1": 2.0, "q3": 2.0}


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_a_random_model_of_the_family_runs_without_a_tokenizer(name: str) -> None:
    made = random_family(name, SIZE, 512, 2)
    with torch.inference_mode():
        logits = made.vlm(**made.inputs).logits
        wrapped = DepthVLM.from_vlm(made.vlm, "dpe").eval()(**made.inputs).logits
    assert torch.isfinite(logits).all()
    assert torch.equal(logits, wrapped)
    assert made.tokens < made.inputs["input_ids"].shape[1]


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_boxes_found_on_a_narrow_tower_are_those_of_the_published_one(name: str) -> None:
    config, image_processor = PUBLISHED[name][1](False)
    quick, plain = TokenGrid(config, image_processor), TokenGrid(config, image_processor)
    plain._skeleton = build_skeleton(config, narrow=False)
    np.testing.assert_array_equal(quick.boxes((300, 200)), plain.boxes((300, 200)))


def test_shares_are_of_the_bare_model_and_what_is_not_there_is_named() -> None:
    threads = torch.get_num_threads()
    result = bench_families(**ONCE, names=["qwen2_vl", "nowhere"])
    assert torch.get_num_threads() == threads
    assert result["skipped"] == {"nowhere": "no published sizes"}
    (row,) = result["families"]
    assert row["family"] == "qwen2_vl"
    assert result["worst_seam_share"] == max(row["seam"]["median"], row["seam_step"]["median"])
    assert 0 < row["seam"]["median"] < 1
    assert result["worst_probe_s"] == row["probe"]["new_s"] > row["probe"]["again_s"]


def test_the_committed_figures_keep_the_limits_for_at_least_twenty_families() -> None:
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    assert len(result["families"]) >= 20
    assert result["limits"] == {"seam_share": 0.01, "probe_s": 0.1}
    for row in result["families"]:
        assert row["seam"]["median"] < 0.01, row["family"]
        assert row["seam_step"]["median"] < 0.01, row["family"]
        assert row["probe"]["new_s"] < 0.1, row["family"]
