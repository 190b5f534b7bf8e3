"""Token boxes, proven by moving pixels of the original picture."""

from __future__ import annotations

import pickle
import time
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import LlavaConfig, Qwen2_5_VLConfig
from transformers.modeling_layers import GradientCheckpointingLayer

from sdvlm.models.grid import TokenGrid, build_skeleton, token_boxes
from sdvlm.types import SdvlmError

from .conftest import Tiny

SIZES = [(100, 75), (75, 101), (64, 64), (131, 53), (57, 56)]


@pytest.fixture
def mixing_off(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    """The real model with real weights, but no block mixes tokens: a token then depends on its own patch alone."""
    for module in tiny.model.base_model.modules():
        if isinstance(module, GradientCheckpointingLayer):
            monkeypatch.setattr(module, "forward", lambda hidden_states, *args, **kwargs: hidden_states)
    return tiny


def image_tokens(tiny: Tiny, images: list[Image.Image]) -> list[np.ndarray]:
    """Projected tokens of each picture, (N_i, D), through the real processor."""
    inputs = tiny.processor.image_processor(images, return_tensors="pt")
    with torch.no_grad():
        features = tiny.model.get_image_features(**inputs, return_dict=True)
    return [row.numpy() for row in features.pooler_output]


def noise(size: tuple[int, int], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)


def covered(boxes: np.ndarray, x: float, y: float) -> int | None:
    hit = (boxes[:, 0] <= x) & (x < boxes[:, 2]) & (boxes[:, 1] <= y) & (y < boxes[:, 3])
    return int(np.flatnonzero(hit)[0]) if hit.any() else None


@pytest.mark.parametrize("size", SIZES)
def test_changing_the_pixels_inside_a_box_moves_its_own_token_most(mixing_off: Tiny, size: tuple[int, int]) -> None:
    tiny = mixing_off
    boxes = token_boxes(tiny.model, tiny.processor, size)
    base = noise(size, 0) // 4 + 96
    before = image_tokens(tiny, [Image.fromarray(base)])[0]
    assert len(before) == len(boxes)
    inside = 0
    for index, (left, top, right, bottom) in enumerate(np.round(boxes).astype(int)):
        changed = base.copy()
        window = changed[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
        if min(window.shape[:2], default=0) < 6:  # mostly padding: nothing of the picture to change
            continue
        window[2:-2, 2:-2] = 255 - window[2:-2, 2:-2] // 2
        moved = np.linalg.norm(image_tokens(tiny, [Image.fromarray(changed)])[0] - before, axis=1)
        assert moved.argmax() == index
        assert np.sort(moved)[-2] < 0.35 * moved.max()  # resampling bleeds a little over the edges
        inside += 1
    assert inside >= 4


def test_boxes_hold_for_every_picture_of_several(mixing_off: Tiny) -> None:
    tiny = mixing_off
    sizes = [(100, 75), (60, 90), (64, 64)]
    bases = [noise(size, i) // 4 + 96 for i, size in enumerate(sizes)]
    before = image_tokens(tiny, [Image.fromarray(base) for base in bases])
    for which, size in enumerate(sizes):
        boxes = token_boxes(tiny.model, tiny.processor, size)
        x, y = size[0] * 0.55, size[1] * 0.45
        changed = [base.copy() for base in bases]
        changed[which][int(y) - 4 : int(y) + 4, int(x) - 4 : int(x) + 4] = 255
        after = image_tokens(tiny, [Image.fromarray(image) for image in changed])
        moved = [np.linalg.norm(a - b, axis=1) for a, b in zip(after, before, strict=True)]
        overlap = np.clip(np.minimum(boxes[:, 2:], [x + 4, y + 4]) - np.maximum(boxes[:, :2], [x - 4, y - 4]), 0, None)
        assert overlap.prod(axis=1)[moved[which].argmax()] > 0
        assert all(moved[other].max() == 0 for other in range(len(sizes)) if other != which)


def test_every_pixel_the_tower_sees_lies_in_one_box(tiny: Tiny) -> None:
    for size in SIZES:
        boxes = token_boxes(tiny.model, tiny.processor, size)
        steps = TokenGrid(tiny.model.config, tiny.processor.image_processor).transform(size)
        seen = steps.boxes_to_source([0, 0, *steps.target_size])
        area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1).sum()
        assert area == pytest.approx(np.prod(seen[2:] - seen[:2]))
        np.testing.assert_allclose(boxes.min(axis=0)[:2], seen[:2], atol=1e-9)
        np.testing.assert_allclose(boxes.max(axis=0)[2:], seen[2:], atol=1e-9)


def test_a_four_by_three_picture_padded_to_a_square_fills_the_rows_the_reference_names(tinies: dict[str, Tiny]) -> None:
    """benchmarks-and-data 10.2: a 640x480 picture in the 336 square with 24x24 tokens fills rows 3..20 exactly."""
    from .conftest import tiny_llava

    tiny = tiny_llava(pad=True, side=336)
    boxes = token_boxes(tiny.model, tiny.processor, (640, 480)).reshape(24, 24, 4)
    inside = (boxes[:, 0, 1] >= -1e-9) & (boxes[:, 0, 3] <= 480 + 1e-9)
    assert np.flatnonzero(inside).tolist() == list(range(3, 21))
    np.testing.assert_allclose(boxes[3, 0], [0, 0, 640 / 24, 640 / 24], atol=1e-9)


def test_tokens_that_look_nowhere_have_no_box() -> None:
    from .conftest import tiny_llava

    tiny = tiny_llava()
    tiny.model.config.vision_feature_select_strategy = "full"  # keeps the class token in front
    boxes = token_boxes(tiny.model, tiny.processor, (64, 48))
    assert boxes.shape == (17, 4)
    assert np.isnan(boxes[0]).all()
    assert np.isfinite(boxes[1:]).all()


def test_a_grid_travels_to_a_worker_without_the_model(tiny: Tiny) -> None:
    grid = TokenGrid(tiny.model.config, tiny.processor.image_processor)
    there = pickle.loads(pickle.dumps(grid))
    np.testing.assert_array_equal(there.boxes((91, 40)), grid.boxes((91, 40)))
    assert len(pickle.dumps(grid)) < 50_000


@pytest.mark.parametrize("config", [LlavaConfig(), Qwen2_5_VLConfig()], ids=["llava-1.5-7b", "qwen2.5-vl-7b"])
def test_the_probe_needs_no_weights_of_a_full_size_model(config: Any) -> None:
    before = torch.get_rng_state()
    start = time.perf_counter()
    build_skeleton(config)
    assert time.perf_counter() - start < 5.0
    assert torch.equal(before, torch.get_rng_state())


def test_a_second_look_costs_next_to_nothing(tiny: Tiny) -> None:
    token_boxes(tiny.model, tiny.processor, (97, 64))
    start = time.perf_counter()
    token_boxes(tiny.model, tiny.processor, (97, 64))
    assert time.perf_counter() - start < 0.05


def test_an_unknown_family_is_refused_by_name(tiny: Tiny) -> None:
    from transformers import BlipConfig

    with pytest.raises(SdvlmError, match="'blip' look is not known"):
        token_boxes(BlipConfig(), tiny.processor, (64, 64))


def test_a_processor_that_cannot_be_replayed_is_refused(tinies: dict[str, Tiny]) -> None:
    from .conftest import tiny_llava

    tiny = tiny_llava(pad=False)
    tiny.processor.image_processor.do_pad = True
    with pytest.raises(SdvlmError, match="padding of CLIPImageProcessorPil"):
        token_boxes(tiny.model, tiny.processor, (64, 48))
