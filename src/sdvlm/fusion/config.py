"""How depth enters a model: the settings a checkpoint carries, and what each fusion needs and where it acts."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from sdvlm.fusion.coordinate import PER_PICTURE, accepted_kinds
from sdvlm.fusion.depth_channels import DepthChannels
from sdvlm.fusion.renderers import RENDERERS, renderer_kinds
from sdvlm.fusion.sinusoid import SINE_DTYPES
from sdvlm.types import DepthKind, SdvlmError

__all__ = [
    "DRAWN_OR_WORDED",
    "ENCODED",
    "PLACES",
    "POOLED",
    "POOLINGS",
    "PROMPTS",
    "READS_PIXELS",
    "FusionConfig",
    "Place",
]

Place = Literal["tokens", "picture", "tower", "text"]
"""where depth enters: in the image tokens, as a picture behind the picture, inside the vision tower, in the prompt"""

PLACES: dict[str, Place] = {
    "dpe": "tokens",
    "gated": "tokens",
    "mlp": "tokens",
    "pointmap": "tokens",
    "rope": "tokens",
    "encoder_add": "tokens",
    "concat": "picture",
    "depth_token": "picture",
    "depth_image": "picture",
    "adapter": "tower",
    "depth_prompt": "text",
}
"""every fusion there is, and its place"""
ENCODED = ("encoder_add", "concat")
"""fusions with a depth encoder, which may be a pre-trained one"""
READS_PIXELS = frozenset({*ENCODED, "adapter"})
"""fusions that see the depth map at the tower's own resolution; the others see what is pooled over each token"""
DRAWN_OR_WORDED = frozenset({"depth_image", "depth_prompt"})
"""fusions without a module: the processor puts depth into pictures or prompt"""
POOLED = frozenset(PLACES) - READS_PIXELS - DRAWN_OR_WORDED
"""fusions of the depth pooled over each token: what they make of a token depends on its own depth alone"""
POOLINGS = ("boxes", "unpadded")
"""over the token boxes (``fusion.pool``), or over the picture without its padding (``fusion.pool_unpadded``)"""
PROMPTS = ("grid", "objects")
"""what ``depth_prompt`` writes: the median of each cell of a grid, or of each object the caller names"""

_NUMBERS = ("scale", "width", "code_dim", "base", "bins", "prompt_rows", "prompt_columns", "stages")


@dataclass(frozen=True)
class FusionConfig:
    """How depth enters the model.

    Raises:
        SdvlmError: an unknown fusion, coordinate, pooling, dtype, renderer or prompt, a number no code can be made
            with, or settings that exclude each other.
    """

    name: str = "gated"
    """a key of ``PLACES``"""
    coordinate: str = "log_metric"
    """a key of ``fusion.coordinate.COORDINATES``; the point map and what reads pixels have their own and ignore this"""
    scale: float = 30.0
    """multiplies the coordinate before the sines"""
    base: float = 100.0
    """slowest wavelength of the sine code over its fastest"""
    relative_norm: float | None = None
    """size of the code as a share of the tokens' mean norm; None: as it is"""
    code_dim: int = 64
    """width of the sine code of the learned fusions"""
    width: int = 256
    """hidden width of the learned fusions"""
    pooling: str = "boxes"
    """one of ``POOLINGS``: what a token's depth is the mean of"""
    sine_dtype: str = "float32"
    """one of ``fusion.sinusoid.SINE_DTYPES``; float16 gives ``dpe`` the rounding of a half-precision SD-VLM run"""
    channels: dict[str, Any] | None = None
    """``DepthChannels.to_dict()``: what ``encoder_add``, ``concat``, ``adapter`` and ``early`` see of a depth map"""
    bins: int = 128
    """depths that ``depth_token`` has a learned token for"""
    paired: bool = True
    """``depth_token`` and ``concat``: each depth token holds its image token too, so that the language model need not
    search which belong together; False: depth alone, as published"""
    renderer: str = "log_gray"
    """a key of ``fusion.renderers.RENDERERS``: how ``depth_image`` draws a depth map"""
    prompt: str = "grid"
    """one of ``PROMPTS``"""
    prompt_rows: int = 4
    """rows of the grid that ``depth_prompt`` writes"""
    prompt_columns: int = 4
    """columns of it"""
    stages: int = 4
    """places in the tower where ``adapter`` reads and writes"""
    deep: bool = False
    """fuse the deeper feature levels of a model that has such (deep stack) like the main one; for place ``tokens``"""
    early: bool = False
    """for fusions of pooled depth: depth planes are added to the tower's patch embeddings too (``fusion.early``)"""

    def __post_init__(self) -> None:
        for setting, value, known in (
            ("", self.name, PLACES),
            ("pooling ", self.pooling, POOLINGS),
            ("sine_dtype ", self.sine_dtype, SINE_DTYPES),
            ("renderer ", self.renderer, RENDERERS),
            ("prompt ", self.prompt, PROMPTS),
        ):
            if value not in known:
                raise SdvlmError(f"no fusion {setting}'{value}'; choose one of {', '.join(known)}")
        if self.name == "pointmap" and self.pooling != "boxes":
            raise SdvlmError("the fusion 'pointmap' needs the points of token boxes; use the pooling 'boxes'")
        if self.deep and self.place != "tokens":
            raise SdvlmError(f"the fusion '{self.name}' has no deeper feature levels to add to; leave deep out")
        accepted_kinds(self.coordinate)
        if self.early and (self.name not in POOLED or self.place != "tokens"):
            raise SdvlmError(f"the fusion '{self.name}' has its own place for depth; leave early out")
        if (self.channels is None) == self.reads_pixels:
            asked = "reads pixels: say which channels" if self.channels is None else "reads no pixels: leave channels"
            raise SdvlmError(f"the fusion '{self.name}' {asked} (FusionConfig.preset does)")
        positive = {name: getattr(self, name) for name in _NUMBERS}
        if self.relative_norm is not None:
            positive["relative_norm"] = self.relative_norm
        for name, number in positive.items():
            if not 0 < number < math.inf:
                raise SdvlmError(f"the fusion setting {name} must be a positive number; got {number}")
        if self.code_dim % 2:
            raise SdvlmError(f"the fusion setting code_dim must be even; got {self.code_dim}")
        if self.channels is not None:
            DepthChannels.from_dict(self.channels)

    @classmethod
    def preset(cls, name: str) -> FusionConfig:
        """The recommended settings of a fusion, or one of the released SD-VLM's.

        ``sdvlm_official`` gives the released encoding number for number, pooling included; ``sdvlm`` is the same code
        over token boxes, which puts each depth where the token looks; ``rope`` is the rotary variant that the released
        code has and does not use, over token boxes.
        """
        if name in ("sdvlm", "sdvlm_official"):
            pooling = "boxes" if name == "sdvlm" else "unpadded"
            return cls("dpe", coordinate="sdvlm_compat", scale=1.0, base=10_000.0, pooling=pooling)
        if name == "rope":
            return cls(name, coordinate="sdvlm_compat", scale=100.0, base=10_000.0)
        shares = {"dpe": 0.3, "gated": 1.0, "mlp": 1.0, "pointmap": 1.0, "encoder_add": 1.0, "depth_token": 1.0}
        channels = DepthChannels().to_dict() if name in READS_PIXELS else None
        return cls(name, relative_norm=shares.get(name), code_dim=32 if name == "pointmap" else 64, channels=channels)

    def with_early(self, channels: DepthChannels | None = None) -> FusionConfig:
        """The same with depth planes in the tower's patch embeddings too; default: log-metres, validity and normals."""
        planes = channels or DepthChannels(extras=("valid", "normal"))
        return replace(self, early=True, channels=planes.to_dict())

    @property
    def reads_pixels(self) -> bool:
        """Whether it sees the depth map at the tower's own resolution."""
        return self.early or self.name in READS_PIXELS

    @property
    def in_tower(self) -> bool:
        """Whether the tower's features depend on depth."""
        return self.early or self.place == "tower"

    @property
    def place(self) -> Place:
        """Where depth enters."""
        return PLACES[self.name]

    @property
    def per_picture(self) -> bool:
        """Whether a token's code depends on the other depths of its picture."""
        return self.name not in READS_PIXELS and self.coordinate in PER_PICTURE and self.name != "pointmap"

    @property
    def depth_channels(self) -> DepthChannels | None:
        """What the fusion sees of a depth map at full resolution; None: it reads no pixels."""
        return None if self.channels is None else DepthChannels.from_dict(self.channels)

    @property
    def uses_camera(self) -> bool:
        """Whether a camera changes what the model is given."""
        channels = self.depth_channels
        seen = set() if channels is None else set(channels.extras)
        return self.name == "pointmap" or bool(seen & {"height", "normal"})

    @property
    def kinds(self) -> frozenset[DepthKind]:
        """The depth kinds this fusion takes."""
        channels = self.depth_channels
        seen = frozenset(DepthKind) if channels is None else channels.kinds
        if self.name in READS_PIXELS:
            return seen
        if self.name == "depth_image":
            return renderer_kinds(self.renderer)
        metric = self.name in ("pointmap", "depth_prompt")
        return seen & accepted_kinds("log_metric" if metric else self.coordinate)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for ``config.json``."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> FusionConfig:
        """Inverse of :meth:`to_dict`; refuses fields it does not know."""
        unknown = sorted(set(values) - {f.name for f in fields(cls)})
        if unknown:
            raise SdvlmError(f"unknown fusion settings {', '.join(unknown)}; this checkpoint is newer than this sdvlm")
        return cls(**values)
