"""Depth grids made by hand, so that fusions are tested apart from pooling."""

import pytest
import torch

from sdvlm.fusion.depth_grid import CHANNELS, DepthGrid, kind_code
from sdvlm.types import DepthKind


@pytest.fixture
def make_grid():
    """``make_grid(z, image_index=None, kind="metric", camera=False)``: a grid whose tokens have these depths."""

    def make(z, image_index=None, kind="metric", camera=False):
        z = torch.as_tensor(z, dtype=torch.float32)
        known = ~torch.isnan(z)
        columns = {name: torch.full_like(z, torch.nan) for name in CHANNELS}
        columns |= {"z": z, "z_min": 0.9 * z, "z_max": 1.2 * z, "z_std": 0.1 * z.abs(), "valid": known.float()}
        columns["kind"] = torch.full_like(z, float(kind_code(DepthKind(kind))))
        if camera:
            columns["ray_x"] = torch.linspace(-0.5, 0.5, len(z))
            columns["ray_y"] = torch.linspace(0.3, -0.3, len(z))
            columns |= {"x": columns["ray_x"] * z, "y": columns["ray_y"] * z}
        index = torch.zeros(len(z)) if image_index is None else torch.as_tensor(image_index)
        return DepthGrid(**columns, image_index=index.long())

    return make
