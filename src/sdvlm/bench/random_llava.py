"""A LLaVA of any size with random weights, its processor and a picture: something to time."""

from __future__ import annotations

import numpy as np
import torch

from sdvlm.fusion.config import FusionConfig
from sdvlm.models.processor import DepthProcessor
from sdvlm.models.wrapper import DepthVLM
from sdvlm.nano.config import NanoConfig, build_processor, build_vlm
from sdvlm.nano.tokenizer import train_tokenizer
from sdvlm.types import Camera, DepthMap, RgbdFrame

__all__ = ["bench_frame", "bench_questions", "random_llava"]

_THINGS = ("chair", "table", "lamp", "bed", "shelf", "plant", "window", "door")
_COLOURS = ("red", "blue", "green", "white", "black", "brown")


def bench_questions(count: int) -> list[str]:
    """Different questions of the usual length (8 to 14 words)."""
    forms = (
        "How far is the {} {} from the camera, in metres?",
        "What is the height of the {} {} in this picture?",
        "Is the {} {} nearer to the camera than the white wall behind it?",
    )
    return [
        forms[i % 3].format(_COLOURS[i % len(_COLOURS)], _THINGS[(i // len(_COLOURS)) % len(_THINGS)])
        for i in range(count)
    ]


def random_llava(
    hidden: int, layers: int, fusion: FusionConfig | str | None = "gated"
) -> tuple[DepthVLM, DepthProcessor]:
    """A LLaVA with 576 image tokens and random float32 weights, and its processor.

    The tower is two narrow layers, so that what is timed is the language model.

    Args:
        hidden: width of the language model, a multiple of 64.
        layers: of the language model.
        fusion: as ``DepthVLM.from_vlm`` takes it.
    """
    torch.manual_seed(0)
    config = NanoConfig(
        image_size=336,
        patch_size=14,
        vision_width=4 * hidden // 16,
        vision_layers=2,
        text_width=hidden,
        text_layers=layers,
        text_mlp=11 * hidden // 4,
        heads=hidden // 64,
        max_positions=2048,
    )
    tokenizer = train_tokenizer(bench_questions(100))
    model = DepthVLM.from_vlm(build_vlm(config, tokenizer), fusion)
    model.train(False)
    return model, DepthProcessor.for_model(model, build_processor(config, tokenizer))


def bench_frame(rng: np.random.Generator, width: int = 640, height: int = 480) -> RgbdFrame:
    """A picture of noise over a slanted plane two to six metres away, with a tenth of the depth missing."""
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    depth = 2.0 + 2.0 * np.add.outer(np.linspace(0, 1, height), np.linspace(0, 1, width))
    depth[rng.random(depth.shape) < 0.1] = np.nan
    return RgbdFrame(image, DepthMap(depth.astype(np.float32)), Camera.from_fov(width, height, 65.0), name="bench")
