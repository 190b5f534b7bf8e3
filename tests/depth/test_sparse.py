import json
import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdvlm.depth.io import read_depth
from sdvlm.depth.sparse import rasterize_points, read_points
from sdvlm.types import SdvlmError


@settings(max_examples=40, deadline=None)
@given(points=st.lists(st.tuples(st.floats(0, 11.4), st.floats(0, 7.4), st.floats(0.5, 50)), min_size=1, max_size=40))
def test_each_pixel_holds_the_nearest_of_the_points_that_round_to_it(points: list[tuple[float, float, float]]) -> None:
    depth = rasterize_points(points, (12, 8))
    expected: dict[tuple[int, int], float] = {}
    for u, v, z in points:
        pixel = (int(v + 0.5), int(u + 0.5))
        expected[pixel] = min(z, expected.get(pixel, np.inf))
    assert {(int(r), int(c)) for r, c in np.argwhere(depth.valid)} == set(expected)
    for (row, column), z in expected.items():
        assert depth.values[row, column] == np.float32(z)


def test_a_few_points_outside_are_left_out_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    points = [(u % 10, u // 10, 2.0) for u in range(60)] + [(10.4, 3, 2.0), (-0.6, 0, 2.0), (3, 3, 0.0), (3, 3, np.nan)]
    with caplog.at_level(logging.WARNING):
        depth = rasterize_points(points, (10, 8))
    assert depth.valid.sum() == 60
    assert "left out 2 points outside the image and 2 without depth" in caplog.text


def test_many_points_outside_mean_another_image(tmp_path: Path) -> None:
    points = [[u, 2, 3.0] for u in range(100)]
    (tmp_path / "p.json").write_text(json.dumps(points))
    with pytest.raises(SdvlmError, match="50 of 100 points lie outside the 50x10 image"):
        read_depth(tmp_path / "p.json", size=(50, 10))
    assert read_depth(tmp_path / "p.json", size=(100, 10)).valid.sum() == 100


def test_both_forms_of_the_file_are_read_and_sizes_must_agree(tmp_path: Path) -> None:
    bare, wrapped = tmp_path / "a.json", tmp_path / "b.json"
    bare.write_text("[[1, 2, 3.5], [4, 5, 6]]")
    wrapped.write_text(json.dumps({"points": [[1, 2, 3.5], [4, 5, 6]], "width": 8, "height": 6}))
    np.testing.assert_array_equal(read_points(bare), read_points(wrapped, (8, 6)))
    with pytest.raises(SdvlmError, match="points are for 8x6 pixels but the image is 6x8"):
        read_points(wrapped, (6, 8))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("[[1, 2], [3, 4]]", r"wanted a list of \[u, v, z_metres\]; got shape \(2, 2\)"),
        ("[[1, 2, 3], [3, 4]]", "wanted a list of"),
        ("[]", "wanted a list of"),
        ('{"fx": 500}', "wanted a list of"),
        ('[["a", 1, 2]]', "wanted a list of"),
        ("[[1, 2, 3]", "not readable JSON"),
        ("[" * 100_000, "not readable JSON"),
        ("[[1, 1, 0], [2, 2, -1]]", "0 valid points of 2"),
        ("[[1, 1, 3000], [2, 2, 4000]]", "median would be 3500 m"),
    ],
)
def test_unusable_point_files_are_refused_in_one_line(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(SdvlmError, match=match) as caught:
        read_depth(tmp_path / "p.json", size=(10, 10))
    assert "\n" not in str(caught.value)


def test_points_need_the_image_size_and_are_metric(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text("[[1, 1, 2000]]")
    with pytest.raises(SdvlmError, match="need the size of their image"):
        read_depth(tmp_path / "p.json")
    with pytest.raises(SdvlmError, match="sparse points are metric"):
        read_depth(tmp_path / "p.json", size=(4, 4), kind="disparity")
    assert read_depth(tmp_path / "p.json", size=(4, 4), scale_to_m=0.001).values[1, 1] == 2.0
