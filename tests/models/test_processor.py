"""What comes out of the processor is what the model needs, or a refusal that says why."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import Trainer, TrainingArguments

from sdvlm.fusion.config import FusionConfig
from sdvlm.fusion.depth_grid import CHANNELS
from sdvlm.models.collate import DepthCollator
from sdvlm.models.grid import token_boxes
from sdvlm.models.processor import DepthProcessor
from sdvlm.models.wrapper import DepthVLM
from sdvlm.types import Camera, DepthKind, DepthMap, SdvlmError

from .conftest import Tiny

SIZES = [(100, 75), (75, 101), (64, 64)]


def parts_of(tiny: Tiny, fusion: str | FusionConfig | None = "dpe") -> tuple[DepthVLM, DepthProcessor]:
    model = DepthVLM.from_vlm(copy.deepcopy(tiny.model), fusion)
    return model, DepthProcessor.for_model(model, copy.deepcopy(tiny.processor))


def picture(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)


def depth_map(size: tuple[int, int], seed: int = 0) -> DepthMap:
    return DepthMap(np.random.default_rng(seed).uniform(0.5, 5.0, (size[1], size[0])))


def ask(text: str, pictures: int = 1) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "image"}] * pictures + [{"type": "text", "text": text}]}]


@pytest.mark.parametrize("size", [*SIZES, (131, 53), (57, 56)])
def test_a_bump_in_depth_changes_only_the_tokens_whose_boxes_it_touches(tiny: Tiny, size: tuple[int, int]) -> None:
    """fusion-methods T6, through processor, pooling and fusion, for padded and cropped pictures of odd shapes."""
    model, processor = parts_of(tiny)
    boxes = token_boxes(model, processor.processor, size)
    flat = DepthMap(np.full((size[1], size[0]), 2.0))
    rng = np.random.default_rng(3)
    touched_any = 0
    for _ in range(10):
        x, y = int(rng.integers(0, size[0] - 5)), int(rng.integers(0, size[1] - 5))
        values = flat.values.copy()
        values[y : y + 5, x : x + 5] = 9.0
        fused = []
        for depth in (flat, DepthMap(values)):
            batch = processor(ask("?"), picture(size), depth)
            asked = {k: v for k, v in batch.items() if k in ("pixel_values", "image_grid_thw")}
            with torch.no_grad():
                features = model.vlm.get_image_features(**asked, return_dict=True)
                fused.append(torch.cat(list(model.fuse(features, batch["depth_grid"]).pooler_output)))
        moved = (fused[0] != fused[1]).any(dim=1).numpy()
        touched = (boxes[:, 0] < x + 5) & (boxes[:, 2] > x) & (boxes[:, 1] < y + 5) & (boxes[:, 3] > y)
        assert moved.tolist() == touched.tolist()
        touched_any += int(touched.any())
    assert touched_any >= 2


def test_several_pictures_in_one_prompt_keep_their_own_depth(tiny: Tiny) -> None:
    model, processor = parts_of(tiny)
    pictures = [picture(size, i) for i, size in enumerate(SIZES)]
    maps = [depth_map(SIZES[0]), None, depth_map(SIZES[2], 2)]
    cameras = [Camera.from_fov(*SIZES[0], 60.0), None, None]
    together = processor(ask("Which is nearer?", 3), pictures, maps, cameras)
    alone = [
        processor(ask("?"), image, [one], [seen]) for image, one, seen in zip(pictures, maps, cameras, strict=True)
    ]
    counts = [len(token_boxes(model, processor.processor, size)) for size in SIZES]
    rows = together["depth_grid"].split(counts)
    assert "depth_grid" not in alone[1]
    for index in (0, 2):
        torch.testing.assert_close(rows[index], alone[index]["depth_grid"], equal_nan=True)
    assert torch.isnan(rows[1][:, CHANNELS.index("z")]).all()
    with torch.no_grad():
        assert torch.isfinite(model(**together).logits).all()


def test_a_batch_of_mixed_sizes_equals_singles_from_pictures_to_logits(tiny: Tiny) -> None:
    model, processor = parts_of(tiny)
    questions = [ask("How far is the chair?"), ask("Table?"), ask("Is it 1.25 m away? Yes or no.")]
    pictures, maps = [picture(s, i) for i, s in enumerate(SIZES)], [depth_map(s, i) for i, s in enumerate(SIZES)]
    for side in ("left", "right"):
        batch = processor(questions, [[p] for p in pictures], [[m] for m in maps], padding_side=side)
        with torch.no_grad():
            logits = model(**batch).logits
            for row in range(3):
                single = processor(questions[row], pictures[row], maps[row])
                keep = batch["attention_mask"][row].bool()
                torch.testing.assert_close(logits[row, keep], model(**single).logits[0], atol=2e-5, rtol=1e-4)


def test_pictures_may_come_as_arrays_or_pil_inside_the_messages_or_beside_them(tiny: Tiny) -> None:
    _, processor = parts_of(tiny)
    array = picture((100, 75))
    carried = [
        {"role": "user", "content": [{"type": "image", "image": Image.fromarray(array)}, {"type": "text", "text": "?"}]}
    ]
    ways = [processor(ask("?"), array), processor(ask("?"), [Image.fromarray(array)]), processor([carried])]
    for way in ways[1:]:
        assert torch.equal(way["pixel_values"], ways[0]["pixel_values"])
        assert torch.equal(way["input_ids"], ways[0]["input_ids"])


def test_without_a_chat_template_the_parts_are_joined(tiny: Tiny) -> None:
    _, processor = parts_of(tiny)
    processor.processor.chat_template = None
    batch = processor(ask("How far?"), picture((64, 64)), depth_map((64, 64)))
    text = processor.tokenizer.decode(batch["input_ids"][0], skip_special_tokens=True)
    assert text.strip() == "How far?"


def test_the_plain_processor_makes_the_same_inputs(tiny: Tiny) -> None:
    _, processor = parts_of(tiny)
    array = picture((100, 75))
    text = tiny.processor.apply_chat_template(ask("How far is it?"), add_generation_prompt=True)
    plain = tiny.processor(text=[text], images=[array], return_tensors="pt")
    ours = processor(ask("How far is it?"), array)
    assert set(ours) == set(plain)
    assert all(torch.equal(ours[name], plain[name]) for name in plain)


def conversation(*answers: str) -> list[dict[str, Any]]:
    out = ask("How far is the red chair?")
    for answer in answers:
        out += [{"role": "assistant", "content": answer}, {"role": "user", "content": "And the bed?"}]
    return out[:-1]


def test_labels_are_the_answers_with_their_end_tokens_and_nothing_else(tiny: Tiny) -> None:
    model, processor = parts_of(tiny)
    batch = processor(
        [conversation("It is 1.25 m away.", "0.7 m – étoile"), conversation("Yes.")],
        [picture((100, 75)), picture((64, 64))],
        [depth_map((100, 75)), None],
        labels=True,
    )
    eos = processor.tokenizer.eos_token
    said = [processor.tokenizer.decode(row[row >= 0]).replace(" ", "") for row in batch["labels"]]
    assert said == [f"Itis1.25maway.{eos}0.7m–étoile{eos}", f"Yes.{eos}"]
    kept = batch["labels"] >= 0
    assert torch.equal(batch["labels"][kept], batch["input_ids"][kept])
    assert not kept[batch["attention_mask"] == 0].any()
    assert model(**batch).loss.isfinite()


def test_the_labelled_prompt_begins_as_the_prompt_that_is_asked(tiny: Tiny) -> None:
    _, processor = parts_of(tiny)
    asked = processor(ask("How far is the red chair?"), picture((64, 64)))["input_ids"][0]
    trained = processor(conversation("1.25 m"), picture((64, 64)), labels=True)
    assert torch.equal(trained["input_ids"][0, : len(asked)], asked)
    assert (trained["labels"][0, : len(asked)] == -100).all()
    assert (trained["labels"][0, len(asked)] != -100).all()


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_collator_gives_the_same_loss_on_either_side(tiny: Tiny, side: str) -> None:
    model, processor = parts_of(tiny)
    examples = [
        {"messages": conversation("1.25 m"), "images": [picture(SIZES[0])], "depth": [depth_map(SIZES[0])]},
        {"messages": conversation("Yes.", "No."), "images": [picture(SIZES[1])], "camera": [None]},
        {"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello"}]},
    ]
    batch = DepthCollator(processor, padding_side=side)(examples)
    with torch.no_grad():
        whole = model(**batch).loss
        parts, weights = [], []
        for example in examples:
            single = DepthCollator(processor)([example])
            parts.append(model(**single).loss)
            weights.append((single["labels"][:, 1:] >= 0).sum())
    expected = (torch.stack(parts) * torch.stack(weights)).sum() / sum(weights)
    torch.testing.assert_close(whole, expected, atol=1e-5, rtol=1e-5)


def test_a_collator_that_travelled_to_a_worker_feeds_a_trainer(tiny: Tiny, tmp_path: Path) -> None:
    model, processor = parts_of(tiny, "mlp")
    collator = pickle.loads(pickle.dumps(DepthCollator(processor)))
    example = {"messages": conversation("1.25 m"), "images": [picture(SIZES[0])], "depth": [depth_map(SIZES[0])]}
    arguments = TrainingArguments(
        str(tmp_path), max_steps=2, per_device_train_batch_size=2, report_to=[], use_cpu=True,
        remove_unused_columns=False, save_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    trainer = Trainer(model, arguments, train_dataset=[example] * 4, data_collator=collator)
    assert trainer.train().global_step == 2


def test_what_was_saved_beside_the_model_loads_and_encodes_alike(tiny: Tiny, tmp_path: Path) -> None:
    model, processor = parts_of(tiny)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    again = DepthProcessor.from_pretrained(tmp_path)
    model_again = DepthVLM.from_pretrained(tmp_path)
    array, depth = picture((100, 75)), depth_map((100, 75))
    mine, theirs = processor(ask("How far?"), array, depth), again(ask("How far?"), array, depth)
    assert set(mine) == set(theirs)
    for name in mine:
        torch.testing.assert_close(mine[name], theirs[name], equal_nan=True, rtol=0, atol=0)
    with torch.no_grad():
        assert torch.equal(model(**mine).logits, model_again(**theirs).logits)


def test_a_processor_saved_alone_loads(tiny: Tiny, tmp_path: Path) -> None:
    _, processor = parts_of(tiny)
    processor.save_pretrained(tmp_path)
    assert DepthProcessor.from_pretrained(tmp_path).fusion == processor.fusion
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(SdvlmError):
        DepthProcessor.from_pretrained(tmp_path)


def test_casting_a_batch_leaves_metres_in_float32(tiny: Tiny) -> None:
    _, processor = parts_of(tiny)
    batch = processor(ask("?"), picture((64, 64)), depth_map((64, 64)))
    wanted = batch["depth_grid"].clone()
    cast = batch.to(torch.bfloat16)
    assert cast["pixel_values"].dtype == torch.bfloat16
    assert cast["input_ids"].dtype == torch.int64
    torch.testing.assert_close(cast["depth_grid"], wanted, equal_nan=True, rtol=0, atol=0)


def test_bad_input_is_refused_with_what_was_seen_and_what_is_wanted(tiny: Tiny) -> None:
    _, processor = parts_of(tiny)
    image, depth = picture((64, 64)), depth_map((64, 64))
    relative = DepthMap(depth.values, DepthKind.DISPARITY)
    mark = processor.processor.image_token
    cases: list[tuple[str, Any]] = [
        (
            "depth of picture 0 is for 32x64 pixels, the picture is 64x64",
            lambda: processor(ask("?"), image, depth_map((32, 64))),
        ),
        ("camera of picture 0 is for 32x64", lambda: processor(ask("?"), image, depth, Camera.from_fov(32, 64, 60))),
        ("is disparity but the fusion 'dpe' needs metric", lambda: processor(ask("?"), image, relative)),
        ("got 2 depth maps for 1 pictures", lambda: processor(ask("?"), image, [depth, None])),
        ("room for 2 pictures but 1 came", lambda: processor(ask("?", 2), [image])),
        ("2 image marks", lambda: processor(ask(f"what is {mark}?"), image)),
        ("a ndarray among the depth maps", lambda: processor(ask("?"), image, depth.values)),
        ("float64 array of shape (4, 4)", lambda: processor(ask("?"), np.zeros((4, 4)))),
        ("tokens exceeds the limit of 8", lambda: processor(ask("?"), image, max_length=8)),
        ("either messages or text", lambda: processor()),
        ("no assistant message", lambda: processor(ask("?"), image, labels=True)),
        ("content parts are", lambda: processor([{"role": "user", "content": [{"type": "audio"}]}])),
        ("got no messages", lambda: processor([])),
    ]
    for message, call in cases:
        with pytest.raises(SdvlmError) as caught:
            call()
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_relative_map_enters_a_fusion_that_takes_it(tiny: Tiny) -> None:
    model, processor = parts_of(tiny, FusionConfig.preset("sdvlm"))
    relative = DepthMap(depth_map((64, 64)).values, DepthKind.DISPARITY)
    with torch.no_grad():
        assert torch.isfinite(model(**processor(ask("?"), picture((64, 64)), relative)).logits).all()


def test_depth_for_a_model_without_a_fusion_is_refused(tiny: Tiny) -> None:
    _, processor = parts_of(tiny, None)
    with pytest.raises(SdvlmError, match="no fusion"):
        processor(ask("?"), picture((64, 64)), depth_map((64, 64)))


def test_a_processor_of_another_model_is_noticed(tinies: dict[str, Tiny]) -> None:
    tiny = tinies["llava-pad"]
    _, processor = parts_of(tiny)
    processor.processor.vision_feature_select_strategy = "full"
    with pytest.raises(SdvlmError, match="placed 17 image tokens but the pictures have 16"):
        processor(ask("?"), picture((64, 64)), depth_map((64, 64)))


def test_a_template_that_rewrites_the_past_is_refused_for_training(tiny: Tiny) -> None:
    _, processor = parts_of(tiny)
    mark = processor.processor.image_token
    processor.processor.chat_template = "{{ messages | length }}" + mark + "{{ messages[-1].content[-1].text }}"
    with pytest.raises(SdvlmError, match="does not round-trip"):
        processor(conversation("1 m", "2 m"), picture((64, 64)), labels=True)
