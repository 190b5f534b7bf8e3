"""The input of Depth Anything V2's own code: OpenCV's cubic in a loop, the released size rule, recorded inputs."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sdvlm.depth.cubic import CubicProcessor, lower_bound_size
from sdvlm.depth.preprocess import load_processor, prepare
from sdvlm.types import SdvlmError

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "sd_vlm_official"
recorded_only = pytest.mark.skipif(not GOLDEN.exists(), reason=f"the recorded outputs are not here: {GOLDEN}")
FIELDS = {
    "image_processor_type": "DPTImageProcessor",
    "size": {"height": 518, "width": 518},
    "ensure_multiple_of": 14,
    "keep_aspect_ratio": True,
    "antialias": False,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "rescale_factor": 1 / 255,
}


def cubic_weights(fraction: float) -> list[float]:
    """Of four neighbours, OpenCV's kernel (a = -0.75)."""

    def weight(x: float) -> float:
        x, a = abs(x), -0.75
        if x <= 1:
            return (a + 2) * x**3 - (a + 3) * x**2 + 1
        return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0

    return [weight(fraction + 1), weight(fraction), weight(1 - fraction), weight(2 - fraction)]


@pytest.mark.parametrize("size", [(11, 7), (40, 61)])  # one that grows, one that shrinks: never antialiased
def test_values_are_opencvs_cubic_of_the_scaled_picture_then_normalised(size: tuple[int, int]) -> None:
    image = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    processor = CubicProcessor((8, 8), 4, True, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    found = processor(image).numpy()
    height, width = found.shape[1:]
    assert (width, height) == lower_bound_size(size, (8, 8), 4)
    rng = np.random.default_rng(2)
    for row, column in zip(rng.integers(0, height, 30), rng.integers(0, width, 30), strict=True):
        y, x = (row + 0.5) * size[1] / height - 0.5, (column + 0.5) * size[0] / width - 0.5
        y0, x0 = math.floor(y), math.floor(x)
        total = np.zeros(3)
        for j, wy in enumerate(cubic_weights(y - y0)):
            for i, wx in enumerate(cubic_weights(x - x0)):
                pixel = image[min(max(y0 - 1 + j, 0), size[1] - 1), min(max(x0 - 1 + i, 0), size[0] - 1)]
                total += wy * wx * pixel / 255
        np.testing.assert_allclose(found[:, row, column], (total - [0.1, 0.2, 0.3]) / [0.5, 0.6, 0.7], atol=1e-5)


@given(width=st.integers(1, 3000), height=st.integers(1, 3000))
def test_no_side_falls_below_its_bound_and_the_aspect_stays_within_a_multiple(width: int, height: int) -> None:
    w, h = lower_bound_size((width, height), (518, 518))
    assert min(w, h) == 518
    assert w % 14 == h % 14 == 0
    assert abs(max(w, h) - 518 * max(width, height) / min(width, height)) <= 14


@recorded_only
def test_sizes_are_the_recorded_ones() -> None:
    for case in json.loads((GOLDEN / "cases.json").read_text())["resize_sizes"]:
        found = lower_bound_size((case["w"], case["h"]), (518, 518))
        assert found == (case["new_w"], case["new_h"]), case


@recorded_only
def test_inputs_are_the_recorded_ones(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(FIELDS))
    processor = load_processor("depth_anything", str(tmp_path), None)
    with np.load(GOLDEN / "cases.npz") as arrays:
        for index, said in enumerate(json.loads((GOLDEN / "cases.json").read_text())["images"]):
            image = np.asarray(Image.open(GOLDEN / said["file"]).convert("RGB"))
            found = prepare("depth_anything", processor, image).pixel_values
            assert list(found.shape) == said["depth_input_chw"]
            np.testing.assert_allclose(found[:, ::6, ::6], arrays[f"image{index}/depth_input_sub"], atol=2e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_processor_type": "ZoeDepthImageProcessor"}, "is for a DPTImageProcessor without padding"),
        ({"do_pad": True}, "is for a DPTImageProcessor without padding"),
        ({"image_mean": None}, "lacks 'image_mean'"),
    ],
)
def test_a_config_that_cubic_resizing_cannot_follow_is_refused(change: dict, message: str) -> None:
    fields = {name: value for name, value in (FIELDS | change).items() if value is not None}
    with pytest.raises(SdvlmError, match=message):
        CubicProcessor.from_dict(fields, "here")
