"""A training step on packed rows against one on a row a question: same samples, same model, same run."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sdvlm.bench.random_llava import bench_frame, bench_questions
from sdvlm.bench.random_vlm import random_vlm
from sdvlm.bench.timing import Timing, alternate, ratio
from sdvlm.models.processor import DepthProcessor
from sdvlm.models.wrapper import DepthVLM
from sdvlm.train.batch_facts import batch_facts
from sdvlm.train.config import LoraSettings, TrainConfig
from sdvlm.train.encode import ExampleEncoder
from sdvlm.train.example import Dialogue, Example
from sdvlm.train.flops import peak_flops, step_flops
from sdvlm.train.forward import answer_losses, on_device
from sdvlm.train.trainable import optimizer_groups, prepare_groups

__all__ = ["bench_train"]

_ROWS = 4
"""rows at once where every question is a row of its own"""
COUNTS = (16, 28)
"""questions about the picture; MSMU has 28 on average"""
_PICTURES, _QUESTIONS = 25_000, 28
"""MSMU: 700,000 questions about so many pictures"""


def bench_train(
    counts: Sequence[int] = COUNTS,
    shape: str = "small",
    rank: int = 128,
    repeats: int = 3,
    device: str | None = None,
    questions: int | None = None,
) -> dict[str, Any]:
    """Steps of LoRA and projector in turns; batches are made beforehand.

    Args:
        counts: questions about the one picture.
        shape: one of ``random_vlm.SHAPES``; ``small`` and ``llava-1.5-7b`` have 576 image tokens.
        rank: of the adapters.
        repeats: timed turns.
        device: default: the CPU. On a GPU weights and arithmetic are bfloat16, what trains is float32.
        questions: one count in place of ``counts``.

    Returns:
        ``speedup`` of the last count and ``counts`` of each: time of separate rows over packed, median of the turns;
        ``gradient_error``: largest relative difference of the whole gradient; ``depth_share``: pooling, fusion and its
        backward pass as a share of a packed step; ``hours``: what 25,000 pictures with 28 questions each would take at
        the packed rate, extrapolated.
    """
    place = device or "cpu"
    dtype = torch.float32 if place == "cpu" else torch.bfloat16
    model, processor = random_vlm(shape, place, dtype)
    config = TrainConfig(lora=LoraSettings(rank, 2 * rank, 0.0))
    groups = prepare_groups(model, config)
    model.train()
    optimizer = torch.optim.AdamW(optimizer_groups(groups, 0.0))
    parameters = [one for group in groups for one in group.parameters]
    rows: list[dict[str, Any]] = []
    for count in (questions,) if questions else counts:
        example = _example(count)
        batches = {
            "packed": [on_device(ExampleEncoder(processor, config, True)([example]), place)],
            "separate": [on_device(one, place) for one in _separate(processor, config, example)],
        }
        gradients = [_gradient(model, parameters, some) for some in batches.values()]
        error = float((gradients[0] - gradients[1]).norm() / gradients[1].norm())
        del gradients
        optimizer.step()  # makes its state, so that no timed step has to
        steps = {name: _step(model, optimizer, some) for name, some in batches.items()}
        rows.append(_row(model, count, batches, alternate(steps, repeats, warmup=0), error))
    last = rows[-1]
    packed_s = last["times"]["packed"]["median_s"]
    share = _depth_seconds(model, processor, repeats) / packed_s
    return {
        "speedup": last["speedup"],
        "gradient_error": max(row["gradient_error"] for row in rows),
        "depth_share": float(f"{share:.3g}"),
        "counts": rows,
        "hours": round(_PICTURES * packed_s * _QUESTIONS / last["questions"] / 3600, 2),
        "hours_are": "extrapolated from the packed rate of the last count",
        "peak_memory_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2) if place != "cpu" else None,
        "model": {
            "shape": shape,
            "image_tokens": int((batches["packed"][0]["input_ids"] == processor.image_token_id).sum()),
            "lora_rank": rank,
            "dtype": str(dtype).removeprefix("torch."),
        },
        "trained_parameters": sum(one.numel() for one in parameters),
        "rows_at_once": _ROWS,
    }


def _row(
    model: DepthVLM, count: int, batches: dict[str, list[dict[str, Any]]], times: dict[str, Timing], error: float
) -> dict[str, Any]:
    """What one count of questions came to."""
    found = ratio(times["separate"], times["packed"])
    vision = model.config.vlm_config.vision_config
    flops = {name: sum(step_flops(model, batch_facts(one, vision)) for one in some) for name, some in batches.items()}
    rates = {name: flops[name] / one.median for name, one in times.items()}
    peak = peak_flops(torch.cuda.get_device_name()) if model.device.type == "cuda" else None
    return {
        "questions": count,
        "speedup": found["median"],
        "speedup_range": [found["min"], found["max"]],
        "questions_per_second": {name: float(f"{count / one.median:.4g}") for name, one in times.items()},
        "tokens": {name: sum(int(one["attention_mask"].sum()) for one in some) for name, some in batches.items()},
        "flops_per_second": {name: float(f"{rate:.4g}") for name, rate in rates.items()},
        "utilisation": None if peak is None else {name: round(rate / peak, 3) for name, rate in rates.items()},
        "gradient_error": float(f"{error:.3g}"),
        "times": {name: one.to_dict() for name, one in times.items()},
    }


def _example(count: int) -> Example:
    frame = bench_frame(np.random.default_rng(0))
    asked = [
        Dialogue((("user", question), ("assistant", f"It is {1 + index / 10:.2f} m away.")))
        for index, question in enumerate(bench_questions(count))
    ]
    return Example("bench", "bench", tuple(asked), (frame.image,), (frame.depth,), (frame.camera,))


def _separate(processor: DepthProcessor, config: TrainConfig, example: Example) -> list[dict[str, Any]]:
    encoder = ExampleEncoder(processor, config, False)
    rows = encoder.rows(example)
    return [encoder.stack(rows[start : start + _ROWS]) for start in range(0, len(rows), _ROWS)]


def _backward(model: DepthVLM, batches: Sequence[dict[str, Any]]) -> None:
    total = sum(int((batch["labels"] != -100).sum()) for batch in batches)
    half = model.device.type != "cpu"
    for batch in batches:
        with torch.autocast(model.device.type, torch.bfloat16, enabled=half):
            losses, _ = answer_losses(model, model.vlm, batch)
        (losses.sum() / total).backward()


def _gradient(model: DepthVLM, parameters: Sequence[Tensor], batches: Sequence[dict[str, Any]]) -> Tensor:
    model.zero_grad(set_to_none=True)
    _backward(model, batches)
    parts = [torch.zeros_like(one) if one.grad is None else one.grad for one in parameters]
    return torch.cat([one.flatten() for one in parts])


def _step(model: DepthVLM, optimizer: Any, batches: Sequence[dict[str, Any]]) -> Callable[[], None]:
    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        _backward(model, batches)
        optimizer.step()
        _wait(model)

    return step


def _depth_seconds(model: DepthVLM, processor: DepthProcessor, repeats: int, often: int = 10) -> float:
    """Seconds that depth takes of a step: pooling the map, and the fusion forward and backward. The least of turns."""
    frame = bench_frame(np.random.default_rng(0))
    host: Any = model.vlm.base_model
    made = processor.processor(text=[processor.question_prompt("?")], images=[frame.image], return_tensors="pt")
    seen = on_device(made, model.device)
    wanted = inspect.signature(host.get_image_features).parameters
    with torch.no_grad():
        features = host.get_image_features(**{k: v for k, v in seen.items() if k in wanted}, return_dict=True)
    tokens = [one.detach().requires_grad_(True) for one in features["pooler_output"]]
    features["pooler_output"] = tokens
    found = []
    for _ in range(max(3, repeats)):
        started = time.perf_counter()
        for _ in range(often):
            packed = processor.depth_grid([frame.image.shape[1::-1]], [frame.depth], [frame.camera])
            assert packed is not None
            fused = model.fuse(features, packed.to(model.device))["pooler_output"]
            torch.cat(list(fused)).sum().backward()
        _wait(model)
        found.append((time.perf_counter() - started) / often)
    return min(found)


def _wait(model: DepthVLM) -> None:
    """Until the device has done what it was given."""
    if model.device.type == "cuda":
        torch.cuda.synchronize()
