"""A training step on packed rows against one on a row a question: same samples, same model, same run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sdvlm.bench.random_llava import bench_frame, bench_questions, random_llava
from sdvlm.bench.timing import alternate, ratio
from sdvlm.models.processor import DepthProcessor
from sdvlm.models.wrapper import DepthVLM
from sdvlm.train.config import LoraSettings, TrainConfig
from sdvlm.train.encode import ExampleEncoder
from sdvlm.train.example import Dialogue, Example
from sdvlm.train.forward import answer_losses
from sdvlm.train.trainable import optimizer_groups, prepare_groups

__all__ = ["bench_train"]

_ROWS = 4
"""rows at once where every question is a row of its own"""
COUNTS = (16, 28)
"""questions about the picture; MSMU has 28 on average"""


def bench_train(
    counts: Sequence[int] = COUNTS, hidden: int = 1024, layers: int = 4, rank: int = 128, repeats: int = 3
) -> dict[str, Any]:
    """Steps of LoRA and projector in turns, on one LLaVA with 576 image tokens; batches are made beforehand.

    Args:
        counts: questions about the one picture.
        hidden: width of the language model.
        layers: of the language model.
        rank: of the adapters.
        repeats: timed turns.

    Returns:
        ``speedup`` of the last count and ``speedups`` of each: time of separate rows over packed, median of the turns;
        ``gradient_error``: largest relative difference of the whole gradient; ``depth_share``: pooling, fusion and its
        backward pass as a share of a packed step.
    """
    model, processor = random_llava(hidden, layers, "dpe")
    config = TrainConfig(lora=LoraSettings(rank, 2 * rank, 0.0))
    groups = prepare_groups(model, config)
    model.train()
    optimizer = torch.optim.AdamW(optimizer_groups(groups, 0.0))
    parameters = [one for group in groups for one in group.parameters]
    rows: list[dict[str, Any]] = []
    errors: list[float] = []
    for count in counts:
        example = _example(count)
        batches = {
            "packed": [ExampleEncoder(processor, config, True)([example])],
            "separate": _separate(processor, config, example),
        }
        gradients = [_gradient(model, parameters, some) for some in batches.values()]
        errors.append(float((gradients[0] - gradients[1]).norm() / gradients[1].norm()))
        steps = {name: _step(model, optimizer, some) for name, some in batches.items()}
        times = alternate(steps, repeats, warmup=0)
        found = ratio(times["separate"], times["packed"])
        rows.append(
            {
                "questions": count,
                "speedup": found["median"],
                "speedup_range": [found["min"], found["max"]],
                "questions_per_second": {name: round(count / one.median, 3) for name, one in times.items()},
                "tokens": {name: sum(int(b["attention_mask"].sum()) for b in some) for name, some in batches.items()},
                "gradient_error": errors[-1],
                "times": {name: one.to_dict() for name, one in times.items()},
            }
        )
    share = _depth_seconds(model, processor, repeats) / rows[-1]["times"]["packed"]["median_s"]
    return {
        "speedup": rows[-1]["speedup"],
        "gradient_error": max(errors),
        "depth_share": float(f"{share:.3g}"),
        "counts": rows,
        "model": {"hidden_size": hidden, "layers": layers, "image_tokens": 576, "lora_rank": rank},
        "trained_parameters": sum(one.numel() for one in parameters),
        "rows_at_once": _ROWS,
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
    for batch in batches:
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

    return step


def _depth_seconds(model: DepthVLM, processor: DepthProcessor, repeats: int, often: int = 10) -> float:
    """Seconds that depth takes of a step: pooling the map, and the fusion forward and backward. The least of turns."""
    frame = bench_frame(np.random.default_rng(0))
    features: Any = torch.zeros(1, 576, model.config.get_text_config().hidden_size, requires_grad=True)
    host: Any = model.vlm.base_model
    shape = host.get_image_features(torch.zeros(1, 3, 336, 336), return_dict=True)
    found = []
    for _ in range(max(3, repeats)):
        started = time.perf_counter()
        for _ in range(often):
            packed = processor.depth_grid([frame.image.shape[1::-1]], [frame.depth], [frame.camera])
            assert packed is not None
            shape["pooler_output"] = features
            fused = model.fuse(shape, packed)["pooler_output"]
            torch.cat(list(fused)).sum().backward()
        found.append((time.perf_counter() - started) / often)
    return min(found)
