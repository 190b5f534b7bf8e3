"""Questions a second of this library against the released procedure, on the same weights in the same run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sdvlm.bench.random_llava import bench_frame, bench_questions
from sdvlm.bench.random_official import SHAPES, write_random_official
from sdvlm.bench.rates import model_rates, timed
from sdvlm.bench.timing import alternate, ratio
from sdvlm.models.load import load_from
from sdvlm.models.prefix import answer_questions
from sdvlm.models.processor import DepthBatch, DepthProcessor
from sdvlm.models.wrapper import DepthVLM
from sdvlm.types import RgbdFrame, SdvlmError

__all__ = ["answer_as_released", "bench_released"]


@torch.inference_mode()
def answer_as_released(
    model: DepthVLM, processor: DepthProcessor, frame: RgbdFrame, questions: Sequence[str], new_tokens: int
) -> list[tuple[int, ...]]:
    """One question at a time, as the released inference script goes about it.

    For every question the picture is prepared, the depth network and CLIP run anew, the whole prompt is read, and one
    answer is decoded greedily with a key-value cache, by the stock ``generate``.
    """
    answers = []
    for question in questions:
        prompt = processor.question_prompt(question)
        batch = processor(text=prompt, images=frame.image, depth=processor.own_depth(frame)).to(model.device)
        out = model.generate(**batch, do_sample=False, use_cache=True, max_new_tokens=new_tokens)
        answers.append(tuple(out[0, batch["input_ids"].shape[1] :].tolist()))
    return answers


def bench_released(
    shape: str = "small",
    counts: Sequence[int] = (8, 28),
    new_tokens: int = 16,
    repeats: int = 3,
    device: str | None = None,
) -> dict[str, Any]:
    """Answer the same questions about a 640 x 480 picture both ways in turns.

    The checkpoint has random weights; it is written in the official layout and loaded as any other.

    Args:
        shape: a key of ``random_official.SHAPES``.
        counts: questions of one picture.
        new_tokens: length of every answer (none ends by itself).
        repeats: timed turns.
        device: torch device; default: the CPU.

    Returns:
        For each count ``speedup``, questions per second both ways, and the share of answers that are the same token
        for token (in bfloat16 two tokens may tie); what the picture costs each time it is looked at; and the model's
        prefill and decode rates (``rates.model_rates``).

    Raises:
        SdvlmError: there is no such shape.
    """
    if shape not in SHAPES:
        raise SdvlmError(f"no shape {shape!r} to bench; choose one of {', '.join(SHAPES)}")
    with tempfile.TemporaryDirectory(prefix="sdvlm-bench-") as name:
        folder = Path(name) / "random-official"
        write_random_official(SHAPES[shape], folder, device or "cpu")
        model, processor = load_from(str(folder), device or "cpu")
        processor.estimator.model.to(model.dtype)
    model.generation_config.eos_token_id = SHAPES[shape].vocabulary + 1  # never said: all answers are of one length
    picture = bench_frame(np.random.default_rng(0)).image
    frame = RgbdFrame(picture, name="bench")
    rows = [_both(model, processor, frame, count, new_tokens, repeats) for count in counts]
    prompt = processor.question_prompt(bench_questions(1)[0])
    batch = processor(text=prompt, images=picture, depth=processor.own_depth(frame))
    tokens = int((batch["input_ids"] == processor.processor.image_token_id).sum())
    return {
        "shape": shape,
        "rows": rows,
        "picture": _picture_seconds(model, processor, frame, batch, repeats),
        "rates": model_rates(model, batch, rows=max(counts), repeats=repeats),
        "new_tokens": new_tokens,
        "model": {**asdict(SHAPES[shape]), "necks": list(SHAPES[shape].necks), "image_tokens": tokens},
        "device": str(model.device),
    }


@torch.inference_mode()
def _picture_seconds(
    model: DepthVLM, processor: DepthProcessor, frame: RgbdFrame, batch: DepthBatch, repeats: int
) -> dict[str, Any]:
    """Seconds that the depth network and the tower with its projector take."""
    pixels = batch["pixel_values"].to(model.device)
    tasks: dict[str, Callable[[], object]] = {
        "depth_network_s": lambda: processor.own_depth(frame),
        "tower_s": lambda: model.vlm.get_image_features(pixels, return_dict=True),
    }
    return {name: timed(task, model.device, repeats).to_dict()["median_s"] for name, task in tasks.items()}


def _both(
    model: DepthVLM, processor: DepthProcessor, frame: RgbdFrame, count: int, new_tokens: int, repeats: int
) -> dict[str, Any]:
    """One count of questions, timed both ways after one turn that also compares the answers."""
    asked = bench_questions(count)

    def shared() -> list[tuple[int, ...]]:
        depth = processor.own_depth(frame)
        said = answer_questions(model, processor, frame, asked, max_new_tokens=new_tokens, depth=depth)
        return [one.token_ids for one in said]

    def released() -> list[tuple[int, ...]]:
        return answer_as_released(model, processor, frame, asked, new_tokens)

    pairs = list(zip(shared(), released(), strict=True))  # also the warm-up
    times = alternate({"shared": shared, "released": released}, repeats, warmup=0)
    speedup = ratio(times["released"], times["shared"])
    return {
        "questions": count,
        "speedup": speedup["median"],
        "speedup_range": [speedup["min"], speedup["max"]],
        "questions_per_second": {name: float(f"{count / one.median:.4g}") for name, one in times.items()},
        "same_answers": sum(one == other for one, other in pairs) / count,
        "times": {name: one.to_dict() for name, one in times.items()},
    }
