"""The pictures of published models: vision tower and image processor of one model of each family, without weights.

What the probe costs depends on these alone, so language models keep the sizes their configs have by default. With
``small`` pictures are cut into a few hundred tokens, for models that a CPU runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import transformers
from transformers import AutoConfig, PreTrainedConfig

__all__ = ["PUBLISHED"]

Parts = tuple[PreTrainedConfig, Any]
_SO400M = {
    "model_type": "siglip_vision_model",
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "patch_size": 14,
    "vision_use_head": False,
}
_GLM_ROPE = {
    "rope_type": "default",
    "rope_theta": 1e4,
    "partial_rotary_factor": 0.5,
    "mrope_section": [8, 12, 12],
}


def _square(side: int) -> dict[str, int]:
    return {"height": side, "width": side}


def _made(model_type: str, processor: str, settings: dict[str, Any], **config: Any) -> Parts:
    """Config and image processor, of Pillow where there are two."""
    kind = getattr(transformers, f"{processor}Pil", None) or getattr(transformers, processor)
    made: Any = AutoConfig.for_model(model_type, **config)
    return made, kind(**settings)


def _clip(model_type: str, **config: Any) -> Callable[[bool], Parts]:
    sizes = {"size": {"shortest_edge": 336}, "crop_size": _square(336)}
    return lambda small: _made(model_type, "CLIPImageProcessor", sizes, **config)


def _siglip(model_type: str, processor: str, side: int, small_side: int, **tower: Any) -> Callable[[bool], Parts]:
    def make(small: bool) -> Parts:
        seen = small_side if small else side
        return _made(
            model_type, processor, {"size": _square(seen)}, vision_config=_SO400M | tower | {"image_size": seen}
        )

    return make


def _packed(
    model_type: str, patch: int, processor: str = "Qwen2VLImageProcessor", **text: Any
) -> Callable[[bool], Parts]:
    budget = {"shortest_edge": 16 * patch**2, "longest_edge": 16384 * 4 * patch**2}
    sizes = {"size": budget, "patch_size": patch, "merge_size": 2}
    return lambda small: _made(model_type, processor, sizes, vision_config={}, text_config=text)


def _convolutional(small: bool) -> Parts:
    """A convolutional tower in the place of FastViT, which needs timm."""
    width = 256 if small else 3072
    tower = transformers.ConvNextConfig(hidden_sizes=[width], depths=[1], num_stages=1, patch_size=64, image_size=1024)
    tower.hidden_size = width
    sizes = {"size": {"shortest_edge": 1024}, "crop_size": _square(1024)}
    return _made("fast_vlm", "CLIPImageProcessor", sizes, vision_config=tower, image_seq_length=256)


def _pixtral(small: bool) -> Parts:
    return _made("mistral3", "PixtralImageProcessor", {"size": {"longest_edge": 1540}, "patch_size": 28})


def _gemma4(small: bool) -> Parts:
    layers = {"hidden_size_per_layer_input": 64, "vocab_size_per_layer_input": 4096, "global_head_dim": 256}
    text = layers if small else {}
    return _made("gemma4", "Gemma4ImageProcessor", {}, vision_config={}, text_config=text, audio_config=None)


def _llava_next(small: bool) -> Parts:
    side = 168 if small else 336
    points = [[side * rows, side * columns] for rows, columns in ((1, 2), (2, 1), (2, 2), (3, 1), (1, 3))]
    sizes = {"size": {"shortest_edge": side}, "crop_size": _square(side), "image_grid_pinpoints": points}
    tower = {"model_type": "clip_vision_model", "hidden_size": 1024, "intermediate_size": 4096, "patch_size": 14}
    tower |= {"num_hidden_layers": 24, "num_attention_heads": 16, "image_size": side}
    return _made("llava_next", "LlavaNextImageProcessor", sizes, vision_config=tower, image_grid_pinpoints=points)


def _llava_onevision(small: bool) -> Parts:
    side, most = (196, 2) if small else (384, 6)
    points = [[side * rows, side * columns] for rows in range(1, most + 1) for columns in range(1, most + 1)]
    return _made(
        "llava_onevision",
        "LlavaOnevisionImageProcessor",
        {"size": _square(side), "image_grid_pinpoints": points},
        vision_config={**_SO400M, "num_hidden_layers": 26, "image_size": side},
        image_grid_pinpoints=points,
        vision_feature_select_strategy="full",
    )


def _internvl(small: bool) -> Parts:
    side, most = (224, 4) if small else (448, 12)
    sizes = {"size": _square(side), "max_patches": most}
    return _made("internvl", "GotOcr2ImageProcessor", sizes, vision_config={"image_size": (side, side)})


def _aya(small: bool) -> Parts:
    side, most = (196, 4) if small else (364, 12)
    sizes = {"size": _square(side), "max_patches": most}
    return _made("aya_vision", "GotOcr2ImageProcessor", sizes, vision_config={**_SO400M, "image_size": side})


def _idefics(model_type: str, processor: str, side: int, small_side: int, factor: int) -> Callable[[bool], Parts]:
    tower = {name: value for name, value in _SO400M.items() if name not in ("model_type", "vision_use_head")}

    def make(small: bool) -> Parts:
        seen, most = (small_side, 2) if small else (side, 4)
        sizes = {"size": {"longest_edge": most * seen}, "max_image_size": {"longest_edge": seen}}
        return _made(model_type, processor, sizes, vision_config={**tower, "image_size": seen}, scale_factor=factor)

    return make


def _ovis2(small: bool) -> Parts:
    side, most = (224, 4) if small else (448, 9)
    sizes = {"size": _square(side), "crop_to_patches": True, "max_patches": most}
    tower = {"hidden_size": 1024, "image_size": side, "hidden_stride": 2, "vocab_size": 65536}
    return _made("ovis2", "Ovis2ImageProcessor", sizes, vision_config=tower)


PUBLISHED: dict[str, tuple[str, Callable[[bool], Parts]]] = {
    "llava": ("LLaVA-1.5-7B", _clip("llava")),
    "vipllava": ("ViP-LLaVA-7B", _clip("vipllava")),
    "paligemma": ("PaliGemma-3B-448", _siglip("paligemma", "SiglipImageProcessor", 448, 224)),
    "gemma3": ("Gemma-3-4B", _siglip("gemma3", "Gemma3ImageProcessor", 896, 448)),
    "deepseek_vl": (
        "DeepSeek-VL-7B",
        _siglip(
            "deepseek_vl",
            "DeepseekVLImageProcessor",
            384,
            384,
            hidden_size=1024,
            intermediate_size=4096,
            num_hidden_layers=24,
            patch_size=16,
        ),
    ),
    "fast_vlm": ("FastVLM-7B's sizes", _convolutional),
    "qwen2_vl": ("Qwen2-VL-7B", _packed("qwen2_vl", 14)),
    "qwen2_5_vl": ("Qwen2.5-VL-7B", _packed("qwen2_5_vl", 14)),
    "qwen3_vl": ("Qwen3-VL-8B", _packed("qwen3_vl", 16)),
    "qwen3_vl_moe": ("Qwen3-VL-30B-A3B", _packed("qwen3_vl_moe", 16)),
    "qwen3_5": ("Qwen3.5-9B", _packed("qwen3_5", 16)),
    "glm4v": ("GLM-4.1V-9B", _packed("glm4v", 14, "Glm4vImageProcessor", rope_parameters=_GLM_ROPE)),
    "mistral3": ("Mistral-Small-3.1-24B", _pixtral),
    "gemma4": ("Gemma-4-E4B", _gemma4),
    "llava_next": ("LLaVA-NeXT-7B", _llava_next),
    "llava_onevision": ("LLaVA-OneVision-7B", _llava_onevision),
    "internvl": ("InternVL3-8B", _internvl),
    "aya_vision": ("Aya-Vision-8B", _aya),
    "idefics3": ("Idefics3-8B", _idefics("idefics3", "Idefics3ImageProcessor", 364, 224, 2)),
    "smolvlm": ("SmolVLM-2.2B", _idefics("smolvlm", "SmolVLMImageProcessor", 384, 252, 3)),
    "ovis2": ("Ovis2-8B", _ovis2),
}
"""by ``model_type``: a model's name, and what makes its config and image processor, of its own size or a small one"""
