"""One tiny random model of every family, with a real processor: what the contract of families is proven on."""

from typing import Any

import pytest
from tests.models.zoo.base import Tiny
from tests.models.zoo.dense import DENSE
from tests.models.zoo.packed import PACKED
from tests.models.zoo.ragged import RAGGED
from tests.models.zoo.tiled import TILED
from tests.models.zoo.with_torchvision import WITH_TORCHVISION
from transformers.utils.import_utils import is_torchvision_available

__all__ = ["BUILDABLE", "MEMBERS", "ZOO", "Tiny"]

ZOO = {**DENSE, **PACKED, **RAGGED, **TILED, **WITH_TORCHVISION}
"""builders by ``model_type``"""

BUILDABLE = [name for name in ZOO if is_torchvision_available() or name not in WITH_TORCHVISION]
"""those that can be built here"""

_LEFT_OUT = pytest.mark.skip(reason="its image processor exists only with torchvision: make test-torchvision")
MEMBERS: list[Any] = [pytest.param(name, marks=() if name in BUILDABLE else _LEFT_OUT) for name in ZOO]
"""every family, for ``parametrize``; skipped where it cannot be built"""
