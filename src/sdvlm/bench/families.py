"""What the seam costs each family beside the bare model, and what it costs to find where image tokens look."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from sdvlm.bench.random_family import RandomModel, random_family
from sdvlm.bench.random_llava import bench_frame
from sdvlm.bench.timing import Timing, alternate, quartiles
from sdvlm.fusion.depth_grid import DepthGrid
from sdvlm.fusion.pool import pool_depth
from sdvlm.models.families import FAMILIES
from sdvlm.models.families.published import PUBLISHED
from sdvlm.models.grid import TokenGrid
from sdvlm.models.wrapper import DepthVLM

__all__ = ["bench_families"]

LIMIT = 0.01
"""the seam may cost this share of the prefill, beyond the fusion"""
PROBE_LIMIT_S = 0.1
_SIZE = (640, 480)
_NEW_SIZES = ((800, 600), (481, 640), (1024, 768), (1000, 333), (1920, 1080))
_STEPS = 4
_ROUNDS = 3


@torch.inference_mode()
def bench_families(
    repeats: int = 5, hidden: int = 512, layers: int = 4, names: Sequence[str] | None = None
) -> dict[str, Any]:
    """Prefill and decoding of every family with random weights: bare, as a ``DepthVLM``, and with depth, in turns.

    Shares are of the bare model's time in the same turn. ``wrapped`` is what the wrapper adds without depth; ``beyond``
    what it adds with depth (``dpe``) less the fusion, which is timed apart; ``seam`` the same, but of a wrapper whose
    tower, fusion and language model give what they once gave: what it takes itself, which no noise of theirs hides.

    Args:
        repeats: timed turns.
        hidden: width of the language models, a multiple of 512.
        layers: of language models and towers.
        names: of the families, by ``model_type``; None: all.

    Returns:
        ``families`` has a row for each: shares of a prefill of one picture and of a decoding step, each median and
        quartiles of the turns, and the probe's seconds for a model of published size: first look, the slowest of some
        new sizes, a size seen before. ``skipped`` says why a family is not there.
    """
    rows, skipped = [], {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # which wait for no other; so the shares move less where others work too
    try:
        for name in sorted(FAMILIES) if names is None else names:
            reason = _why_not(name)
            if reason is None:
                rows.append(_family(name, repeats, hidden, layers))
            else:
                skipped[name] = reason
    finally:
        torch.set_num_threads(threads)
    seam = max((row[of]["median"] for row in rows for of in ("seam", "seam_step")), default=0.0)
    probe = max((row["probe"]["new_s"] for row in rows), default=0.0)
    return {
        "worst_seam_share": seam,
        "worst_probe_s": probe,
        "below_limits": seam < LIMIT and probe < PROBE_LIMIT_S,
        "limits": {"seam_share": LIMIT, "probe_s": PROBE_LIMIT_S},
        "families": rows,
        "skipped": skipped,
        "model": {"hidden_size": hidden, "layers": layers, "fusion": "dpe"},
    }


def _why_not(name: str) -> str | None:
    """Why a family cannot be measured here; None: it can."""
    if name not in PUBLISHED:
        return "no published sizes"
    try:
        PUBLISHED[name][1](False)
    except ImportError as error:
        return str(error).strip().split("\n")[0]
    return None


def _family(name: str, repeats: int, hidden: int, layers: int) -> dict[str, Any]:
    made = random_family(name, _SIZE, hidden, layers)
    times = _times(made, repeats)
    bare = times["bare"].seconds

    def share(seconds: Sequence[float], of: Sequence[float] = bare, less: float = 0.0) -> dict[str, float]:
        return quartiles([one / whole - less for one, whole in zip(seconds, of, strict=True)])

    beyond = [whole - part for whole, part in zip(times["depth"].seconds, times["fusion"].seconds, strict=True)]
    step = times["bare_step"].seconds
    return {
        "family": name,
        "published": PUBLISHED[name][0],
        "image_tokens": made.tokens,
        "prefill_s": times["bare"].median,
        "wrapped": share(times["wrapped"].seconds, less=1),
        "beyond": share(beyond, less=1),
        "seam": share(times["seam"].seconds),
        "fusion": share(times["fusion"].seconds),
        "step_s": times["bare_step"].median,
        "wrapped_step": share(times["wrapped_step"].seconds, step, less=1),
        "depth_step": share(times["depth_step"].seconds, step, less=1),
        "seam_step": share(times["seam_step"].seconds, step),
        "pooling_s": times["pooling"].median,
        "probe": _probe(name),
    }


def _times(made: RandomModel, repeats: int) -> dict[str, Timing]:
    """Everything in turns, each turn in another order: what runs before a task decides what it finds in the caches."""
    model = DepthVLM.from_vlm(made.vlm, "dpe").eval()
    frame, boxes = bench_frame(np.random.default_rng(0), *_SIZE), made.grid.boxes(_SIZE)
    pooled = pool_depth(frame.depth, boxes, _SIZE, frame.camera)
    seeing = made.inputs | {"depth_grid": pooled.pack()}
    tokens = torch.cat(list(_features(made)[made.grid.family.tokens])).reshape(made.tokens, -1)
    grid = DepthGrid.unpack(seeing["depth_grid"], torch.zeros(made.tokens, dtype=torch.long))
    fusion: Any = model.fusion
    tasks: dict[str, Callable[[], object]] = {
        "bare": lambda: made.vlm(**made.inputs),
        "wrapped": lambda: model(**made.inputs),
        "depth": lambda: model(**seeing),
        "fusion": lambda: fusion(tokens, grid),
        "pooling": lambda: pool_depth(frame.depth, boxes, _SIZE, frame.camera),
        "bare_step": _steps(made.vlm, made.inputs),
        "wrapped_step": _steps(model, made.inputs),
        "depth_step": _steps(model, seeing),
    }
    often = {name: _STEPS for name in tasks if name.endswith("_step")} | {"fusion": 10}
    times = alternate(tasks, repeats, often=often, shuffle=True)
    step = {"input_ids": made.inputs["input_ids"][:, -1:], "use_cache": True}
    with _handed_on(made, model):
        alone = {"seam": lambda: model(**seeing), "seam_step": lambda: model(**step)}
        return times | alternate(alone, repeats, often=dict.fromkeys(alone, 20))


def _steps(model: Any, inputs: dict[str, Any]) -> Callable[[], object]:
    """Decode one token more at each call, behind a prefill."""
    cache = model(**inputs).past_key_values
    last = inputs["input_ids"][:, -1:]
    return lambda: model(input_ids=last, past_key_values=cache, use_cache=True)


@contextmanager
def _handed_on(made: RandomModel, model: DepthVLM) -> Iterator[None]:
    """Tower, fusion and language model give what they once gave, so a ``DepthVLM`` takes what it takes itself."""
    host, fusion = made.vlm.base_model, model.fusion
    assert fusion is not None
    look, features = host.get_image_features, _features(made)
    host.get_image_features = functools.wraps(look)(lambda **inputs: features)
    made.vlm.forward = functools.wraps(made.vlm.forward)(lambda **inputs: None)
    fusion.forward = lambda tokens, grid: tokens
    try:
        yield
    finally:
        del host.get_image_features, made.vlm.forward, fusion.forward


def _features(made: RandomModel) -> Any:
    return made.vlm.base_model.get_image_features(**{name: made.inputs[name] for name in made.shown}, return_dict=True)


def _probe(name: str) -> dict[str, float]:
    """Seconds to find where tokens look, the quickest of some rounds, on a fresh grid each."""
    config, image_processor = PUBLISHED[name][1](False)
    first, new, again = [], [], []
    for _ in range(_ROUNDS + 1):
        grid = TokenGrid(config, image_processor)
        first.append(_look(grid, _SIZE))
        new.append([_look(grid, size) for size in _NEW_SIZES])
        again.append(_look(grid, _SIZE))
    slowest = max(min(seconds) for seconds in zip(*new, strict=True))
    return {"first_s": min(first), "new_s": slowest, "again_s": min(again)}


def _look(grid: TokenGrid, size: tuple[int, int]) -> float:
    started = time.perf_counter()
    grid.boxes(size)
    return float(f"{time.perf_counter() - started:.4g}")
