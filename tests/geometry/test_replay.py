"""The replay of image processors against the processors themselves, on pictures whose colour says where a pixel was."""

import numpy as np
import pytest
from tests.models.real_processors import image_processor

from sdvlm.geometry.replay import replay
from sdvlm.types import SdvlmError

RAW = {"do_normalize": False, "do_rescale": False}
PROCESSORS = {
    "crop": image_processor(
        "CLIPImageProcessor",
        size={"shortest_edge": 60},
        crop_size={"height": 56, "width": 56},
        do_center_crop=True,
        **RAW,
    ),
    "stretch": image_processor("SiglipImageProcessor", size={"height": 48, "width": 64}, **RAW),
    "pad": image_processor(
        "LlavaImageProcessor",
        do_pad=True,
        size={"shortest_edge": 56},
        crop_size={"height": 56, "width": 56},
        image_mean=[0.0, 0.0, 0.0],
        **RAW,
    ),
    "crop beyond the picture": image_processor(
        "CLIPImageProcessor",
        size={"shortest_edge": 40},
        crop_size={"height": 50, "width": 50},
        do_center_crop=True,
        **RAW,
    ),
    "crop an odd rest beyond the picture": image_processor(
        "CLIPImageProcessor",
        size={"shortest_edge": 41},
        crop_size={"height": 50, "width": 50},
        do_center_crop=True,
        **RAW,
    ),
    "as it is": image_processor("CLIPImageProcessor", do_resize=False, do_center_crop=False, **RAW),
}
SIZES = [(80, 60), (61, 97), (64, 64), (120, 45)]


def ramp(size):
    """(H, W, 3) picture: red grows along x, green along y, blue is full on the picture and absent beyond it."""
    width, height = size
    x = (np.arange(width) + 0.5) / width * 255
    y = (np.arange(height) + 0.5) / height * 255
    picture = np.stack([*np.meshgrid(x, y), np.full((height, width), 255.0)], axis=-1)
    return np.round(picture).astype(np.uint8)


def check(out, steps, size, least=0.2, padding=30):
    """Every processed pixel well inside the picture shows the colour of the place the replay says it came from."""
    height, width = out.shape[1:]
    assert steps.target_size == (width, height)
    corners = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(float)
    boxes = steps.boxes_to_source(np.concatenate([corners, corners + 1], axis=-1))
    u, v = (boxes[..., 0] + boxes[..., 2]) / 2, (boxes[..., 1] + boxes[..., 3]) / 2
    margin = 3 * max(1.0, *(1 / scale for scale in steps.scale))
    inside = (u > margin) & (u < size[0] - margin) & (v > margin) & (v < size[1] - margin)
    assert inside.sum() > least * inside.size
    assert np.abs(out[0][inside] - u[inside] / size[0] * 255).max() < 2
    assert np.abs(out[1][inside] - v[inside] / size[1] * 255).max() < 2
    outside = (u < -2) | (u > size[0] + 2) | (v < -2) | (v > size[1] + 2)
    assert (out[2][outside] < padding).all()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", PROCESSORS)
def test_a_processed_pixel_shows_what_lay_where_the_replay_says(name, size):
    processor = PROCESSORS[name]
    out = np.asarray(processor(ramp(size), return_tensors="np")["pixel_values"][0], dtype=float)
    check(out, replay(processor, size), size)


@pytest.mark.parametrize("size", SIZES)
def test_a_picture_cut_into_patches_shows_what_lay_where_the_replay_says(size):
    processor = image_processor(
        "Qwen2VLImageProcessor",
        size={"shortest_edge": 256, "longest_edge": 4096},
        patch_size=8,
        merge_size=1,
        temporal_patch_size=1,
        **RAW,
    )
    made = processor(ramp(size), return_tensors="np")
    _, rows, columns = made["image_grid_thw"][0]
    patches = np.asarray(made["pixel_values"], dtype=float).reshape(rows, columns, 3, 8, 8)
    check(patches.transpose(2, 0, 3, 1, 4).reshape(3, rows * 8, columns * 8), replay(processor, size), size)


def test_what_cannot_be_replayed_is_refused():
    with pytest.raises(SdvlmError, match="cannot replay an image processor that resizes"):
        replay(
            image_processor("CLIPImageProcessor", size={"shortest_edge": 20, "longest_edge": 40}, do_center_crop=False),
            (30, 20),
        )
    padding = image_processor("CLIPImageProcessor")
    padding.do_pad = True
    with pytest.raises(SdvlmError, match="padding of CLIPImageProcessor"):
        replay(padding, (30, 20))
    with pytest.raises(SdvlmError, match="4000x10 pixels does not fit"):
        replay(image_processor("Qwen2VLImageProcessor"), (4000, 10))
