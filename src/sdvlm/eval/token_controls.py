"""Controls that look at tokens and logits rather than at answers: T0 identity and T6 locality."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sdvlm.eval.controls import ControlResult
from sdvlm.fusion.pool import pool_depth
from sdvlm.types import Camera, DepthMap, SdvlmError

__all__ = ["identity", "locality"]

MOVED = 1e-4
"""a token whose entries (of unit variance) all change by less has not moved but been rounded"""


@torch.no_grad()
def identity(
    model: Any,
    inputs: Mapping[str, Tensor],
    with_depth: Mapping[str, Tensor],
    tolerance: float = 1e-6,
    new_tokens: int = 8,
) -> ControlResult:
    """T0: a fresh fusion given depth leaves logits and greedy output those of the model inside.

    Fusions without parameters, and those that put tokens of their own into the sequence, are exempt and say so.

    Args:
        model: a ``DepthVLM`` fresh from ``from_vlm``, in float32.
        inputs: of the model inside: input_ids, attention_mask, pixel_values, ...
        with_depth: inputs of ``model`` for the same pictures and questions with depth.
        tolerance: largest difference of a logit.
        new_tokens: length of the greedy output.
    """
    name = "T0 identity"
    grid = with_depth.get("depth_grid")
    if grid is not None and torch.isnan(grid[:, 0]).all():
        raise SdvlmError("the identity control needs a depth grid with depth in it; all of its tokens are without")
    given, bare = model(**with_depth).logits, model.vlm(**inputs).logits
    longer = given.shape[1] - bare.shape[1]
    gap = (given[:, -1] - bare[:, -1]).abs().max().item() if longer else (given - bare).abs().max().item()
    if longer:
        why = f"exempt: depth has {longer} tokens of its own, there from the first step; logits move by {gap:.2g}"
        return ControlResult(name, gap, tolerance, None, why)
    decoding = {"max_new_tokens": new_tokens, "do_sample": False}
    fused = model.generate(**with_depth, **decoding)
    same = torch.equal(fused, model.vlm.generate(**inputs, **decoding))
    if not any(True for _ in model.fusion.parameters()):
        why = f"exempt: a fusion without parameters adds its code from the first step; logits move by {gap:.2g}"
        return ControlResult(name, gap, tolerance, None, why)
    output = "equal" if same else "different"
    why = f"logits differ by at most {gap:.2g} (wanted {tolerance:.0e} or less), greedy output is {output}"
    return ControlResult(name, gap, tolerance, gap <= tolerance and same, why)


@torch.no_grad()
def locality(
    fusion: nn.Module,
    hidden_size: int,
    boxes_xyxy: NDArray[np.float64],
    image_size: tuple[int, int],
    rng: np.random.Generator,
    bumps: int = 8,
) -> ControlResult:
    """T6: a bump in the depth map moves tokens whose box covers it, and no others.

    Args:
        fusion: of any state; noise is added to a copy's parameters, as a fresh one moves nothing.
        hidden_size: D of the tokens.
        boxes_xyxy: (N, 4) token boxes in pixels of the picture (``models.grid.token_boxes``).
        image_size: (width, height); take odd and non-square ones.
        rng: of tokens, noise and places.
        bumps: how many places to try, in the middle of the picture: the map rises from its top left to its bottom
            right corner, so that a bump never changes the range that min-max codes are taken over.
    """
    awake = copy.deepcopy(fusion).float()
    for parameter in awake.parameters():
        parameter.add_(torch.from_numpy(rng.normal(0, 0.1, tuple(parameter.shape))).float())
    width, height = image_size
    tokens = torch.from_numpy(rng.normal(size=(len(boxes_xyxy), hidden_size))).float()
    camera = Camera.from_fov(width, height, 70.0)
    smooth = 2.0 + 2.0 * np.add.outer(np.linspace(0, 1, height), np.linspace(0, 1, width))  # 2 to 6 metres

    def fused(values: NDArray[np.float64]) -> Tensor:
        moved: Tensor = awake(tokens, pool_depth(DepthMap(values.astype(np.float32)), boxes_xyxy, image_size, camera))
        return moved

    before, wrong, silent = fused(smooth), 0, 0
    left, top, right, bottom = boxes_xyxy.T
    wide, high = max(2, width // 16), max(2, height // 16)
    for _ in range(bumps):
        x, y = (int(rng.integers(length // 4, max(length // 4 + 1, 11 * length // 16))) for length in image_size)
        bumped = smooth.copy()
        bumped[y : y + high, x : x + wide] *= 1.05
        covers = (left < x + wide) & (right > x) & (top < y + high) & (bottom > y)
        moved = ((fused(bumped) - before).abs().amax(dim=-1) > MOVED).numpy()
        wrong += int((moved & ~covers).sum())
        silent += int(covers.any() and not (moved & covers).any())
    why = f"{wrong} tokens moved that do not cover the bump (0 wanted), {silent} of {bumps} bumps moved none"
    return ControlResult("T6 locality", float(wrong), 0.0, wrong == 0 and silent == 0, why)
