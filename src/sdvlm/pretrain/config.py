"""Everything a pre-training run depends on besides its data: one frozen dataclass of plain, documented fields."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args, get_type_hints

from sdvlm.types import SdvlmError

__all__ = ["OBJECTIVES", "FalseNegatives", "Objective", "PretrainConfig"]

Objective = Literal["default", "infonce", "comae"]
FalseNegatives = Literal["avoid", "mask", "keep"]
OBJECTIVES: tuple[str, ...] = get_args(Objective)
_FREE = frozenset(
    {"rgb", "workers", "device", "keep_checkpoints", "checkpoint_every", "cache_gb", "tensorboard", "chunk"}
)
"""settings a resumed run may change: they move time and memory, not what is learned; a tower is known by its weights"""


@dataclass(frozen=True)
class PretrainConfig:
    """How a depth encoder is trained.

    Raises:
        SdvlmError: a setting outside its range, or settings that exclude each other; names the setting.
    """

    rgb: str = ""
    """the frozen RGB tower: a folder or a hub id of a vision model, or of a model with one inside"""
    objective: Objective = "default"
    """``default``: InfoNCE and masked log-depth reconstruction; ``infonce``: the contrast alone, in which nothing
    keeps metric scale; ``comae``: patch contrast, then masked reconstruction of both modalities by one shared tower"""
    seed: int = 0
    """decides initial weights, order, masks and augmentation"""
    steps: int | None = None
    """optimiser steps; None: as many as ``epochs`` take"""
    epochs: float = 10.0
    """passes over the pairs, where ``steps`` is not given"""
    batch: int = 256
    """pairs contrasted with each other, over all processes"""
    chunk: int = 64
    """pairs in memory at once in one process; the gradient is that of the whole batch (GradCache)"""
    share: float = 1.0
    """share of the training pairs that is used; a smaller share is part of a larger one"""
    lr: float = 1e-4
    """of new parts: projections, decoder, temperature"""
    tower_lr: float | None = None
    """of the tower's own parts; None: a tenth of ``lr``"""
    weight_decay: float = 0.05
    """of matrices; biases, norms and the temperature have none"""
    warmup: float = 0.05
    """share of the steps with a rising learning rate; a cosine follows"""
    clip_norm: float = 1.0
    """longest gradient, over all parameters"""
    temperature: float = 0.07
    """of InfoNCE; its start where it is learned"""
    learn_temperature: bool = False
    """learn it; the logit scale is kept at 100 or less"""
    contrast_weight: float = 1.0
    """of InfoNCE between whole pictures"""
    patch_weight: float = 0.0
    """of the contrast between the patches of a picture; needs the patch features of the RGB tower on disk"""
    reconstruction_weight: float = 1.0
    """of masked log-depth reconstruction; 0 for ``infonce``"""
    reconstruction_share: float = 0.5
    """share of each batch that is also encoded masked, for reconstruction"""
    visible_weight: float = 0.5
    """of telling the depth of patches that were seen, from the unmasked pass, against that of hidden ones"""
    mask_ratio: float = 0.75
    """share of the patches hidden for reconstruction"""
    false_negatives: FalseNegatives = "avoid"
    """pairs of one scene in a batch: ``avoid`` draws one frame a scene where it can and masks the rest, ``mask``
    leaves them out of the negatives, ``keep`` contrasts them as any others"""
    pool: int = 3
    """features are averaged over a grid of so many cells a side before the projection; 1: over the whole picture"""
    embedding: int = 256
    """width of the space the pairs are contrasted in"""
    head_width: int = 0
    """width of a hidden layer in the depth projection; 0: a linear map, as on the RGB side"""
    centre: bool = True
    """standardise the RGB tower's pooled features by their mean and spread over the training pairs"""
    coordinate: str = "log_metric"
    """what the first depth channel holds (``fusion.depth_channels.DepthChannels``)"""
    extras: tuple[str, ...] = ("valid",)
    """further depth channels: ``valid``, ``disparity``, ``height``, ``normal``"""
    curriculum: float = 0.2
    """``comae``: share of the steps that contrast before those that reconstruct"""
    flip: float = 0.0
    """share of the pairs mirrored anew each time they are drawn, RGB and depth together"""
    crop: float = 1.0
    """smallest side of a random crop, as a share of the picture's; 1: none"""
    rotate_degrees: float = 0.0
    """largest random turn in the picture plane, either way"""
    cache: bool = True
    """encode each picture with the frozen RGB tower once and keep its features on disk; not with augmentation"""
    cache_gb: float = 20.0
    """most disk the feature caches may take together; older ones make room"""
    eval_every: int | None = None
    """steps between evaluations; None: a tenth of the run"""
    eval_pairs: int = 1000
    """held-out pairs for retrieval, at most"""
    probe_pairs: int = 256
    """pairs of each split for the linear probes, at most"""
    checkpoint_every: int | None = None
    """steps between checkpoints; None: as evaluations"""
    keep_checkpoints: int = 2
    """newest checkpoints kept"""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """bfloat16: autocast of the towers; weights and losses stay float32"""
    device: str | None = None
    """None: a GPU where there is one"""
    workers: int = 0
    """processes that read pairs, in each training process"""
    tensorboard: bool | None = None
    """write TensorBoard files; None: where the package is installed"""

    def __post_init__(self) -> None:
        self._check_words()
        for name in ("batch", "chunk", "pool", "embedding", "eval_pairs", "probe_pairs", "keep_checkpoints"):
            self._check(name, getattr(self, name) >= 1, "at least 1")
        for name in ("steps", "eval_every", "checkpoint_every"):
            self._check(name, getattr(self, name) is None or getattr(self, name) >= 1, "at least 1")
        for name in (
            "seed",
            "workers",
            "head_width",
            "weight_decay",
            "contrast_weight",
            "patch_weight",
            "reconstruction_weight",
            "visible_weight",
        ):
            self._check(name, 0 <= getattr(self, name) < math.inf, "not negative")
        for name in ("epochs", "lr", "clip_norm", "temperature", "cache_gb"):
            self._check(name, 0 < getattr(self, name) < math.inf, "a positive number")
        self._check("tower_lr", self.tower_lr is None or 0 <= self.tower_lr < math.inf, "not negative")
        for name in ("share", "crop", "reconstruction_share"):
            self._check(name, 0 < getattr(self, name) <= 1, "above 0 and at most 1")
        for name in ("mask_ratio", "warmup", "curriculum"):
            self._check(name, 0 <= getattr(self, name) < 1, "at least 0 and below 1")
        self._check("flip", 0 <= self.flip <= 1, "between 0 and 1")
        self._check("rotate_degrees", 0 <= self.rotate_degrees <= 45, "between 0 and 45")
        self._check("batch", self.batch >= 2, "at least 2: a pair is contrasted with others")
        if self.objective == "default" and not self.contrast_weight + self.patch_weight + self.reconstruction_weight:
            raise SdvlmError("all loss weights are 0, so there is nothing to learn; give one of them")

    def _check_words(self) -> None:
        for name, hint in get_type_hints(type(self)).items():
            known = get_args(hint)
            value = getattr(self, name)
            if known and all(isinstance(one, str) for one in known) and value not in known:
                raise SdvlmError(f"no {name} '{value}'; choose one of {', '.join(known)}")

    def _check(self, name: str, good: bool, wanted: str) -> None:
        if not good:
            raise SdvlmError(f"the setting {name} must be {wanted}; got {getattr(self, name)}")

    @property
    def augments(self) -> bool:
        """Whether pairs are changed when drawn."""
        return bool(self.flip or self.crop < 1 or self.rotate_degrees)

    @property
    def uses_cache(self) -> bool:
        """Whether RGB features come from disk: the tower is frozen and sees each picture as it is."""
        return self.cache and not self.augments and self.objective != "comae"

    @property
    def reconstructs(self) -> float:
        """Weight of the reconstruction; pure InfoNCE has none."""
        return 0.0 if self.objective == "infonce" else self.reconstruction_weight

    @property
    def contrasts_patches(self) -> float:
        """Weight of the patch contrast; pure InfoNCE has none."""
        return 0.0 if self.objective == "infonce" else self.patch_weight

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self) | {"extras": list(self.extras)}

    def decisive(self) -> dict[str, Any]:
        """The settings that decide what is learned; a run is resumed only with the same ones."""
        return {name: value for name, value in self.to_dict().items() if name not in _FREE}

    def with_settings(self, settings: Mapping[str, str]) -> PretrainConfig:
        """The same with some fields replaced.

        Args:
            settings: field -> value as JSON, or as bare text.

        Raises:
            SdvlmError: no such field, or a value it does not take; names the field.
        """
        known = {one.name for one in fields(self)}
        changed: dict[str, Any] = {}
        for name, text in settings.items():
            if name not in known:
                raise SdvlmError(f"no setting '{name}'; there are {', '.join(sorted(known))}")
            changed[name] = _parsed(name, text, get_type_hints(type(self))[name])
        return dataclasses.replace(self, **changed)


def _parsed(name: str, text: str, hint: Any) -> Any:
    """The value of a setting's text, of the type the field declares."""
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    if hint == tuple[str, ...]:
        return tuple(value if isinstance(value, list) else [one for one in str(value).split(",") if one])
    if get_args(hint) and all(isinstance(one, str) for one in get_args(hint)):
        return text
    allowed: tuple[type, ...] = get_args(hint) or (hint,)
    if type(value) is int and float in allowed and int not in allowed:
        return float(value)
    if type(value) not in allowed:
        raise SdvlmError(f"the setting {name} does not take '{text}'; wanted {_said(allowed)}")
    return value


def _said(types: tuple[type, ...]) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}
    return " or ".join(names[one] for one in types)
