"""CoMAE: one vision tower for RGB and depth, contrast of patches first, masked reconstruction of both after.

Hybrid pre-training of Yang et al., AAAI 2023 (arXiv 2302.06148). Each modality has its own patch projection, the blocks
are shared. Against a frozen RGB teacher a depth tower learns what RGB says; here nothing is frozen, and the second
stage asks each modality for both, depth in metres among them.

Notation: B pictures of H x W pixels, N patches of p x p row by row, D width of the tower.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sdvlm.fusion.encoder import DepthEncoder
from sdvlm.fusion.inflate import patch_embedding
from sdvlm.fusion.sinusoid import sinusoid
from sdvlm.pretrain.info_nce import Temperature
from sdvlm.pretrain.masks import random_masks
from sdvlm.pretrain.patch_contrast import PatchContrast, patch_contrast
from sdvlm.pretrain.reconstruction import DepthDecoder, log_metres, reconstruct
from sdvlm.pretrain.tower_body import TowerBody
from sdvlm.types import SdvlmError

__all__ = ["MODALITIES", "CoMAE", "Completion", "PairDecoder"]

MODALITIES = ("rgb", "depth")


@dataclass(frozen=True, eq=False)
class Completion:
    """What masked reconstruction said.

    Args:
        loss: () sum of both.
        rgb: () squared error of hidden RGB patches, each normalised by its own mean and deviation; 1 is no better than
            the patch's mean.
        depth: () loss of ``reconstruction.reconstruct``.
        depth_error: () mean |log prediction - log truth| of known hidden depth pixels, without gradient.
    """

    loss: Tensor
    rgb: Tensor
    depth: Tensor
    depth_error: Tensor


class PairDecoder(nn.Module):
    """Visible tokens of both modalities to the pixels of all patches of both, by a small transformer over all of them.

    The paper's is 512 wide with 8 blocks of 16 heads.

    Args:
        width: D.
        grid: (rows, columns) of patches.
        patch: p, pixels.
        inner: width of the decoder, a multiple of 4.
        blocks: of the decoder.
        heads: of its attention.

    Raises:
        SdvlmError: a width that is not a multiple of 4.
    """

    places: Tensor

    def __init__(self, width: int, grid: tuple[int, int], patch: int, inner: int, blocks: int, heads: int) -> None:
        super().__init__()
        if inner % 4:
            raise SdvlmError(f"the width of the decoder must be a multiple of 4; got {inner}")
        self.narrow = nn.Linear(width, inner)
        self.hidden = nn.Parameter(torch.randn(2, inner) * 0.02)
        self.modality = nn.Parameter(torch.randn(2, inner) * 0.02)
        row, column = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
        code = [sinusoid(one.flatten().float(), inner // 2) for one in (row, column)]
        self.register_buffer("places", torch.cat(code, dim=1), persistent=False)
        block = nn.TransformerEncoderLayer(
            inner, heads, 4 * inner, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(block, blocks, norm=nn.LayerNorm(inner), enable_nested_tensor=False)
        self.rgb = nn.Linear(inner, 3 * patch * patch)
        self.depth = DepthDecoder(inner, patch)

    def forward(self, visible: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, 3 p p) RGB and (B, N, p p) log metres of every patch.

        Args:
            visible: (B, M, D) encoded visible patches: those of RGB in order, then those of depth.
            masks: (2, B, N) bool, the hidden patches of each modality.
        """
        pictures, patches = masks.shape[1:]
        shown = ~masks.transpose(0, 1).reshape(pictures, 2 * patches)  # (B, 2N)
        hidden = self.hidden.repeat_interleave(patches, 0).expand(pictures, -1, -1)
        narrow = self.narrow(visible)
        tokens = hidden.to(narrow.dtype).masked_scatter(shown[..., None], narrow)
        tokens = tokens + self.places.repeat(2, 1) + self.modality.repeat_interleave(patches, 0)
        out = self.blocks(tokens)
        return self.rgb(out[:, :patches]), self.depth(out[:, patches:])


class CoMAE(nn.Module):
    """One tower for both modalities: the depth encoder's own, which reads RGB through a patch projection of its own.

    Train it by :meth:`contrast` for the first part of the steps and by :meth:`reconstruct` after; ``encoder`` is what
    is kept. Start from ``DepthEncoder.from_rgb`` of a trained tower, or of a random one for training from scratch.

    Args:
        encoder: trained in place.
        rgb_tower: the tower it was made from; its patch embedding is copied.
        embedding: width of the space patches are contrasted in.
        mask_ratio: share of the patches of each modality that is hidden in :meth:`reconstruct`.
        modality_dropout: share of batches encoded from one modality alone, half of them from each. The paper has 0
            here and 0.5 when it fine-tunes; a tower that will read depth without RGB must have seen it alone.
        decoder_width: of ``PairDecoder``.
        decoder_blocks: of it.
        decoder_heads: of it.

    Raises:
        SdvlmError: a tower whose blocks cannot run on chosen patches.
    """

    def __init__(
        self,
        encoder: DepthEncoder,
        rgb_tower: nn.Module,
        embedding: int = 256,
        mask_ratio: float = 0.75,
        modality_dropout: float = 0.5,
        decoder_width: int = 256,
        decoder_blocks: int = 2,
        decoder_heads: int = 8,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.rgb_projection = copy.deepcopy(rgb_tower.get_submodule(patch_embedding(rgb_tower))).requires_grad_(True)
        self.body = TowerBody(encoder.tower, encoder.channels.count, encoder.layer)
        width = encoder.hidden_size
        self.heads = nn.ModuleDict({name: nn.Linear(width, embedding) for name in MODALITIES})
        self.temperature = Temperature(0.07, learned=True)
        self.decoder = PairDecoder(width, self.body.grid, self.body.patch, decoder_width, decoder_blocks, decoder_heads)
        self.mask_ratio, self.modality_dropout = mask_ratio, modality_dropout

    def features(self, pixels: Tensor, modality: str, places: bool = True) -> Tensor:
        """(B, N, D) features of one modality alone; those of depth are what the encoder puts out.

        Args:
            pixels: (B, C, H, W) as the towers read them.
            modality: "rgb" or "depth".
            places: whether patches carry where they are.
        """
        prefix, where = self.body.places()
        tokens = self._patches(pixels, modality)
        tokens = tokens + where if places else tokens
        out = self.body.run(torch.cat([prefix.expand(len(tokens), -1, -1), tokens], dim=1))
        return out[:, prefix.shape[1] :]

    def contrast(
        self, rgb: Tensor, depth: Tensor, metres: Tensor, places: bool = False, same: float = 1.0
    ) -> PatchContrast:
        """Stage 1: which depth patch of a picture belongs to which RGB patch.

        Args:
            rgb: (B, 3, H, W) processed pixels.
            depth: (B, C, H, W) depth planes.
            metres: (B, H, W) depth, not finite or not positive where unknown.
            places: True lets patches carry where they are, which is then the answer: for tests of that leak.
            same: see ``patch_contrast``; 1, as in the paper, ignores no negative. Features of an untrained tower are
                all alike, so a smaller value would ignore them all.
        """
        a, b = (
            self.heads[name](self.features(x, name, places)) for name, x in zip(MODALITIES, (rgb, depth), strict=True)
        )
        _, known = log_metres(metres)
        valid = F.avg_pool2d(known[:, None].float(), self.body.patch).flatten(1)
        return patch_contrast(b, a, valid, self.temperature(), same)

    def reconstruct(
        self, rgb: Tensor, depth: Tensor, metres: Tensor, generator: torch.Generator | None = None
    ) -> Completion:
        """Stage 2: both modalities from a quarter of the patches of each, or of one alone.

        Args:
            rgb: (B, 3, H, W) processed pixels.
            depth: (B, C, H, W) depth planes.
            metres: (B, H, W) metric depth, the target; not finite or not positive where unknown.
            generator: of the CPU, for masks; None: torch's own.
        """
        masks = self._masks(len(rgb), generator).to(rgb.device)  # (2, B, N)
        prefix, where = self.body.places()
        tokens = [self._patches(x, name) + where for name, x in zip(MODALITIES, (rgb, depth), strict=True)]
        seen = [one[~mask].reshape(len(rgb), -1, one.shape[2]) for one, mask in zip(tokens, masks, strict=True)]
        encoded = self.body.run(torch.cat([prefix.expand(len(rgb), -1, -1), *seen], dim=1))[:, prefix.shape[1] :]
        said_rgb, said_depth = self.decoder(encoded, masks)
        target = self.rgb_target(rgb)
        error = (said_rgb.float() - target).square().mean(dim=2)  # (B, N)
        rgb_loss = (error * masks[0]).sum() / masks[0].sum().clamp(min=1)
        found = reconstruct(said_depth, metres, masks[1], self.body.grid)
        return Completion(rgb_loss + found.loss, rgb_loss, found.loss, found.error)

    def rgb_target(self, rgb: Tensor) -> Tensor:
        """(B, N, 3 p p) pixels of each patch, channel by channel, by the patch's own mean and deviation."""
        patches = F.unfold(rgb.float(), self.body.patch, stride=self.body.patch).transpose(1, 2)
        centred = patches - patches.mean(dim=2, keepdim=True)
        return centred / (centred.square().mean(dim=2, keepdim=True) + 1e-6).sqrt()

    def to_depth_encoder(self) -> DepthEncoder:
        """The depth encoder with the weights of now; the same object."""
        return self.encoder

    def _patches(self, pixels: Tensor, modality: str) -> Tensor:
        return self.body.patches(pixels, self.rgb_projection if modality == "rgb" else None)

    def _masks(self, pictures: int, generator: torch.Generator | None) -> Tensor:
        """(2, B, N) bool: what is hidden of each modality."""
        masks = [torch.stack(random_masks([self.body.grid] * pictures, self.mask_ratio, generator)) for _ in MODALITIES]
        draw = float(torch.rand((), generator=generator))
        if draw < self.modality_dropout:
            masks[int(draw < self.modality_dropout / 2)].fill_(True)
        return torch.stack(masks)
