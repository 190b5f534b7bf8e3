import re

import numpy as np
import torch

from sdvlm.fusion.depth_grid import CHANNELS
from sdvlm.nano.config import PLANES
from sdvlm.nano.depth_changes import (
    drop_depth,
    scale_depth,
    scale_lengths,
    scale_planes,
    worsen_depth,
    worsen_planes,
)
from sdvlm.nano.frames import NanoFrame
from sdvlm.types import DepthMap


def test_every_length_in_question_and_answer_is_scaled_and_nothing_else(frames: list[NanoFrame]) -> None:
    lengths = 0
    for frame in frames:
        for question in frame.questions:
            scaled = scale_lengths(question, 2.0)
            assert scaled is not None
            for part in ("question", "answer"):
                metres = re.sub(
                    r"(\d+\.\d\d)(?= m(?:eters)?\b)", lambda found: f"{2 * float(found[1]):.2f}", question[part]
                )
                if question["said_unit"] == "m":
                    assert scaled[part] == metres
                lengths += metres != question[part]
            assert {name: scaled[name] for name in ("names", "objects", "type")} == {
                name: question[name] for name in ("names", "objects", "type")
            }
    assert lengths > 5


def test_a_scaled_grid_keeps_its_rays_and_shares(frames: list[NanoFrame]) -> None:
    packed = torch.from_numpy(frames[0].depth)
    scaled = scale_depth(packed, 2.0)
    for index, name in enumerate(CHANNELS):
        factor = 2.0 if name in ("z", "z_min", "z_max", "z_std", "x", "y") else 1.0
        torch.testing.assert_close(scaled[:, index], packed[:, index] * factor, equal_nan=True)
    x, z, ray = (scaled[:, CHANNELS.index(name)] for name in ("x", "z", "ray_x"))
    assert torch.nanquantile((x / z - ray).abs(), 0.5) < 0.05  # still the same directions


def test_dropped_depth_is_unknown_and_worse_depth_is_partly_unknown(frames: list[NanoFrame]) -> None:
    packed, valid = torch.from_numpy(frames[0].depth), CHANNELS.index("valid")
    dropped = drop_depth(packed)
    assert dropped[:, CHANNELS.index("z")].isnan().all()
    assert (dropped[:, valid] == 0).all()
    worse = worsen_depth(packed, np.random.default_rng(0))
    lost = (worse[:, valid] == 0) & (packed[:, valid] > 0)
    assert 0 < int(lost.sum()) < len(packed)
    kept = ~lost & (packed[:, valid] > 0)
    ratio = worse[kept, CHANNELS.index("z")] / packed[kept, CHANNELS.index("z")]
    assert 0.7 < float(ratio.min()) < 1 < float(ratio.max()) < 1.3


def test_scaled_planes_are_the_planes_of_the_scaled_map() -> None:
    z = np.random.default_rng(0).uniform(0.3, 6.0, (32, 32)).astype(np.float32)
    z[:5] = np.nan
    planes, scaled = (torch.from_numpy(PLANES.planes(DepthMap(z * factor))) for factor in (1.0, 1.7))
    torch.testing.assert_close(scale_planes(planes, 1.7), scaled, atol=1e-5, rtol=1e-5)


def test_worse_planes_lose_blocks_and_what_stays_lies_around_the_truth() -> None:
    planes = torch.from_numpy(PLANES.planes(DepthMap(np.full((48, 48), 3.0, dtype=np.float32))))
    lost, errors = [], []
    for seed in range(30):
        worse = worsen_planes(planes, np.random.default_rng(seed))
        known = worse[1] != 0
        assert (worse[0][~known] == 0).all()
        lost.append(float((~known).float().mean()))
        errors.append(float((worse - planes)[0][known].abs().mean()))
    assert 0.1 < np.mean(lost) < 0.3
    assert min(errors) < 1e-5
    assert 0.03 < max(errors) < 0.5


def test_noise_of_single_pixels_spreads_the_extremes_of_a_token_and_leaves_its_mean(frames: list[NanoFrame]) -> None:
    packed = torch.from_numpy(frames[0].depth)
    z, low, high = (CHANNELS.index(name) for name in ("z", "z_min", "z_max"))
    span, moved = [], []
    for seed in range(40):
        worse = worsen_depth(packed, np.random.default_rng(seed))
        kept = ~worse[:, z].isnan()
        assert (worse[kept, low] <= worse[kept, high]).all()
        assert (worse[kept, low] > 0).all()
        span.append(float(((worse - packed)[kept, high] - (worse - packed)[kept, low]).mean()))
        moved.append(float((worse - packed)[kept, z].mean().abs()))
    assert max(span) > 1.5  # noise of more than half a metre a pixel
    assert max(moved) < 0.1
