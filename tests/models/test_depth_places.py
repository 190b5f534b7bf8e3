"""What holds wherever depth enters: without depth it is the base model; in batches, shared and saved it agrees."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sdvlm.fusion.config import PLACES, FusionConfig
from sdvlm.models.collate import DepthCollator
from sdvlm.models.prefix import answer_questions
from sdvlm.models.processor import DepthProcessor
from sdvlm.models.wrapper import DepthVLM
from sdvlm.types import Camera, DepthMap, RgbdFrame

from .conftest import QUESTIONS, Tiny

SIZES = [(100, 75), (75, 101), (64, 64)]
NAMES = [name for name, place in PLACES.items() if place != "tokens"]
FUSIONS = {name: FusionConfig.preset(name) for name in NAMES if name != "depth_image"} | {
    "depth_image-pack24": FusionConfig("depth_image", renderer="pack24"),
    "depth_image-turbo": FusionConfig("depth_image", renderer="turbo"),
}


@pytest.fixture(params=["llava-pad", "qwen2.5-vl"])
def tiny(request: pytest.FixtureRequest, tinies: dict[str, Tiny]) -> Tiny:
    """A tower that takes a batch of one size, and one that packs pictures of any."""
    return tinies[request.param]


@pytest.fixture(params=FUSIONS)
def fusion(request: pytest.FixtureRequest) -> FusionConfig:
    """Each fusion that does more than to change image tokens."""
    return FUSIONS[request.param]


def awake(model: DepthVLM) -> DepthVLM:
    """Zero-initialised parts get weights, as training would give them."""
    torch.manual_seed(1)
    for parameter in () if model.fusion is None else model.fusion.parameters():
        if not parameter.detach().any():
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def parts_of(tiny: Tiny, fusion: FusionConfig) -> tuple[DepthVLM, DepthProcessor]:
    torch.manual_seed(0)
    model = awake(DepthVLM.from_vlm(copy.deepcopy(tiny.model), fusion)).eval()
    return model, DepthProcessor.for_model(model, copy.deepcopy(tiny.processor))


def picture(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)


def depth_map(size: tuple[int, int], seed: int = 0) -> DepthMap:
    values = np.random.default_rng(seed).uniform(0.5, 5.0, (size[1], size[0]))
    values[: size[1] // 4] = np.nan
    return DepthMap(values)


def ask(text: str, pictures: int = 1) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "image"}] * pictures + [{"type": "text", "text": text}]}]


def plainly(tiny: Tiny, text: str, images: list[np.ndarray]) -> dict[str, Any]:
    """The base model's own inputs."""
    prompt = tiny.processor.apply_chat_template(ask(text, len(images)), add_generation_prompt=True)
    return dict(tiny.processor(text=[prompt], images=images, return_tensors="pt"))


@pytest.mark.parametrize("unknown", [None, DepthMap(np.full((75, 100), np.nan))], ids=["none", "unknown everywhere"])
def test_without_depth_it_is_the_base_model_bit_for_bit(
    tiny: Tiny, fusion: FusionConfig, unknown: DepthMap | None
) -> None:
    """fusion-methods T5, before training: nothing is said, shown or added about depth that is not there."""
    model, processor = parts_of(tiny, fusion)
    batch = processor(ask("How far is it?"), picture((100, 75)), unknown)
    plain = plainly(tiny, "How far is it?", [picture((100, 75))])
    for name, value in plain.items():
        assert torch.equal(batch[name], value), name
    with torch.no_grad():
        assert torch.equal(model(**batch).logits, tiny.model(**plain).logits)
    greedy = {"max_new_tokens": 6, "do_sample": False}
    assert torch.equal(model.generate(**batch, **greedy), tiny.model.generate(**plain, **greedy))


def test_depth_changes_what_the_model_says(tiny: Tiny, fusion: FusionConfig) -> None:
    """Two maps of one picture: without this, the tests around it could pass on a fusion that does nothing."""
    model, processor = parts_of(tiny, fusion)
    near, far = depth_map((100, 75)), depth_map((100, 75)).scaled(3.0)
    with torch.no_grad():
        one, other = (model(**processor(ask("How far?"), picture((100, 75)), d)).logits[0, -1] for d in (near, far))
    assert (one - other).abs().max() > 1e-3


def test_generation_agrees_with_the_forward_pass(tiny: Tiny, fusion: FusionConfig) -> None:
    model, processor = parts_of(tiny, fusion)
    batch = processor(ask("How far?"), picture((100, 75)), depth_map((100, 75)), Camera.from_fov(100, 75, 60.0))
    with torch.no_grad():
        said = model(**batch).logits[0, -1].argmax()
    assert model.generate(**batch, max_new_tokens=1, do_sample=False)[0, -1] == said


def test_a_batch_of_mixed_sizes_some_without_depth_equals_singles(tiny: Tiny, fusion: FusionConfig) -> None:
    model, processor = parts_of(tiny, fusion)
    questions = [ask("How far is the chair?"), ask("Table?"), ask("Is it 1.25 m away? Yes or no.")]
    pictures, maps = [picture(s, i) for i, s in enumerate(SIZES)], [depth_map(s, i) for i, s in enumerate(SIZES)]
    maps[1] = None
    for side in ("left", "right"):
        batch = processor(questions, [[p] for p in pictures], [[m] for m in maps], padding_side=side)
        with torch.no_grad():
            logits = model(**batch).logits
            for row in range(3):
                single = processor(questions[row], pictures[row], maps[row])
                keep = batch["attention_mask"][row].bool()
                torch.testing.assert_close(logits[row, keep], model(**single).logits[0], atol=5e-5, rtol=1e-4)


def test_answers_behind_a_shared_prefix_equal_asking_one_by_one(tiny: Tiny, fusion: FusionConfig) -> None:
    size = SIZES[1]
    model, processor = parts_of(tiny, fusion)
    model.vlm.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    model.vlm.generation_config.pad_token_id = 0
    frame = RgbdFrame(picture(size), depth_map(size), Camera.from_fov(*size, 60.0))
    alone = []
    for question in QUESTIONS:
        batch = processor(ask(question), frame.image, frame.depth, frame.camera)
        out = model.generate(**batch, max_new_tokens=6, do_sample=False)
        alone.append(out[0, batch["input_ids"].shape[1] :].tolist())
    for settings in ({}, {"batch_size": 2}):
        answers = answer_questions(model, processor, frame, QUESTIONS, max_new_tokens=6, **settings)
        assert [list(answer.token_ids) for answer in answers] == alone
    assert len({tuple(tokens) for tokens in alone}) > 1


def test_the_questions_of_a_picture_share_all_that_depth_puts_into_the_prompt(tiny: Tiny, fusion: FusionConfig) -> None:
    _, processor = parts_of(tiny, fusion)
    frame = RgbdFrame(picture((100, 75)), depth_map((100, 75)))
    _, prompts = processor.encode_questions(frame, ["How far?", "Is it 1.25 m?"])
    _, bare = processor.encode_questions(RgbdFrame(picture((100, 75))), ["How far?", "Is it 1.25 m?"])
    shared, before = (next(i for i, (a, b) in enumerate(zip(*two, strict=False)) if a != b) for two in (prompts, bare))
    assert shared - before == len(prompts[0]) - len(bare[0])


def test_what_is_saved_loads_and_answers_alike(tiny: Tiny, fusion: FusionConfig, tmp_path: Path) -> None:
    model, processor = parts_of(tiny, fusion)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    again, processor_again = DepthVLM.from_pretrained(tmp_path), DepthProcessor.from_pretrained(tmp_path)
    assert again.config.fusion == fusion.to_dict()
    mine, theirs = (p(ask("How far?"), picture((100, 75)), depth_map((100, 75))) for p in (processor, processor_again))
    assert set(mine) == set(theirs)
    for name in mine:
        torch.testing.assert_close(mine[name], theirs[name], equal_nan=True, rtol=0, atol=0)
    with torch.no_grad():
        assert torch.equal(model(**mine).logits, again(**theirs).logits)


def test_labels_are_the_answers_and_nothing_that_depth_put_in(tiny: Tiny, fusion: FusionConfig) -> None:
    model, processor = parts_of(tiny, fusion)
    talk = ask("How far is the red chair?")
    talk += [{"role": "assistant", "content": "It is 1.25 m away."}, {"role": "user", "content": "And the bed?"}]
    talk += [{"role": "assistant", "content": "0.7 m – étoile"}]
    depth = depth_map((100, 75))
    batch = processor([talk, talk], [picture((100, 75))] * 2, [depth, None], labels=True)
    eos = processor.tokenizer.eos_token
    for row in batch["labels"]:
        said = processor.tokenizer.decode(row[row >= 0]).replace(" ", "")
        assert said == f"Itis1.25maway.{eos}0.7m–étoile{eos}"
    kept = batch["labels"] >= 0
    assert torch.equal(batch["labels"][kept], batch["input_ids"][kept])
    assert model(**batch).loss.isfinite()
    asked = processor(talk[:1], picture((100, 75)), depth)["input_ids"][0]
    assert torch.equal(batch["input_ids"][0, : len(asked)], asked)
    assert (batch["labels"][0, : len(asked)] == -100).all()


def test_a_collator_in_a_worker_makes_the_same_batch(tiny: Tiny, fusion: FusionConfig) -> None:
    _, processor = parts_of(tiny, fusion)
    talk = [*ask("How far is it?"), {"role": "assistant", "content": "1.25 m"}]
    examples = [
        {"messages": talk, "images": [picture(size)], "depth": [depth]}
        for size, depth in zip(SIZES, [depth_map(SIZES[0]), None, depth_map(SIZES[2])], strict=True)
    ]
    here = DepthCollator(processor)
    there = pickle.loads(pickle.dumps(here))
    one, other = here(examples), there(examples)
    assert set(one) == set(other)
    for name in one:
        torch.testing.assert_close(one[name], other[name], equal_nan=True, rtol=0, atol=0)


def test_a_prompt_that_grew_too_long_is_refused_not_cut(tiny: Tiny, fusion: FusionConfig) -> None:
    _, processor = parts_of(tiny, fusion)
    length = processor(ask("How far?"), picture((100, 75)))["input_ids"].shape[1]
    grown = processor(ask("How far?"), picture((100, 75)), depth_map((100, 75)))["input_ids"].shape[1]
    if grown > length:
        with pytest.raises(ValueError, match=f"a prompt of {grown} tokens exceeds the limit of {length}"):
            processor(ask("How far?"), picture((100, 75)), depth_map((100, 75)), max_length=length)
