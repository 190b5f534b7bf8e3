import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sdvlm.depth.io import read_depth, write_depth
from sdvlm.depth.raw import read_raw
from sdvlm.types import DepthMap, SdvlmError


def save_png(path: Path, stored: np.ndarray) -> Path:
    Image.fromarray(stored).save(path)
    return path


def refused(path: Path, match: str, **options: object) -> None:
    """Reading is refused with one line that names the file."""
    with pytest.raises(SdvlmError, match=match) as caught:
        read_depth(path, **options)
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)


def test_stored_numbers_come_back_untouched(tmp_path: Path) -> None:
    stored = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    raw = read_raw(save_png(tmp_path / "d.png", stored))
    assert (raw.format, raw.kind, raw.scale_to_m) == ("png", None, None)
    assert raw.values.dtype == np.uint16
    np.testing.assert_array_equal(raw.values, stored)


def test_missing_empty_and_foreign_files_are_refused_in_one_line(tmp_path: Path) -> None:
    refused(tmp_path / "none.png", "no such file")
    (tmp_path / "empty.png").touch()
    refused(tmp_path / "empty.png", r"empty \(0 bytes\)")
    refused(tmp_path, "is a folder")
    (tmp_path / "x.png").write_bytes(b"hello there")
    refused(tmp_path / "x.png", "no known depth format; wanted 16-bit PNG")
    (tmp_path / "x.exr").write_bytes(b"v/1\x01" + bytes(40))
    refused(tmp_path / "x.exr", "is EXR, which is not read here")
    Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save(tmp_path / "x.jpg")
    refused(tmp_path / "x.jpg", "JPEG, which rounds depth away")


@pytest.mark.parametrize("suffix", [".png", ".npz", ".npy", ".tif"])
@pytest.mark.parametrize("keep", [20, 0.3, 0.9])
def test_files_cut_short_are_refused_in_one_line(tmp_path: Path, suffix: str, keep: float) -> None:
    rng = np.random.default_rng(0)
    whole = write_depth(tmp_path / f"whole{suffix}", DepthMap(rng.uniform(1, 5, (60, 80))))
    data = whole.read_bytes()
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(data[: int(keep) if keep > 1 else int(len(data) * keep)])
    refused(cut, "damaged or cut short|depth format")


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_damage_to_a_png_escapes_as_another_exception(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    whole = bytearray(write_depth(folder / "d.png", DepthMap(np.linspace(1, 5, 192).reshape(12, 16))).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(8, len(whole) - 1))] = data.draw(st.integers(0, 255))
    (folder / "d.png").write_bytes(bytes(whole))
    outcome: object
    try:
        outcome = read_depth(folder / "d.png")
    except SdvlmError as error:
        outcome = str(error)
    assert isinstance(outcome, DepthMap) or "\n" not in str(outcome)


def test_pickled_arrays_are_never_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "d.npy", np.array([[{"a": 1}]], dtype=object), allow_pickle=True)
    refused(tmp_path / "d.npy", "pickled Python objects, which are never loaded")
    np.savez(tmp_path / "d.npz", depth=np.array([[None]], dtype=object))
    refused(tmp_path / "d.npz", "pickled Python objects")


def test_files_that_claim_absurd_sizes_are_refused_before_decoding(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 16, 0, 0, 0, 0)
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + header + bytes(4))
    refused(tmp_path / "bomb.png", "60000x60000 is more than 80,000,000 pixels")
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": (90_000, 90_000)})
    (tmp_path / "bomb.npy").write_bytes(stream.getvalue())
    refused(tmp_path / "bomb.npy", "more than 80,000,000 values")
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w") as archive:
        archive.writestr("depth.npy", stream.getvalue())
    refused(tmp_path / "bomb.npz", "more than 80,000,000 values")


def test_pictures_with_other_contents_are_named(tmp_path: Path) -> None:
    refused(save_png(tmp_path / "a.png", np.zeros((4, 4, 4), dtype=np.uint8)), "4 channels")
    Image.fromarray(np.zeros((4, 4), dtype=np.uint8)).convert("P").save(tmp_path / "p.png")
    refused(tmp_path / "p.png", "palette picture")
    Image.fromarray(np.ones((4, 4), dtype=bool)).save(tmp_path / "m.png")
    refused(tmp_path / "m.png", "a mask, not depth")
    np.save(tmp_path / "c.npy", np.ones((4, 4, 3)))
    refused(tmp_path / "c.npy", r"shape \(4, 4, 3\); wanted numbers of shape \(height, width\)")
    np.save(tmp_path / "i.npy", np.full((4, 4), 7))
    refused(tmp_path / "i.npy", "int64 numbers of unknown unit")
    np.save(tmp_path / "n.npy", np.full((4, 4), -7, dtype=np.int16))
    refused(tmp_path / "n.npy", "negative numbers", scale_to_m=0.001)
    frames = [Image.fromarray(np.full((4, 4), 2.0, dtype=np.float32)) for _ in range(2)]
    frames[0].save(tmp_path / "t.tif", save_all=True, append_images=frames[1:])
    refused(tmp_path / "t.tif", "holds 2 pages")


def test_16_bit_colour_png_is_refused_because_it_would_be_cut_to_8_bits(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)
    (tmp_path / "c.png").write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + header + bytes(4))
    refused(tmp_path / "c.png", "16-bit PNG with several channels")
