"""Videos with depth of each frame, in every family that takes videos."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.models.filmed import FILMED, FRAMES, SIZE, Filmed, asking, depth_maps, frames, needs_torchvision
from transformers.modeling_layers import GradientCheckpointingLayer

from sdvlm.models.collate import DepthCollator
from sdvlm.types import Camera, SdvlmError

GREEDY = {"max_new_tokens": 4, "do_sample": False}


@pytest.fixture(scope="module", params=FILMED)
def filmed(request: pytest.FixtureRequest) -> Filmed:
    return Filmed(request.param)


def logits(model: Any, batch: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(**batch).logits


def test_without_depth_it_is_the_base_model_bit_for_bit(filmed: Filmed) -> None:
    for depth in (None, [None] * FRAMES):
        batch = filmed.batch(frames(), depth)
        assert not any("depth" in name for name in batch)
        assert torch.equal(logits(filmed.model, batch), logits(filmed.tiny.model, batch))
        assert torch.equal(filmed.model.generate(**batch, **GREEDY), filmed.tiny.model.generate(**batch, **GREEDY))


@pytest.mark.parametrize("fusion", ["gated", "mlp"])
@pytest.mark.parametrize("name", FILMED)
def test_a_fresh_zero_initialised_fusion_changes_nothing_even_with_depth(name: str, fusion: str) -> None:
    filmed = Filmed(name, fusion)
    seeing, plain = filmed.batch(frames(), depth_maps([0, 3])), filmed.batch(frames())
    assert torch.equal(logits(filmed.model, seeing), logits(filmed.tiny.model, plain))


@pytest.mark.parametrize("size", [SIZE, (57, 90)])
@pytest.mark.parametrize("name", FILMED)
def test_pixels_inside_a_box_of_a_frame_move_its_token_and_none_that_looks_elsewhere(
    name: str, size: tuple[int, int]
) -> None:
    filmed = Filmed(name)
    for module in filmed.model.vlm.base_model.modules():
        if isinstance(module, GradientCheckpointingLayer) or type(module).__name__ == "EvaBlock":  # timm's
            module.forward = lambda *args, **kwargs: args[0] if args else kwargs["hidden_states"]
    base = frames(size=size)
    before, looks = filmed.tokens(filmed.batch(base)), filmed.processor.placer.videos.grid.tokens(size, FRAMES)
    assert len(looks) == len(before)
    tried = []
    for index in np.random.default_rng(2).permutation(np.flatnonzero(looks.frames[:, 0] >= 0)):
        part = np.round(np.clip(looks.boxes[index], 0, np.tile(size, 2))).astype(int)
        edge = np.minimum((part[2:] - part[:2]) // 4, 4)
        part += np.array([*edge, *-edge])
        frame = looks.frames[index][len(tried) % 2]
        if (part[2:] - part[:2]).min() < 4 or frame in tried:
            continue
        changed = base.copy()
        changed[frame, part[1] : part[3], part[0] : part[2]] = 255
        moved = (filmed.tokens(filmed.batch(changed)) - before).norm(dim=1).numpy()
        there = ((looks.boxes[:, :2] < part[2:]) & (looks.boxes[:, 2:] > part[:2])).all(axis=1)
        then = (looks.frames[:, 0] <= frame) & (frame <= looks.frames[:, 1])
        assert moved[index] > 0
        assert moved[~then].max(initial=0) == 0
        assert moved[then & ~there].max(initial=0) < 0.35 * moved[index]
        tried.append(frame)
    assert len(tried) >= 4


@pytest.mark.parametrize("which", range(FRAMES))
def test_depth_of_one_frame_changes_the_tokens_that_look_at_it_alone(filmed: Filmed, which: int) -> None:
    plain = filmed.tokens(filmed.batch(frames()))
    seeing = filmed.tokens(filmed.batch(frames(), depth_maps([which])))
    looks = filmed.processor.placer.videos.grid.tokens(SIZE, FRAMES)
    then = (looks.frames[:, 0] <= which) & (which <= looks.frames[:, 1])
    assert 0 < then.sum() < len(looks)
    np.testing.assert_array_equal((seeing != plain).any(dim=1).numpy(), then)


def test_depth_reaches_the_answer_and_generation_follows(filmed: Filmed) -> None:
    plain = logits(filmed.model, filmed.batch(frames()))
    batch = filmed.batch(frames(), depth_maps([1, 4]), video_camera=Camera.from_fov(*SIZE, 60.0))
    seen = logits(filmed.model, batch)
    assert not torch.allclose(seen, plain, atol=1e-3)
    said = filmed.model.generate(**batch, **GREEDY)
    assert said[0, batch["input_ids"].shape[1]] == seen[0, -1].argmax()


def test_a_video_beside_pictures_or_a_reason_why_not(filmed: Filmed) -> None:
    image = frames(1, (57, 90), seed=3)[0]
    content = asking("image", "video", "image")

    def look(model: Any, depth: list[Any], video_depth: Any) -> torch.Tensor:
        given = {"videos": frames(), "video_depth": video_depth}
        return logits(model, filmed.processor(content, [image, image[:60]], depth, **given))

    if filmed.facts.apart:
        with pytest.raises(SdvlmError, match="videos or pictures in one call, not both"):
            look(filmed.model, [None, None], None)
        return
    plain = look(filmed.model, [None, None], None)
    assert torch.equal(plain, look(filmed.tiny.model, [None, None], None))
    (near,) = depth_maps([0], 1, (57, 60))
    pictures, video = look(filmed.model, [None, near], None), look(filmed.model, [None, None], depth_maps([2]))
    both = look(filmed.model, [None, near], depth_maps([2]))
    seen = [plain, pictures, video, both]
    assert all(not torch.allclose(a, b, atol=1e-3) for i, a in enumerate(seen) for b in seen[:i])


@needs_torchvision
def test_depth_of_a_video_among_pictures_changes_its_tokens_alone() -> None:
    filmed = Filmed("internvl")
    images = [frames(1, (57, 90), seed=3)[0], frames(1, (80, 40), seed=4)[0]]

    def tokens(video_depth: Any) -> torch.Tensor:
        content = asking("image", "video", "image")
        return filmed.tokens(filmed.processor(content, images, videos=frames(), video_depth=video_depth))

    grid, looks = filmed.processor.grid, filmed.processor.placer.videos.grid.tokens(SIZE, FRAMES)
    before, after = len(grid.boxes((57, 90))), len(grid.boxes((80, 40)))
    moved = (tokens(depth_maps([1])) != tokens(None)).any(dim=1).numpy()
    np.testing.assert_array_equal(moved[before : len(moved) - after], looks.frames[:, 0] == 1)
    assert not moved[:before].any()
    assert not moved[len(moved) - after :].any()


def test_a_batch_equals_its_singles_on_both_padding_sides(filmed: Filmed) -> None:
    videos, depths = [frames(), frames(seed=5)], [depth_maps([0]), depth_maps([4])]
    questions = ["Table?", "How far is the chair?"]

    def encoded(which: list[int], **settings: Any) -> Any:
        messages = [asking("video", question=questions[one]) for one in which]
        given = {"videos": [videos[one] for one in which], "video_depth": [depths[one] for one in which]}
        return filmed.processor(messages, **given, **settings)

    singles = [logits(filmed.model, encoded([one]))[0] for one in (0, 1)]
    for side in ("left", "right"):
        batch = encoded([0, 1], padding_side=side)
        together = logits(filmed.model, batch)
        for row, alone in enumerate(singles):
            kept = batch["attention_mask"][row].bool()
            torch.testing.assert_close(together[row, kept], alone, atol=5e-5, rtol=1e-4)


@pytest.mark.parametrize("name", FILMED)
def test_gradients_reach_the_fusion_and_answers_are_labelled(name: str) -> None:
    filmed = Filmed(name, "mlp")
    talk = [*asking("video"), {"role": "assistant", "content": "1.25 m away"}]
    batch = filmed.processor(talk, videos=frames(), video_depth=depth_maps([0, 1]), labels=True)
    learned = batch["input_ids"][0][batch["labels"][0] != -100]
    assert "1.25 m away" in filmed.processor.tokenizer.decode(learned)
    filmed.model.train()
    filmed.model(**batch).loss.backward()
    assert filmed.model.fusion.mlp.last.weight.grad.abs().max() > 0


def test_frames_may_be_pictures_in_the_message_and_metres_stay_when_the_batch_is_cast(filmed: Filmed) -> None:
    video, maps = frames(), depth_maps([2])
    part = {"type": "video", "video": [Image.fromarray(one) for one in video]}
    message = [{"role": "user", "content": [part, {"type": "text", "text": "Table?"}]}]
    carried, given = filmed.processor(message, video_depth=maps), filmed.batch(video, maps)
    assert set(carried) == set(given)
    for name in given:
        torch.testing.assert_close(carried[name], given[name], equal_nan=True, rtol=0, atol=0)
    cast = given.to(torch.bfloat16)
    assert all(cast[name].dtype == torch.float32 for name in cast if "depth" in name)
    model = filmed.model.to(torch.bfloat16)
    assert torch.isfinite(logits(model, cast)).all()
    model.to(torch.float32)


@needs_torchvision
def test_examples_with_videos_are_collated_as_the_processor_takes_them() -> None:
    filmed = Filmed("qwen3_vl")
    answer = {"role": "assistant", "content": "1.25 m"}
    carried = [{"role": "user", "content": [{"type": "video", "video": frames()}]}, answer]
    examples = [
        {"messages": carried, "video_depth": [depth_maps([1])], "fps": [2.0]},
        {"messages": [*asking("video"), answer], "videos": [frames(seed=5)], "fps": [0.5]},
        {"messages": [*asking(), answer]},
    ]
    collated = DepthCollator(filmed.processor)(examples)
    messages = [[*asking("video"), answer] for _ in range(2)]
    messages[0][0] = {"role": "user", "content": [{"type": "video"}]}
    given = {"videos": [frames(), frames(seed=5)], "video_depth": [depth_maps([1]), None], "fps": [2.0, 0.5]}
    batch = filmed.processor([*messages, examples[2]["messages"]], **given, labels=True)
    assert set(collated) == set(batch)
    for name in batch:
        torch.testing.assert_close(collated[name], batch[name], equal_nan=True, rtol=0, atol=0)
    said = filmed.processor.tokenizer.decode(batch["input_ids"][0])
    assert "<0.2 seconds>" in said  # of frames 0 and 1, half a second apart
    with pytest.raises(SdvlmError, match="got 2 entries of fps of example 0 for 1 videos"):
        DepthCollator(filmed.processor)([{**examples[0], "fps": [1, 2]}])


@needs_torchvision
def test_a_processor_that_has_seen_a_video_can_move_to_a_worker() -> None:
    filmed = Filmed("qwen2_5_vl")
    batch = filmed.batch(frames(), depth_maps([1]))
    moved = pickle.loads(pickle.dumps(filmed.processor))
    again = moved(asking("video"), videos=frames(), video_depth=depth_maps([1]))
    torch.testing.assert_close(again["depth_grid_videos"], batch["depth_grid_videos"], equal_nan=True, rtol=0, atol=0)
