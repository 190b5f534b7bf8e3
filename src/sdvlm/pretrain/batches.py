"""Which pairs are contrasted with each other: batches of an epoch, one frame a scene where that can be.

Frames of one scene are near-duplicates; as negatives of each other they are false (fusion-methods 4.1 P3: with 464
scenes and a batch of 256 drawn uniformly, 42 % of the samples share their scene with another).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

__all__ = ["batch_at", "chosen_share", "epoch_batches", "repeated_scenes"]


def chosen_share(count: int, share: float, seed: int) -> list[int]:
    """Indices of a share of ``count`` pairs, in order; those of a smaller share are among those of a larger one."""
    wanted = max(1, round(count * share)) if count else 0
    order = np.random.default_rng([seed, 0x5A]).permutation(count)
    return sorted(int(one) for one in order[:wanted])


def epoch_batches(scene_ids: Sequence[str], batch: int, seed: int, epoch: int, apart: bool = True) -> list[list[int]]:
    """Batches of one pass over the pairs.

    Args:
        scene_ids: of each pair; "" where there is no scene: such a pair is its own.
        batch: pairs in each; what is left over at the end sits this epoch out. Fewer pairs than that make one batch.
        seed: of the run.
        epoch: decides the order together with the seed.
        apart: at most one frame of a scene in a batch as long as there are enough scenes left: each batch takes a
            frame of each of the scenes that have most frames left, ties broken at random.

    Returns:
        batches of positions in ``scene_ids``.
    """
    rng = np.random.default_rng([seed, epoch])
    size = min(batch, len(scene_ids))
    if not apart:
        order = [int(one) for one in rng.permutation(len(scene_ids))]
        return [order[start : start + size] for start in range(0, len(order) - size + 1, size)] if size else []
    return list(_apart(_by_scene(scene_ids, rng), size, len(scene_ids), rng))


def _by_scene(scene_ids: Sequence[str], rng: np.random.Generator) -> list[list[int]]:
    """Positions of each scene's pairs in random order."""
    groups: dict[object, list[int]] = {}
    for position in rng.permutation(len(scene_ids)):
        scene = scene_ids[position]
        groups.setdefault(scene if scene else int(position), []).append(int(position))
    return list(groups.values())


def _apart(groups: list[list[int]], size: int, total: int, rng: np.random.Generator) -> Iterator[list[int]]:
    left = np.array([len(group) for group in groups])
    for _ in range(total // size if size else 0):
        chosen: list[int] = []
        while len(chosen) < size:  # a second turn only where too few scenes have frames left
            order = np.argsort(-(left + rng.random(len(left))), kind="stable")
            for group in order[: size - len(chosen)]:
                if left[group]:
                    left[group] -= 1
                    chosen.append(groups[group][left[group]])
        yield [chosen[one] for one in rng.permutation(size)]


def batch_at(scene_ids: Sequence[str], batch: int, seed: int, step: int, apart: bool = True) -> Iterator[list[int]]:
    """Batches without end from a step on; those of step s are the same wherever one starts."""
    per_epoch = max(1, len(scene_ids) // min(batch, len(scene_ids)))
    epoch, skipped = divmod(step, per_epoch)
    while True:
        yield from epoch_batches(scene_ids, batch, seed, epoch, apart)[skipped:]
        epoch, skipped = epoch + 1, 0


def repeated_scenes(scene_ids: Sequence[str], batches: Sequence[Sequence[int]]) -> float:
    """Share of the pairs in batches whose scene is there more than once."""
    repeated = total = 0
    for one in batches:
        named = [scene_ids[position] for position in one if scene_ids[position]]
        repeated += sum(named.count(scene) > 1 for scene in named)
        total += len(one)
    return repeated / total if total else 0.0
