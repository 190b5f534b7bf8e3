"""The LLaVA config of an official checkpoint: Llama's fields and ``mm_*`` to ``LlavaConfig``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import LlamaConfig, LlavaConfig

from sdvlm.types import SdvlmError

__all__ = ["llava_config"]

_NEEDED = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
_LLAMA = (
    *_NEEDED,
    "num_key_value_heads",
    "head_dim",
    "hidden_act",
    "max_position_embeddings",
    "initializer_range",
    "rms_norm_eps",
    "use_cache",
    "pad_token_id",
    "bos_token_id",
    "eos_token_id",
    "attention_bias",
    "attention_dropout",
    "mlp_bias",
    "pretraining_tp",
)
_SELECT: dict[str, Any] = {"patch": "default", "cls_patch": "full"}
_FIXED = {
    "mm_projector_type": ("mlp2x_gelu", "linear"),
    "mm_patch_merge_type": ("flat", "flat"),
    "mm_use_im_start_end": (False, False),
    "tie_word_embeddings": (False, False),
}
"""field: the value that is known here, and what the released code takes where the field is absent"""


def llava_config(config: Mapping[str, Any], vision: Any) -> LlavaConfig:
    """The stock config for an official one and the ``CLIPVisionConfig`` of its tower.

    Its ``image_token_index`` has yet to be set: official vocabularies have no image token.

    Raises:
        SdvlmError: a field is absent or asks for what this layout does not have.
    """
    absent = [name for name in _NEEDED if not isinstance(config.get(name), int)]
    if absent:
        raise SdvlmError(f"the official config lacks {', '.join(absent)}; it is not one of an SD-VLM")
    for name, (known, absent_means) in _FIXED.items():
        found = config.get(name, absent_means)
        if found != known:
            raise SdvlmError(f"an official config with {name} = {found!r} is not known here; wanted {known!r}")
    if config.get("image_aspect_ratio") not in ("pad", "square", None):
        raise SdvlmError(
            f"image_aspect_ratio = {config['image_aspect_ratio']!r} is not known here; wanted 'pad' or 'square'"
        )
    select = config.get("mm_vision_select_feature", "patch")
    if select not in _SELECT:
        raise SdvlmError(f"mm_vision_select_feature = {select!r} is not known here; choose one of {', '.join(_SELECT)}")
    text = LlamaConfig(
        **{name: config[name] for name in _LLAMA if config.get(name) is not None}, rope_parameters=_rope(config)
    )
    cells = (vision.image_size // vision.patch_size) ** 2
    return LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_seq_length=cells + (select == "cls_patch"),
        projector_hidden_act="gelu",
        vision_feature_select_strategy=_SELECT[select],
        vision_feature_layer=int(config.get("mm_vision_select_layer", -2)),
        multimodal_projector_bias=True,
    )


def _rope(config: Mapping[str, Any]) -> dict[str, Any]:
    """Rotary settings as transformers 5 wants them, from ``rope_theta`` and ``rope_scaling``."""
    scaling = dict(config.get("rope_scaling") or {})
    kind = scaling.pop("type", None)
    return {"rope_theta": float(config.get("rope_theta", 10_000.0)), "rope_type": kind or "default", **scaling}
