"""One tiny random model of every family, with a real processor: what the contract of families is proven on."""

from tests.models.zoo.base import Tiny
from tests.models.zoo.dense import DENSE
from tests.models.zoo.packed import PACKED
from tests.models.zoo.ragged import RAGGED
from tests.models.zoo.tiled import TILED

__all__ = ["ZOO", "Tiny"]

ZOO = {**DENSE, **PACKED, **RAGGED, **TILED}
"""builders by ``model_type``"""
