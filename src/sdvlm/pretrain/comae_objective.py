"""CoMAE's two stages as an objective of the loop: patch contrast first, masked reconstruction of both modalities after.

Nothing is frozen and no teacher is asked: RGB pictures are read anew each time, through the tower that is trained.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sdvlm.fusion.encoder import DepthEncoder
from sdvlm.pretrain.cells import pool_cells, split_pictures
from sdvlm.pretrain.comae import CoMAE
from sdvlm.pretrain.config import PretrainConfig
from sdvlm.pretrain.evaluate import Features
from sdvlm.pretrain.pictures import Chunk

__all__ = ["CoMAEObjective"]


class CoMAEObjective:
    """The objective ``comae`` (a ``TrainedObjective``).

    Args:
        encoder: trained; reads RGB too, through a patch projection of its own.
        rgb_tower: the tower it was made from.
        config: settings.
        device: where all of it runs.

    Raises:
        SdvlmError: a tower whose blocks cannot run on chosen patches.
    """

    def __init__(self, encoder: DepthEncoder, rgb_tower: nn.Module, config: PretrainConfig, device: str) -> None:
        self.config, self.device = config, device
        self.model = CoMAE(encoder, rgb_tower, config.embedding, config.mask_ratio).to(device)
        self.parts = {"comae": self.model}

    @property
    def new_parts(self) -> Sequence[nn.Module]:
        """Heads, temperature and decoder."""
        return [self.model.heads, self.model.temperature, self.model.decoder]

    @property
    def cloned_parts(self) -> Sequence[nn.Module]:
        """The tower and its RGB patch projection."""
        return [self.model.encoder, self.model.rgb_projection]

    @property
    def undecayed_parts(self) -> Sequence[nn.Module]:
        """The temperature."""
        return [self.model.temperature]

    def backward(self, chunks: Sequence[Chunk], progress: float) -> dict[str, float]:
        """As ``TrainedObjective`` says: the contrast for the first ``config.curriculum`` of the run, then the rest."""
        total = sum(len(chunk) for chunk in chunks)
        told: dict[str, float] = {}
        for chunk in chunks:
            assert chunk.rgb is not None
            inputs = chunk.rgb["pixel_values"], chunk.depth["pixel_values"], torch.stack(list(chunk.metres))
            with self._autocast():
                if progress < self.config.curriculum:
                    contrast = self.model.contrast(*inputs)
                    loss, said = contrast.loss, {"patch_contrast": contrast.loss, "accuracy": contrast.accuracy}
                else:
                    both = self.model.reconstruct(*inputs)
                    loss, said = both.loss, {"rgb": both.rgb, "depth": both.depth}
            share = len(chunk) / total
            (loss * share).backward()
            for name, value in said.items():
                told[name] = told.get(name, 0.0) + value.item() * share
        return told

    def after_step(self) -> None:
        """Keep the logit scale at 100 or less."""
        self.model.temperature.clamp_()

    @torch.no_grad()
    def encode(self, chunk: Chunk) -> Features:
        """As ``TrainedObjective`` says; the embedding is that of the patch contrast, averaged over cells."""
        moved = chunk.to(self.device)
        with self._autocast():
            features = self.model.encoder(**moved.depth)
        trunk = split_pictures(features.float(), chunk.grids)
        return Features(trunk, self._embedded(trunk, chunk, "depth"))

    @torch.no_grad()
    def embed_rgb(self, chunk: Chunk) -> Tensor:
        """As ``TrainedObjective`` says."""
        rgb = chunk.to(self.device).rgb
        assert rgb is not None
        with self._autocast():
            features = self.model.features(rgb["pixel_values"], "rgb")
        return self._embedded(list(features.float()), chunk, "rgb")

    def encoder(self) -> DepthEncoder:
        """As ``TrainedObjective`` says."""
        return self.model.to_depth_encoder()

    def _embedded(self, features: Sequence[Tensor], chunk: Chunk, modality: str) -> Tensor:
        projected: Tensor = self.model.heads[modality](pool_cells(features, chunk.grids, self.config.pool))
        return projected.flatten(1)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.split(":")[0], torch.bfloat16, enabled=self.config.dtype == "bfloat16")
