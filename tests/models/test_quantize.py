"""In 4 bits are the layers that get adapters, and no others."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers.quantizers.quantizers_utils import should_convert_module

from sdvlm.models.adapters import add_lora
from sdvlm.models.quantize import quantization_config, settings, unquantized
from sdvlm.types import SdvlmError

from .conftest import Tiny
from .test_wrapper import wrap


@pytest.mark.parametrize("fusion", [None, "mlp", "concat"])
def test_by_transformers_own_rule_the_layers_with_adapters_are_converted_and_no_others(
    tiny: Tiny, fusion: str | None
) -> None:
    pytest.importorskip("peft")
    adapted = wrap(tiny, fusion)
    add_lora(adapted, 2, 4)
    for model, config, prefix in (
        (wrap(tiny, fusion).vlm, tiny.model.config, ""),
        (wrap(tiny, fusion), adapted.config, "vlm."),
    ):
        skipped = settings(config, torch.bfloat16)["llm_int8_skip_modules"]
        linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
        converted = {name for name in linear if should_convert_module(name, skipped)}
        assert converted == {prefix + name for name, module in adapted.vlm.named_modules() if hasattr(module, "lora_A")}


def test_what_stays_is_named_by_its_part(tinies: dict[str, Tiny]) -> None:
    assert unquantized(tinies["llava-pad"].model.config) == [
        "model.vision_tower",
        "model.multi_modal_projector",
        "lm_head",
    ]
    assert unquantized(tinies["qwen2.5-vl"].model.config) == ["model.visual", "lm_head"]


def test_a_folder_says_the_same_as_its_config(tinies: dict[str, Tiny], tmp_path: Path) -> None:
    config = tinies["qwen2.5-vl"].model.config
    config.save_pretrained(tmp_path / "plain")
    wrap(tinies["qwen2.5-vl"], "dpe").config.save_pretrained(tmp_path / "depth")
    plain = settings(tmp_path / "plain", torch.bfloat16)
    assert plain == settings(config, torch.bfloat16)
    skipped = settings(tmp_path / "depth", torch.bfloat16)["llm_int8_skip_modules"]
    assert skipped == ["vlm.model.visual", "vlm.lm_head", "fusion"]


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
def test_without_bitsandbytes_it_says_what_to_install(tinies: dict[str, Tiny]) -> None:
    with pytest.raises(SdvlmError, match=r"needs bitsandbytes, which is not installed; pip install"):
        quantization_config(tinies["llava-pad"].model.config)
