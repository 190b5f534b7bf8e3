"""Depth aligned to a frozen RGB tower: InfoNCE on pooled trunk features, with masked log-depth reconstruction.

What is contrasted is a projection of the trunk and what is kept is the trunk. The contrast alone takes from it what RGB
does not predict, metric scale first (fusion-methods 4.1 P1); the reconstruction, read from the same trunk, keeps it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sdvlm.fusion.encoder import DepthEncoder
from sdvlm.pretrain.cells import Projection, pool_cells, split_pictures
from sdvlm.pretrain.complete import DepthCompletion
from sdvlm.pretrain.config import PretrainConfig
from sdvlm.pretrain.evaluate import Features
from sdvlm.pretrain.gather import gathered
from sdvlm.pretrain.grad_cache import Encoded, cached_backward
from sdvlm.pretrain.info_nce import Temperature, info_nce
from sdvlm.pretrain.patch_contrast import patch_contrast
from sdvlm.pretrain.pictures import Chunk
from sdvlm.pretrain.teacher import Teacher
from sdvlm.pretrain.tower_body import TowerBody
from sdvlm.types import SdvlmError

__all__ = ["Alignment"]


class Alignment:
    """The objectives ``default`` and ``infonce`` (a ``TrainedObjective``).

    Args:
        encoder: trained.
        teacher: the frozen RGB tower.
        config: settings.
        moments: mean and deviation of the teacher's pooled features, each (cells, Dv); None: cells are layer-normed.
        device: where all of it runs.
    """

    def __init__(
        self,
        encoder: DepthEncoder,
        teacher: Teacher,
        config: PretrainConfig,
        moments: tuple[Tensor, Tensor] | None = None,
        device: str = "cpu",
    ) -> None:
        self.config, self.teacher, self.device = config, teacher, device
        self.depth_encoder = encoder.to(device)
        width, cells = encoder.hidden_size, config.pool**2
        self.depth_head = Projection(cells, width, config.embedding, hidden=config.head_width).to(device)
        self.rgb_head = Projection(cells, width, config.embedding).to(device)
        if moments is not None:
            self.rgb_head.standardise_by(*(one.to(device) for one in moments))
        self.temperature = Temperature(config.temperature, config.learn_temperature).to(device)
        self.parts: dict[str, nn.Module] = {
            "encoder": self.depth_encoder,
            "depth_head": self.depth_head,
            "rgb_head": self.rgb_head,
            "temperature": self.temperature,
        }
        self.patch_heads: nn.ModuleDict | None = None
        if config.contrasts_patches:
            heads = {name: nn.Linear(width, config.embedding) for name in ("depth", "rgb")}
            self.patch_heads = nn.ModuleDict(heads).to(device)
            self.parts["patch_heads"] = self.patch_heads
            self.body = TowerBody(encoder.tower, encoder.channels.count, encoder.layer)
        self.reconstruction: DepthCompletion | None = None
        if config.reconstructs:
            self.reconstruction = DepthCompletion(encoder, config).to(device)
            self.parts["reconstruction"] = self.reconstruction

    @property
    def new_parts(self) -> Sequence[nn.Module]:
        """All but the tower."""
        return [part for name, part in self.parts.items() if name != "encoder"]

    @property
    def cloned_parts(self) -> Sequence[nn.Module]:
        """The tower."""
        return [self.depth_encoder]

    @property
    def undecayed_parts(self) -> Sequence[nn.Module]:
        """The temperature."""
        return [self.temperature]

    def backward(self, chunks: Sequence[Chunk], progress: float) -> dict[str, float]:
        """As ``TrainedObjective`` says; also ``accuracy``: of the batch, the mean of both directions."""
        del progress
        config = self.config
        scenes = torch.cat([chunk.scenes for chunk in chunks])
        told: dict[str, float] = {}
        own: dict[str, float] = {}
        total = sum(len(chunk) for chunk in chunks)

        def joint(depth: Tensor, rgb: Tensor) -> Tensor:
            way = "keep" if config.false_negatives == "keep" else "mask"
            found = info_nce(depth, rgb, self.temperature(), scenes, way, gathered)
            told["contrast"] = float(found.loss.detach())
            told["accuracy"] = float(found.depth_to_rgb + found.rgb_to_depth) / 2
            return config.contrast_weight * found.loss

        def encode(chunk: Chunk) -> Encoded:
            trunk = self._trunk(chunk)
            depth = self.depth_head(pool_cells(trunk, chunk.grids, config.pool))
            rgb = self.rgb_head(self.teacher.pooled(chunk))

            def own_loss() -> Tensor:
                losses = self._own_losses(chunk, trunk)
                for name, (_, loss) in losses.items():
                    own[name] = own.get(name, 0.0) + float(loss.detach()) * len(chunk) / total
                return torch.stack([weight * loss for weight, loss in losses.values()]).sum()

            alone = own_loss if self.patch_heads is not None or self.reconstruction is not None else None
            return Encoded((depth, rgb), alone)

        cached_backward(encode, chunks, joint)
        scale = {"temperature": self.temperature.temperature} if config.learn_temperature else {}
        return told | own | scale

    def after_step(self) -> None:
        """Keep the logit scale at 100 or less."""
        self.temperature.clamp_()

    @torch.no_grad()
    def encode(self, chunk: Chunk) -> Features:
        """As ``TrainedObjective`` says."""
        trunk = self._trunk(chunk.to(self.device))
        return Features(trunk, self.depth_head(pool_cells(trunk, chunk.grids, self.config.pool)))

    @torch.no_grad()
    def embed_rgb(self, chunk: Chunk) -> Tensor:
        """As ``TrainedObjective`` says."""
        out: Tensor = self.rgb_head(self.teacher.pooled(chunk))
        return out

    def encoder(self) -> DepthEncoder:
        """As ``TrainedObjective`` says."""
        return self.depth_encoder

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.split(":")[0], torch.bfloat16, enabled=self.config.dtype == "bfloat16")

    def _trunk(self, chunk: Chunk) -> list[Tensor]:
        """(N_i, D) float32 patch features of each picture."""
        return self._features(chunk.depth, chunk.grids)

    def _features(self, inputs: dict[str, Tensor], grids: Sequence[tuple[int, int]]) -> list[Tensor]:
        with self._autocast():
            features = self.depth_encoder(**inputs)
        return split_pictures(features.float(), grids)

    def _own_losses(self, chunk: Chunk, trunk: Sequence[Tensor]) -> dict[str, tuple[float, Tensor]]:
        """Weight and value of what a chunk loses by itself."""
        losses: dict[str, tuple[float, Tensor]] = {}
        if self.patch_heads is not None:
            losses["patch_contrast"] = (self.config.contrasts_patches, self._patch_loss(chunk))
        if self.reconstruction is not None:
            losses |= self.reconstruction(self._features, chunk, trunk)
        return losses

    def _patch_loss(self, chunk: Chunk) -> Tensor:
        """Patch contrast of each picture, averaged. Depth patches do not know their place: it would be the answer."""
        assert self.patch_heads is not None
        if len(set(chunk.grids)) > 1:
            raise SdvlmError(
                "the patch contrast needs pictures of one size; give the image processor one, or set it to 0"
            )
        rgb = torch.stack(list(chunk.patches if chunk.patches is not None else self.teacher.patches(chunk))).float()
        centred = rgb - rgb.mean(dim=(0, 1))
        known = torch.stack([one.isfinite().float() for one in chunk.metres])
        valid = nn.functional.adaptive_avg_pool2d(known[:, None], chunk.grids[0]).flatten(1)
        with self.body.without_places():
            trunk = self._features(chunk.depth, chunk.grids)
        depth = self.patch_heads["depth"](torch.stack(trunk))
        found = patch_contrast(depth, self.patch_heads["rgb"](centred), valid, self.temperature(), teacher=centred)
        return found.loss
