"""What the tests of videos share: tiny models that take them, frames, depth of frames, and their tokens."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from tests.models.zoo import ZOO
from transformers.utils.import_utils import is_torchvision_available

from sdvlm.models import seam
from sdvlm.models.families import family_of
from sdvlm.models.families.video import VIDEO
from sdvlm.models.processor import DepthProcessor
from sdvlm.models.wrapper import DepthVLM
from sdvlm.types import DepthMap

__all__ = ["FILMED", "FRAMES", "SIZE", "Filmed", "asking", "depth_maps", "frames", "needs_torchvision"]

SIZE, FRAMES = (100, 75), 5
needs_torchvision = pytest.mark.skipif(
    not is_torchvision_available(), reason="video needs torchvision: make test-torchvision"
)
FILMED = [pytest.param(name, marks=needs_torchvision) for name in VIDEO]
"""every family that takes videos"""


class Filmed:
    """A family's tiny model with a fusion, and a chat template that writes videos."""

    def __init__(self, name: str, fusion: Any = "dpe") -> None:
        self.name, self.tiny, self.facts = name, ZOO[name](), VIDEO[name]
        processor = self.tiny.processor
        wrap = ("<|begin_of_video|>", "<|end_of_video|>") if name == "glm4v" else ("", "")
        mark = wrap[0] + processor.video_token + wrap[1]
        either = f"if c.type == 'image' else ' {mark}' if c.type == 'video' else"
        processor.chat_template = processor.chat_template.replace("if c.type == 'image' else", either)
        self.model = DepthVLM.from_vlm(copy.deepcopy(self.tiny.model), fusion).eval()
        self.processor = DepthProcessor.for_model(self.model, processor)

    def batch(self, video: Any, depth: Any = None, **settings: Any) -> Any:
        return self.processor(asking("video"), videos=[video], video_depth=[depth], **settings)

    def tokens(self, batch: Any) -> torch.Tensor:
        """(V, D) fused tokens of what enters with the videos; the model's own where the batch has no depth."""
        names = ("depth_grid", "depth_grid_videos")
        inputs = {name: value for name, value in batch.items() if name not in names}
        depth = seam.DepthInputs(batch.get("depth_grid"), videos=batch.get("depth_grid_videos"))
        with torch.no_grad():
            settings = self.model.config.fusion_settings
            made = seam.fused_inputs(self.model.vlm, self.model.fusion, settings, inputs, depth)
        encoded = made["mm_encoder_outputs"]["image" if self.facts.as_pictures else "video"]
        rows = encoded[family_of(self.tiny.model.config).tokens]
        return torch.cat([row.reshape(-1, row.shape[-1]) for row in rows])


def asking(*kinds: str, question: str = "Table?") -> list[dict[str, Any]]:
    content = [*({"type": kind} for kind in kinds), {"type": "text", "text": question}]
    return [{"role": "user", "content": content}]


def frames(count: int = FRAMES, size: tuple[int, int] = SIZE, seed: int = 0) -> np.ndarray:
    """(F, H, W, 3)"""
    noise = np.random.default_rng(seed).integers(0, 256, (count, size[1], size[0], 3), dtype=np.uint8)
    return noise // 4 + 96


def depth_maps(which: list[int], count: int = FRAMES, size: tuple[int, int] = SIZE) -> list[DepthMap | None]:
    """Depth of the frames ``which``."""
    rng = np.random.default_rng(1)
    maps = [DepthMap(rng.uniform(0.5, 6.0, (size[1], size[0]))) for _ in range(count)]
    return [one if index in which else None for index, one in enumerate(maps)]
