import numpy as np
import torch

from sdvlm.fusion.pool import pool_depth
from sdvlm.nano.config import NanoConfig
from sdvlm.nano.facts import BETWEEN, FACTS, FactsHead, facts_between, object_facts, scale_facts
from sdvlm.nano.frames import square_boxes
from sdvlm.types import Camera, DepthMap

SIDE = 4


def packed_wall(z: float) -> np.ndarray:
    """A wall at one depth, seen by a camera of 80 x 80 pixels with a focal length of 40."""
    config = NanoConfig(image_size=64, patch_size=16)
    depth = DepthMap(np.full((80, 80), z, dtype=np.float32))
    return pool_depth(depth, square_boxes(config, (80, 80)), (80, 80), Camera(80, 80, 40, 40, 40, 40)).pack().numpy()


def test_facts_of_a_flat_patch_are_its_place_and_its_distance() -> None:
    coverage = np.zeros((SIDE, SIDE), dtype=np.float32)
    coverage[1, 2:4] = 1  # the right half of the second row
    facts = dict(zip(FACTS, object_facts(coverage.ravel(), packed_wall(2.0), SIDE), strict=True))
    assert facts["u"] == np.float32(0.75)
    assert facts["v"] == np.float32(0.375)
    assert (facts["left"], facts["right"]) == (0.625, 0.875)
    x, y = (60 - 40) / 40 * 2.0, (30 - 40) / 40 * 2.0  # centre of the two patches, back-projected
    np.testing.assert_allclose([facts["x"] * 2, facts["y"] * 2], [x, y], atol=1e-5)
    np.testing.assert_allclose(facts["log_z"], np.log(2.0), atol=1e-6)
    np.testing.assert_allclose(facts["log_distance"], 0.5 * np.log(4 + x * x + y * y), atol=1e-5)


def test_nothing_has_no_facts_and_costs_nothing() -> None:
    nothing = object_facts(np.zeros(SIDE * SIDE, dtype=np.float32), packed_wall(2.0), SIDE)
    assert np.isnan(nothing).all()
    losses = FactsHead(8).losses(torch.randn(1, 8), torch.from_numpy(nothing)[None])
    assert losses.numel() == 0


def test_without_depth_only_the_place_in_the_picture_and_the_count_are_known() -> None:
    packed = packed_wall(2.0).copy()
    packed[:, :7] = np.nan
    facts = object_facts(np.ones(SIDE * SIDE, dtype=np.float32), packed, SIDE, count=3)
    assert np.isfinite(facts[:6]).all()
    assert np.isnan(facts[6:12]).all()
    assert facts[12] == np.log(3).astype(np.float32)


def test_scaled_facts_are_the_facts_of_the_scaled_wall() -> None:
    coverage = np.zeros((SIDE, SIDE), dtype=np.float32)
    coverage[1:3, 1:] = 1
    facts, larger = (object_facts(coverage.ravel(), packed_wall(z), SIDE) for z in (2.0, 3.0))
    np.testing.assert_allclose(scale_facts(torch.from_numpy(facts), 1.5), larger, atol=1e-5)


def test_what_lies_between_two_patches_is_the_line_between_their_points() -> None:
    facts, points = [], []
    for z, column in ((2.0, 0), (3.0, 3)):
        coverage = np.zeros((SIDE, SIDE), dtype=np.float32)
        coverage[1, column] = 1
        facts.append(torch.from_numpy(object_facts(coverage.ravel(), packed_wall(z), SIDE)))
        u, v = 80 * (column + 0.5) / SIDE, 80 * 1.5 / SIDE
        points.append(np.array([(u - 40) / 40 * z, (v - 40) / 40 * z, z]))
    between = dict(zip(BETWEEN, facts_between(*facts).tolist(), strict=True))
    step = points[0] - points[1]
    np.testing.assert_allclose([between["x"], between["y"], between["z"]], step / 2, atol=1e-5)
    np.testing.assert_allclose(np.exp(between["log_apart"]) - 0.1, np.linalg.norm(step), atol=1e-5)
    assert between["u"] == -0.75
    np.testing.assert_allclose(
        between["log_distance"], np.log(np.linalg.norm(points[0]) / np.linalg.norm(points[1])), atol=1e-5
    )
