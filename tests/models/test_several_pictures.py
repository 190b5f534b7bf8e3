"""Several pictures in one prompt, each with its own depth or none: every family that takes them."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from tests.models.zoo import MEMBERS, ZOO
from tests.models.zoo.expected import ONE_PICTURE
from transformers.modeling_layers import GradientCheckpointingLayer

from sdvlm.models import seam
from sdvlm.models.families import family_of
from sdvlm.models.processor import DepthProcessor
from sdvlm.models.wrapper import DepthVLM
from sdvlm.types import Camera, DepthMap, SdvlmError

SIZES = [(100, 75), (57, 90)]
GREEDY = {"max_new_tokens": 4, "do_sample": False}


class Member:
    """A family's tiny model with a fusion that lets depth be seen."""

    def __init__(self, name: str) -> None:
        self.tiny = ZOO[name]()
        self.model = DepthVLM.from_vlm(copy.deepcopy(self.tiny.model), "dpe").eval()
        self.processor = DepthProcessor.for_model(self.model, self.tiny.processor)

    def batch(self, which: list[int], depth: list[int], **settings: Any) -> Any:
        """One prompt with the pictures ``which``, of which those in ``depth`` have depth."""
        content = [{"type": "image"} for _ in which] + [{"type": "text", "text": "Table?"}]
        return self.processor([{"role": "user", "content": content}], *self.shown(which, depth), **settings)

    def shown(self, which: list[int], depth: list[int]) -> tuple[Any, Any, Any]:
        return (
            [picture(one) for one in which],
            [depth_map(one) if one in depth else None for one in which],
            [Camera.from_fov(*SIZES[one], 60.0) for one in which],
        )

    def tokens(self, batch: Any) -> torch.Tensor:
        """(T, D) fused image tokens in the order of the prompt; the model's own where the batch has no depth."""
        inputs = {name: value for name, value in batch.items() if name != "depth_grid"}
        grid = batch.get("depth_grid")
        with torch.no_grad():
            settings = self.model.config.fusion_settings
            depth = seam.DepthInputs(grid)
            features = seam.fused_inputs(self.model.vlm, self.model.fusion, settings, inputs, depth)
        rows = features["mm_encoder_outputs"]["image"][family_of(self.tiny.model.config).tokens]
        return torch.cat([row.reshape(-1, row.shape[-1]) for row in rows])

    def counts(self, which: list[int]) -> list[int]:
        """Tokens of each of the pictures of one prompt."""
        grid = self.processor.grid.beside if len(which) > 1 else self.processor.grid
        return [len(grid.boxes(SIZES[one])) for one in which]


@pytest.fixture(scope="module", params=[one for one in MEMBERS if one.values[0] not in ONE_PICTURE])
def member(request: pytest.FixtureRequest) -> Member:
    return Member(request.param)


def picture(which: int) -> np.ndarray:
    width, height = SIZES[which]
    return np.random.default_rng(which).integers(0, 256, (height, width, 3), dtype=np.uint8)


def depth_map(which: int) -> DepthMap:
    width, height = SIZES[which]
    return DepthMap(np.random.default_rng(10 + which).uniform(0.5, 6.0, (height, width)))


def logits(model: Any, batch: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(**batch).logits


def test_without_depth_it_is_the_base_model_bit_for_bit(member: Member) -> None:
    batch = member.batch([0, 1], [])
    assert "depth_grid" not in batch
    assert torch.equal(logits(member.model, batch), logits(member.tiny.model, batch))
    assert torch.equal(member.model.generate(**batch, **GREEDY), member.tiny.model.generate(**batch, **GREEDY))


@pytest.mark.parametrize("which", [0, 1])
def test_depth_of_one_picture_changes_its_tokens_alone(member: Member, which: int) -> None:
    plain, seeing = member.tokens(member.batch([0, 1], [])), member.tokens(member.batch([0, 1], [which]))
    both = member.tokens(member.batch([0, 1], [0, 1]))
    counts = member.counts([0, 1])
    assert sum(counts) == len(plain)
    mine, other = seeing.split(counts)[which], seeing.split(counts)[1 - which]
    assert torch.equal(other, plain.split(counts)[1 - which])
    boxes = member.processor.grid.beside.boxes(SIZES[which])
    seen = np.clip(boxes, 0, np.tile(SIZES[which], 2))
    inside = (seen[:, 2:] - seen[:, :2] > 1e-6).all(axis=1)  # else in padding, or nowhere
    assert inside.any()
    np.testing.assert_array_equal((mine != plain.split(counts)[which]).any(dim=1).numpy(), inside)
    torch.testing.assert_close(mine, both.split(counts)[which], atol=1e-5, rtol=1e-4)


def test_depth_of_either_picture_reaches_the_answer(member: Member) -> None:
    plain = logits(member.model, member.batch([0, 1], []))
    for depth in ([0], [1], [0, 1]):
        batch = member.batch([0, 1], depth)
        seen = logits(member.model, batch)
        assert not torch.allclose(seen, plain, atol=1e-3)
        said = member.model.generate(**batch, max_new_tokens=1, do_sample=False)
        assert said[0, -1] == seen[0, -1].argmax()


def test_pictures_that_change_places_take_their_tokens_along(member: Member) -> None:
    for depth in ([0, 1], [1]):
        first, second = member.tokens(member.batch([0, 1], depth)).split(member.counts([0, 1]))
        other, one = member.tokens(member.batch([1, 0], depth)).split(member.counts([1, 0]))
        torch.testing.assert_close(one, first, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(other, second, atol=1e-4, rtol=1e-4)


def test_a_batch_with_another_prompt_of_one_picture_equals_the_singles_on_both_padding_sides(member: Member) -> None:
    prompts = [([0, 1], [1]), ([1], [1])]
    singles = [logits(member.model, member.batch(*prompt))[0] for prompt in prompts]
    messages = [
        [{"role": "user", "content": [*[{"type": "image"}] * len(which), {"type": "text", "text": "Table?"}]}]
        for which, _ in prompts
    ]
    shown = [first + second for first, second in zip(*(member.shown(*prompt) for prompt in prompts), strict=True)]
    for side in ("left", "right"):
        batch = member.processor(messages, *shown, padding_side=side)
        together = logits(member.model, batch)
        for row, alone in enumerate(singles):
            kept = batch["attention_mask"][row].bool()
            torch.testing.assert_close(together[row, kept], alone, atol=5e-5, rtol=1e-4)


def test_onevision_sees_several_pictures_without_tiles_and_pixels_inside_a_box_move_its_token() -> None:
    member = Member("llava_onevision")
    for module in member.model.vlm.base_model.modules():
        if isinstance(module, GradientCheckpointingLayer):
            module.forward = lambda hidden_states, *args, **kwargs: hidden_states
    counts = member.counts([0, 1])
    assert len(set(counts)) == 1 < member.counts([0])[0] / counts[0]
    before = member.tokens(member.batch([0, 1], [])).split(counts)
    boxes, tried = member.processor.grid.beside.boxes(SIZES[1]), 0
    for index in range(counts[1]):
        shown = np.clip(boxes[index], 0, np.tile(SIZES[1], 2))
        if not (shown[2:] - shown[:2] > 15).all():  # in padding, or the newline
            continue
        left, top, right, bottom = (shown + np.array([6, 6, -6, -6])).astype(int)
        changed = picture(1)
        changed[top:bottom, left:right] = 255 - changed[top:bottom, left:right]
        ask = [{"role": "user", "content": [*[{"type": "image"}] * 2, {"type": "text", "text": "Table?"}]}]
        after = member.tokens(member.processor(ask, [picture(0), changed])).split(counts)
        assert torch.equal(after[0], before[0])
        moved = (after[1] - before[1]).norm(dim=1)
        assert moved.argmax() == index
        assert moved.sort().values[-2] < 0.35 * moved[index]
        tried += 1
    assert tried >= 6


@pytest.mark.parametrize("name", ONE_PICTURE)
def test_a_family_of_one_picture_says_so(name: str) -> None:
    with pytest.raises(SdvlmError, match=ONE_PICTURE[name]) as caught:
        Member(name).batch([0, 1], [])
    assert "\n" not in str(caught.value)
