"""What fusing depth costs, against the prefill it is part of."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from sdvlm.bench.random_llava import bench_frame, bench_questions, random_llava
from sdvlm.bench.timing import alternate, ratio
from sdvlm.fusion.build import build_fusion
from sdvlm.fusion.config import POOLED, FusionConfig
from sdvlm.fusion.depth_grid import DepthGrid
from sdvlm.fusion.pool import pool_depth

__all__ = ["bench_dpe"]

LIMIT = 0.01
"""code and pooling may cost this share of the prefill"""


@torch.inference_mode()
def bench_dpe(hidden: int = 1024, layers: int = 12, repeats: int = 7) -> dict[str, Any]:
    """Time the prefill of 576 image tokens and a question, and every fusion of pooled depth on its tokens, in turns.

    The prefill is the language model alone (image features given), so that no tower flatters the ratio. ``share`` is
    the released encoding (``sdvlm``), ``pooled_share`` the same with pooling a 640 x 480 depth map over the tokens,
    which happens once a picture and may be done by a data loader.

    Args:
        hidden: width of the language model.
        layers: of the language model; with more of them the share falls.
        repeats: timed turns.
    """
    model, processor = random_llava(hidden, layers)
    frame = bench_frame(np.random.default_rng(0))
    batch, _ = processor.encode_questions(frame, bench_questions(1))
    text = {key: batch[key] for key in ("input_ids", "attention_mask")}
    features = model.vlm.base_model.get_image_features(batch["pixel_values"], return_dict=True)
    tokens = torch.cat(list(features.pooler_output))
    boxes = processor.grid.boxes(frame.size)
    grid = DepthGrid.unpack(batch["depth_grid"], torch.zeros(len(tokens), dtype=torch.long))
    configs = {name: FusionConfig.preset(name) for name in (*sorted(POOLED), "sdvlm")}
    modules = {name: build_fusion(config, hidden) for name, config in configs.items()}

    def fuse(name: str) -> Any:
        return lambda: modules[name](tokens, grid)

    times = alternate(
        {"prefill": lambda: model.vlm(**text, mm_encoder_outputs={"image": features}, logits_to_keep=1)}
        | {name: fuse(name) for name in modules}
        | {"pool": lambda: pool_depth(frame.depth, boxes, frame.size, frame.camera)},
        repeats,
        often=dict.fromkeys((*modules, "pool"), 10),
    )
    shares = {name: ratio(times[name], times["prefill"]) for name in (*modules, "pool")}
    share = shares["sdvlm"]["median"]
    return {
        "share": share,
        "pooled_share": float(f"{share + shares['pool']['median']:.4g}"),
        "below_limit": share + shares["pool"]["median"] < LIMIT,
        "limit": LIMIT,
        "shares_of_prefill": shares,
        "times": {name: timing.to_dict() for name, timing in times.items()},
        "added_tokens": 0,
        "parameters": {name: sum(p.numel() for p in module.parameters()) for name, module in modules.items()},
        "model": {"hidden_size": hidden, "layers": layers, "tokens": int(text["input_ids"].shape[1])},
    }
