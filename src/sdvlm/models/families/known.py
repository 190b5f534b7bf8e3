"""The families there are, by ``model_type`` of their configs, and how to add one."""

from __future__ import annotations

from transformers import PreTrainedConfig

from sdvlm.models.families.dense import DENSE
from sdvlm.models.families.family import Family
from sdvlm.models.families.packed import PACKED
from sdvlm.models.families.ragged import RAGGED
from sdvlm.models.families.tiled import TILED
from sdvlm.models.families.with_torchvision import WITH_TORCHVISION
from sdvlm.types import SdvlmError

__all__ = [
    "FAMILIES",
    "GUESSED",
    "QUERIED",
    "family_of",
    "found_family",
    "looks_nowhere",
    "register_family",
    "stated_family",
    "token_width",
]

FAMILIES: dict[str, Family] = {**DENSE, **PACKED, **RAGGED, **TILED, **WITH_TORCHVISION}
"""by ``model_type`` of the config"""
GUESSED: dict[str, Family] = {}
"""what ``families.unknown`` found out and proved about others, in this process"""

QUERIED = frozenset({"aria", "blip-2", "idefics2", "instructblip", "instructblipvideo", "kosmos-2", "mllama"})
"""families whose language model reads learned queries of the picture (Q-Former, resampler) or attends to its features:
no image token looks at a place"""


def looks_nowhere(config: PreTrainedConfig) -> bool:
    """Whether a family's image tokens are learned queries."""
    return config.model_type in QUERIED and config.model_type not in FAMILIES


def stated_family(config: PreTrainedConfig) -> Family | None:
    """The facts about a model's family; None: nobody has stated them.

    Raises:
        SdvlmError: its tokens look at no place.
    """
    if looks_nowhere(config):
        raise SdvlmError(
            f"the image tokens of '{config.model_type}' are learned queries and look at no place of the picture, so no "
            "depth belongs to them; the fusion 'depth_prompt' writes depth into the prompt and works, as does "
            "'depth_image' where a prompt may show two pictures"
        )
    return FAMILIES.get(config.model_type)


def found_family(config: PreTrainedConfig) -> Family | None:
    """The same, or what was guessed of it before."""
    return FAMILIES.get(config.model_type) or GUESSED.get(config.model_type)


def family_of(config: PreTrainedConfig) -> Family:
    """The facts about a model's family, stated or guessed before.

    Raises:
        SdvlmError: the family is not known, or its tokens look at no place.
    """
    family = stated_family(config) or found_family(config)
    if family is None:
        known = ", ".join(sorted(FAMILIES))
        raise SdvlmError(
            f"where the image tokens of '{config.model_type}' look is not known (known: {known}); "
            "state its views, cells and source with sdvlm.models.families.register_family (docs/families.md)"
        )
    return family


def token_width(config: PreTrainedConfig) -> int:
    """Numbers that an image token has where depth meets it; the language model's width for a family not known."""
    family = found_family(config)
    return int(config.get_text_config().hidden_size) if family is None else family.width(config)


def register_family(model_type: str, family: Family) -> None:
    """Make a family known, in this process. A known one is replaced.

    Args:
        model_type: of the configs of its models.
        family: its facts; ``docs/families.md`` says how to find and prove them.
    """
    FAMILIES[model_type] = family
