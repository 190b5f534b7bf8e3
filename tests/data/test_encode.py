"""Pictures and depth as bytes: what comes back is what went in."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from sdvlm.data.encode import decode_depth, encode_depth, encode_picture, picture_header, plain_picture
from sdvlm.types import DepthKind, DepthMap, SdvlmError

RNG = np.random.default_rng(0)
PHOTO = RNG.integers(0, 256, (20, 30, 3)).astype(np.uint8)


def encoded(picture: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def png16(values: np.ndarray) -> bytes:
    """A 16-bit grey PNG by the letter of the format: big-endian samples, no filter."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = values.shape
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    header = struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def test_depth_is_read_as_the_png_format_says():
    millimetres = np.array([[0, 1, 1234], [65534, 2, 999]])
    metres = decode_depth(png16(millimetres)).values
    np.testing.assert_allclose(metres, np.where(millimetres == 0, np.nan, millimetres / 1000), rtol=1e-6)


def test_depth_survives_to_half_a_millimetre_and_what_is_known_stays_known():
    metres = np.where(RNG.random((40, 50)) < 0.2, np.nan, RNG.uniform(0.0001, 65, (40, 50)))
    back = decode_depth(encode_depth(DepthMap(metres)))
    np.testing.assert_allclose(back.values, np.where(metres < 0.0005, 0.001, metres), atol=0.000502)
    assert np.array_equal(back.valid, np.isfinite(metres))


def test_depth_beyond_what_the_code_holds_is_unknown():
    assert decode_depth(encode_depth(DepthMap(np.array([[65.534, 65.535, 400.0]])))).valid.tolist() == [
        [True, False, False]
    ]


def test_relative_depth_is_no_depth_of_a_row():
    with pytest.raises(SdvlmError, match="metric"):
        encode_depth(DepthMap(np.ones((2, 2)), DepthKind.RELATIVE))


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"nonsense",
        png16(RNG.integers(1, 60000, (9, 9)))[:120],
        encode_picture(PHOTO),
        encoded(Image.new("L", (4, 4)), "PNG"),
    ],
)
def test_what_is_no_depth_is_refused_in_one_line(bad):
    with pytest.raises(SdvlmError) as told:
        decode_depth(bad)
    assert "\n" not in str(told.value)


def test_a_plain_picture_keeps_its_bytes():
    for kind in ("PNG", "JPEG"):
        data = encoded(Image.fromarray(PHOTO), kind)
        assert plain_picture(data) is data


def test_other_pictures_become_upright_colour():
    exif = Image.Exif()
    exif[0x0112] = 6
    jpeg = encoded(Image.fromarray(PHOTO), "JPEG", exif=exif, quality=95, subsampling=0)
    upright = np.asarray(Image.open(io.BytesIO(plain_picture(jpeg))))
    assert np.abs(upright.astype(int) - np.rot90(np.asarray(Image.open(io.BytesIO(jpeg))), -1)).max() == 0
    png = encoded(Image.fromarray(PHOTO), "PNG", exif=exif)
    assert picture_header(png).upright is False
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(plain_picture(png)))), np.rot90(PHOTO, -1))
    grey = encoded(Image.fromarray(PHOTO[..., 0]), "PNG")
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(plain_picture(grey)))), np.repeat(PHOTO[..., :1], 3, axis=2))
    webp = encoded(Image.fromarray(PHOTO), "WEBP", lossless=True)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(plain_picture(webp)))), PHOTO)


def test_a_picture_is_encoded_without_loss_and_the_same_each_time():
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(encode_picture(PHOTO)))), PHOTO)
    assert encode_picture(PHOTO) == encode_picture(PHOTO.copy())
