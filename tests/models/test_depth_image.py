"""Depth as one more picture: what the vision tower sees of it is the depth map, to the millimetre, in its place."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

from sdvlm.fusion.config import FusionConfig
from sdvlm.fusion.renderers import RENDERERS, render_depth, unpack24
from sdvlm.models.processor import DepthProcessor
from sdvlm.models.wrapper import DepthVLM
from sdvlm.types import DepthKind, DepthMap, SdvlmError

from .conftest import Tiny, tiny_llava

SIZES = [(100, 75), (75, 101), (64, 64), (131, 53)]


def parts_of(tiny: Tiny, renderer: str = "pack24") -> tuple[DepthVLM, DepthProcessor]:
    model = DepthVLM.from_vlm(copy.deepcopy(tiny.model), FusionConfig("depth_image", renderer=renderer))
    return model, DepthProcessor.for_model(model, copy.deepcopy(tiny.processor))


def picture(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)


def depth_map(size: tuple[int, int], seed: int = 0) -> DepthMap:
    """Whole millimetres, a fifth of the pixels unknown."""
    rng = np.random.default_rng(seed)
    metres = rng.integers(1, 65536, (size[1], size[0])) / 1000
    return DepthMap(np.where(rng.random(metres.shape) < 0.2, np.nan, metres))


def ask(text: str, pictures: int = 1) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "image"}] * pictures + [{"type": "text", "text": text}]}]


def seen_by_the_tower(batch: Any, processor: DepthProcessor) -> list[np.ndarray]:
    """(H, W, 3) uint8 of each picture, out of ``pixel_values``: layout and normalisation undone by hand."""
    image_processor = processor.processor.image_processor
    mean, std = (np.array(getattr(image_processor, name)) for name in ("image_mean", "image_std"))
    values = batch["pixel_values"].double().numpy()
    if "image_grid_thw" not in batch:
        pictures = list(values.transpose(0, 2, 3, 1))
    else:
        pictures, start = [], 0
        p, m = image_processor.patch_size, image_processor.merge_size
        for _, rows, columns in batch["image_grid_thw"].tolist():
            out = np.zeros((rows * p, columns * p, 3))
            for by in range(rows // m):  # blocks of m x m patches, in each row by row
                for bx in range(columns // m):
                    for y in range(m):
                        for x in range(m):
                            patch = values[start].reshape(3, 2, p, p)
                            assert np.array_equal(patch[:, 0], patch[:, 1])
                            top, left = (by * m + y) * p, (bx * m + x) * p
                            out[top : top + p, left : left + p] = patch[:, 0].transpose(1, 2, 0)
                            start += 1
            pictures.append(out)
    return [np.round(255 * (one * std + mean)).astype(np.uint8) for one in pictures]


@pytest.fixture(scope="module")
def wide(tinies: dict[str, Tiny]) -> dict[str, Tiny]:
    """The families, with processors that let a picture of 256x256 pixels through as it is."""
    qwen = copy.copy(tinies["qwen2.5-vl"])
    processor = copy.deepcopy(qwen.processor)
    processor.image_processor.size = {"shortest_edge": 256, "longest_edge": 256 * 256}
    llava = {pad: tiny_llava(pad=pad, side=256, patch=32) for pad in (True, False)}
    return {
        "llava-pad": llava[True],
        "llava-crop": llava[False],
        "qwen2.5-vl": Tiny(qwen.name, qwen.model, processor, qwen.patch),
    }


@pytest.mark.parametrize("family", ["llava-pad", "llava-crop", "qwen2.5-vl"])
def test_every_millimetre_from_0_to_65535_reaches_the_vision_tower(wide: dict[str, Tiny], family: str) -> None:
    """fusion-methods 2.2: through the real processor; 0 is unknown."""
    _, processor = parts_of(wide[family])
    millimetres = np.random.default_rng(0).permutation(65536).reshape(256, 256)
    batch = processor(ask("How far?"), picture((256, 256)), DepthMap(millimetres / 1000))
    own, drawn = seen_by_the_tower(batch, processor)
    assert np.array_equal(own, picture((256, 256)))
    assert np.array_equal(np.round(1000 * np.nan_to_num(unpack24(drawn).values).astype(float)), millimetres)


@pytest.mark.parametrize("size", SIZES)
def test_the_tower_sees_only_depths_that_are_in_the_map_each_in_its_place(tiny: Tiny, size: tuple[int, int]) -> None:
    _, processor = parts_of(tiny)
    depth = depth_map(size)
    _, drawn = seen_by_the_tower(processor(ask("How far?"), picture(size), depth), processor)
    read = unpack24(drawn).values
    steps = processor.grid.transform(size)
    assert read.shape == steps.target_size[::-1]
    inside = 0
    for row in range(0, read.shape[0], 3):
        for column in range(0, read.shape[1], 3):  # the pixel of the map under the centre of this one
            left, top, right, bottom = steps.boxes_to_source([column, row, column + 1, row + 1])
            x, y = int(np.floor((left + right) / 2)), int(np.floor((top + bottom) / 2))
            if 0 <= x < size[0] and 0 <= y < size[1]:
                np.testing.assert_allclose(read[row, column], depth.values[y, x], atol=1e-5)
                inside += 1
            else:
                assert np.isnan(read[row, column])
    assert inside > 50


@pytest.mark.parametrize("size", [size for size in SIZES if size != (64, 64)])  # Qwen2.5-VL does not resize that one
def test_the_same_code_sent_as_an_ordinary_picture_is_destroyed_by_bicubic_resizing(
    tiny: Tiny, size: tuple[int, int]
) -> None:
    """Why a drawn depth map must not pass through the processor's own resize."""
    _, processor = parts_of(tiny)
    code = render_depth(depth_map(size), "pack24")
    _, drawn = seen_by_the_tower(processor(ask("How far?", 2), [picture(size), code]), processor)
    with pytest.raises(SdvlmError, match="resized"):
        unpack24(drawn)


@pytest.mark.parametrize("renderer", RENDERERS)
def test_each_renderer_reaches_the_tower_as_it_draws(tiny: Tiny, renderer: str) -> None:
    _, processor = parts_of(tiny, renderer)
    depth = depth_map((100, 75))
    _, drawn = seen_by_the_tower(processor(ask("How far?"), picture((100, 75)), depth), processor)
    at_its_size = processor.grid.transform((100, 75)).depth(depth)
    assert np.array_equal(drawn, render_depth(at_its_size, renderer))


def test_it_is_the_base_model_looking_at_two_pictures(tiny: Tiny) -> None:
    model, processor = parts_of(tiny, "turbo")
    depth = depth_map((100, 75))
    drawn = render_depth(processor.grid.transform((100, 75)).depth(depth), "turbo")
    ours = processor(ask("How far is the chair?"), picture((100, 75)), depth)
    text = tiny.processor.apply_chat_template(ask("How far is the chair?", 2), add_generation_prompt=True)
    plain = tiny.processor(text=[text], images=[picture((100, 75)), drawn], return_tensors="pt")
    assert set(ours) == set(plain)
    for name in plain:
        assert torch.equal(ours[name], plain[name]), name
    assert model.fusion is None
    with torch.no_grad():
        assert torch.equal(model(**ours).logits, tiny.model(**plain).logits)
    assert torch.equal(
        model.generate(**ours, max_new_tokens=4, do_sample=False),
        tiny.model.generate(**plain, max_new_tokens=4, do_sample=False),
    )


def test_depth_pictures_stand_behind_their_own_pictures_and_only_there(tiny: Tiny) -> None:
    _, processor = parts_of(tiny)
    sizes = SIZES[:3]
    pictures, maps = [picture(s, i) for i, s in enumerate(sizes)], [depth_map(s, i) for i, s in enumerate(sizes)]
    batch = processor(ask("Which is nearer?", 3), pictures, [maps[0], None, maps[2]])
    seen = seen_by_the_tower(batch, processor)
    plain = seen_by_the_tower(processor(ask("Which is nearer?", 3), pictures), processor)
    assert len(seen) == 5
    for slot, index in ((0, 0), (2, 1), (3, 2)):
        assert np.array_equal(seen[slot], plain[index])
    for slot, index in ((1, 0), (4, 2)):
        wanted = processor.grid.transform(sizes[index]).depth(maps[index]).values
        np.testing.assert_allclose(unpack24(seen[slot]).values, wanted, atol=1e-5)


def test_depth_of_a_kind_the_renderer_has_no_meaning_for_is_refused(tiny: Tiny) -> None:
    disparity = DepthMap(depth_map((64, 64)).values, DepthKind.DISPARITY)
    for renderer, refused in (("pack24", True), ("log_gray", True), ("inverse_gray", False), ("turbo", False)):
        _, processor = parts_of(tiny, renderer)
        if refused:
            with pytest.raises(SdvlmError, match="is disparity but the fusion 'depth_image' needs metric depth"):
                processor(ask("?"), picture((64, 64)), disparity)
        else:
            assert len(seen_by_the_tower(processor(ask("?"), picture((64, 64)), disparity), processor)) == 2


def test_a_processor_that_resizes_what_it_made_is_refused(tinies: dict[str, Tiny]) -> None:
    _, processor = parts_of(tinies["llava-crop"])
    processor.processor.image_processor.size = {"shortest_edge": 80}
    with pytest.raises(SdvlmError, match="a drawn depth map would be mixed"):
        processor(ask("?"), picture((64, 64)), depth_map((64, 64)))
