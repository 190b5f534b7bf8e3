"""What every fusion receives: the depth seen by each image token.

Notation: T image tokens of all pictures of a batch, in the order the model places them; C packed channels.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from sdvlm.types import DepthKind, SdvlmError

__all__ = ["CHANNELS", "DepthGrid", "kind_code"]

CHANNELS = ("z", "z_min", "z_max", "z_std", "valid", "x", "y", "ray_x", "ray_y", "u", "v", "kind")
"""order of the channels of a packed grid"""

_KIND_CODES = {DepthKind.METRIC: 1, DepthKind.RELATIVE: 2, DepthKind.DISPARITY: 3}


def kind_code(kind: DepthKind | None) -> int:
    """Number a depth kind is packed as; 0 where a picture has no depth."""
    return 0 if kind is None else _KIND_CODES[kind]


@dataclass(frozen=True, eq=False)
class DepthGrid:
    """Depth pooled over the box of each image token; NaN where unknown.

    Args:
        z: (T,) area-weighted mean depth of the known pixels, in the map's own unit (metres if metric).
        z_min, z_max, z_std: (T,) extremes and standard deviation over the same pixels.
        valid: (T,) share of the box's area whose depth is known, 0..1.
        x, y: (T,) mean of the back-projected points, metres, camera frame; NaN without a camera or metric depth.
        ray_x, ray_y: (T,) direction through the box's centre at z = 1; NaN without a camera.
        u, v: (T,) centre of the box in image widths and heights, 0..1 inside the picture; NaN for non-spatial tokens.
        kind: (T,) 0 no depth, 1 metric, 2 relative, 3 disparity.
        image_index: (T,) long, the picture each token belongs to, counted from 0.
    """

    z: Tensor
    z_min: Tensor
    z_max: Tensor
    z_std: Tensor
    valid: Tensor
    x: Tensor
    y: Tensor
    ray_x: Tensor
    ray_y: Tensor
    u: Tensor
    v: Tensor
    kind: Tensor
    image_index: Tensor

    def __len__(self) -> int:
        return int(self.z.shape[0])

    @property
    def known(self) -> Tensor:
        """(T,) bool: tokens that have a depth."""
        return ~torch.isnan(self.z)

    def pack(self) -> Tensor:
        """(T, C) float32, the form a batch carries it in; the image index is given back by token counts."""
        return torch.stack([getattr(self, name).to(torch.float32) for name in CHANNELS], dim=-1)

    @classmethod
    def unpack(cls, packed: Tensor, image_index: Tensor) -> DepthGrid:
        """From (T, C) and (T,).

        Raises:
            SdvlmError: the channel or token counts disagree; the message gives both.
        """
        if packed.ndim != 2 or packed.shape[1] != len(CHANNELS):
            raise SdvlmError(f"a packed depth grid is (tokens, {len(CHANNELS)}); got {tuple(packed.shape)}")
        if packed.shape[0] != image_index.shape[0]:
            raise SdvlmError(f"depth covers {packed.shape[0]} image tokens but the model has {image_index.shape[0]}")
        columns = {name: packed[:, i] for i, name in enumerate(CHANNELS)}
        return cls(**columns, image_index=image_index)

    @classmethod
    def concatenate(cls, grids: list[DepthGrid]) -> DepthGrid:
        """Grids of one picture each, in order, as the grid of a batch."""
        columns = {f.name: torch.cat([getattr(g, f.name) for g in grids]) for f in fields(cls)}
        columns["image_index"] = torch.cat([torch.full_like(g.image_index, i) for i, g in enumerate(grids)])
        return cls(**columns)
