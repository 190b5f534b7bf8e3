"""Processors loaded with and without torchvision, whichever of both they were saved with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.models.zoo import ZOO, marked
from tests.models.zoo.base import tokenizer_with
from transformers.utils.import_utils import is_torchvision_available

from sdvlm.models.families import load_processor
from sdvlm.models.families.processors import image_only
from sdvlm.types import SdvlmError

ONLY_WITH = {
    "llama4": "Llama4",
    "cohere2_vision": "Cohere2Vision",
    "lfm2_vl": "Lfm2Vl",
    "perception_lm": "PerceptionLM",
}
WITH_VIDEO = ("qwen2_vl", "qwen3_vl", "glm4v", "gemma4", "internvl", "llava_onevision", "smolvlm")


@pytest.mark.skipif(is_torchvision_available(), reason="what is refused is that torchvision is missing")
@pytest.mark.parametrize("name", ONLY_WITH)
def test_without_torchvision_a_processor_that_needs_it_is_refused_with_what_to_do(name: str, tmp_path: Path) -> None:
    tokenizer_with(image_token="<image>", video_token="<video>").save_pretrained(tmp_path)
    pictures = {"image_processor_type": f"{ONLY_WITH[name]}ImageProcessor"}
    stored = {"processor_class": f"{ONLY_WITH[name]}Processor", "image_processor": pictures}
    (tmp_path / "processor_config.json").write_text(json.dumps(stored))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": name}))
    with pytest.raises(SdvlmError, match="pip install torchvision") as caught:
        load_processor(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", marked(WITH_VIDEO))
def test_a_processor_saved_without_its_video_half_loads_where_torchvision_is(name: str, tmp_path: Path) -> None:
    whole = ZOO[name]().processor
    parts: dict[str, Any] = {
        "image_processor": whole.image_processor,
        "tokenizer": whole.tokenizer,
        "chat_template": whole.chat_template,
    }
    for setting in ("image_seq_length", "image_seq_len", "num_image_tokens", "vision_feature_select_strategy"):
        if hasattr(whole, setting):
            parts[setting] = getattr(whole, setting)
    halved = whole if not is_torchvision_available() else image_only(type(whole).__name__)(**parts)
    halved.save_pretrained(tmp_path)
    again = load_processor(tmp_path)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (75, 100, 3), dtype=np.uint8))
    ask = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "?"}]}]
    text = whole.apply_chat_template(ask, add_generation_prompt=True)
    mine, theirs = (one(text=[text], images=[picture], return_tensors="pt") for one in (whole, again))
    assert set(mine) == set(theirs)
    for key in mine:
        assert torch.equal(torch.as_tensor(mine[key]), torch.as_tensor(theirs[key]))
