"""FastVLM with its own tower, FastViT, which mixes its tokens too much for the moving of pixels to tell them apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.models.test_families import noise, placeholders
from tests.models.zoo import Tiny
from tests.models.zoo.dense import fast_vlm_of_timm
from transformers import FastVlmConfig, Qwen2Config
from transformers.utils.import_utils import is_timm_available

from sdvlm.models.grid import token_boxes
from sdvlm.models.processor import DepthProcessor
from sdvlm.models.wrapper import DepthVLM
from sdvlm.types import DepthMap, SdvlmError

with_timm = pytest.mark.skipif(not is_timm_available(), reason="the tower is timm's: make test-torchvision")
SIZE = (384, 256)
SEEN = np.array([64.0, 0.0, 320.0, 256.0])
"""what the crop to a square leaves of a picture of that size"""


@pytest.fixture(scope="module")
def tiny() -> Tiny:
    return fast_vlm_of_timm()


def batch(tiny: Tiny, model: DepthVLM, depth: bool) -> Any:
    ask = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Table?"}]}]
    values = np.random.default_rng(0).uniform(0.5, 6, SIZE[::-1])
    processor = DepthProcessor.for_model(model, tiny.processor)
    return processor([ask], [noise(SIZE, 0)], [DepthMap(values)] if depth else None)


@with_timm
def test_its_boxes_part_what_the_tower_sees(tiny: Tiny) -> None:
    boxes = token_boxes(tiny.model, tiny.processor, SIZE)
    assert len(boxes) == placeholders(tiny, SIZE)
    np.testing.assert_allclose([*boxes[:, :2].min(axis=0), *boxes[:, 2:].max(axis=0)], SEEN)
    np.testing.assert_allclose(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1).sum(), 256 * 256)


@with_timm
def test_but_for_its_attention_a_token_depends_most_on_pixels_about_its_box() -> None:
    tiny = fast_vlm_of_timm()
    for module in tiny.model.modules():
        if type(module).__name__ == "AttentionBlock":
            module.forward = lambda planes: planes
    boxes = token_boxes(tiny.model, tiny.processor, SIZE)
    model = DepthVLM.from_vlm(tiny.model, "gated")
    pixels = batch(tiny, model, depth=False)["pixel_values"].requires_grad_()
    tokens = tiny.model.get_image_features(pixels, return_dict=True).pooler_output[0]
    slopes = [torch.autograd.grad(token.sum(), pixels, retain_graph=True)[0].abs() for token in tokens]
    weights = torch.stack([slope.sum(dim=(0, 1)) / slope.sum() for slope in slopes])  # [T, side, side]
    weights = (weights - weights.mean(dim=0)).clamp(min=0).numpy()  # more than others do
    along = np.arange(pixels.shape[-1]) + 0.5
    centres = [[one.sum(axis=0) @ along, one.sum(axis=1) @ along] / one.sum() for one in weights]
    wanted = ((boxes[:, :2] + boxes[:, 2:]) / 2 - SEEN[:2]) / (SEEN[2:] - SEEN[:2])
    for axis in range(2):
        assert np.corrcoef(np.array(centres)[:, axis], wanted[:, axis])[0, 1] > 0.9
        assert abs(np.corrcoef(np.array(centres)[:, axis], wanted[:, 1 - axis])[0, 1]) < 0.3


@with_timm
def test_without_depth_and_with_a_fresh_gate_it_is_the_base_model_and_depth_moves_it(tiny: Tiny) -> None:
    gated, spoken = (DepthVLM.from_vlm(tiny.model, fusion).eval() for fusion in ("gated", "dpe"))
    plain, seeing = batch(tiny, gated, depth=False), batch(tiny, gated, depth=True)
    with torch.no_grad():
        base = tiny.model(**plain).logits
        assert torch.equal(gated(**plain).logits, base)
        assert torch.equal(gated(**seeing).logits, base)
        assert not torch.allclose(spoken(**seeing).logits, base, atol=1e-3)


@pytest.mark.skipif(is_timm_available(), reason="what is refused is that timm is missing")
def test_without_timm_it_is_refused_with_what_to_do(tmp_path: Path) -> None:
    FastVlmConfig(text_config=Qwen2Config(), architectures=["FastVlmForConditionalGeneration"]).save_pretrained(
        tmp_path
    )
    save_file({"nothing": torch.zeros(1)}, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(SdvlmError, match="pip install timm") as caught:
        DepthVLM.from_vlm(tmp_path)
    assert "\n" not in str(caught.value)
