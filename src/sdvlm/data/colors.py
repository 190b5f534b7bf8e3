"""Colour words for instances: the nearest of the eleven basic colour terms, and what else it might be called.

Eleven terms after Berlin and Kay, "Basic Color Terms" (1969); nearness is the Euclidean distance in CIELAB (D65). An
instance is *called* by a colour only when most of its surface is plainly of that colour; it *might be called* by every
colour that a fair part of it comes near to. Names stay unique because of the second set.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sdvlm.scenes.palette import COLORS, color_distances
from sdvlm.scenes.scene import SceneMesh
from sdvlm.types import SdvlmError

__all__ = ["ColorWords", "color_words", "colors_from_pixels", "instance_colors"]

_NAMES = tuple(COLORS)


@dataclass(frozen=True)
class ColorWords:
    """What colour an instance is called.

    Args:
        name: the word that is plainly right, or None where none is.
        possible: every word somebody might use for it, ``name`` included.
    """

    name: str | None
    possible: frozenset[str]


def color_words(
    rgb: NDArray[np.uint8],
    weights: NDArray[np.float64],
    margin: float = 0.8,
    min_plain_share: float = 0.5,
    min_possible_share: float = 0.1,
) -> ColorWords:
    """Colour words for one thing.

    Args:
        rgb: (n, 3) uint8 sRGB samples of its surface.
        weights: (n,) how much of the surface each sample stands for.
        margin: a sample might also be called by any colour whose distance times this is at most that of its nearest.
        min_plain_share: share of the surface that has to be plainly of one colour for it to be the name.
        min_possible_share: share of the surface that makes a colour possible.
    """
    total = float(weights.sum())
    if total <= 0:
        return ColorWords(None, frozenset(_NAMES))
    distance = color_distances(rgb)  # (n, colours)
    near = distance * margin <= distance.min(axis=1, keepdims=True)
    plain = near & (near.sum(axis=1, keepdims=True) == 1)
    plain_share, near_share = weights @ plain / total, weights @ near / total
    best = int(np.argmax(plain_share))
    possible = {_NAMES[k] for k in np.flatnonzero(near_share >= min_possible_share)}
    if plain_share[best] < min_plain_share:
        return ColorWords(None, frozenset(possible))
    return ColorWords(_NAMES[best], frozenset(possible | {_NAMES[best]}))


def instance_colors(mesh: SceneMesh) -> dict[int, ColorWords]:
    """Colour words of every instance of a mesh, from its vertex colours weighted by face area. Keys: instance ids."""
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    area = 0.5 * np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    ids = mesh.face_instances
    rgb = mesh.colors[mesh.faces].astype(np.float64).mean(axis=1).round().astype(np.uint8)
    order = np.argsort(ids, kind="stable")
    unique, starts = np.unique(ids[order], return_index=True)
    words = {}
    for instance, faces in zip(unique.tolist(), np.split(order, starts[1:]), strict=True):
        if instance > 0:
            words[int(instance)] = color_words(rgb[faces], area[faces])
    return words


def colors_from_pixels(
    image: NDArray[np.uint8],
    instances: NDArray[np.integer],
    *,
    max_samples: int = 1500,
    margin: float = 0.7,
    min_plain_share: float = 0.6,
    min_possible_share: float = 0.05,
) -> dict[int, ColorWords]:
    """Colour words of every instance of a picture, from its pixels: for scenes without a coloured mesh.

    More careful than :func:`instance_colors`, because light, shade and the camera's white balance are in the pixels
    too: fewer are called by a colour, and more colours count as possible. Pixels next to another instance, where lens
    and mask mix surfaces, are left out where an instance has others.

    Args:
        image: (H, W, 3) uint8 sRGB.
        instances: (H, W) instance ids, 0 = none.
        max_samples: pixels looked at of each instance at most, evenly spread over it.
        margin, min_plain_share, min_possible_share: as in :func:`color_words`.

    Returns:
        By instance id; every positive id of ``instances`` has an entry.

    Raises:
        SdvlmError: picture and ids differ in size.
    """
    if image.shape[:2] != instances.shape:
        (h, w), (want_h, want_w) = instances.shape, image.shape[:2]
        raise SdvlmError(f"instance ids are {w}x{h} pixels but the picture is {want_w}x{want_h}; resize the ids")
    inner = _inner(instances)
    ids = np.where(inner, instances, 0)
    lost = np.setdiff1d(np.unique(instances), np.unique(ids))
    if lost.size:
        ids = np.where(np.isin(instances, lost), instances, ids)
    flat, pixels = ids.ravel(), image.reshape(-1, 3)
    filled = np.flatnonzero(flat > 0)
    if not filled.size:
        return {}
    order = filled[np.argsort(flat[filled], kind="stable")]
    unique, starts = np.unique(flat[order], return_index=True)
    words = {}
    for instance, places in zip(unique.tolist(), np.split(order, starts[1:]), strict=True):
        chosen = places[:: max(1, -(-len(places) // max_samples))]
        even = np.ones(len(chosen))
        words[int(instance)] = color_words(pixels[chosen], even, margin, min_plain_share, min_possible_share)
    return words


def _inner(instances: NDArray[np.integer]) -> NDArray[np.bool_]:
    """(H, W) whether the four neighbours inside the picture are of the same instance."""
    inner = np.ones(instances.shape, dtype=bool)
    down, right = instances[1:] == instances[:-1], instances[:, 1:] == instances[:, :-1]
    inner[1:] &= down
    inner[:-1] &= down
    inner[:, 1:] &= right
    inner[:, :-1] &= right
    return inner
