"""One tiny random model of every family, with a real processor: what the contract of families is proven on."""

from collections.abc import Iterable
from typing import Any

import pytest
from tests.models.zoo.base import Tiny
from tests.models.zoo.dense import DENSE
from tests.models.zoo.packed import PACKED
from tests.models.zoo.ragged import RAGGED
from tests.models.zoo.tiled import TILED
from tests.models.zoo.with_torchvision import WITH_TORCHVISION
from transformers.utils.import_utils import is_torchvision_available

from sdvlm.models.families import processors
from sdvlm.models.families.processors import image_only

__all__ = ["BUILDABLE", "MEMBERS", "ZOO", "Tiny", "marked"]

ZOO = {**DENSE, **PACKED, **RAGGED, **TILED, **WITH_TORCHVISION}
"""builders by ``model_type``"""

_TORCHVISION = "its image processor exists only with torchvision: make test-torchvision"
_WHY_NOT: dict[str, str] = {} if is_torchvision_available() else dict.fromkeys(WITH_TORCHVISION, _TORCHVISION)
if image_only("Gemma4Processor").__mro__[2].__module__ == processors.__name__:
    _WHY_NOT["gemma4"] = "transformers 5.20 has its processor only with torchvision"

BUILDABLE = [name for name in ZOO if name not in _WHY_NOT]
"""those that can be built here"""


def marked(names: Iterable[str]) -> list[Any]:
    """Families for ``parametrize``, skipped where they cannot be built."""
    return [pytest.param(one, marks=pytest.mark.skip(reason=_WHY_NOT[one]) if one in _WHY_NOT else ()) for one in names]


MEMBERS = marked(ZOO)
"""every family"""
