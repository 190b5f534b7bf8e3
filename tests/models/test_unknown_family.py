"""A family nobody has stated is guessed from the model itself, proven, and else refused with what is missing."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.models.zoo import ZOO, marked

from sdvlm.models.families import FAMILIES, known, processed, register_family, unknown
from sdvlm.models.families.measured import MeasuredViews
from sdvlm.models.families.proof import Witness, bare_model
from sdvlm.models.grid import TokenGrid
from sdvlm.models.processor import DepthProcessor
from sdvlm.models.wrapper import DepthVLM
from sdvlm.types import DepthMap, SdvlmError

SIZES = [(100, 75), (57, 90), (330, 200)]
OFF = 0.01
"""share of a box's side that guessed ones may be off: places are measured on pictures of 8 bits"""
COARSE = {"llama4": 0.03}
"""whose processor makes pixels in bfloat16"""
THIN = {"llama4": [(330, 200)]}
"""sizes of which a view shows a strip too thin to measure"""
LACKING = {"fast_vlm": "source and cells", "lfm2_vl": "views", "perception_lm": "cells"}
"""a tower of convolutions mixes what neighbours see; patches come with padding; the patch size is stated elsewhere"""
ASK = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Table?"}]}]


@pytest.fixture(autouse=True)
def nothing_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unknown, "_GUESSES", type(unknown._GUESSES)())
    monkeypatch.setattr(known, "GUESSED", {})
    monkeypatch.setattr(unknown, "GUESSED", known.GUESSED)


def forgotten(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A tiny model whose family is not known any more."""
    tiny = ZOO[name]()
    monkeypatch.delitem(FAMILIES, name)
    return tiny


def grid_of(tiny: Any) -> TokenGrid:
    return TokenGrid(tiny.model.config, tiny.processor.image_processor, whole=tiny.processor)


def placeholders(tiny: Any, size: tuple[int, int]) -> int:
    text = tiny.processor.apply_chat_template(ASK, add_generation_prompt=True)
    made = processed(tiny.processor, text=[text], images=[Image.new("RGB", size)], return_tensors="pt")
    return int((made["input_ids"] == tiny.model.config.image_token_id).sum())


@pytest.mark.parametrize("name", marked(name for name in ZOO if name not in LACKING))
def test_guessed_boxes_are_the_stated_ones_and_as_many_as_placeholders(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = ZOO[name]()
    stated = grid_of(tiny)
    sizes = [size for size in SIZES if size not in THIN.get(name, [])]
    wanted = [stated.boxes(size) for size in sizes]
    monkeypatch.delitem(FAMILIES, name)
    guessed = grid_of(tiny)
    for size, boxes in zip(sizes, wanted, strict=True):
        side = np.nanmax(boxes[:, 2:] - boxes[:, :2])
        np.testing.assert_allclose(guessed.boxes(size), boxes, rtol=0, atol=COARSE.get(name, OFF) * side)
        assert len(boxes) == placeholders(tiny, size)
    for size in THIN.get(name, []):
        with pytest.raises(SdvlmError, match=f"sees of a {size[0]}x{size[1]} picture cannot be measured"):
            guessed.boxes(size)
    assert guessed.family.width(tiny.model.config) == stated.family.width(tiny.model.config)
    assert guessed.family.tokens == stated.family.tokens


@pytest.mark.parametrize("name", marked(LACKING))
def test_what_cannot_be_found_is_named_in_one_line_with_how_to_give_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = forgotten(name, monkeypatch)
    with pytest.raises(SdvlmError) as caught:
        grid_of(tiny)
    said = str(caught.value)
    assert f"probing found no {LACKING[name]} (" in said
    assert f"register_family('{name}', Family(...))" in said
    assert "\n" not in said


def test_a_processor_that_turns_pictures_has_no_views(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = forgotten("llava", monkeypatch)
    pictures = copy.deepcopy(tiny.processor.image_processor)

    class Turned(type(pictures)):
        def __call__(self, images: Any, **settings: Any) -> Any:
            return super().__call__([one.transpose(Image.Transpose.ROTATE_90) for one in images], **settings)

    pictures.__class__ = Turned
    with pytest.raises(SdvlmError, match="probing found no views"):
        TokenGrid(tiny.model.config, pictures)


@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl", "internvl"])
def test_boxes_of_other_places_are_not_believed(name: str) -> None:
    tiny = ZOO[name]()
    config, pictures = tiny.model.config, tiny.processor.image_processor
    seeing = MeasuredViews(int(np.max(config.vision_config.patch_size)), tiny.processor)
    model, grid = bare_model(config, FAMILIES[name]), TokenGrid(config, pictures)
    witnesses = [Witness(model, seeing, pictures, seeing(config, pictures, size)) for size in unknown._SIZES]
    right = [grid.boxes(size) for size in unknown._SIZES]

    def believed(change: Any) -> bool:
        return all(witness.says(change(boxes)) for witness, boxes in zip(witnesses, right, strict=True))

    assert believed(lambda boxes: boxes)
    assert not believed(lambda boxes: boxes[::-1])
    assert not believed(lambda boxes: boxes[:-1])
    assert not believed(lambda boxes: boxes[:, [1, 0, 3, 2]])
    assert not believed(lambda boxes: boxes + 0.6 * (boxes[0, 2] - boxes[0, 0]))
    rng = np.random.default_rng(0)
    for _ in range(60):  # two tokens exchanged
        one, other = rng.choice(min(len(boxes) for boxes in right), 2, replace=False)
        order = np.arange(len(right[0]))
        order[[one, other]] = other, one
        assert not believed(lambda boxes, order=order: boxes[order[order < len(boxes)]])


def test_a_model_of_an_unknown_family_takes_depth_like_one_of_a_known(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = ZOO["gemma3"]()
    image = np.random.default_rng(0).integers(0, 256, (75, 100, 3), dtype=np.uint8)
    depth = DepthMap(np.full((75, 100), 2.5, dtype=np.float32))

    def look() -> torch.Tensor:
        model = DepthVLM.from_vlm(copy.deepcopy(tiny.model), "dpe").eval()
        batch = DepthProcessor.for_model(model, tiny.processor)(ASK, image, depth)
        with torch.no_grad():
            return model(**batch).logits

    stated = look()
    monkeypatch.delitem(FAMILIES, "gemma3")
    assert torch.equal(look(), stated)


def test_a_guess_is_made_once_and_travels_to_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = forgotten("qwen2_5_vl", monkeypatch)
    first = grid_of(tiny)
    wanted = first.boxes(SIZES[0])
    monkeypatch.setattr(unknown, "_guess", None)  # cannot be called
    assert grid_of(tiny).family is first.family
    sent = pickle.dumps(first)
    unknown._GUESSES.clear()
    np.testing.assert_array_equal(pickle.loads(sent).boxes(SIZES[0]), wanted)


def test_what_is_stated_goes_before_a_guess(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = FAMILIES["llava"]
    tiny = forgotten("llava", monkeypatch)
    guessed = grid_of(tiny).family
    register_family("llava", facts)
    assert grid_of(tiny).family is facts is not guessed
