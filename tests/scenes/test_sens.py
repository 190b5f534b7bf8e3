import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdvlm.scenes.sens import ColorCompression, DepthCompression, SensHeader, open_sens
from sdvlm.scenes.sens_writer import write_sens
from sdvlm.types import SdvlmError

COLOR, DEPTH = (24, 16), (12, 10)
K = np.array([[20.5, 0, 11.5, 0], [0, 21.25, 7.5, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def header(color=ColorCompression.PNG, depth=DepthCompression.ZLIB, shift=1000.0) -> SensHeader:
    return SensHeader(K, np.eye(4), K / 2, np.eye(4), COLOR, DEPTH, color, depth, shift)


def frame(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (COLOR[1], COLOR[0], 3)).astype(np.uint8)
    depth = rng.uniform(0.4, 6.0, (DEPTH[1], DEPTH[0])).astype(np.float32)
    depth[0, seed % DEPTH[0]] = np.nan
    pose = np.eye(4)
    pose[:3, 3] = [seed, 0.5, -0.25]
    return image, depth, pose


def write(path: Path, count: int, head: SensHeader) -> Path:
    with write_sens(path, head) as writer:
        for seed in range(count):
            writer.add(*frame(seed))
    return path


def bytes_by_hand(count: int = 2) -> bytes:
    """A stream put together field by field from the published layout, with struct and Pillow only."""
    out = struct.pack("<I", 4) + struct.pack("<Q", 3) + b"abc"
    for matrix in (K, np.eye(4), K / 2, np.eye(4)):
        out += struct.pack("<16f", *matrix.ravel())
    out += struct.pack("<i", 2) + struct.pack("<i", 1)
    out += struct.pack("<IIII", *COLOR, *DEPTH) + struct.pack("<f", 1000.0) + struct.pack("<Q", count)
    for seed in range(count):
        image, _, pose = frame(seed)
        held = io.BytesIO()
        Image.fromarray(image).save(held, "JPEG", quality=90)
        depth = zlib.compress(struct.pack("<120H", *[1000 * seed + n for n in range(120)]))
        out += struct.pack("<16f", *pose.ravel()) + struct.pack("<QQ", 7, 8)
        out += struct.pack("<QQ", len(held.getvalue()), len(depth)) + held.getvalue() + depth
    return out


def test_a_stream_put_together_by_hand_is_read_field_by_field(tmp_path: Path) -> None:
    path = tmp_path / "a.sens"
    path.write_bytes(bytes_by_hand())
    sens = open_sens(path)
    assert (len(sens), sens.declared, sens.cut, sens.header.sensor) == (2, 2, None, "abc")
    assert (sens.header.color_size, sens.header.depth_size, sens.header.depth_shift) == (COLOR, DEPTH, 1000.0)
    assert np.array_equal(sens.header.intrinsic_color, K)
    assert np.array_equal(sens.header.intrinsic_depth, K / 2)
    assert sens.poses[1, :3, 3].tolist() == [1, 0.5, -0.25]
    depth = sens.depth_m(1)
    assert depth.shape == (10, 12)
    assert depth[3, 5] == pytest.approx(1.041)  # value 1000 + 3 * 12 + 5 in millimetres
    assert np.isnan(sens.depth_m(0)[0, 0])
    assert sens.depth_m(0)[0, 1] == pytest.approx(0.001)
    decoded = np.asarray(Image.open(io.BytesIO(sens.color_bytes(1))))
    assert np.array_equal(sens.color(1), decoded)


def test_the_written_bytes_are_the_published_layout(tmp_path: Path) -> None:
    data = write(tmp_path / "a.sens", 2, header(ColorCompression.RAW, DepthCompression.RAW)).read_bytes()
    assert struct.unpack_from("<IQ", data) == (4, 15)
    at = 12 + 15
    matrices = np.frombuffer(data, "<f4", 64, at).reshape(4, 4, 4)
    assert matrices[0] == pytest.approx(K)
    assert matrices[2] == pytest.approx(K / 2)
    at += 256
    assert struct.unpack_from("<iiIIIIfQ", data, at) == (0, 0, *COLOR, *DEPTH, 1000.0, 2)
    at += struct.calcsize("<iiIIIIfQ")
    for seed in range(2):
        image, depth, pose = frame(seed)
        assert np.frombuffer(data, "<f4", 16, at).reshape(4, 4) == pytest.approx(pose)
        assert struct.unpack_from("<QQ", data, at + 80) == (24 * 16 * 3, 12 * 10 * 2)
        at += 96
        assert data[at : at + 1152] == image.tobytes()
        stored = np.frombuffer(data, "<u2", 120, at + 1152).reshape(10, 12)
        assert np.array_equal(stored, np.nan_to_num(depth.astype(float) * 1000).round().astype(np.uint16))
        at += 1152 + 240
    assert data[at:] == bytes(8)  # number of inertial measurements


@pytest.mark.parametrize("color", list(ColorCompression))
@pytest.mark.parametrize("depth", [DepthCompression.RAW, DepthCompression.ZLIB])
def test_every_compression_gives_back_what_was_written(tmp_path, color, depth) -> None:
    sens = open_sens(write(tmp_path / "a.sens", 3, header(color, depth)))
    for seed in (2, 0, 1):  # any order
        image, measured, pose = frame(seed)
        assert sens.poses[seed] == pytest.approx(pose)
        assert sens.depth_m(seed) == pytest.approx(measured, abs=0.00051, nan_ok=True)
        if color is ColorCompression.JPEG:
            assert sens.color(seed).shape == image.shape
        else:
            assert np.array_equal(sens.color(seed), image)


def test_the_depth_shift_is_units_a_metre(tmp_path: Path) -> None:
    sens = open_sens(write(tmp_path / "a.sens", 1, header(shift=5000.0)))
    assert sens.depth_m(0) == pytest.approx(frame(0)[1], abs=0.00011, nan_ok=True)


def test_a_file_cut_anywhere_gives_the_whole_frames_before_the_cut(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.sens", 4, header(ColorCompression.RAW, DepthCompression.RAW)).read_bytes()
    each = 96 + 1152 + 240
    start = len(whole) - 8 - 4 * each
    for frames in range(4):
        for extra in (0, 1, 95, 96, 97, 1300, each - 1):
            path = tmp_path / "cut.sens"
            path.write_bytes(whole[: start + frames * each + extra])
            sens = open_sens(path)
            assert (len(sens), sens.declared) == (frames, 4)
            assert sens.cut is not None
            for seed in range(frames):
                assert np.array_equal(sens.color(seed), frame(seed)[0])
            with pytest.raises(SdvlmError, match="no frame"):
                sens.color(frames)
    path.write_bytes(whole[: start - 3])
    with pytest.raises(SdvlmError, match="header"):
        open_sens(path)


def test_a_file_cut_while_it_is_used_is_an_error_and_not_a_picture(tmp_path: Path) -> None:
    path = write(tmp_path / "a.sens", 2, header())
    sens = open_sens(path)
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(SdvlmError, match="became shorter"):
        sens.depth_m(1)


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (0, struct.pack("<I", 3), "version 4"),
        (4, struct.pack("<Q", 1 << 60), "name"),
        (271, struct.pack("<i", 7), "colour compression 7"),
        (275, struct.pack("<i", 2), "occi"),
        (279, struct.pack("<I", 1 << 31), "pixels"),
        (279, struct.pack("<I", 0), "empty"),
        (295, struct.pack("<f", 0.0), "depth shift"),
        (299, struct.pack("<Q", 1 << 62), "impossible"),
    ],
)
def test_impossible_headers_are_refused_in_one_line(tmp_path: Path, at: int, value: bytes, message: str) -> None:
    data = bytearray(bytes_by_hand())
    data[at : at + len(value)] = value
    path = tmp_path / "a.sens"
    path.write_bytes(data)
    with pytest.raises(SdvlmError, match=message) as error:
        open_sens(path)
    assert "\n" not in str(error.value)


def test_a_frame_that_decompresses_to_another_size_is_refused(tmp_path: Path) -> None:
    data = bytes_by_hand(1)
    path = tmp_path / "a.sens"
    depth = zlib.compress(struct.pack("<120H", *range(120)))
    bomb = zlib.compress(bytes(50_000_000))
    path.write_bytes(data.replace(depth, bomb).replace(struct.pack("<Q", len(depth)), struct.pack("<Q", len(bomb))))
    with pytest.raises(SdvlmError, match="take 240"):
        open_sens(path).depth_m(0)
    path.write_bytes(data.replace(depth, b"\x00" * len(depth)))
    with pytest.raises(SdvlmError, match="does not decompress"):
        open_sens(path).depth_m(0)


def test_a_picture_of_another_size_than_the_streams_is_not_written_and_leaves_nothing(tmp_path: Path) -> None:
    image, depth, pose = frame(0)
    with pytest.raises(SdvlmError, match="12x16"), write_sens(tmp_path / "a.sens", header()) as writer:
        writer.add(image[:, :12], depth, pose)
    assert list(tmp_path.iterdir()) == []
