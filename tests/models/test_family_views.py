"""What the towers see of a picture, against the real processors: pictures whose colour says where a pixel was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.geometry.test_replay import check, ramp
from tests.models.zoo import MEMBERS, ZOO, Tiny

from sdvlm.models.families.processors import processed
from sdvlm.models.grid import TokenGrid

RAW = {"do_normalize": False, "do_rescale": False}
SIZES = [(200, 150), (114, 180), (262, 106), (240, 240)]


@pytest.fixture(scope="module", params=MEMBERS)
def family(request: pytest.FixtureRequest) -> Tiny:
    return ZOO[request.param]()


def planes(tiny: Tiny, size: tuple[int, int]) -> list[np.ndarray]:
    """(3, height, width) brightness of each view, through the whole processor."""
    ask = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "?"}]}]
    text = tiny.processor.apply_chat_template(ask, add_generation_prompt=True)
    pictures = [[Image.fromarray(ramp(size))]]
    made: dict[str, Any] = processed(tiny.processor, text=[text], images=pictures, return_tensors="pt", **RAW)
    pixels = made["pixel_values"].float()
    if pixels.ndim >= 4:
        return list(pixels.reshape(-1, *pixels.shape[-3:]).numpy())
    sizes = TokenGrid(tiny.model.config, tiny.processor.image_processor).views(size).sizes
    vision = tiny.model.config.vision_config
    side = vision.patch_size
    if "image_grid_thw" in made:  # two frames of a still picture, patches in merge blocks
        merge = vision.spatial_merge_size
        ((width, height),) = sizes
        blocks = pixels.reshape(height // side // merge, width // side // merge, merge, merge, 3, 2, side, side)
        return [blocks[..., 0, :, :].permute(4, 0, 2, 5, 1, 3, 6).reshape(3, height, width).numpy()]
    return [
        row[: width * height // side**2]
        .reshape(height // side, width // side, side, side, 3)
        .permute(4, 0, 2, 1, 3)
        .reshape(3, height, width)
        .numpy()
        for row, (width, height) in zip(pixels, sizes, strict=True)
    ]


@pytest.mark.parametrize("size", SIZES)
def test_every_view_shows_what_lay_where_its_transform_says(family: Tiny, size: tuple[int, int]) -> None:
    views = TokenGrid(family.model.config, family.processor.image_processor).views(size).transforms
    seen = planes(family, size)
    assert len(seen) == len(views) or not np.any(seen[len(views) :])  # filled up with blank tiles
    for shown, steps in zip(seen, views, strict=False):
        check(shown, steps, size, least=0.1, padding=120)  # some pad with the mean colour
