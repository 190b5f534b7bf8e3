"""All that sdvlm knows of particular model families. Nothing outside this package and ``models.grid`` names one."""

from __future__ import annotations

from sdvlm.models.families.family import Family, Views
from sdvlm.models.families.known import FAMILIES, family_of, found_family, register_family, token_width
from sdvlm.models.families.positions import attends_both_ways, position_axes, position_offset
from sdvlm.models.families.processors import (
    ImageOnlyQwenProcessor,
    adds_special_tokens,
    load_processor,
    pictures_of_prompts,
    processed,
)
from sdvlm.models.families.queried import readable_mark

__all__ = [
    "FAMILIES",
    "Family",
    "ImageOnlyQwenProcessor",
    "Views",
    "adds_special_tokens",
    "attends_both_ways",
    "family_of",
    "found_family",
    "load_processor",
    "pictures_of_prompts",
    "position_axes",
    "position_offset",
    "processed",
    "readable_mark",
    "register_family",
    "token_width",
]
