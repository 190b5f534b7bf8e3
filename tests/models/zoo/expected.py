"""Where families differ in what they can do. The contract test holds each of them to it."""

from __future__ import annotations

__all__ = ["DEEP", "ONE_PICTURE", "PACKED", "PREFIX", "REFUSED"]

PREFIX: dict[str, str] = {
    "paligemma": "one by one",
    "gemma3": "copied",
    "gemma4": "copied",
    "aya_vision": "copied",
    "cohere2_vision": "copied",
    "llama4": "copied",
    "lfm2_vl": "one by one",
    "qwen3_5": "one by one",
}
"""how families answer several questions about a picture, where that is not by sharing what the prompts begin with"""

PACKED: dict[str, str] = {
    "paligemma": "its prompts attend both ways, so that what it makes of a picture depends on the question",
    "gemma3": "it has layers of sliding_attention, whose reach is counted in rows",
    "gemma4": "it has layers of sliding_attention, whose reach is counted in rows",
    "aya_vision": "it has layers of sliding_attention, whose reach is counted in rows",
    "cohere2_vision": "it has layers of sliding_attention, whose reach is counted in rows",
    "llama4": "it has layers of chunked_attention, whose reach is counted in rows",
    "lfm2_vl": "it has layers of conv, whose reach is counted in rows",
    "qwen3_5": "it has layers of linear_attention, whose reach is counted in rows",
}
"""why families are not trained on packed rows"""

_TILED = {
    *("llava_next", "llava_onevision", "internvl", "aya_vision", "idefics3", "smolvlm", "ovis2"),
    *("llama4", "cohere2_vision", "lfm2_vl", "perception_lm"),
}
REFUSED: dict[str, set[str]] = {
    "encoder_add": _TILED | {"mistral3", "gemma4"},
    "depth_token": _TILED | {"qwen3_vl", "qwen3_vl_moe"},
    "depth_prompt": set(),
}
"""fusions that need one view a picture, all of one size or packed, and no deeper feature levels"""

DEEP = {"qwen3_vl", "qwen3_vl_moe"}
"""families with deeper feature levels"""

ONE_PICTURE: dict[str, str] = {}
"""families that take one picture a prompt, and what they say to two"""

NEEDS: dict[str, str] = {
    **dict.fromkeys(("llama4", "cohere2_vision", "lfm2_vl", "mistral3"), "torchvision"),
    "perception_lm": "torchvision, timm",
    "fast_vlm": "timm",
    "smolvlm": "num2words",
}
"""packages that processors or towers of families want beside what sdvlm installs"""
