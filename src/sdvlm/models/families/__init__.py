"""All that sdvlm knows of particular model families. Nothing outside this package and ``models.grid`` names one."""

from __future__ import annotations

from sdvlm.models.families.family import Family, Views
from sdvlm.models.families.known import FAMILIES, family_of, register_family
from sdvlm.models.families.positions import position_axes, position_offset
from sdvlm.models.families.processors import ImageOnlyQwenProcessor, load_processor, pictures_of_prompts

__all__ = [
    "FAMILIES",
    "Family",
    "ImageOnlyQwenProcessor",
    "Views",
    "family_of",
    "load_processor",
    "pictures_of_prompts",
    "position_axes",
    "position_offset",
    "register_family",
]
