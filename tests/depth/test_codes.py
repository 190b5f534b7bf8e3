import numpy as np
import pytest

from sdvlm.depth.codes import spatialbot_decode, spatialbot_encode, sunrgbd_decode, sunrgbd_encode
from sdvlm.types import SdvlmError

ALL_16_BIT = np.arange(65536, dtype=np.uint16)

# benchmarks-and-data.md 10.2, computed from SpatialBot's published code
SPATIALBOT_GOLDEN = {
    0: (0, 0, 0),
    31: (0, 0, 248),
    32: (0, 8, 0),
    584: (0, 144, 64),
    875: (0, 216, 88),
    1000: (0, 248, 64),
    1024: (4, 0, 0),
    10000: (36, 192, 128),
    65535: (252, 248, 248),
}


@pytest.mark.parametrize(("depth_mm", "code"), SPATIALBOT_GOLDEN.items())
def test_spatialbot_code_matches_the_golden_values(depth_mm: int, code: tuple[int, int, int]) -> None:
    assert spatialbot_encode(np.array(depth_mm)).tolist() == list(code)
    assert int(spatialbot_decode(np.array(code, dtype=np.uint8))) == depth_mm


def test_spatialbot_code_is_lossless_over_all_16_bit_values() -> None:
    code = spatialbot_encode(ALL_16_BIT)
    assert code.shape == (65536, 3)
    assert code.dtype == np.uint8
    np.testing.assert_array_equal(spatialbot_decode(code), ALL_16_BIT)
    assert len(np.unique(code, axis=0)) == 65536


@pytest.mark.parametrize("depth", [np.array([65536]), np.array([-1]), np.array([1.5])])
def test_spatialbot_encode_refuses_what_does_not_fit_16_bits(depth: np.ndarray) -> None:
    with pytest.raises(SdvlmError, match="0 to 65535"):
        spatialbot_encode(depth)


@pytest.mark.parametrize("colour", [(1, 0, 0), (0, 4, 0), (0, 0, 7), (255, 255, 255)])
def test_spatialbot_decode_refuses_colours_the_code_never_writes(colour: tuple[int, int, int]) -> None:
    with pytest.raises(SdvlmError, match="not SpatialBot's depth code"):
        spatialbot_decode(np.array([[colour]], dtype=np.uint8))


def test_sunrgbd_decode_equals_the_toolbox_formula_bit_by_bit() -> None:
    for stored in (0, 8, 16000, 16007, 65528, 65535, 12345):
        bits = f"{stored:016b}"
        rotated = int(bits[-3:] + bits[:-3], 2)  # right by three: the last three bits come first
        assert int(sunrgbd_decode(np.array(stored, dtype=np.uint16))) == rotated


def test_sunrgbd_encode_is_the_inverse_over_all_16_bit_values() -> None:
    np.testing.assert_array_equal(sunrgbd_decode(sunrgbd_encode(ALL_16_BIT)), ALL_16_BIT)
    np.testing.assert_array_equal(sunrgbd_encode(sunrgbd_decode(ALL_16_BIT)), ALL_16_BIT)


def test_sunrgbd_codec_refuses_8_bit_values() -> None:
    with pytest.raises(SdvlmError, match="must be uint16; got uint8"):
        sunrgbd_decode(np.zeros((2, 2), dtype=np.uint8))
