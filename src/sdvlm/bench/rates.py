"""How fast a language model reads and writes, against what the hardware can do, measured in the same run.

Reading (prefill) is bound by multiplications, writing (decode) by reading the weights once a step: the limits are a
large matrix product and a large copy in the model's own dtype.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from sdvlm.bench.timing import Timing
from sdvlm.models.processor import DepthBatch
from sdvlm.models.wrapper import DepthVLM

__all__ = ["model_rates", "timed"]


@torch.inference_mode()
def model_rates(model: DepthVLM, batch: DepthBatch, rows: int, repeats: int = 3, steps: int = 8) -> dict[str, Any]:
    """Prefill of one prompt and decode of one row and of several, without tower and depth network.

    Args:
        model: on its device.
        batch: one prompt with its picture.
        rows: of the larger decode.
        repeats: timed turns.
        steps: decoded tokens a turn.

    Returns:
        Tokens a second, multiply-adds as TFLOP/s (two per parameter and token, attention not counted), weights read as
        GB/s, and each as a share of the measured limit.
    """
    device, vlm = model.device, model.vlm
    inputs: dict[str, Any] = dict(batch.to(device))
    inputs = model.seam(inputs, inputs.pop("depth_grid", None))
    weights = _language_weights(vlm)
    parameters, stored = sum(w.numel() for w in weights), sum(w.nbytes for w in weights)
    length = batch["input_ids"].shape[1]
    flops, copied = _matmul_flops(model.dtype, device, repeats), _copied_bytes(device, repeats)
    prefill = timed(lambda: vlm(**inputs, use_cache=True, logits_to_keep=1), device, repeats).median
    decodes = {}
    for count in (1, rows):
        cache = vlm(**inputs, use_cache=True, logits_to_keep=1).past_key_values
        cache.batch_repeat_interleave(count)
        token = torch.full((count, 1), 5, device=device)

        def decode(cache: Any = cache, token: Tensor = token) -> None:
            for _ in range(steps):
                vlm(input_ids=token, past_key_values=cache, use_cache=True)
            cache.crop(-steps)

        step = timed(decode, device, repeats).median / steps
        decodes[f"rows_{count}"] = {
            "tokens_per_s": _figures(count / step),
            "weights_gb_per_s": _figures(stored / step / 1e9),
            "share_of_copy": _figures(stored / step / copied),
        }
    return {
        "prefill": {
            "tokens": length,
            "tokens_per_s": _figures(length / prefill),
            "tflop_per_s": _figures(2 * parameters * length / prefill / 1e12),
            "share_of_matmul": _figures(2 * parameters * length / prefill / flops),
        },
        "decode": decodes,
        "limits": {"matmul_tflop_per_s": _figures(flops / 1e12), "copy_gb_per_s": _figures(copied / 1e9)},
    }


def _language_weights(vlm: Any) -> list[Tensor]:
    """What every token passes through: the language model's layers and its head, not the table of embeddings."""
    table = vlm.get_input_embeddings().weight
    head: nn.Module = vlm.get_output_embeddings()
    inner = [*vlm.get_decoder().parameters(), *head.parameters()]
    return [one for one in inner if one is not table]


def _matmul_flops(dtype: torch.dtype, device: torch.device, repeats: int) -> float:
    side = 8192 if device.type == "cuda" else 1024
    one = torch.randn(side, side, device=device).to(dtype)
    return 2 * side**3 / min(timed(lambda: one @ one, device, 3 * repeats).seconds)


def _copied_bytes(device: torch.device, repeats: int) -> float:
    """Bytes a second, those read and those written."""
    one = torch.zeros(2**30 if device.type == "cuda" else 2**26, dtype=torch.uint8, device=device)
    other = torch.empty_like(one)
    return 2 * one.nbytes / min(timed(lambda: other.copy_(one), device, 3 * repeats).seconds)


def timed(task: Callable[[], object], device: torch.device, repeats: int) -> Timing:
    """Seconds of each of some turns after one that is not counted, each until the device is done."""
    seconds = []
    for turn in range(-1, repeats):
        _wait(device)
        started = time.perf_counter()
        task()
        _wait(device)
        if turn >= 0:
            seconds.append(time.perf_counter() - started)
    return Timing(tuple(seconds))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _figures(value: float) -> float:
    return float(f"{value:.4g}")
