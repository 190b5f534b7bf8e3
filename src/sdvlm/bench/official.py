"""What the released SD-VLM code does otherwise than this library, as numbers: how far apart the depth codes come out.

Depth here is the true disparity of procedural rooms, so that no network's weights enter.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sdvlm.depth.cubic import CubicProcessor
from sdvlm.fusion.coordinate import sdvlm_compat
from sdvlm.fusion.pool import pool_depth
from sdvlm.fusion.pool_unpadded import pool_unpadded
from sdvlm.fusion.sinusoid import sinusoid
from sdvlm.geometry.transform import pad
from sdvlm.scenes.look import sample_look
from sdvlm.scenes.render import Renderer
from sdvlm.scenes.rooms import make_room
from sdvlm.scenes.viewpoints import sample_cameras
from sdvlm.types import DepthKind, DepthMap

__all__ = ["bench_official"]

SIDE = 24
"""rows and columns of the released model's tokens"""
WIDTH = 4096
"""of the released model's tokens"""


@torch.inference_mode()
def bench_official(rooms: int = 12, seed: int = 0) -> dict[str, Any]:
    """Compare grids (0 to 100, as they enter the sines) and codes on 640 x 480 and 1024 x 400 views of rooms.

    Args:
        rooms: rooms, one view of each and size.
        seed: of rooms and views.
    """
    rng = np.random.default_rng(seed)
    wide = [_view(rng, (1024, 400)) for _ in range(rooms)]
    usual = [_view(rng, (640, 480)) for _ in range(rooms)]
    return {
        "aligned_against_unpadded_4_to_3": _apart([_both(z) for _, z in usual]),
        "aligned_against_unpadded_wide": _apart([_both(z) for _, z in wide]),
        "metres_doubled": _doubled([z for _, z in usual]),
        "sensor_against_disparity": _polarity([z for _, z in usual]),
        "half_precision_sine": _half_sine([z for _, z in usual]),
        "pillow_against_cubic_input": _inputs([image for image, _ in usual]),
        "views": {"rooms": rooms, "sizes": [[640, 480], [1024, 400]], "seed": seed},
    }


def _view(rng: np.random.Generator, size: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.floating]]:
    """Picture and true depth in metres of a furnished room."""
    room = make_room(rng)
    renderer = Renderer(room.mesh, room.face_materials)
    ((camera, pose),) = sample_cameras(room, rng, 1, size, renderer=renderer)
    drawn = renderer.render(camera, pose, sample_look(rng, room.size), rng)
    return drawn.image, drawn.depth_m


def _unpadded(values: NDArray[np.floating], kind: DepthKind) -> Tensor:
    """(24, 24) position values as the released code makes them."""
    return sdvlm_compat(pool_unpadded(DepthMap(values.astype(np.float32), kind), SIDE, SIDE)).view(SIDE, SIDE)


def _both(z: NDArray[np.floating]) -> tuple[Tensor, Tensor]:
    """The released grid and the one that looks where the tokens look; NaN on tokens that see only padding."""
    height, width = z.shape
    side = max(width, height)
    left, top = (side - width) // 2, (side - height) // 2
    square = pad((width, height), left, top, side - width - left, side - height - top)
    steps = np.arange(SIDE) * (side / SIDE)
    x, y = np.meshgrid(steps, steps)
    boxes = square.boxes_to_source(np.stack([x, y, x + side / SIDE, y + side / SIDE], axis=-1).reshape(-1, 4))
    disparity = (1 / z).astype(np.float32)
    grid = pool_depth(DepthMap(disparity, DepthKind.DISPARITY), boxes, (width, height))
    return _unpadded(disparity, DepthKind.DISPARITY), sdvlm_compat(grid).view(SIDE, SIDE)


def _apart(pairs: list[tuple[Tensor, Tensor]]) -> dict[str, Any]:
    """How far two kinds of grids lie apart, over the tokens that see the picture."""
    off = torch.cat([(one - other).abs().flatten() for one, other in pairs])
    seen = ~off.isnan()
    quantiles = torch.quantile(off[seen], torch.tensor([0.5, 0.9, 1.0])).tolist()
    names = ("median", "ninth_decile", "largest")
    shares = {"tokens_that_see_only_padding": round(float((~seen).float().mean()), 3)}
    return {name: round(value, 2) for name, value in zip(names, quantiles, strict=True)} | shares


def _doubled(depths: list[NDArray[np.floating]]) -> dict[str, float]:
    """Largest difference between the grids of a room and of the same room twice as large."""
    pairs = [(_unpadded(1 / z, DepthKind.DISPARITY), _unpadded(0.5 / z, DepthKind.DISPARITY)) for z in depths]
    return {"largest": round(max(float((one - other).abs().max()) for one, other in pairs), 4)}


def _polarity(depths: list[NDArray[np.floating]]) -> dict[str, float]:
    """Correlation of the grid of measured depth with that of disparity of the same room."""
    pairs = [(_unpadded(z, DepthKind.METRIC), _unpadded(1 / z, DepthKind.DISPARITY)) for z in depths]
    found = [float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1]) for one, other in pairs]
    return {"correlation_median": round(float(np.median(found)), 3)}


def _half_sine(depths: list[NDArray[np.floating]]) -> dict[str, float]:
    """Sines computed in half precision against float32, width 4096."""
    values = torch.stack([_unpadded(1 / z, DepthKind.DISPARITY).flatten() for z in depths])
    off = (sinusoid(values, WIDTH, dtype="float16") - sinusoid(values, WIDTH)).abs()
    return {"mean": round(float(off.mean()), 5), "largest": round(float(off.max()), 3)}


def _inputs(images: list[NDArray[np.uint8]]) -> dict[str, float]:
    """The depth network's normalised input: Pillow's bicubic, with antialiasing, against OpenCV's without."""
    process = CubicProcessor((518, 518), 14, keep_aspect=True, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    mean, std = (torch.tensor(one).view(3, 1, 1) for one in (process.mean, process.std))
    means, largest = [], []
    for image in images:
        ours = process(image)
        size = (ours.shape[2], ours.shape[1])
        pillow = np.array(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
        off = ((torch.from_numpy(pillow).permute(2, 0, 1) / 255 - mean) / std - ours).abs()
        largest.append(float(off.max()))
        means.append(float(off.mean()))
    return {"mean": round(float(np.mean(means)), 4), "largest": round(max(largest), 3)}
