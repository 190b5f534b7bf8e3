"""Near-duplicate pictures: a 64-bit perceptual hash, and an index that finds earlier hashes within a Hamming distance.

The hash keeps which of the low spatial frequencies of the brightness are above their median, so it survives another
size, another compression and a changed exposure, and not a crop, a turn or a mirror.
"""

from __future__ import annotations

from array import array
from functools import lru_cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sdvlm.types import SdvlmError

__all__ = ["NearDuplicates", "perceptual_hash"]

_SIDE = 32
"""pixels a side of the picture whose frequencies are taken"""
_KEPT = 8
"""frequencies a side that become bits"""
_BANDS = 4
_BAND_BITS = 16
_MAX_DISTANCE = 15
"""beyond a quarter of all bits unrelated pictures begin to match"""


def perceptual_hash(image: NDArray[np.uint8]) -> int:
    """64 bits as an unsigned integer; near-duplicate pictures differ in few of them.

    Brightness (ITU-R 601) is averaged to 32 x 32 pixels and transformed (DCT-II); a bit says whether one of the lowest
    8 x 8 coefficients is above their median. The mean (the first coefficient) counts as zero. Pictures of one colour
    all have the hash 0.

    Args:
        image: (H, W, 3) sRGB.
    """
    grey = Image.fromarray(image).convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    cosines = _cosines()
    low = cosines @ np.asarray(grey, dtype=np.float64) @ cosines.T
    low[0, 0] = 0.0
    low = low.round(6)  # what rounding errors make of a coefficient that is zero is not told from zero
    bits = low > np.median(low)
    return int.from_bytes(np.packbits(bits.reshape(-1)).tobytes(), "big")


@lru_cache(maxsize=1)
def _cosines() -> NDArray[np.float64]:
    """(8, 32) first rows of the DCT-II matrix."""
    frequency, position = np.arange(_KEPT)[:, None], np.arange(_SIDE)[None, :]
    return np.asarray(np.cos(np.pi * frequency * (2 * position + 1) / (2 * _SIDE)))


class NearDuplicates:
    """Hashes seen so far, indexed by bands of 16 bits (multi-index hashing, Norouzi et al., CVPR 2012).

    Two hashes that differ in at most d = 4 r + a bits (a < 4) differ in at most r bits in one of the first a + 1 bands,
    or in at most r - 1 in one of the others; so only those neighbours of each band are looked up. Exact.

    Args:
        max_distance: bits in which near-duplicates may differ; 0: equal hashes only.

    Raises:
        SdvlmError: the distance is not within 0..15.
    """

    def __init__(self, max_distance: int = 4) -> None:
        if not 0 <= max_distance <= _MAX_DISTANCE:
            raise SdvlmError(f"near-duplicates differ in 0..{_MAX_DISTANCE} of 64 bits; got {max_distance}")
        self.max_distance = max_distance
        radius, over = divmod(max_distance, _BANDS)
        self._masks = [_masks(radius if band <= over else radius - 1) for band in range(_BANDS)]
        self._bands: list[dict[int, array[int]]] = [{} for _ in range(_BANDS)]
        self._hashes = array("Q")
        self._ids: list[str] = []

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, hash_: int, pair_id: str) -> None:
        """Remember a hash (unsigned, 64 bits) and whose it is."""
        index = len(self._ids)
        self._hashes.append(hash_)
        self._ids.append(pair_id)
        for buckets, value in zip(self._bands, _split(hash_), strict=True):
            buckets.setdefault(value, array("I")).append(index)

    def seen(self, hash_: int) -> str | None:
        """Whose hash, of those within the distance, was added first; None if there is none."""
        hashes, limit = self._hashes, self.max_distance
        first = len(self._ids)
        for buckets, value, masks in zip(self._bands, _split(hash_), self._masks, strict=True):
            for mask in masks:
                for index in buckets.get(value ^ mask, ()):
                    if index >= first:
                        break
                    if (hashes[index] ^ hash_).bit_count() <= limit:
                        first = index
                        break
        return self._ids[first] if first < len(self._ids) else None


def _split(hash_: int) -> list[int]:
    return [hash_ >> (_BAND_BITS * band) & 0xFFFF for band in range(_BANDS)]


def _masks(radius: int) -> list[int]:
    """Every 16-bit number of at most ``radius`` ones; none for a negative radius."""
    return [
        sum(1 << bit for bit in bits) for ones in range(radius + 1) for bits in combinations(range(_BAND_BITS), ones)
    ]
