"""What is compared: how depth enters, and which depth it is. Beside each the published figure of the same idea.

Published: SD-VLM's ablation (arXiv 2509.17664; MSMU-Bench, success rate in percent as printed; LLaVA-1.5-7B with
LoRA).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdvlm.types import SdvlmError

__all__ = ["CELLS", "ENCODER_CELLS", "NOISES_M", "Cell", "choose"]

NOISES_M = (0.1, 0.3, 0.5, 0.7)
"""standard deviations of the noise cells, metres"""


@dataclass(frozen=True)
class Cell:
    """One way to train and test.

    Args:
        name: in files and on the command line.
        title: in the table.
        fusion: name of a ``FusionConfig.preset``; None: no depth at all.
        depth: ``true``, ``estimate`` or ``noise``.
        noise_m: standard deviation where depth is ``noise``.
        pairs: percent of the pairs its depth encoder was pre-trained on; None: it was not.
        published: percent printed for the same idea, if any.
        settings: fields of ``FusionConfig`` other than the preset's.
    """

    name: str
    title: str
    fusion: str | None
    depth: str = "true"
    noise_m: float = 0.0
    pairs: int | None = None
    published: float | None = None
    settings: tuple[tuple[str, Any], ...] = ()


def _noise(deviation: float) -> Cell:
    published = 51.4 if deviation == 0.7 else None
    return Cell(
        f"dpe_noise_{deviation:g}", f"DPE, noise of {deviation:g} m", "dpe", "noise", deviation, None, published
    )


_APART = (("paired", False),)

CELLS: tuple[Cell, ...] = (
    Cell("none", "no depth", None, published=46.73),
    Cell("depth_image", "depth as image", "depth_image", published=22.64),
    Cell("depth_prompt", "depth as prompt", "depth_prompt", published=48.78),
    Cell("depth_token_apart", "depth as token", "depth_token", published=35.72, settings=_APART),
    Cell("dpe_estimate", "DPE, estimated depth", "dpe", "estimate", published=55.35),
    Cell("dpe", "DPE, true depth", "dpe", published=56.31),
    *(_noise(deviation) for deviation in NOISES_M),
    Cell("sdvlm", "DPE as released (min-max)", "sdvlm", published=56.31),
    Cell("gated", "gated code", "gated"),
    Cell("mlp", "MLP on the code", "mlp"),
    Cell("pointmap", "point map", "pointmap"),
    Cell("encoder_add", "depth encoder, added", "encoder_add"),
    Cell("concat_apart", "depth encoder, concatenated", "concat", settings=_APART),
    Cell("concat", "the same, paired with image tokens", "concat"),
    Cell("depth_token", "depth as token, paired with image tokens", "depth_token"),
    Cell("adapter", "side adapter", "adapter"),
)
"""In the order of the table; the first is what all others are compared with."""

ENCODER_CELLS: tuple[Cell, ...] = tuple(
    Cell(f"{fusion}_{pairs}", f"{title}, {pairs} % of the pairs", fusion, pairs=pairs)
    for fusion, title in (("encoder_add", "depth encoder, added"), ("concat", "depth encoder, concatenated and paired"))
    for pairs in (10, 100)
)
"""Only where pre-trained encoders are given."""


def choose(only: Sequence[str] | None, encoders: Mapping[int, Path]) -> list[Cell]:
    """The cells to run, in the order of the table, ``none`` always among them.

    Args:
        only: names; None: all that can be run.
        encoders: percent of the pairs to the folder of the encoder that was pre-trained on them.

    Raises:
        SdvlmError: no such cell, or one whose encoder is not given.
    """
    known = (*CELLS, *ENCODER_CELLS)
    names = {cell.name for cell in known}
    for name in only or ():
        if name not in names:
            raise SdvlmError(f"no cell '{name}'; there are {', '.join(cell.name for cell in known)}")
    wanted = {cell.name for cell in known if cell.pairs is None or cell.pairs in encoders}
    for cell in known:
        if only and cell.name in only and cell.name not in wanted:
            raise SdvlmError(f"the cell {cell.name} needs --encoder-{cell.pairs}, a folder that sdvlm pretrain wrote")
    chosen = wanted if only is None else {*only, CELLS[0].name}
    return [cell for cell in known if cell.name in chosen]
