"""Token boxes of every family, proven by moving pixels of the original picture."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.models.zoo import MEMBERS, ZOO, Tiny
from tests.models.zoo.table import HEAD, PROVEN, row
from transformers import Blip2Config, Idefics2Config, InstructBlipConfig
from transformers.modeling_layers import GradientCheckpointingLayer

from sdvlm.models.conversation import Prompt
from sdvlm.models.families import FAMILIES, family_of, processed, register_family
from sdvlm.models.families.known import GUESSED
from sdvlm.models.grid import TokenGrid, token_boxes
from sdvlm.models.template_prompts import TemplatePrompts
from sdvlm.types import SdvlmError

SIZES = [(100, 75), (57, 90), (131, 53)]
EDGE = 5
"""most pixels from a box's edges that are left alone: resampling bleeds over them"""


@pytest.fixture(scope="module", params=MEMBERS)
def family(request: pytest.FixtureRequest) -> Any:
    """Each family in turn."""
    return unmixed(ZOO[request.param]())


def unmixed(tiny: Tiny) -> Tiny:
    """A real model with real weights, but no block of its tower mixes tokens."""
    for module in tiny.model.base_model.modules():
        if isinstance(module, GradientCheckpointingLayer) or type(module).__name__ == "EvaBlock":  # timm's
            module.forward = _hand_on
    return tiny


def _hand_on(*args: Any, **kwargs: Any) -> Any:
    if "hidden_state" in kwargs:  # Llama 4's tower, whose blocks give tuples
        return (kwargs["hidden_state"],)
    return args[0] if args else kwargs["hidden_states"]


def image_tokens(tiny: Tiny, images: list[np.ndarray]) -> np.ndarray:
    """(T, D) tokens of all pictures, each in a prompt of its own, through the real processor."""
    ask = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "?"}]}]
    text = tiny.processor.apply_chat_template(ask, add_generation_prompt=True)
    pictures = [Image.fromarray(one) for one in images]
    made = TemplatePrompts(tiny.processor).batch([Prompt(text)] * len(images), pictures, "left", False)
    host = tiny.model.base_model
    wanted = inspect.signature(host.get_image_features).parameters
    with torch.no_grad():
        features = host.get_image_features(**{k: v for k, v in made.items() if k in wanted}, return_dict=True)
    rows = features[family_of(tiny.model.config).tokens]
    return torch.cat([row.reshape(-1, row.shape[-1]) for row in rows]).numpy()


def placeholders(tiny: Tiny, size: tuple[int, int]) -> int:
    ask = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "?"}]}]
    text = tiny.processor.apply_chat_template(ask, add_generation_prompt=True)
    made = processed(tiny.processor, text=[text], images=[Image.fromarray(noise(size, 0))], return_tensors="pt")
    return int((made["input_ids"] == tiny.model.config.image_token_id).sum())


def noise(size: tuple[int, int], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8) // 4 + 96


def inverted(base: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The picture with the inside of a box turned to its opposite, and the part that changed; None: too small."""
    height, width = base.shape[:2]
    low = np.clip(np.round(box[:2]), 0, [width, height]).astype(int)
    high = np.clip(np.round(box[2:]), 0, [width, height]).astype(int)
    edge = np.minimum((high - low) // 4, EDGE)
    low, high = low + edge, high - edge
    if (high - low).min() < 4:
        return None
    out = base.copy()
    out[low[1] : high[1], low[0] : high[0]] = 255 - out[low[1] : high[1], low[0] : high[0]] // 2
    return out, np.array([*low, *high])


@pytest.mark.parametrize("size", SIZES)
def test_there_is_a_box_or_none_for_every_placeholder(family: Tiny, size: tuple[int, int]) -> None:
    boxes = token_boxes(family.model, family.processor, size)
    assert len(boxes) == placeholders(family, size)
    somewhere = np.isfinite(boxes).all(axis=1)
    assert (somewhere | np.isnan(boxes).all(axis=1)).all()
    left, top, right, bottom = boxes[somewhere].T
    assert ((right > left) & (bottom > top)).all()
    assert ((right > 0) & (bottom > 0) & (left < size[0]) & (top < size[1])).any()


@pytest.mark.parametrize("size", SIZES)
def test_pixels_inside_a_box_move_its_token_and_none_that_looks_elsewhere(family: Tiny, size: tuple[int, int]) -> None:
    check_pixels_move_tokens(family, size)


def check_pixels_move_tokens(family: Tiny, size: tuple[int, int]) -> None:
    """Turn the inside of some boxes to its opposite: their tokens move, and those of boxes apart hardly do."""
    boxes, base = token_boxes(family.model, family.processor, size), noise(size, 0)
    before = image_tokens(family, [base])
    somewhere = np.isfinite(boxes).all(axis=1)
    tried = 0
    candidates = np.flatnonzero(somewhere)
    for index in np.random.default_rng(1).permutation(candidates):
        found = inverted(base, boxes[index])
        if found is None or tried == 4:
            continue
        changed, part = found
        moved = np.linalg.norm(image_tokens(family, [changed]) - before, axis=1)
        apart = ~((boxes[:, :2] < part[2:]) & (boxes[:, 2:] > part[:2])).all(axis=1)  # NaN compares as apart
        assert moved[index] > 0
        assert moved[apart].max(initial=0) < 0.35 * moved[index]
        assert moved[~somewhere].max(initial=0) == 0
        tried += 1
    assert tried >= 3


def test_boxes_hold_for_each_of_several_pictures(family: Tiny) -> None:
    images = [noise(size, index) for index, size in enumerate(SIZES)]
    boxes = [token_boxes(family.model, family.processor, size) for size in SIZES]
    bounds = np.cumsum([0, *(len(one) for one in boxes)])
    before = image_tokens(family, images)
    assert len(before) == bounds[-1]
    for which in range(len(SIZES)):
        shown = np.clip(np.nan_to_num(boxes[which]), 0, np.tile(SIZES[which], 2))
        large = int((shown[:, 2:] - shown[:, :2]).min(axis=1).argmax())
        found = inverted(images[which], boxes[which][large])
        assert found is not None
        after = image_tokens(family, [*images[:which], found[0], *images[which + 1 :]])
        moved = np.linalg.norm(after - before, axis=1)
        assert moved[bounds[which] + large] > 0
        moved[bounds[which] : bounds[which + 1]] = 0
        assert moved.max() == 0


def test_every_place_the_processor_keeps_is_in_some_box(family: Tiny) -> None:
    grid = TokenGrid(family.model.config, family.processor.image_processor)
    for size in SIZES:
        boxes = grid.boxes(size)
        for steps in grid.views(size).transforms:
            assert steps.source_size == size
            left, top, right, bottom = steps.boxes_to_source([0, 0, *steps.target_size])
            for x, y in np.random.default_rng(2).uniform(0.02, 0.98, (20, 2)):
                at = np.array([left + x * (right - left), top + y * (bottom - top)])
                inside = (at > 0).all() and (at < size).all()
                covered = ((boxes[:, :2] <= at) & (boxes[:, 2:] >= at)).all(axis=1).any()
                assert covered or not inside


def test_every_known_family_is_in_the_zoo() -> None:
    assert set(ZOO) == set(FAMILIES)


@pytest.mark.parametrize(
    "config", [Blip2Config(), InstructBlipConfig(), Idefics2Config()], ids=lambda one: one.model_type
)
def test_queries_that_look_at_no_place_are_refused_with_what_works(config: Any) -> None:
    with pytest.raises(SdvlmError, match="look at no place") as caught:
        family_of(config)
    assert "'depth_prompt'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_family_can_be_made_known_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = ZOO["llava"]()
    wanted = token_boxes(tiny.model, tiny.processor, SIZES[0])
    facts = FAMILIES["llava"]
    monkeypatch.delitem(FAMILIES, "llava")
    monkeypatch.delitem(GUESSED, "llava", raising=False)
    with pytest.raises(SdvlmError, match=r"state its views, cells and source with .*register_family"):
        family_of(tiny.model.config)
    register_family("llava", facts)
    grid = TokenGrid(tiny.model.config, tiny.processor.image_processor)
    np.testing.assert_array_equal(grid.boxes(SIZES[0]), wanted)


DOCUMENT = (Path(__file__).parents[2] / "docs" / "families.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", MEMBERS)
def test_the_row_of_a_family_in_the_documents_is_what_the_zoo_shows(name: str) -> None:
    assert row(name) in DOCUMENT.splitlines(), "put what `make families-table` prints into docs/families.md"


def test_the_table_in_the_documents_has_a_row_for_every_family_and_says_what_it_was_proven_with() -> None:
    assert HEAD in DOCUMENT
    assert PROVEN in DOCUMENT
    assert sorted(re.findall(r"^\| `(\w+)` \|", DOCUMENT.split(HEAD)[1].split(PROVEN)[0], re.MULTILINE)) == sorted(ZOO)
