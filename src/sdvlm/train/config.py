"""Everything a fine-tuning run depends on: frozen dataclasses of plain, documented fields, one YAML file a recipe."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from sdvlm.types import SdvlmError

__all__ = ["FORMATS", "DataSettings", "LearningRates", "LoraSettings", "TrainConfig", "VarySettings"]

FORMATS = ("auto", "built", "msmu", "llava", "messages")


@dataclass(frozen=True)
class DataSettings:
    """One part of the mixture."""

    path: str = ""
    """file, folder, or ``datasets`` id"""
    format: str = "auto"
    """``built`` (of sdvlm build), ``msmu`` (as published), ``llava`` (LLaVA / ShareGPT JSON), ``messages`` (Hugging
    Face chat messages); ``auto``: told by what lies there"""
    name: str = ""
    """in reports; empty: the last part of the path"""
    split: str = "train"
    """which split of it"""
    weight: float = 1.0
    """passes over this part in one epoch: 0.5 takes every second example, another half each epoch; 2 takes all twice"""
    images: str = ""
    """folder that relative picture paths are in; empty: beside the file"""
    depth: str = ""
    """where the data brings no depth: folder of depth files named as the pictures; empty: none is shown"""
    turns: Literal["auto", "apart", "together"] = "auto"
    """``apart``: every question and answer of a conversation is a dialogue of its own; ``together``: one dialogue;
    ``auto``: apart for ``built`` and ``msmu``, whose turns do not refer to each other"""
    broken: Literal["skip", "stop"] = "skip"
    """a row that cannot be used is told and left out, or ends the run"""

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise SdvlmError(f"no data format '{self.format}'; choose one of {', '.join(FORMATS)}")
        _within("data.weight", self.weight, self.weight > 0, "positive")
        _one_of("data.turns", self.turns, ("auto", "apart", "together"))
        _one_of("data.broken", self.broken, ("skip", "stop"))


@dataclass(frozen=True)
class LoraSettings:
    """Low-rank adapters on the linear layers of the language model, its head left out."""

    r: int = 128
    """rank"""
    alpha: int = 256
    """scale: updates are multiplied by alpha / r"""
    dropout: float = 0.05
    """of the adapters' input"""

    def __post_init__(self) -> None:
        _within("lora.r", self.r, self.r >= 1, "at least 1")
        _within("lora.dropout", self.dropout, 0 <= self.dropout < 1, "at least 0 and below 1")


@dataclass(frozen=True)
class LearningRates:
    """Peak learning rate of each group of modules; 0: it is frozen."""

    language_model: float = 2e-4
    """its adapters, or all of it without LoRA"""
    projector: float = 2e-5
    """the module between vision tower and language model"""
    fusion: float = 1e-3
    """what brings depth in, its depth encoder included"""
    vision_tower: float = 0.0
    """frozen in every published recipe"""

    def __post_init__(self) -> None:
        for name in ("language_model", "projector", "fusion", "vision_tower"):
            _within(f"lr.{name}", getattr(self, name), 0 <= getattr(self, name) < 1, "at least 0 and below 1")


@dataclass(frozen=True)
class VarySettings:
    """What training does to depth, so that the model neither depends on it nor ignores it.

    A model trained only with depth collapses without it, and may ignore it with it (fusion methods, pitfall P19).
    """

    depth_dropout: float = 0.0
    """share of the examples shown without depth"""
    rgb_masking: float = 0.0
    """share of the image tokens whose picture content is taken away, in examples with depth"""
    scaled_depth: float = 0.0
    """share of the examples with metric depth whose depth and every length asked about are multiplied by one factor"""
    largest_scale: float = 1.7
    """that factor lies between this and one over this, log-uniform"""
    reversed_depth: float = 0.0
    """share of the examples with typed answers shown with near and far exchanged, with the questions of who is nearer
    alone, their answers exchanged too"""

    def __post_init__(self) -> None:
        for name in ("depth_dropout", "rgb_masking", "scaled_depth", "reversed_depth"):
            _within(f"vary.{name}", getattr(self, name), 0 <= getattr(self, name) <= 1, "between 0 and 1")
        _within("vary.largest_scale", self.largest_scale, self.largest_scale > 1, "above 1")


@dataclass(frozen=True)
class TrainConfig:
    """A run of ``sdvlm train``.

    Raises:
        SdvlmError: a setting outside its range; names the setting.
    """

    model: str = ""
    """folder or hub id: a plain vision-language model, or one with depth"""
    revision: str | None = None
    """of the hub id"""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """of the frozen weights; what is trained is float32"""
    quantization: Literal["none", "4bit"] = "none"
    """``4bit``: the language model's frozen weights in NF4 (bitsandbytes, a GPU); vision and depth stay in 16 bit"""
    fusion: str | dict[str, Any] | None = "dpe"
    """name of a preset or fields of ``FusionConfig``; ``keep``: the model's own, with its weights; None: no depth"""
    depth_encoder: str | None = None
    """folder of a depth encoder that sdvlm pretrain wrote, for fusions made with one"""
    data: tuple[DataSettings, ...] = ()
    """the mixture"""
    lora: LoraSettings | None = field(default_factory=LoraSettings)
    """None: the language model is trained in full"""
    lr: LearningRates = field(default_factory=LearningRates)
    """peak learning rates"""
    vary: VarySettings = field(default_factory=VarySettings)
    """changes of depth"""
    pack: bool = True
    """all dialogues of a picture behind one image prefix: the same gradient, the picture read once"""
    attention: Literal["auto", "sdpa", "flex_attention", "as loaded"] = "auto"
    """of the language model where rows are packed; ``auto``: on a GPU FlexAttention, which skips what dialogues do not
    see of each other, where the model takes it, else SDPA with a full mask"""
    dialogues: int = 32
    """most dialogues about one picture in a step; more of them come in other steps"""
    global_batch: int = 32
    """rows in a step, over all processes: pictures with their dialogues where packed, dialogues where not"""
    max_tokens: int = 6144
    """longest row, and the budget of a packed one; a single dialogue beyond it is ``too_long``"""
    too_long: Literal["skip", "stop"] = "skip"
    """a dialogue beyond the budget is told and left out, or ends the run; none is ever cut"""
    max_pixels: int | None = None
    """larger pictures are made smaller before the processor sees them; None: as they are"""
    heldout: float = 0.02
    """share of the pictures kept for evaluation during training, per family; 0: none"""
    heldout_most: int = 200
    """pictures of them, at most"""
    cache_features: bool = False
    """keep the frozen vision tower's features of every picture on disk"""
    cache_gb: float = 50.0
    """most disk they may take; older ones make room"""
    arguments: dict[str, Any] = field(default_factory=dict)
    """any field of ``transformers.TrainingArguments``; accumulation follows from ``global_batch`` unless given"""

    def __post_init__(self) -> None:
        _one_of("dtype", self.dtype, ("auto", "float32", "bfloat16", "float16"))
        _one_of("quantization", self.quantization, ("none", "4bit"))
        _one_of("too_long", self.too_long, ("skip", "stop"))
        _one_of("attention", self.attention, ("auto", "sdpa", "flex_attention", "as loaded"))
        for name in ("dialogues", "global_batch", "max_tokens", "heldout_most"):
            _within(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        _within("max_pixels", self.max_pixels, self.max_pixels is None or self.max_pixels >= 1024, "at least 1024")
        _within("heldout", self.heldout, 0 <= self.heldout < 1, "at least 0 and below 1")
        _within("cache_gb", self.cache_gb, self.cache_gb > 0, "positive")


def _within(name: str, value: Any, holds: bool, wanted: str) -> None:
    if not holds:
        raise SdvlmError(f"the training setting {name} must be {wanted}; got {value}")


def _one_of(name: str, value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        raise SdvlmError(f"the training setting {name} is one of {', '.join(known)}; got '{value}'")
