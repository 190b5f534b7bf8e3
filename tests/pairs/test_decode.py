"""Odd and broken pictures, as the real files they come in."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from sdvlm.depth.frame import load_image
from sdvlm.pairs.decode import DecodeConfig, decode
from sdvlm.types import SdvlmError


@pytest.fixture
def colours():
    """(20, 30, 3): smooth, so that JPEG keeps it nearly as it is, and different at every corner."""
    rows, columns = np.mgrid[0:20, 0:30]
    return np.stack([rows * 12, columns * 8, 255 - rows * 5 - columns * 5], axis=2).astype(np.uint8)


def saved(picture, suffix, **options):
    stream = io.BytesIO()
    picture.save(stream, suffix, **options)
    return stream.getvalue()


def png(width, height, bits=8, colour=2, pixels=b""):
    """A PNG written by hand: header, pixels, end."""

    def part(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = part(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + part(b"IDAT", zlib.compress(pixels)) + part(b"IEND", b"")


@pytest.mark.parametrize("suffix", ["PNG", "WEBP", "BMP", "TIFF"])
def test_a_lossless_picture_comes_out_as_it_went_in(colours, suffix):
    options = {"lossless": True} if suffix == "WEBP" else {}
    assert np.array_equal(decode(saved(Image.fromarray(colours), suffix, **options), "a").image, colours)


@pytest.mark.parametrize("suffix", ["JPEG", "PNG", "WEBP"])
def test_bytes_that_every_viewer_shows_alike_are_handed_on(colours, suffix):
    data = saved(Image.fromarray(colours), suffix)
    decoded = decode(data, "a")
    assert decoded.encoded == data
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(decoded.encoded))), decoded.image)


def test_bytes_of_other_formats_and_modes_must_be_encoded_anew(colours):
    picture = Image.fromarray(colours)
    transparent = picture.copy()
    transparent.info["transparency"] = tuple(int(value) for value in colours[0, 0])
    for data in (
        saved(picture, "BMP"),
        saved(picture.convert("L"), "JPEG"),
        saved(picture.convert("P"), "PNG"),
        saved(transparent, "PNG"),
        saved(Image.fromarray(np.dstack([colours, colours[..., :1]])), "WEBP"),
    ):
        assert decode(data, "a").encoded is None


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_honoured(colours, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(Image.fromarray(colours), suffix, exif=exif)
    decoded = decode(data, "a")
    reference = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    assert decoded.image.shape == ((30, 20, 3) if orientation > 4 else (20, 30, 3))
    assert np.array_equal(decoded.image, reference)
    assert decoded.turned == (orientation > 1)
    assert decoded.encoded == (data if orientation == 1 and suffix != "TIFF" else None)


def test_broken_exif_is_no_reason_to_refuse_a_picture(colours):
    data = saved(Image.fromarray(colours), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01\x12garbage")
    assert decode(data, "a").image.shape == colours.shape


def test_a_palette_becomes_its_colours(colours):
    picture = Image.fromarray(colours).quantize(16)
    expected = np.asarray(picture.getpalette()).reshape(-1, 3)[np.asarray(picture)]
    assert np.array_equal(decode(saved(picture, "PNG"), "a").image, expected)
    assert np.array_equal(decode(saved(picture, "GIF"), "a").image, expected)


def test_cmyk_becomes_colour():
    inks = np.random.default_rng(0).integers(0, 256, (20, 20, 4), dtype=np.uint8)
    image = decode(saved(Image.fromarray(inks, "CMYK"), "TIFF"), "a").image
    by_formula = 255 * (1 - inks[..., :3] / 255.0) * (1 - inks[..., 3:] / 255.0)
    assert np.abs(image - by_formula).max() <= 1


def test_a_cmyk_jpeg_of_photoshop_is_not_inverted():
    white = Image.new("CMYK", (20, 20), (0, 0, 0, 0))
    assert decode(saved(white, "JPEG"), "a").image.min() > 250


def test_grey_becomes_colour_and_transparency_is_dropped(colours):
    grey = decode(saved(Image.fromarray(colours).convert("L"), "PNG"), "a").image
    assert np.array_equal(grey, np.repeat(np.asarray(Image.fromarray(colours).convert("L"))[..., None], 3, axis=2))
    clear = np.dstack([colours, np.zeros((20, 30), dtype=np.uint8)])
    assert np.array_equal(decode(saved(Image.fromarray(clear), "PNG"), "a").image, colours)


def test_one_bit_becomes_black_and_white(colours):
    image = decode(saved(Image.fromarray(colours).convert("1"), "PNG"), "a").image
    assert set(np.unique(image)) == {0, 255}


def test_sixteen_bit_colour_keeps_its_upper_eight_bits():
    values = np.random.default_rng(1).integers(0, 65536, (16, 17, 3), dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    decoded = decode(png(17, 16, bits=16, pixels=rows), "a")
    assert np.array_equal(decoded.image, (values >> 8).astype(np.uint8))
    assert decoded.encoded is None


@pytest.mark.parametrize(("dtype", "suffix"), [(np.uint16, "PNG"), (np.uint16, "TIFF"), (np.float32, "TIFF")])
def test_grey_of_sixteen_bits_or_floats_is_refused_as_depth(dtype, suffix):
    data = saved(Image.fromarray(np.full((20, 20), 1500, dtype=dtype)), suffix)
    with pytest.raises(SdvlmError, match=r"^here/depth: is grey of more than 8 bits .* depth, not a picture"):
        decode(data, "here/depth")


@pytest.mark.parametrize("suffix", ["GIF", "PNG", "WEBP", "TIFF"])
def test_several_pictures_in_a_file_are_refused_or_the_first_is_taken(colours, suffix):
    first, second = Image.fromarray(colours), Image.fromarray(255 - colours)
    data = saved(
        first, suffix, save_all=True, append_images=[second], **({"lossless": True} if suffix == "WEBP" else {})
    )
    with pytest.raises(SdvlmError, match=r"^a: holds 2 pictures"):
        decode(data, "a")
    decoded = decode(data, "a", DecodeConfig(animated="first"))
    assert decoded.encoded is None
    distance = np.abs(decoded.image.astype(int) - colours).mean()
    assert distance < 12  # GIF has 256 colours
    assert np.abs(decoded.image.astype(int) - (255 - colours)).mean() > 5 * distance


def test_a_phones_jpeg_with_a_second_picture_behind_it_is_one_picture(colours):
    first = Image.fromarray(colours)
    data = saved(first, "MPO", save_all=True, append_images=[Image.fromarray(255 - colours)])
    assert Image.open(io.BytesIO(data)).n_frames == 2
    assert np.array_equal(decode(data, "a").image, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


def test_a_picture_of_one_pixel_is_refused_unless_asked_for():
    data = saved(Image.new("RGB", (1, 1), (1, 2, 3)), "PNG")
    with pytest.raises(SdvlmError, match=r"^a.png: is 1x1 pixels; at least 16 a side"):
        decode(data, "a.png")
    assert decode(data, "a.png", DecodeConfig(min_side=1)).image.tolist() == [[[1, 2, 3]]]


def test_a_picture_30000_pixels_wide_is_refused_unless_asked_for():
    data = saved(Image.new("RGB", (30_000, 20), (1, 2, 3)), "PNG")
    with pytest.raises(SdvlmError, match=r"^wide.png: is 30000x20 pixels; at most 16384 a side"):
        decode(data, "wide.png")
    assert decode(data, "wide.png", DecodeConfig(max_side=30_000)).image.shape == (20, 30_000, 3)


@pytest.mark.parametrize(("width", "height"), [(30_000, 16), (16_000, 10_000), (2**31 - 1, 2**31 - 1)])
def test_sizes_are_checked_before_pixels_are_decoded(width, height):
    with pytest.raises(SdvlmError, match=r"^a: is (\d+x\d+|too large)"):
        decode(png(width, height), "a")  # there are no pixels in it, so decoding would say that it is damaged


def test_more_pixels_than_allowed_are_refused(colours):
    with pytest.raises(SdvlmError, match="at most 599 pixels"):
        decode(saved(Image.fromarray(colours), "PNG"), "a", DecodeConfig(max_pixels=599))
    decode(saved(Image.fromarray(colours), "PNG"), "a", DecodeConfig(max_pixels=600))


@pytest.mark.parametrize("suffix", ["JPEG", "PNG", "WEBP", "GIF", "TIFF"])
def test_a_picture_cut_short_is_refused_by_name(suffix):
    noise = np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = saved(Image.fromarray(noise), suffix)
    with pytest.raises(SdvlmError, match=r"^shelf/a\.x: ") as told:
        decode(data[: len(data) // 2], "shelf/a.x")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", "is empty"), (b"hello, I am a text", "no picture that can be read"), (b"\xff\xd8\xff", "^a: ")],
)
def test_what_is_no_picture_is_refused(data, reason):
    with pytest.raises(SdvlmError, match=reason):
        decode(data, "a")


def test_bits_flipped_in_a_png_are_noticed_or_harmless():
    rng = np.random.default_rng(3)
    noise = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
    data = saved(Image.fromarray(noise), "PNG")
    refused = 0
    for place in rng.integers(8, len(data) - 12, 60):
        broken = bytearray(data)
        broken[place] ^= 0x10
        try:
            assert decode(bytes(broken), "a").image.shape[2] == 3
        except SdvlmError:
            refused += 1
    assert refused > 30


def test_pixels_are_those_of_load_image_wherever_it_takes_the_file(colours, tmp_path):
    picture = Image.fromarray(colours)
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, data in {
        "turned.jpg": saved(picture, "JPEG", exif=exif),
        "palette.png": saved(picture.convert("P"), "PNG"),
        "clear.png": saved(picture.convert("RGBA"), "PNG"),
        "inks.jpg": saved(picture.convert("CMYK"), "JPEG"),
        "grey.webp": saved(picture.convert("L"), "WEBP"),
    }.items():
        (tmp_path / name).write_bytes(data)
        assert np.array_equal(decode(data, name).image, load_image(tmp_path / name))


@pytest.mark.parametrize(
    "wrong", [{"min_side": 0}, {"min_side": 9, "max_side": 8}, {"max_pixels": 10**9}, {"animated": "all"}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(SdvlmError):
        DecodeConfig(**wrong)
