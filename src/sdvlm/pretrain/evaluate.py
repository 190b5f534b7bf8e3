"""What a depth encoder is worth on pairs of scenes it was not trained on: retrieval, what of metres is left, its rank.

Retrieval is read beside the probes and never alone: contrast against a frozen RGB tower can perfect the one and ruin
the others (fusion-methods 4.1 P1).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from sdvlm.pretrain.batches import epoch_batches
from sdvlm.pretrain.cells import pool_cells
from sdvlm.pretrain.info_nce import scene_numbers
from sdvlm.pretrain.measures import effective_rank, retrieval, ridge_probe
from sdvlm.pretrain.pictures import Chunk, Samples
from sdvlm.types import SdvlmError

__all__ = ["Evaluation", "Features", "depth_targets", "spread"]

_PATCHES = 64
"""patches of a picture that the patch probes see"""
_SCALES = (0.6, 1.7)
"""range of the factor on depth maps in the scale probes"""


@dataclass(frozen=True, eq=False)
class Features:
    """What an encoder makes of a chunk. B pictures.

    Args:
        trunk: (N_i, D) patch features of each picture.
        embedding: (B, E) place in the contrastive space.
    """

    trunk: Sequence[Tensor]
    embedding: Tensor


Encode = Callable[[Chunk], Features]


def spread(scene_ids: Sequence[str], count: int, seed: int) -> list[int]:
    """At most ``count`` positions, over as many scenes as there are, in random order."""
    return epoch_batches(scene_ids, count, seed, 0)[0] if scene_ids else []


def depth_targets(metres: Tensor, grid: tuple[int, int]) -> Tensor:
    """(rows * columns,) mean log metres of each patch's known pixels, NaN where none is.

    Args:
        metres: (H, W) depth, NaN where unknown.
        grid: (rows, columns) of patches, row by row; they cover the map.
    """
    rows, columns = grid
    cut = metres.log().reshape(rows, metres.shape[0] // rows, columns, metres.shape[1] // columns)
    return cut.transpose(1, 2).flatten(2).nanmean(dim=2).flatten()


@dataclass(frozen=True, eq=False)
class _Probed:
    """What one pass over some pictures gives the probes."""

    patches: Tensor
    patch_targets: Tensor
    embeddings: Tensor
    targets: Tensor
    pooled: Tensor


class Evaluation:
    """Evaluates one encoder again and again on the same pairs.

    Args:
        train: pairs the probes are fitted on.
        test: held-out pairs.
        encode: chunk to features of the depth encoder as it is now.
        embed_rgb: chunk to (B, E) embeddings of its RGB pictures.
        eval_pairs: held-out pairs for retrieval, at most.
        probe_pairs: pairs of each split for the probes, at most.
        chunk: pairs encoded at once.
        seed: decides which pairs, which patches and which scales.
    """

    def __init__(
        self,
        train: Samples,
        test: Samples,
        encode: Encode,
        embed_rgb: Callable[[Chunk], Tensor],
        eval_pairs: int,
        probe_pairs: int,
        chunk: int,
        seed: int,
    ) -> None:
        self.encode, self.embed_rgb = encode, embed_rgb
        self.chunk, self.seed = chunk, seed
        self.train, self.test = train, test
        self.retrieved = spread(test.scene_ids, min(eval_pairs, len(test)), seed)
        self.fitted = spread(train.scene_ids, min(probe_pairs, len(train)), seed)
        self.probed = self.retrieved[:probe_pairs]
        if len(self.retrieved) < 2 or len(self.fitted) < 2:
            raise SdvlmError(
                f"evaluating needs 2 pairs of each split; got {len(self.fitted)} and {len(self.retrieved)}"
            )

    def __call__(self) -> dict[str, float]:
        """Figures by name; a probe that cannot be fitted (no metric depth, say) is left out."""
        return self._retrieval() | self.probes(self.encode)

    def probes(self, encode: Encode, with_rgb: bool = False) -> dict[str, float]:
        """R2 of linear probes of log metres, with depth as it is and with each map shrunk or stretched at random.

        Args:
            encode: of any encoder, so that another one can be probed on the same pairs.
            with_rgb: whether it wants the RGB pictures.
        """
        plain, scaled = (self._probes(encode, with_rgb, one) for one in (False, True))
        return {f"{name}_r2": value for name, value in plain.items()} | {
            f"{name}_scale_r2": value for name, value in scaled.items()
        }

    @torch.no_grad()
    def _retrieval(self) -> dict[str, float]:
        depth, rgb, trunk = [], [], []
        for chunk in self.test.chunks(self.retrieved, self.chunk):
            made = self.encode(chunk)
            depth.append(made.embedding.float().cpu())
            rgb.append(self.embed_rgb(chunk).float().cpu())
            trunk.append(pool_cells(made.trunk, chunk.grids, 1)[:, 0].float().cpu())
        scenes = scene_numbers([self.test.scene_ids[one] for one in self.retrieved])
        found = retrieval(torch.cat(depth), torch.cat(rgb), scenes)
        figures = {
            "depth_to_rgb_r1": found.r1,
            "depth_to_rgb_r5": found.r5,
            "rgb_to_depth_r1": found.back_r1,
            "rgb_to_depth_r5": found.back_r5,
            "retrieval_chance": found.chance_r1,
            "retrieval_chance_r5": found.chance_r5,
            "retrieval_pairs": float(found.count),
            "effective_rank_embedding": effective_rank(torch.cat(depth), centre=True),
            "effective_rank_trunk": effective_rank(torch.cat(trunk), centre=True),
        }
        if any(self.test.scene_ids[one] for one in self.retrieved) and found.scene_r1 is not None:
            figures |= {
                "depth_to_rgb_scene_r1": found.scene_r1,
                "rgb_to_depth_scene_r1": found.back_scene_r1 or 0.0,
                "retrieval_scene_chance": found.scene_chance or 0.0,
            }
        return figures

    def _probes(self, encode: Encode, with_rgb: bool, scaled: bool) -> dict[str, float]:
        """Of patches from the trunk, of whole pictures from the embedding and from the mean of the trunk."""
        rng = np.random.default_rng([self.seed, 0xE7])
        sides = []
        for samples, positions in ((self.train, self.fitted), (self.test, self.probed)):
            if scaled:
                factors = np.ones(len(samples))
                factors[positions] = np.exp(rng.uniform(math.log(_SCALES[0]), math.log(_SCALES[1]), len(positions)))
                samples = replace(samples, scales=factors.tolist())
            if with_rgb:
                samples = replace(samples, pooled=None, patches=None)
            sides.append(self._probed(replace(samples, with_rgb=with_rgb), positions, encode))
        fit, test = sides
        figures = {}
        for name, one, other in (
            ("trunk", (fit.patches, fit.patch_targets), (test.patches, test.patch_targets)),
            ("embedding", (fit.embeddings, fit.targets), (test.embeddings, test.targets)),
            ("pooled_trunk", (fit.pooled, fit.targets), (test.pooled, test.targets)),
        ):
            value = _r2(*one, *other)
            if value is not None:
                figures[name] = value
        return figures

    @torch.no_grad()
    def _probed(self, samples: Samples, positions: Sequence[int], encode: Encode) -> _Probed:
        rng = np.random.default_rng([self.seed, 0xA1])
        parts: list[tuple[Tensor, ...]] = []
        for chunk in samples.chunks(positions, self.chunk):
            made = encode(chunk)
            pictures = zip(made.trunk, chunk.metres, chunk.grids, strict=True)
            for number, (trunk, metres, grid) in enumerate(pictures):
                targets = depth_targets(metres, grid)
                some = torch.from_numpy(rng.permutation(len(targets))[:_PATCHES])
                parts.append(
                    (
                        trunk.float().cpu()[some],
                        targets[some],
                        made.embedding[number : number + 1].float().cpu(),
                        targets.nanmean().reshape(1),
                        trunk.float().mean(dim=0, keepdim=True).cpu(),
                    )
                )
        return _Probed(*(torch.cat(each) for each in zip(*parts, strict=True)))


def _r2(features: Tensor, targets: Tensor, test_features: Tensor, test_targets: Tensor) -> float | None:
    """R2 of a probe on the rows whose target is known; None where too few are, or they do not vary."""
    known, test_known = targets.isfinite(), test_targets.isfinite()
    if int(known.sum()) < 2 or int(test_known.sum()) < 2 or not float(test_targets[test_known].std()) > 0:
        return None
    value = ridge_probe(features[known], targets[known], test_features[test_known], test_targets[test_known])
    return value if math.isfinite(value) else math.nan
