import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sdvlm.depth.heads import depth_from_inverse, focal_from_fov, head_kind
from sdvlm.types import Camera, DepthKind, SdvlmError


def config(model_type: str, **fields: Any) -> SimpleNamespace:
    return SimpleNamespace(model_type=model_type, **fields)


def test_depth_anything_is_told_by_its_config_not_its_name() -> None:
    assert head_kind(config("depth_anything", depth_estimation_type="relative"), None, "Metric-Large") == "disparity"
    assert head_kind(config("depth_anything", depth_estimation_type="metric"), None, "Small") == "metric"


@pytest.mark.parametrize(
    ("backbone", "add_projection", "expected"),
    [
        (None, False, "disparity"),
        ("beit", False, "disparity"),
        ("dinov2", False, "disparity"),
        ("dinov2", True, "metric"),
    ],
)
def test_dpt_is_inverse_depth_but_for_the_dinov2_checkpoints(
    backbone: str | None, add_projection: bool, expected: str
) -> None:
    backbone_config = SimpleNamespace(model_type=backbone) if backbone else None
    dpt = config("dpt", backbone_config=backbone_config, add_projection=add_projection)
    assert head_kind(dpt, None, "x") == expected
    assert head_kind(dpt, DepthKind.METRIC, "x") == "metric"


def test_model_types_not_known_here_need_the_users_word() -> None:
    with pytest.raises(SdvlmError, match="what new_depth puts out is not known here; pass kind="):
        head_kind(config("new_depth"), None, "x")
    assert head_kind(config("new_depth"), DepthKind.RELATIVE, "x") is DepthKind.RELATIVE


def test_canopy_height_is_no_depth_even_if_the_user_says_so() -> None:
    with pytest.raises(SdvlmError, match="canopy height"):
        head_kind(config("chmv2"), DepthKind.METRIC, "x")


@pytest.mark.parametrize("fov", [20.0, 60.0, 120.0])
def test_focal_length_gives_the_field_of_view_back(fov: float) -> None:
    camera = Camera(640, 480, focal_from_fov(fov, 640), 500, 320, 240)
    assert camera.fov_x_deg == pytest.approx(fov)


@pytest.mark.parametrize("fov", [0.0, -5.0, 180.0, math.nan])
def test_impossible_fields_of_view_are_refused(fov: float) -> None:
    with pytest.raises(SdvlmError, match="which makes no camera"):
        focal_from_fov(fov, 640)


def test_sky_is_unknown_not_ten_kilometres() -> None:
    inverse = torch.tensor([[0.0, 1e-5, 0.5]])
    depth, _ = depth_from_inverse(inverse, None, Camera(3, 1, 3.0, 3.0, 1.5, 0.5), "x")
    assert torch.isnan(depth[0, :2]).all()
    assert depth[0, 2].item() == pytest.approx(2.0)
