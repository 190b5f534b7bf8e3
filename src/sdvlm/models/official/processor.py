"""The processor of an official checkpoint: released pixels, tokenizer, prompts and depth."""

from __future__ import annotations

from functools import partial
from os import PathLike
from typing import Any

from transformers import LlavaProcessor
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

from sdvlm.models.official.layout import OfficialFolder, open_official, read_json
from sdvlm.models.official.load import depth_vlm_config, load_official_depth
from sdvlm.models.official.plan import Plan, make_plan
from sdvlm.models.official.tokenizer import official_tokenizer
from sdvlm.models.processor import DepthProcessor
from sdvlm.models.vicuna import SYSTEM
from sdvlm.types import SdvlmError

__all__ = ["llava_processor", "official_processor"]

_CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073]
_CLIP_STD = [0.26862954, 0.26130258, 0.27577711]
_KEPT = (
    "do_resize",
    "do_center_crop",
    "do_rescale",
    "do_normalize",
    "resample",
    "rescale_factor",
    "image_mean",
    "image_std",
)
_TEMPLATE = (
    SYSTEM + " {% for m in messages %}{% if m.role == 'user' %}USER: "
    "{% for c in m.content %}{% if c.type == 'image' %}<image>\n{% endif %}{% endfor %}"
    "{% for c in m.content %}{% if c.type == 'text' %}{{ c.text }}{% endif %}{% endfor %} "
    "{% else %}ASSISTANT: {% for c in m.content %}{{ c.text }}{% endfor %}</s>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)


def official_processor(
    folder_or_id: str | PathLike[str],
    pooling: str = "unpadded",
    *,
    base: str | PathLike[str] | None = None,
    **hub: Any,
) -> DepthProcessor:
    """The processor that belongs to ``load_official`` of the same arguments, its depth network included.

    Raises:
        SdvlmError: as ``load_official``, or there is no tokenizer.
    """
    official = open_official(folder_or_id, base, **hub)
    plan = make_plan(official, **hub)
    config = depth_vlm_config(official, plan, pooling)
    network = partial(load_official_depth, folder_or_id, base=base, **hub) if config.estimator is not None else None
    return DepthProcessor(llava_processor(official, plan), config, network)


def llava_processor(official: OfficialFolder, plan: Plan) -> LlavaProcessor:
    """A stock processor: pixels equal to the released ones on Pillow, and a chat template that words ``vicuna_v1``."""
    config: Any = plan.vlm_config
    return LlavaProcessor(
        _image_processor(official, plan),
        official_tokenizer(official),
        patch_size=config.vision_config.patch_size,
        vision_feature_select_strategy=config.vision_feature_select_strategy,
        chat_template=_TEMPLATE,
        num_additional_image_tokens=1,
    )


def _image_processor(official: OfficialFolder, plan: Plan) -> LlavaImageProcessorPil:
    """CLIP's preprocessing on the picture padded to a square with CLIP's mean colour (``llava/mm_utils.py``)."""
    side = int(plan.tower.config.image_size)  # type: ignore[arg-type]
    places = [*([plan.tower.folder] if plan.tower.folder is not None else []), *official.places]  # as released
    found = next((one for place in places if (one := read_json(place / "preprocessor_config.json"))), {})
    size, crop = (_size(found.get(name), name, side) for name in ("size", "crop_size"))
    if (crop["height"], crop["width"]) != (side, side):
        raise SdvlmError(f"pictures are cut to {crop} but the tower sees {side} x {side}; fix preprocessor_config.json")
    settings: dict[str, Any] = {"image_mean": _CLIP_MEAN, "image_std": _CLIP_STD, "resample": 3}
    settings |= {name: found[name] for name in _KEPT if found.get(name) is not None}
    pads = official.config.get("image_aspect_ratio") == "pad"
    return LlavaImageProcessorPil(size=size, crop_size=crop, do_pad=pads, **settings)


def _size(told: Any, name: str, side: int) -> dict[str, int]:
    """A size as transformers states it today; older files have a plain number."""
    if isinstance(told, dict):
        return {key: int(value) for key, value in told.items()}
    number = side if told is None else int(told)
    return {"shortest_edge": number} if name == "size" else {"height": number, "width": number}
