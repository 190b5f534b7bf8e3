from pathlib import Path

import numpy as np
import pytest

from sdvlm.scenes.iphone_depth import open_iphone_depth
from sdvlm.types import SdvlmError

from .scannetpp_files import counted_depth, depth_stream

ENCODINGS = {
    "stream": depth_stream,
    "lz4": counted_depth,
    "deflate": lambda frames: counted_depth(frames, lz4_frames=False),
}


def frames(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    made = []
    for index in range(count):
        depth = (rng.integers(200, 5000, (192, 256)) / 1000).astype(np.float32)
        depth[index, :7] = np.nan
        made.append(depth)
    return made


@pytest.mark.parametrize("encoding", list(ENCODINGS))
def test_each_encoding_gives_its_frames_in_any_order(tmp_path: Path, encoding: str) -> None:
    path, made = tmp_path / "depth.bin", frames(4)
    path.write_bytes(ENCODINGS[encoding](made))
    depth = open_iphone_depth(path)
    for index in (2, 0, 1, 3, 3, 0):
        found = depth.depth_m(index)
        assert found.shape == (192, 256)
        assert np.allclose(found, made[index], atol=1e-6, equal_nan=True)
    for index in (4, -1):
        with pytest.raises(SdvlmError, match=f"no frame {index}"):
            depth.depth_m(index)
    assert np.allclose(depth.depth_m(1), made[1], atol=1e-6, equal_nan=True)


def test_a_long_stream_is_entered_in_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "depth.bin"
    made = [np.full((192, 256), 0.5 + index / 100, np.float32) for index in range(150)]
    path.write_bytes(depth_stream(made))
    depth = open_iphone_depth(path)
    for index in (149, 70, 3, 140, 64, 63, 149):
        assert (depth.depth_m(index) == made[index]).all()


@pytest.mark.parametrize("encoding", list(ENCODINGS))
def test_a_file_cut_short_gives_the_frames_before_the_cut(tmp_path: Path, encoding: str) -> None:
    path, made = tmp_path / "depth.bin", frames(3)
    data = ENCODINGS[encoding](made)
    path.write_bytes(data[: int(len(data) * 0.8)])
    depth = open_iphone_depth(path)
    assert np.allclose(depth.depth_m(1), made[1], atol=1e-6, equal_nan=True)
    with pytest.raises(SdvlmError, match="no frame 2"):
        depth.depth_m(2)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "depth.bin"
    for content in (b"", b"no", b"\xff" * 4000, b"\x00" * 4000, np.random.default_rng(0).bytes(4000)):
        path.write_bytes(content)
        with pytest.raises(SdvlmError, match="neither"):
            open_iphone_depth(path)
    with pytest.raises(SdvlmError, match="cannot be read"):
        open_iphone_depth(tmp_path / "none.bin")
    path.write_bytes((300).to_bytes(4, "little") + np.random.default_rng(0).bytes(300))
    with pytest.raises(SdvlmError, match="neither lz4 nor deflate"):
        open_iphone_depth(path).depth_m(0)
