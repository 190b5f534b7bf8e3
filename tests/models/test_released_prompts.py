"""A model that asks as the released SD-VLM does: its batches, its shared prefixes, its own depth."""

from __future__ import annotations

import copy
import logging
import pickle
from typing import Any

import numpy as np
import pytest
import torch

from sdvlm.depth.estimator import DepthEstimate
from sdvlm.fusion.config import FusionConfig
from sdvlm.models.collate import DepthCollator
from sdvlm.models.prefix import answer_prompts, answer_questions
from sdvlm.models.processor import DepthProcessor
from sdvlm.models.vicuna import IGNORED, PICTURE, chunked_ids, vicuna_prompt
from sdvlm.models.wrapper import DepthVLM
from sdvlm.types import DepthKind, DepthMap, RgbdFrame, SdvlmError

from .conftest import Tiny
from .llama_llava import llama_tokenizer, tiny_llama_llava

SIZES = [(100, 75), (75, 101)]
TOKENS = 16


@pytest.fixture(scope="module")
def tiny() -> Tiny:
    return tiny_llama_llava()


def parts_of(tiny: Tiny, conversation: str | None = "vicuna_v1", estimator: Any = None) -> tuple[DepthVLM, Any]:
    model = DepthVLM.from_vlm(copy.deepcopy(tiny.model), "sdvlm_official").eval()
    model.config.conversation = conversation
    return model, DepthProcessor.for_model(model, copy.deepcopy(tiny.processor), estimator)


def picture(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)


def disparity(size: tuple[int, int], seed: int = 0) -> DepthMap:
    return DepthMap(np.random.default_rng(seed).uniform(0, 9, (size[1], size[0])), DepthKind.DISPARITY)


def user(text: str, pictures: int = 1) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "image"}] * pictures + [{"type": "text", "text": text}]}]


def expanded(processor: DepthProcessor, text: str) -> list[int]:
    ids = chunked_ids(processor.tokenizer, text, "<image>")
    image = processor.processor.image_token_id
    return [one for token in ids for one in ([image] * TOKENS if token == PICTURE else [token])]


def test_messages_become_the_template_in_chunks_with_a_run_of_image_tokens_a_picture(tiny: Tiny) -> None:
    _, processor = parts_of(tiny)
    batch = processor(user("How tall?"), picture(SIZES[0]))
    text = vicuna_prompt([("user", "<image>\nHow tall?")], ask=True)
    assert batch["input_ids"][0].tolist() == expanded(processor, text)
    assert batch["pixel_values"].shape[0] == 1
    two = processor(user("How tall?", 2), [picture(size) for size in SIZES])
    text = vicuna_prompt([("user", "<image>\n<image>\nHow tall?")], ask=True)
    assert two["input_ids"][0].tolist() == expanded(processor, text)


def test_a_system_message_takes_the_place_of_the_released_one(tiny: Tiny) -> None:
    _, processor = parts_of(tiny)
    batch = processor([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "How?"}])
    assert batch["input_ids"][0].tolist() == expanded(processor, "Be brief. USER: How? ASSISTANT:")


def test_without_a_template_the_question_is_all_there_is(tiny: Tiny) -> None:
    _, processor = parts_of(tiny, "none")
    assert processor.question_prompt("How tall?") == "<image>\nHow tall?"
    batch = processor(user("How tall?"), picture(SIZES[0]))
    assert batch["input_ids"][0].tolist() == expanded(processor, "<image>\nHow tall?")
    for messages, said in (
        ([*user("a"), {"role": "assistant", "content": "b"}, *user("c")], "one turn of the user"),
        ([{"role": "assistant", "content": "b"}], "one turn of the user"),
    ):
        with pytest.raises(SdvlmError, match=said):
            processor(messages, [picture(SIZES[0])] * 2)
    with pytest.raises(SdvlmError, match="set the conversation to vicuna_v1"):
        processor([*user("a"), {"role": "assistant", "content": "b"}], picture(SIZES[0]), labels=True)


def test_raw_text_is_sent_as_it_stands(tiny: Tiny) -> None:
    _, processor = parts_of(tiny)
    batch = processor(text="How <image> tall", images=picture(SIZES[0]))
    assert batch["input_ids"][0].tolist() == expanded(processor, "How <image> tall")


@pytest.mark.parametrize("legacy", [False, True])
def test_how_the_tokenizer_treats_leading_spaces_survives_being_saved(tiny: Tiny, tmp_path: Any, legacy: bool) -> None:
    model, processor = parts_of(tiny)
    processor.processor.tokenizer = llama_tokenizer(legacy=legacy)
    text = "How</s> tall <image> It"
    for place in (tmp_path / "once", tmp_path / "twice"):
        model.save_pretrained(place)
        processor.save_pretrained(place)
        again = DepthProcessor.from_pretrained(place)
        wanted, told = (one(text=text, images=picture(SIZES[0]))["input_ids"] for one in (processor, again))
        assert torch.equal(wanted, told)
        processor = again


def test_marks_in_a_question_are_refused(tiny: Tiny) -> None:
    _, processor = parts_of(tiny)
    with pytest.raises(SdvlmError, match="2 image marks '<image>' for 1 image parts"):
        processor(user("what is <image>?"), picture(SIZES[0]))


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_batch_equals_singles_from_pictures_to_logits(tiny: Tiny, side: str) -> None:
    model, processor = parts_of(tiny)
    questions = [user("How tall?"), user("It"), [{"role": "user", "content": "No picture here."}]]
    pictures, maps = [picture(s, i) for i, s in enumerate(SIZES)], [disparity((31, 17)), disparity((9, 40))]
    batch = processor(questions, pictures, maps, padding_side=side)
    singles = [
        processor(questions[0], pictures[0], maps[0]), processor(questions[1], pictures[1], maps[1]),
        processor(questions[2]),
    ]  # fmt: skip
    with torch.no_grad():
        logits = model(**batch).logits
        for row, single in enumerate(singles):
            keep = batch["attention_mask"][row].bool()
            assert batch["input_ids"][row, keep].tolist() == single["input_ids"][0].tolist()
            torch.testing.assert_close(logits[row, keep], model(**single).logits[0], atol=2e-5, rtol=1e-4)


def test_labels_are_the_released_mask_with_the_pictures_left_out(tiny: Tiny) -> None:
    model, processor = parts_of(tiny)
    answers = [{"role": "assistant", "content": "It is 0.75 m."}, {"role": "user", "content": "So?"}]
    conversation = user("How tall?") + answers + [{"role": "assistant", "content": "It."}]
    examples = [
        {"messages": conversation, "images": [picture(SIZES[0])], "depth": [disparity(SIZES[0])]},
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
    ]
    batch = pickle.loads(pickle.dumps(DepthCollator(processor)))(examples)
    said = [processor.tokenizer.decode(row[row != IGNORED]).replace(" ", "") for row in batch["labels"]]
    assert said == ["Itis0.75m.</s>It.</s>", "b</s>"]
    assert (batch["labels"][batch["input_ids"] == processor.processor.image_token_id] == IGNORED).all()
    assert (batch["labels"][batch["attention_mask"] == 0] == IGNORED).all()
    assert model(**batch).loss.isfinite()
    with pytest.raises(SdvlmError, match="no assistant message"):
        processor(user("a"), picture(SIZES[0]), labels=True)


def alone(model: DepthVLM, processor: DepthProcessor, text: str, images: Any, depth: Any) -> tuple[int, ...]:
    batch = processor(text=text, images=images, depth=depth)
    out = model.generate(**batch, do_sample=False, max_new_tokens=6)
    return tuple(out[0, batch["input_ids"].shape[1] :].tolist())


def test_several_raw_prompts_about_several_pictures_share_them_and_answer_as_alone(tiny: Tiny) -> None:
    model, processor = parts_of(tiny)
    images, maps = [picture(s, i) for i, s in enumerate(SIZES)], [disparity((31, 17)), None]
    prompts = ["<image>\n<image>\nHow tall?", "<image>\n<image>\nIt", "<image>\n<image> It", "<image>\n<image>\n"]
    wanted = [alone(model, processor, prompt, images, maps) for prompt in prompts]
    assert len(set(wanted)) > 1
    told = answer_prompts(model, processor, prompts, images, maps, max_new_tokens=6)
    assert [one.token_ids for one in told] == wanted


def test_prompts_that_place_the_picture_differently_are_asked_one_by_one(
    tiny: Tiny, caplog: pytest.LogCaptureFixture
) -> None:
    model, processor = parts_of(tiny)
    image, depth = picture(SIZES[0]), disparity((31, 17))
    prompts = ["How tall? <image>", "<image>\nHow tall?"]
    with caplog.at_level(logging.WARNING):
        told = answer_prompts(model, processor, prompts, [image], [depth], max_new_tokens=6)
    assert "asking one by one" in caplog.text
    assert [one.token_ids for one in told] == [alone(model, processor, p, image, depth) for p in prompts]


def test_prompts_share_with_those_that_place_the_picture_alike(tiny: Tiny, caplog: pytest.LogCaptureFixture) -> None:
    model, processor = parts_of(tiny)
    image, depth = picture(SIZES[0]), disparity((31, 17))
    prompts = ["How tall? <image> A", "<image>\nHow tall?", "How tall? <image> It", "<image> It", "<image>\nIt"]
    looked: list[int] = []
    model.vlm.model.vision_tower.register_forward_hook(lambda *_: looked.append(1))
    told = answer_prompts(model, processor, prompts, [image], [depth], max_new_tokens=6)
    assert caplog.text == ""
    assert len(looked) == 2
    assert [one.token_ids for one in told] == [alone(model, processor, p, image, depth) for p in prompts]


def test_a_prompt_that_ends_with_its_picture_is_answered_too(tiny: Tiny) -> None:
    model, processor = parts_of(tiny)
    image, depth = picture(SIZES[0]), disparity((31, 17))
    prompts = ["<image>", "<image>\nIt"]
    told = answer_prompts(model, processor, prompts, [image], [depth], max_new_tokens=6)
    assert [one.token_ids for one in told] == [alone(model, processor, p, image, depth) for p in prompts]


def test_a_prompt_without_a_mark_goes_without_the_picture(tiny: Tiny) -> None:
    model, processor = parts_of(tiny)
    image, depth = picture(SIZES[0]), disparity((31, 17))
    prompts = ["How tall?", "<image>\nHow tall?", "It"]
    told = answer_prompts(model, processor, prompts, [image], [depth], max_new_tokens=6)
    assert told[1].token_ids == alone(model, processor, prompts[1], image, depth)
    for index in (0, 2):
        assert told[index].token_ids == alone(model, processor, prompts[index], None, None)
    with pytest.raises(SdvlmError, match="room for 1 pictures but 2 came"):
        answer_prompts(model, processor, prompts, [image, image])


class FakeNetwork:
    """Sees disparity: 8 x 5 of it raw, or a map of the picture's size."""

    def raw(self, images: list[np.ndarray]) -> list[DepthMap]:
        return [disparity((8, 5), seed=1) for _ in images]

    def estimate(self, images: list[np.ndarray], cameras: Any = None) -> list[DepthEstimate]:
        return [DepthEstimate(disparity((image.shape[1], image.shape[0]), seed=2)) for image in images]


def test_the_models_own_network_gives_raw_maps_where_those_are_pooled_and_fitting_ones_elsewhere(tiny: Tiny) -> None:
    frame, asked = RgbdFrame(picture(SIZES[0])), []

    def load(device: str | None) -> FakeNetwork:
        asked.append(device)
        return FakeNetwork()

    _, processor = parts_of(tiny, estimator=load)
    processor.device = "cpu"
    assert asked == []  # loaded when it is asked for, and once
    official = processor.own_depth(frame)
    assert (official.size, processor.own_depth(frame).size, asked) == ((8, 5), (8, 5), ["cpu"])
    aligned = processor.with_options(pooling="boxes")
    assert aligned.own_depth(frame).size == frame.size
    assert asked == ["cpu"]
    assert parts_of(tiny)[1].own_depth(frame) is None


def test_depth_of_any_size_answers_under_official_pooling_and_is_refused_under_boxes(tiny: Tiny) -> None:
    model, processor = parts_of(tiny)
    frame, small = RgbdFrame(picture(SIZES[0])), disparity((8, 5))
    questions = ["How tall?", "It"]
    told = answer_questions(model, processor, frame, questions, max_new_tokens=6, depth=small)
    prompts = [processor.question_prompt(question) for question in questions]
    assert [one.token_ids for one in told] == [alone(model, processor, p, frame.image, small) for p in prompts]
    assert told != answer_questions(model, processor, frame, questions, max_new_tokens=6)
    with pytest.raises(SdvlmError, match="8x5 pixels, the picture is 100x75"):
        answer_questions(model, processor.with_options(pooling="boxes"), frame, questions, depth=small)


def test_other_options_leave_the_first_processor_as_it_was(tiny: Tiny) -> None:
    _, processor = parts_of(tiny)
    other = processor.with_options(pooling="boxes", conversation="none")
    assert (processor.fusion.pooling, processor.config.conversation) == ("unpadded", "vicuna_v1")
    assert (other.fusion.pooling, other.config.conversation) == ("boxes", "none")
    assert processor.with_options(conversation=None).config.conversation is None
    for options, said in (({"pooling": "round"}, "no fusion pooling"), ({"conversation": "v0"}, "no conversation")):
        with pytest.raises(SdvlmError, match=said):
            processor.with_options(**options)


def test_sizes_of_pictures_under_official_pooling_are_checked_for_what_matters(tiny: Tiny) -> None:
    _, processor = parts_of(tiny)
    assert processor.depth_grid([SIZES[0]], [DepthMap(np.full((3, 4), 2.0))]).shape[0] == TOKENS
    assert FusionConfig.preset("sdvlm_official").pooling == "unpadded"
    processor.processor.vision_feature_select_strategy = "full"
    with pytest.raises(SdvlmError, match="placed 17 image tokens but the pictures have 16"):
        processor(user("a"), picture(SIZES[0]), disparity(SIZES[0]))
