import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from sdvlm.depth import hf
from sdvlm.depth.estimator import DepthEstimator, load_estimator
from sdvlm.depth.hf import HFDepthEstimator, load_hf_estimator
from sdvlm.types import Camera, DepthKind, SdvlmError

from .conftest import CHECKPOINTS, FOV_X_DEG

Folder = Callable[[str], Path]

KINDS = {
    "depth_anything_relative": DepthKind.DISPARITY,
    "depth_anything_metric": DepthKind.METRIC,
    "prompt_depth_anything": DepthKind.RELATIVE,
    "dpt": DepthKind.DISPARITY,
    "dpt_dinov2": DepthKind.METRIC,
    "zoedepth": DepthKind.METRIC,
    "depth_pro": DepthKind.METRIC,
    "glpn": DepthKind.METRIC,
    "tipsv2_dpt": DepthKind.METRIC,
}
METRIC_RANGE = {"depth_anything_metric": 20.0, "zoedepth": 10.0, "glpn": 10.0, "tipsv2_dpt": 10.0}


def pictures(*sizes: tuple[int, int]) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for width, height in sizes]


class Counted(torch.nn.Module):
    """The model, keeping the shapes it was called with."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.inner, self.config, self.device, self.dtype = model, model.config, model.device, model.dtype
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, pixel_values: torch.Tensor) -> Any:
        self.shapes.append(tuple(pixel_values.shape))
        return self.inner(pixel_values=pixel_values)


class Seeing(torch.nn.Module):
    """A model whose depth is the red channel of what it is fed, so that geometry errors show as misplaced colours."""

    def __init__(self, model: Any, mean: float, std: float) -> None:
        super().__init__()
        self.config, self.device, self.dtype = model.config, model.device, model.dtype
        self.mean, self.std = mean, std

    def forward(self, pixel_values: torch.Tensor) -> Any:
        return SimpleNamespace(predicted_depth=pixel_values[:, 0] * self.std + self.mean)


# every class


@pytest.mark.parametrize("name", KINDS)
def test_each_class_gives_maps_of_its_kind_and_of_the_pictures_size(checkpoint: Folder, name: str) -> None:
    estimator = load_estimator(checkpoint(name))
    assert isinstance(estimator, DepthEstimator)
    estimates = estimator.estimate(pictures((60, 40), (50, 71)))
    assert estimator.kind is KINDS[name]
    assert [estimate.depth.size for estimate in estimates] == [(60, 40), (50, 71)]
    for estimate in estimates:
        assert estimate.depth.kind is KINDS[name]
        assert estimate.depth.source == estimator.id == name
        assert estimate.depth.valid.all()
        assert len(np.unique(estimate.depth.values)) > 100


@pytest.mark.parametrize("name", KINDS)
def test_a_batch_of_mixed_sizes_equals_one_by_one(checkpoint: Folder, name: str) -> None:
    images = pictures((60, 40), (50, 71), (60, 40), (64, 64), (60, 40))
    together = load_estimator(checkpoint(name), batch_size=2).estimate(images)
    alone = load_estimator(checkpoint(name), batch_size=1)
    for image, estimate in zip(images, together, strict=True):
        single = alone.estimate([image])[0].depth.values
        np.testing.assert_allclose(estimate.depth.values, single, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", METRIC_RANGE)
def test_metric_heads_stay_within_the_range_of_their_config(checkpoint: Folder, name: str) -> None:
    depth = load_estimator(checkpoint(name)).estimate(pictures((60, 40)))[0].depth.values
    assert 0 < depth.min() < depth.max() < METRIC_RANGE[name]


@pytest.mark.parametrize("name", ["depth_anything_relative", "depth_anything_metric", "dpt", "glpn", "tipsv2_dpt"])
def test_the_map_is_the_raw_prediction_stretched_to_the_picture(checkpoint: Folder, name: str) -> None:
    estimator = load_hf_estimator(str(checkpoint(name)))
    image = pictures((60, 40))[0]
    pixel_values = hf.prepare(estimator.model_type, estimator.processor, image).pixel_values
    with torch.inference_mode():
        raw = estimator.model(pixel_values=pixel_values[None]).predicted_depth
    expected = torch.nn.functional.interpolate(raw[None], (40, 60), mode="bilinear", align_corners=False)[0, 0]
    np.testing.assert_allclose(estimator.estimate([image])[0].depth.values, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", sorted(set(CHECKPOINTS) - {"depth_pro", "depth_pro_without_fov"}))
@pytest.mark.parametrize("size", [(150, 100), (97, 160)])
def test_what_is_seen_at_a_pixel_comes_back_at_that_pixel(checkpoint: Folder, name: str, size: tuple[int, int]) -> None:
    """Resize, padding and its removal cancel: a ramp goes in, the same ramp comes out."""
    estimator = load_hf_estimator(str(checkpoint(name)))
    mean, std = (0.0, 1.0) if name in ("glpn", "tipsv2_dpt") else (0.5, 0.5)
    estimator.model = Seeing(estimator.model, mean, std)
    width, height = size
    for ramp in (np.linspace(40, 220, width)[None, :], np.linspace(40, 220, height)[:, None]):
        image = np.repeat(np.broadcast_to(ramp, (height, width))[..., None], 3, axis=2).astype(np.uint8)
        seen = estimator.estimate([image])[0].depth.values * 255
        inner = np.s_[height // 8 : -height // 8, width // 8 : -width // 8]  # borders are blurred by the resize
        assert np.abs(seen - image[..., 0])[inner].max() < 4.0


def test_pictures_of_one_shape_share_a_pass_and_batches_are_bounded(checkpoint: Folder) -> None:
    estimator = load_hf_estimator(str(checkpoint("depth_anything_metric")), batch_size=2)
    estimator.model = Counted(estimator.model)
    estimator.estimate(pictures((60, 40), (40, 60), (60, 40), (60, 40)))
    assert sorted(estimator.model.shapes) == [(1, 3, 28, 42), (1, 3, 42, 28), (2, 3, 28, 42)]


def test_no_pictures_give_no_maps(checkpoint: Folder) -> None:
    assert load_estimator(checkpoint("glpn")).estimate([]) == []


# Depth Pro


def test_depth_pro_uses_its_own_focal_length_when_none_is_known(checkpoint: Folder) -> None:
    estimator = load_hf_estimator(str(checkpoint("depth_pro")))
    image = pictures((60, 40))[0]
    estimate = estimator.estimate([image])[0]
    focal = 0.5 * 60 / math.tan(math.radians(FOV_X_DEG / 2))
    assert estimate.camera is not None
    assert estimate.camera_estimated
    assert estimate.camera.fx == estimate.camera.fy == pytest.approx(focal, rel=1e-5)
    assert (estimate.camera.cx, estimate.camera.cy) == (30, 20)
    pixel_values = hf.prepare("depth_pro", estimator.processor, image).pixel_values
    with torch.inference_mode():
        inverse = estimator.model(pixel_values=pixel_values[None]).predicted_depth
    inverse = torch.nn.functional.interpolate(inverse[None], (40, 60), mode="bilinear")[0, 0].numpy()
    # fusion-methods.md 5: metric depth = 1 / (inv x W / f)
    np.testing.assert_allclose(estimate.depth.values, 1 / (inverse * 60 / focal), rtol=1e-4)


def test_depth_pro_scales_with_a_known_focal_length(checkpoint: Folder) -> None:
    estimator = load_hf_estimator(str(checkpoint("depth_pro")))
    images = pictures((60, 40), (60, 40))
    known = Camera(60, 40, 90.0, 90.0, 30, 20)
    guessed, given = estimator.estimate([images[0]] * 2, [None, known])
    assert estimator.uses_camera
    assert given.camera == known
    assert not given.camera_estimated
    assert guessed.camera is not None
    np.testing.assert_allclose(given.depth.values / guessed.depth.values, 90.0 / guessed.camera.fx, rtol=1e-4)


def test_depth_pro_without_a_field_of_view_head_needs_the_camera(checkpoint: Folder) -> None:
    estimator = load_estimator(checkpoint("depth_pro_without_fov"))
    image = pictures((60, 40))[0]
    with pytest.raises(SdvlmError, match="no field-of-view head, so metres need the camera"):
        estimator.estimate([image])
    assert estimator.estimate([image], [Camera.from_fov(60, 40, 70)])[0].depth.kind is DepthKind.METRIC


def test_other_classes_ignore_the_camera_but_hand_it_on(checkpoint: Folder) -> None:
    estimator = load_hf_estimator(str(checkpoint("zoedepth")))
    image, camera = pictures((60, 40))[0], Camera.from_fov(60, 40, 70)
    without, with_camera = estimator.estimate([image, image], [None, camera])
    assert not estimator.uses_camera
    assert (without.camera, with_camera.camera) == (None, camera)
    np.testing.assert_array_equal(without.depth.values, with_camera.depth.values)


# kinds


def test_the_users_word_decides_where_a_config_cannot(checkpoint: Folder) -> None:
    assert load_estimator(checkpoint("dpt"), kind="metric").kind is DepthKind.METRIC
    with pytest.raises(SdvlmError, match="gives disparity depth, not metric"):
        load_estimator(checkpoint("depth_anything_relative"), kind="metric")


def test_half_precision_stays_near_full_precision(checkpoint: Folder) -> None:
    images = pictures((60, 40))
    full = load_estimator(checkpoint("depth_anything_metric")).estimate(images)[0].depth.values
    half = load_estimator(checkpoint("depth_anything_metric"), dtype="bfloat16").estimate(images)[0].depth.values
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, full, rtol=0.05)


def test_inputs_that_are_no_pictures_or_have_foreign_cameras_are_refused(checkpoint: Folder) -> None:
    estimator = load_estimator(checkpoint("glpn"))
    image = pictures((60, 40))[0]
    for images, cameras, match in (
        ([image[..., 0]], None, r"image 0 must be \(height, width, 3\) uint8"),
        ([image, image.astype(np.float32)], None, "image 1 must be"),
        ([image], [None, None], "got 1 images and 2 cameras"),
        ([image], [Camera.from_fov(40, 60, 60)], "image 0 is 60x40 but its camera"),
        ([image[:20, :20]], None, "a 20x20 image cannot be prepared for glpn"),
    ):
        with pytest.raises(SdvlmError, match=match):
            estimator.estimate(images, cameras)


def test_a_field_of_view_that_makes_no_camera_is_refused(checkpoint: Folder) -> None:
    estimator = load_hf_estimator(str(checkpoint("depth_pro")))
    with torch.no_grad():
        estimator.model.fov_model.head.layers[-1].bias.fill_(-3.0)
    with pytest.raises(SdvlmError, match=r"predicts a field of view of -3\.0 degrees"):
        estimator.estimate(pictures((60, 40)))


def test_the_estimator_is_a_plain_dataclass(checkpoint: Folder) -> None:
    estimator = load_hf_estimator(str(checkpoint("glpn")))
    assert isinstance(estimator, HFDepthEstimator)
    assert not estimator.model.training


# raw maps


@pytest.mark.parametrize("name", ["depth_anything_relative", "dpt_dinov2", "glpn", "depth_pro"])
def test_raw_maps_are_what_the_network_puts_out_and_cover_the_picture_only(checkpoint: Folder, name: str) -> None:
    estimator = load_estimator(checkpoint(name))
    assert isinstance(estimator, HFDepthEstimator)
    images = pictures((64, 32), (45, 71), (64, 32))
    maps = estimator.raw(images)
    for image, found in zip(images, maps, strict=True):
        item = hf.prepare(estimator.model_type, estimator.processor, image)
        (output, _), *_ = estimator._forward([item])
        height, width = output.shape
        left, top, right, bottom = (round(x * n) for x, n in zip(item.inside, (width, height) * 2, strict=True))
        expected = output[top:bottom, left:right].numpy()
        np.testing.assert_allclose(found.values, expected, atol=1e-5)
    inverse = name == "depth_pro"  # before the focal length makes metres of it
    assert {found.kind for found in maps} == {DepthKind.DISPARITY if inverse else estimator.kind}


def test_a_raw_map_resampled_to_the_picture_is_the_estimate(checkpoint: Folder) -> None:
    estimator = load_estimator(checkpoint("depth_anything_relative"))
    assert isinstance(estimator, HFDepthEstimator)
    images = pictures((60, 40))
    resampled = hf.resample(torch.from_numpy(estimator.raw(images)[0].values.copy()), (0, 0, 1, 1), (60, 40))
    np.testing.assert_allclose(resampled, estimator.estimate(images)[0].depth.values, atol=1e-6)
