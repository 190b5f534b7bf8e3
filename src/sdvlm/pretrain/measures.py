"""Measures of a depth encoder: does it find its picture, does it still know metres, has it collapsed.

Retrieval alone tells nothing of metric scale (``info_nce``): read it beside the probe. All work on tensors of any
device, without gradient, and return plain numbers.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from sdvlm.pretrain.info_nce import NO_SCENE, unit
from sdvlm.types import SdvlmError

__all__ = ["Retrieval", "effective_rank", "retrieval", "ridge_probe"]

TIE = 1e-6
"""cosines closer than this are a tie; rounding of float32 alone would break ties of a collapsed encoder at random"""
PENALTIES = tuple(10.0**power for power in range(-6, 4))
"""ridge penalties tried, a sample and standardised feature"""


@dataclass(frozen=True)
class Retrieval:
    """Shares of N queries that found their own key, and what guessing would give. "back" is keys finding queries.

    ``scene_*``: the nearest key is of the query's own scene, its own key or another; None without scenes.
    """

    count: int
    r1: float
    r5: float
    back_r1: float
    back_r5: float
    chance_r1: float
    chance_r5: float
    scene_r1: float | None = None
    back_scene_r1: float | None = None
    scene_chance: float | None = None

    def to_dict(self) -> dict[str, float | int | None]:
        """Field by field."""
        return asdict(self)


@torch.no_grad()
def retrieval(query: Tensor, key: Tensor, scene_ids: Tensor | None = None, chunk: int = 1024) -> Retrieval:
    """R@1 and R@5 by cosine, both ways; a tie, and a number that is none, counts against.

    Args:
        query: (N, E) embeddings; row i belongs to row i of ``key``.
        key: (N, E).
        scene_ids: (N,) int64 as ``info_nce.scene_numbers`` makes them.
        chunk: queries compared at once; memory grows with chunk x N.

    Raises:
        SdvlmError: the shapes do not fit, or there is no row.
    """
    if query.ndim != 2 or query.shape != key.shape or not len(query):
        raise SdvlmError(f"retrieval needs equal (pairs, width) features; got {[*query.shape]} and {[*key.shape]}")
    if scene_ids is not None and scene_ids.shape != query.shape[:1]:
        raise SdvlmError(f"one scene a pair is wanted; got {scene_ids.numel()} scenes for {len(query)} pairs")
    a, b = unit(query), unit(key)
    count = len(a)
    there, back = (_found(one, other, scene_ids, chunk) for one, other in ((a, b), (b, a)))
    scene_chance = None
    if scene_ids is not None:
        _, which, pairs = scene_ids.unique(return_inverse=True, return_counts=True)
        scene_chance = float(torch.where(scene_ids == NO_SCENE, 1, pairs[which]).double().mean()) / count
    return Retrieval(
        count, there[0], there[1], back[0], back[1], 1 / count, min(5, count) / count, there[2], back[2], scene_chance
    )


def _found(a: Tensor, b: Tensor, scenes: Tensor | None, chunk: int) -> tuple[float, float, float | None]:
    """Shares of rows of ``a`` whose own row of ``b`` is first, among five, and whose scene is first."""
    first = five = scene = 0
    for start in range(0, len(a), chunk):
        cosine = a[start : start + chunk] @ b.T
        rows = torch.arange(len(cosine), device=a.device)
        own = cosine[rows, start + rows, None]
        better = (~(cosine < own - TIE)).sum(dim=1) - 1  # itself is no competitor
        better[~own[:, 0].isfinite()] = 5
        first += int((better < 1).sum())
        five += int((better < 5).sum())
        if scenes is not None:
            same = _own_scene(scenes, start, start + chunk)
            ours = cosine.masked_fill(~same, -math.inf).amax(dim=1)
            theirs = cosine.masked_fill(same, -math.inf).amax(dim=1)
            scene += int((theirs < ours - TIE).sum())
    return first / len(a), five / len(a), None if scenes is None else scene / len(a)


def _own_scene(scenes: Tensor, start: int, stop: int) -> Tensor:
    """(stop - start, N) bool: pairs of the same scene, each pair with itself among them."""
    rows = torch.arange(start, min(stop, len(scenes)), device=scenes.device)
    same = (scenes[rows, None] == scenes) & (scenes != NO_SCENE)
    same[torch.arange(len(rows), device=scenes.device), rows] = True
    return same


@torch.no_grad()
def ridge_probe(features: Tensor, target: Tensor, test_features: Tensor, test_target: Tensor) -> float:
    """R2 on the test rows of a linear map from features to one number, fitted on the training rows by ridge regression.

    Features are standardised by the training rows; the penalty is that of ``PENALTIES`` with the least generalised
    cross-validation error (Golub, Heath, Wahba 1979) on the training rows. 1 is perfect, 0 is as good as the mean of
    the test rows, less than 0 is worse. NaN where a feature is not finite.

    Args:
        features: (N, D) training features, of patches or pictures.
        target: (N,) what is to be read, such as the mean log depth of the patch in log metres.
        test_features: (M, D) of other scenes.
        test_target: (M,).

    Raises:
        SdvlmError: the shapes do not fit, fewer than two rows, or a test target that does not vary.
    """
    given = [[*one.shape] for one in (features, target, test_features, test_target)]
    fits = features.ndim == test_features.ndim == 2 and features.shape[1] == test_features.shape[1]
    if not fits or given[1] != given[0][:1] or given[3] != given[2][:1] or min(given[0][0], given[2][0]) < 2:
        raise SdvlmError(f"a probe needs (rows, width) features and (rows,) targets, 2 rows at least; got {given}")
    x, y, test_x, test_y = (one.detach().double() for one in (features, target, test_features, test_target))
    around = float(((test_y - test_y.mean()) ** 2).sum())
    if not around > 0 or not bool(y.isfinite().all()):
        raise SdvlmError("a probe needs finite targets that vary; got constant or unknown ones: drop unknown patches")
    if not bool(x.isfinite().all() and test_x.isfinite().all()):
        return math.nan
    mean, deviation, level = x.mean(dim=0), x.std(dim=0), y.mean()
    deviation = torch.where(deviation > 1e-9 * (1 + mean.abs()), deviation, torch.inf)
    x, y, rows = (x - mean) / deviation, y - level, len(x)
    power, basis = torch.linalg.eigh(x.T @ x)
    power = power.clamp(min=0)
    along = basis.T @ (x.T @ y)
    best, weights = math.inf, torch.zeros_like(along)
    for penalty in PENALTIES:
        damped = power + penalty * rows
        residual = float(y @ y - (along**2 * (power + 2 * penalty * rows) / damped**2).sum())
        freedom = 1 - (float((power / damped).sum()) + 1) / rows
        if freedom <= 0:
            continue
        score = max(residual, 0.0) / freedom**2
        if score < best:
            best, weights = score, basis @ (along / damped)
    said = (test_x - mean) / deviation @ weights + level
    return 1 - float(((test_y - said) ** 2).sum()) / around


@torch.no_grad()
def effective_rank(features: Tensor, centre: bool = False) -> float:
    """exp of the entropy of the singular values, each over their sum (Roy and Vetterli, EUSIPCO 2007): 1 to min(N, D).

    1 where all rows are multiples of one; 0 for features that are all zero, NaN for ones that are not finite.

    Args:
        features: (N, D).
        centre: take the mean row off first: how many directions tell rows apart, rather than how many they use. A
            collapsed encoder shows without centring; a common direction of all pictures hides the rest of it.

    Raises:
        SdvlmError: not a matrix with rows.
    """
    if features.ndim != 2 or not features.numel():
        raise SdvlmError(f"effective rank needs (rows, width) features; got {[*features.shape]}")
    x = features.detach().double()
    if not bool(x.isfinite().all()):
        return math.nan
    x = x - x.mean(dim=0) if centre else x
    gram = x.T @ x if x.shape[0] >= x.shape[1] else x @ x.T
    singular = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt()
    if not float(singular.sum()) > 0:
        return 0.0
    share = singular / singular.sum()
    return float(torch.special.entr(share).sum().exp())
