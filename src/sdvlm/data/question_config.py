"""What to ask, how often, and how sure one has to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from types import MappingProxyType
from typing import Literal, get_args

from sdvlm.data.categories import COMMON_CATEGORIES
from sdvlm.data.phrasings import Phrasing
from sdvlm.data.schema import QuestionType
from sdvlm.data.units import unit_of
from sdvlm.types import SdvlmError

__all__ = ["QuestionConfig"]


@dataclass(frozen=True)
class QuestionConfig:
    """Settings of :func:`sdvlm.data.questions.ask_all`."""

    per_frame: int = 28
    """questions per picture at most; MSMU has about 28"""
    weights: Mapping[QuestionType, float] = field(
        default_factory=lambda: MappingProxyType(dict.fromkeys(QuestionType, 1.0))
    )
    """share of each family; a family that cannot be asked of a picture leaves its share to the others"""
    answer_style: Literal["msmu", "short"] = "msmu"
    """"msmu": the published sentences; "short": the bare answer"""
    min_ratio: float = 1.10
    """heights and distances are compared only when the larger is at least this many times the smaller ..."""
    min_gap_m: float = 0.05
    """... and at least this much more, in metres"""
    min_side_share: float = 0.05
    """left and right are asked only of objects this far apart in the image, as a share of its width ..."""
    min_side_gap_m: float = 0.10
    """... and this far apart in camera x, metres, in the same order"""
    min_length_m: float = 0.10
    """shorter extents and distances are not asked: rounding to centimetres would spoil them"""
    extra_color_probability: float = 0.3
    """how often an object is called "red chair" where "chair" would do"""
    negative_categories: tuple[str, ...] = COMMON_CATEGORIES
    """what may be asked about when the scene does not hold it"""
    phrasing: Phrasing = "core"
    """"core": the questions of the templates; "all": more of them; "held_out": only ones that the others never use"""
    units: tuple[str, ...] = ("m",)
    """units that lengths are asked for and answered in, symbols of :data:`sdvlm.data.units.UNITS`; questions name any
    but metres; a reference height comes in the unit of the answer"""
    unit_weights: tuple[float, ...] = ()
    """how often each of ``units`` is drawn, relative to the others; empty: all alike"""
    distance: Literal["centres", "surfaces", "both"] = "centres"
    """what is measured between two objects: from centre to centre of their boxes, or between the closest surfaces of
    the boxes; "both": one or the other, and the question says which"""
    depth_order: bool = False
    """also ask which is in front of, or behind, which, from the viewer's perspective"""
    complete_labels: bool = True
    """False: the source labels only some of what its pictures show (single objects on a table, the boxes somebody had
    time for), so nothing is counted and nothing said not to be there"""
    gravity_known: bool = True
    """False: nobody knows which way is up, so no height, width or length is asked and none compared"""

    def __post_init__(self) -> None:
        if self.per_frame < 1:
            raise SdvlmError(f"per_frame must be at least 1 question; got {self.per_frame}")
        if self.min_ratio < 1 or min(self.min_gap_m, self.min_side_share, self.min_side_gap_m, self.min_length_m) < 0:
            raise SdvlmError("question margins must be at least 1 for the ratio and 0 for the others")
        for name, known in (("distance", ("centres", "surfaces", "both")), ("phrasing", get_args(Phrasing))):
            if getattr(self, name) not in known:
                raise SdvlmError(f"{name} is one of {', '.join(known)}; got {getattr(self, name)!r}")
        weights = {QuestionType(kind): float(weight) for kind, weight in self.weights.items()}
        if not weights or min(weights.values()) < 0 or max(weights.values()) == 0:
            raise SdvlmError("question weights must be non-negative, at least one of them positive")
        object.__setattr__(self, "weights", MappingProxyType(weights))
        self._check_units()

    def _check_units(self) -> None:
        for unit in self.units:
            unit_of(unit)
        if not self.units or len(set(self.units)) != len(self.units):
            raise SdvlmError(f"units must be different ones, at least one; got {self.units}")
        shares = tuple(float(share) for share in self.unit_weights)
        if shares and (len(shares) != len(self.units) or min(shares) < 0 or max(shares) == 0):
            raise SdvlmError(f"unit_weights must be non-negative, one for each of {self.units}; got {shares}")
        object.__setattr__(self, "unit_weights", shares)

    def __reduce__(self) -> tuple[object, ...]:
        """Frozen mappings do not pickle: a worker makes the settings anew from plain ones."""
        plain = {one.name: getattr(self, one.name) for one in fields(self)}
        return partial(type(self), **plain | {"weights": dict(self.weights)}), ()
