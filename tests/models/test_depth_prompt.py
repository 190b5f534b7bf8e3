"""Depth in words: the prompt states the map's own metres, where the question is, and the model sees nothing else."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

from sdvlm.fusion.config import FusionConfig
from sdvlm.fusion.depth_text import grid_text, object_text, parse_grid, parse_objects
from sdvlm.models.processor import DepthProcessor
from sdvlm.models.wrapper import DepthVLM
from sdvlm.types import DepthKind, DepthMap, SdvlmError

from .conftest import Tiny

SIZE = (100, 75)


def parts_of(tiny: Tiny, **settings: Any) -> tuple[DepthVLM, DepthProcessor]:
    model = DepthVLM.from_vlm(copy.deepcopy(tiny.model), FusionConfig("depth_prompt", **settings))
    return model, DepthProcessor.for_model(model, copy.deepcopy(tiny.processor))


def picture(size: tuple[int, int] = SIZE, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)


def depth_map(size: tuple[int, int] = SIZE, seed: int = 0) -> DepthMap:
    values = np.random.default_rng(seed).uniform(0.5, 5.0, (size[1], size[0]))
    values[: size[1] // 3, : size[0] // 3] = np.nan
    return DepthMap(values)


def ask(text: str, pictures: int = 1) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "image"}] * pictures + [{"type": "text", "text": text}]}]


def said(batch: Any, processor: DepthProcessor, row: int = 0) -> str:
    """The prompt's text without special tokens."""
    return str(processor.tokenizer.decode(batch["input_ids"][row], skip_special_tokens=True))


@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (2, 3)])
def test_the_prompt_states_the_depth_of_every_cell_before_the_question(tiny: Tiny, rows: int, columns: int) -> None:
    _, processor = parts_of(tiny, prompt_rows=rows, prompt_columns=columns)
    depth = depth_map()
    text = said(processor(ask("How far is the chair?"), picture(), depth), processor)
    stated = parse_grid(text)
    for row in range(rows):
        for column in range(columns):
            top, bottom = 75 * row // rows, 75 * (row + 1) // rows
            left, right = 100 * column // columns, 100 * (column + 1) // columns
            known = [z for z in depth.values[top:bottom, left:right].ravel() if z == z]
            if known:
                assert stated[row, column] == pytest.approx(np.median(known), abs=0.00501)
            else:
                assert np.isnan(stated[row, column])
    assert np.isnan(stated).any() == (rows == 4)
    assert grid_text(depth, rows, columns) + "\nHow far is the chair?" in text


def test_only_the_words_differ_from_a_prompt_without_depth(tiny: Tiny) -> None:
    model, processor = parts_of(tiny)
    asked, plain = (processor(ask("How far is it?"), picture(), d) for d in (depth_map(), None))
    assert set(asked) == set(plain)
    assert torch.equal(asked["pixel_values"], plain["pixel_values"])
    words = grid_text(depth_map(), 4, 4) + "\n"
    assert said(asked, processor).replace(words, "") == said(plain, processor)
    assert model.fusion is None
    with torch.no_grad():
        assert torch.equal(model(**asked).logits, tiny.model(**asked).logits)


def test_the_same_as_a_user_who_writes_the_distances_down(tiny: Tiny) -> None:
    _, processor = parts_of(tiny)
    ours = processor(ask("How far is it?"), picture(), depth_map())
    typed = tiny.processor.apply_chat_template(
        ask(grid_text(depth_map(), 4, 4) + "\nHow far is it?"), add_generation_prompt=True
    )
    theirs = tiny.processor(text=[typed], images=[picture()], return_tensors="pt")
    assert torch.equal(ours["input_ids"], theirs["input_ids"])


def test_each_picture_with_depth_has_its_own_words_in_order(tiny: Tiny) -> None:
    _, processor = parts_of(tiny, prompt_rows=1, prompt_columns=2)
    sizes = [(100, 75), (75, 101), (64, 64)]
    maps = [depth_map(sizes[0], 0), None, depth_map(sizes[2], 2)]
    batch = processor(ask("Which is nearer?", 3), [picture(s) for s in sizes], maps)
    text = said(batch, processor)
    wanted = [grid_text(one, 1, 2) for one in maps if one is not None]
    assert text.index(wanted[0]) < text.index(wanted[1]) < text.index("Which is nearer?")
    assert text.count("depth in metres") == 2


def test_prompts_of_a_batch_state_their_own_depth(tiny: Tiny) -> None:
    _, processor = parts_of(tiny, prompt_rows=2, prompt_columns=2)
    maps = [depth_map(seed=1), None, depth_map(seed=2)]
    batch = processor([ask("One?"), ask("Two?"), ask("Three?")], [[picture()]] * 3, maps)
    texts = [said(batch, processor, row) for row in range(3)]
    for text, depth in zip(texts, maps, strict=True):
        assert text.count("depth in metres") == (depth is not None)
        if depth is not None:
            assert grid_text(depth, 2, 2) in text


def test_named_objects_are_stated_in_place_of_cells(tiny: Tiny) -> None:
    _, processor = parts_of(tiny, prompt="objects")
    depth = depth_map()
    things = [("red chair", (40.0, 30.0, 90.0, 70.0)), ("lamp", (2.0, 2.0, 20.0, 20.0))]
    text = said(processor(ask("How far?"), picture(), depth, objects=[things]), processor)
    (chair, metres), (lamp, unknown) = parse_objects(text)
    assert (chair, lamp) == ("red chair", "lamp")
    inside = [
        depth.values[y, x] for y in range(75) for x in range(100) if 52.5 <= x + 0.5 < 77.5 and 40 <= y + 0.5 < 60
    ]
    assert metres == pytest.approx(np.median(inside), abs=0.00501)
    assert np.isnan(unknown)
    assert object_text(depth, things) + "\nHow far?" in text


def test_without_objects_or_without_a_known_pixel_nothing_is_stated(tiny: Tiny) -> None:
    _, processor = parts_of(tiny, prompt="objects")
    plain = processor(ask("How far?"), picture())["input_ids"]
    assert torch.equal(processor(ask("How far?"), picture(), depth_map())["input_ids"], plain)
    _, processor = parts_of(tiny)
    unknown = DepthMap(np.full((75, 100), np.nan))
    assert torch.equal(processor(ask("How far?"), picture(), unknown)["input_ids"], plain)


def test_scaled_depth_is_stated_scaled(tiny: Tiny) -> None:
    """fusion-methods T2, at the prompt."""
    _, processor = parts_of(tiny)
    one, double = (
        parse_grid(said(processor(ask("How far?"), picture(), d), processor))
        for d in (depth_map(), depth_map().scaled(2.0))
    )
    np.testing.assert_allclose(double, 2 * one, atol=0.0151)


def test_bad_input_is_refused(tiny: Tiny) -> None:
    _, processor = parts_of(tiny)
    disparity = DepthMap(depth_map().values, DepthKind.DISPARITY)
    with pytest.raises(SdvlmError, match="is disparity but the fusion 'depth_prompt' needs metric"):
        processor(ask("?"), picture(), disparity)
    with pytest.raises(SdvlmError, match="leave them out"):
        processor(ask("?"), picture(), depth_map(), objects=[[("chair", (0, 0, 9, 9))]])
    _, processor = parts_of(tiny, prompt="objects")
    with pytest.raises(SdvlmError, match="objects for 2 pictures"):
        processor(ask("?"), picture(), depth_map(), objects=[None, None])
