from __future__ import annotations

import io
from math import cos, pi

import numpy as np
import pytest
from PIL import Image

from sdvlm.pairs.phash import NearDuplicates, perceptual_hash
from sdvlm.types import SdvlmError


def scene(seed, size=(96, 128)):
    """A picture with structure at several scales, as photographs have."""
    rng = np.random.default_rng(seed)
    total = np.zeros((*size, 3))
    for cells in (3, 6, 12):
        coarse = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        total += np.asarray(coarse.resize(size[::-1], Image.Resampling.BICUBIC)) / cells
    return (total / total.max() * 255).astype(np.uint8)


def distance(one, other):
    return (perceptual_hash(one) ^ perceptual_hash(other)).bit_count()


def test_the_hash_is_the_signs_of_low_dct_coefficients_about_their_median():
    image = scene(0, (64, 64))
    grey = np.asarray(Image.fromarray(image).convert("L"), dtype=float).reshape(32, 2, 32, 2).mean(axis=(1, 3))
    low = np.zeros((8, 8))
    for u in range(8):
        for v in range(8):
            for i, j in np.ndindex(32, 32) if u or v else ():
                low[u, v] += grey[i, j] * cos(pi * u * (2 * i + 1) / 64) * cos(pi * v * (2 * j + 1) / 64)
    bits = low > np.median(low)
    reference = sum(1 << (63 - place) for place, bit in enumerate(bits.reshape(-1)) if bit)
    assert (perceptual_hash(image) ^ reference).bit_count() <= 1  # Pillow rounds halves its own way


@pytest.mark.parametrize("seed", range(8))
def test_size_compression_and_exposure_change_few_bits(seed):
    image = scene(seed)
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=40)
    smaller = np.asarray(Image.fromarray(image).resize((70, 50), Image.Resampling.LANCZOS))
    for changed in (np.asarray(Image.open(stream)), smaller, (image * 0.8).astype(np.uint8)):
        assert distance(image, changed) <= 4


def test_different_and_mirrored_pictures_are_far_apart():
    pictures = [scene(seed) for seed in range(20)]
    hashes = [perceptual_hash(one) for one in pictures]
    apart = [(one ^ other).bit_count() for at, one in enumerate(hashes) for other in hashes[:at]]
    assert min(apart) > 8
    assert 26 < np.mean(apart) < 38
    assert min(distance(one, one[:, ::-1]) for one in pictures) > 8


def test_pictures_of_one_colour_share_a_hash_whatever_their_size():
    plain = [
        np.full(shape, value, np.uint8) for shape, value in (((1, 1, 3), 9), ((20, 500, 3), 9), ((64, 64, 3), 200))
    ]
    assert {perceptual_hash(one) for one in plain} == {0}


@pytest.mark.parametrize("limit", range(16))
def test_the_index_finds_what_comparing_with_each_finds(limit):
    rng = np.random.default_rng(limit)
    index, kept, found = NearDuplicates(limit), [], 0
    for number in range(120):
        near = int.from_bytes(rng.bytes(8), "big")
        if kept and rng.random() < 0.7:  # often a few bits from an earlier one
            near = kept[rng.integers(len(kept))][0]
        for bit in rng.permutation(64)[: rng.integers(limit + 3)]:
            near ^= 1 << int(bit)
        by_loop = next((who for other, who in kept if (other ^ near).bit_count() <= limit), None)
        assert index.seen(near) == by_loop
        found += by_loop is not None
        index.add(near, f"picture {number}")
        kept.append((near, f"picture {number}"))
    assert len(index) == 120
    assert 20 < found < 110


@pytest.mark.parametrize("limit", range(16))
def test_every_way_of_spreading_the_differing_bits_is_found_up_to_the_limit_and_not_beyond(limit):
    rng = np.random.default_rng(limit)
    for _ in range(20):
        value = int.from_bytes(rng.bytes(8), "big")
        index = NearDuplicates(limit)
        index.add(value, "first")
        places = rng.permutation(64)
        near = value ^ sum(1 << int(bit) for bit in places[:limit])
        assert index.seen(near) == "first"
        assert index.seen(near ^ (1 << int(places[limit]))) is None


def test_of_several_near_ones_the_first_added_is_named():
    index = NearDuplicates(4)
    for value, name in ((0b1111, "four bits away"), (0b1, "one bit away"), (0, "equal")):
        index.add(value, name)
    assert index.seen(0) == "four bits away"


@pytest.mark.parametrize("limit", [-1, 16])
def test_a_distance_at_which_anything_matches_is_refused(limit):
    with pytest.raises(SdvlmError, match=r"0\.\.15"):
        NearDuplicates(limit)
