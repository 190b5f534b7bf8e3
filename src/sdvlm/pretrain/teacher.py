"""The frozen RGB tower that depth is aligned to, and its features of all pairs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sdvlm.fusion.encoder import rgb_patch_features
from sdvlm.fusion.rgb_tower import RgbTower
from sdvlm.pretrain.cells import pool_cells, split_pictures
from sdvlm.pretrain.evaluate import Features
from sdvlm.pretrain.pictures import Chunk, Samples

__all__ = ["Teacher", "weights_digest"]


def weights_digest(module: nn.Module) -> str:
    """SHA-256 of a module's weights and buffers: names, shapes, dtypes and bytes."""
    digest = hashlib.sha256()
    for name, one in sorted(module.state_dict().items()):
        digest.update(f"{name} {tuple(one.shape)} {one.dtype}\n".encode())
        digest.update(one.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


class Teacher:
    """A frozen tower.

    Args:
        rgb: the RGB tower; its gradients are switched off.
        cells: along each side of the pooled features.
        device: where it runs.
        dtype: "bfloat16" for autocast.
    """

    def __init__(self, rgb: RgbTower, cells: int, device: str = "cpu", dtype: str = "float32") -> None:
        self.tower = rgb.tower
        self.tower.to(device)  # type: ignore[arg-type]
        self.tower.requires_grad_(False)
        self.tower.train(False)
        self.layer = rgb.layer
        self.cells, self.device, self.dtype = cells, device, dtype

    @torch.no_grad()
    def patches(self, chunk: Chunk) -> list[Tensor]:
        """(N_i, D) float32 patch features of each picture of a chunk that carries RGB."""
        assert chunk.rgb is not None
        inputs = {key: one.to(self.device) for key, one in chunk.rgb.items()}
        with torch.autocast(self.device.split(":")[0], torch.bfloat16, enabled=self.dtype == "bfloat16"):
            features = rgb_patch_features(self.tower, **inputs, layer=self.layer)
        return split_pictures(features.float(), chunk.grids)

    def features(self, chunk: Chunk) -> Features:
        """As an encoder's, for the probes: patch features, and their mean for an embedding."""
        each = self.patches(chunk)
        return Features(each, torch.stack([one.mean(dim=0) for one in each]))

    def pooled(self, chunk: Chunk) -> Tensor:
        """(B, cells * cells, D) pooled features: those on disk, or of the pictures the chunk carries."""
        if chunk.pooled is not None:
            return chunk.pooled.to(self.device).float()
        return pool_cells(self.patches(chunk), chunk.grids, self.cells)

    def rows(self, samples: Samples, size: int, patches: bool) -> Callable[[Sequence[int]], NDArray[np.float32]]:
        """What fills a feature cache: positions of ``samples`` to pooled (or, if asked for, patch) features."""

        def compute(positions: Sequence[int]) -> NDArray[np.float32]:
            made = []
            for chunk in samples.chunks(positions, size):
                each = self.patches(chunk)
                made.append(torch.stack(each) if patches else pool_cells(each, chunk.grids, self.cells))
            out: NDArray[np.float32] = torch.cat(made).cpu().numpy()
            return out

        return compute

    def made_from(self, image_processor: Any) -> dict[str, Any]:
        """What its features depend on besides the pictures."""
        return {
            "tower": type(self.tower).__name__,
            "weights": weights_digest(self.tower),
            "layer": self.layer,
            "processor": image_processor.to_json_string(),
            "dtype": self.dtype,
        }
