from pathlib import Path

import numpy as np

from sdvlm.fusion.depth_grid import CHANNELS
from sdvlm.nano.frames import NanoFrame, _coverage, read_shard, write_shard


def test_a_shard_reads_back_as_it_was_written(tmp_path: Path, frames: list[NanoFrame]) -> None:
    write_shard(tmp_path / "shard.safetensors", frames)
    back = read_shard(tmp_path / "shard.safetensors")
    assert len(back) == len(frames) == 4
    for one, other in zip(frames, back, strict=True):
        for name in ("picture", "depth", "coverage", "colors", "boxes"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert one.ids == other.ids
        assert one.categories == other.categories
        assert [q["question"] for q in one.questions] == [q["question"] for q in other.questions]
    assert [path.name for path in tmp_path.iterdir()] == ["shard.safetensors"]


def test_coverage_is_the_share_of_each_patch() -> None:
    instances = np.zeros((16, 32), dtype=np.int32)
    instances[0:8, 0:12] = 5  # a patch of a 4 x 4 grid is 4 rows by 8 columns
    shares = _coverage(instances, [5, 9], side=4) / 255
    expected = np.zeros((4, 4))
    expected[0:2, 0], expected[0:2, 1] = 1.0, 0.5
    np.testing.assert_allclose(shares[0].reshape(4, 4), expected, atol=1 / 255)
    assert not shares[1].any()


def test_depth_of_a_patch_lies_between_its_extremes(frames: list[NanoFrame]) -> None:
    for frame in frames:
        z, low, high = (frame.depth[:, CHANNELS.index(name)] for name in ("z", "z_min", "z_max"))
        assert ((low - 1e-4 <= z) & (z <= high + 1e-4)).all()
        assert 0.05 < low.min() < high.max() < 20
