"""The bench against the released procedure runs on a checkpoint of its own and compares what it says it compares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from sdvlm.bench import released_loop
from sdvlm.bench.random_official import SHAPES, write_random_official
from sdvlm.bench.released_loop import answer_as_released, bench_released
from sdvlm.models.official import is_official
from sdvlm.types import SdvlmError


def test_both_ways_answer_alike_and_every_figure_is_there() -> None:
    result = bench_released("toy", counts=(2, 3), new_tokens=3, repeats=1)
    assert [row["questions"] for row in result["rows"]] == [2, 3]
    for row in result["rows"]:
        assert row["same_answers"] == 1.0
        shared, released = (row["times"][name]["median_s"] for name in ("shared", "released"))
        assert row["speedup"] == pytest.approx(released / shared, rel=0.01)
        assert row["questions_per_second"]["shared"] == pytest.approx(row["questions"] / shared, rel=0.01)
    assert result["model"]["image_tokens"] == 576
    assert set(result["rates"]["decode"]) == {"rows_1", "rows_3"}
    assert set(result["picture"]) == {"depth_network_s", "tower_s"}


def test_the_released_way_looks_at_the_picture_for_every_question(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: dict[str, list[int]] = {"tower": [], "depth": [], "rows": []}
    real = answer_as_released

    def spied(model: Any, processor: Any, frame: Any, questions: Any, new_tokens: int) -> Any:
        tower = model.vlm.model.vision_tower.register_forward_hook(lambda *_: looked["tower"].append(1))
        network = processor.estimator.model.register_forward_hook(lambda *_: looked["depth"].append(1))
        text = model.vlm.model.language_model.register_forward_pre_hook(
            lambda _, args, kwargs: looked["rows"].append(len(kwargs["inputs_embeds"])), with_kwargs=True
        )
        try:
            return real(model, processor, frame, questions, new_tokens)
        finally:
            for hook in (tower, network, text):
                hook.remove()

    monkeypatch.setattr(released_loop, "answer_as_released", spied)
    bench_released("toy", counts=(3,), new_tokens=2, repeats=1)
    turns = 2  # the one that compares, the one that is timed
    assert len(looked["tower"]) == len(looked["depth"]) == 3 * turns
    assert set(looked["rows"]) == {1}  # never batched
    assert len(looked["rows"]) == 2 * 3 * turns  # two passes an answer of two tokens: the cache is used


def test_the_checkpoint_it_makes_is_an_official_one_of_the_stated_size(tmp_path: Path) -> None:
    write_random_official(SHAPES["toy"], tmp_path / "new")
    assert is_official(tmp_path / "new")
    with pytest.raises(SdvlmError, match="not empty"):
        write_random_official(SHAPES["toy"], tmp_path / "new")
    released = SHAPES["llava-1.5-7b"]
    assert (released.width, released.layers, released.mlp, released.vocabulary) == (4096, 32, 11008, 32000)
    assert getattr(torch, released.dtype) is torch.bfloat16


def test_an_unknown_shape_is_refused() -> None:
    with pytest.raises(SdvlmError, match=r"choose one of toy, small, llava-1\.5-7b"):
        bench_released("huge")
