"""Sharing a prefix changes the time, never the answers."""

from __future__ import annotations

import copy
import logging
import threading

import numpy as np
import pytest
import torch

from sdvlm.models import prefix, shared_attention
from sdvlm.models.prefix import Answer, answer_questions
from sdvlm.models.processor import DepthProcessor
from sdvlm.models.wrapper import DepthVLM
from sdvlm.types import Camera, DepthMap, RgbdFrame, SdvlmError

from .conftest import QUESTIONS, Tiny
from .zoo import ZOO


def frame_of(size: tuple[int, int], seed: int = 0, depth: bool = True) -> RgbdFrame:
    rng = np.random.default_rng(seed)
    w, h = size
    image = rng.integers(0, 256, (h, w, 3), dtype=np.uint8)
    return RgbdFrame(image, DepthMap(rng.uniform(0.5, 5, (h, w))) if depth else None, Camera.from_fov(w, h, 60))


@pytest.fixture
def pair(tiny: Tiny) -> tuple[DepthVLM, DepthProcessor]:
    model = DepthVLM.from_vlm(copy.deepcopy(tiny.model), "dpe")
    model.vlm.generation_config.eos_token_id = None  # random models rarely end by themselves
    return model, DepthProcessor.for_model(model, copy.deepcopy(tiny.processor))


def alone(model: DepthVLM, processor: DepthProcessor, frame: RgbdFrame, question: str, **settings: object) -> list[int]:
    """The reference: the ordinary processor call and the ordinary ``generate``, one question."""
    content = [{"type": "image"}, {"type": "text", "text": question}]
    batch = processor([{"role": "user", "content": content}], frame.image, frame.depth, frame.camera)
    out = model.generate(**batch, do_sample=False, **settings)
    return out[0, batch["input_ids"].shape[1] :].tolist()


@pytest.mark.parametrize(("size", "depth"), [((100, 75), True), ((60, 90), False)])
def test_shared_answers_equal_asking_one_by_one_token_for_token(
    pair: tuple[DepthVLM, DepthProcessor], size: tuple[int, int], depth: bool
) -> None:
    model, processor = pair
    model.vlm.generation_config.eos_token_id = 2
    frame = frame_of(size, depth=depth)
    wanted = [alone(model, processor, frame, q, max_new_tokens=12) for q in QUESTIONS]
    for settings in ({}, {"batch_size": 2}, {"share_prefix": False}):
        answers = answer_questions(model, processor, frame, QUESTIONS, max_new_tokens=12, **settings)
        assert [list(answer.token_ids) for answer in answers] == wanted
    assert len({tuple(tokens) for tokens in wanted}) > 1  # the questions matter to this model


def test_rows_end_on_their_own_and_the_rest_goes_on(pair: tuple[DepthVLM, DepthProcessor]) -> None:
    model, processor = pair
    frame = frame_of((64, 64), seed=3)
    free = [alone(model, processor, frame, q, max_new_tokens=12) for q in QUESTIONS]
    for end in {free[0][0], free[3][5]}:  # tokens at which some rows stop early and others do not
        model.vlm.generation_config.eos_token_id = [end]
        model.vlm.generation_config.pad_token_id = 0
        wanted = [alone(model, processor, frame, q, max_new_tokens=12) for q in QUESTIONS]
        answers = answer_questions(model, processor, frame, QUESTIONS, max_new_tokens=12)
        assert [list(answer.token_ids) for answer in answers] == wanted
        assert all(end not in tokens[:-1] for tokens in wanted)


def test_a_single_question_and_repeated_questions_share_all_but_the_last_token(
    pair: tuple[DepthVLM, DepthProcessor],
) -> None:
    model, processor = pair
    frame = frame_of((80, 60))
    wanted = alone(model, processor, frame, QUESTIONS[0], max_new_tokens=5)
    one = answer_questions(model, processor, frame, QUESTIONS[:1], max_new_tokens=5)
    two = answer_questions(model, processor, frame, [QUESTIONS[0]] * 2, max_new_tokens=5)
    assert [list(a.token_ids) for a in one + two] == [wanted] * 3
    assert one == [Answer(processor.decode(wanted), tuple(wanted))]
    assert answer_questions(model, processor, frame, []) == []


def test_the_picture_is_read_once_however_many_questions(pair: tuple[DepthVLM, DepthProcessor]) -> None:
    model, processor = pair
    calls: list[int] = []
    tower = model.vlm.base_model.get_submodule(
        "vision_tower" if hasattr(model.vlm.base_model, "vision_tower") else "visual"
    )
    tower.register_forward_hook(lambda *args: calls.append(1))
    answer_questions(model, processor, frame_of((64, 64)), QUESTIONS, max_new_tokens=2, batch_size=2)
    assert len(calls) == 1


@pytest.mark.parametrize("scores", [1, 2**24])
def test_the_copying_way_and_the_sharing_way_agree(
    pair: tuple[DepthVLM, DepthProcessor], monkeypatch: pytest.MonkeyPatch, scores: int
) -> None:
    model, processor = pair
    frame = frame_of((100, 75), seed=5)
    monkeypatch.setattr(shared_attention, "_SCORES", scores)  # 1: the prefix is attended to one query at a time
    wanted = answer_questions(model, processor, frame, QUESTIONS, max_new_tokens=10)
    for name in ("can_share", "eager"):
        if name == "eager":  # an attention that cannot share: the cache is repeated
            model.vlm.get_decoder().set_attn_implementation("eager")
        else:
            monkeypatch.setattr(prefix, "can_share", lambda *args: False)
        assert answer_questions(model, processor, frame, QUESTIONS, max_new_tokens=10) == wanted
        monkeypatch.undo()


def test_sharing_leaves_the_model_as_it_was_even_after_a_failure(
    pair: tuple[DepthVLM, DepthProcessor], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, processor = pair
    frame = frame_of((64, 64))
    wanted = answer_questions(model, processor, frame, QUESTIONS, max_new_tokens=3)
    assert model.vlm.get_decoder().config._attn_implementation == "sdpa"

    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(prefix._Decoder, "_step", fail)
        with pytest.raises(RuntimeError):
            answer_questions(model, processor, frame, QUESTIONS, max_new_tokens=3)
    assert model.vlm.get_decoder().config._attn_implementation == "sdpa"
    assert answer_questions(model, processor, frame, QUESTIONS, max_new_tokens=3) == wanted


def test_another_thread_may_use_the_model_meanwhile(pair: tuple[DepthVLM, DepthProcessor]) -> None:
    model, processor = pair
    frame = frame_of((64, 64))
    batch = processor([{"role": "user", "content": [{"type": "image"}]}], frame.image, frame.depth)
    with torch.no_grad():
        wanted = model(**batch).logits
        cache = shared_attention.SharedPrefixCache(model(**batch, use_cache=True).past_key_values)
        seen: list[torch.Tensor] = []
        with shared_attention.sharing(model.vlm, cache):
            other = threading.Thread(target=lambda: seen.append(model.eval()(**batch).logits))
            other.start()
            other.join()
    assert torch.equal(seen[0], wanted)


def test_many_rows_take_no_copies_of_the_prefix(pair: tuple[DepthVLM, DepthProcessor]) -> None:
    model, processor = pair
    frame = frame_of((64, 64))
    batch = processor([{"role": "user", "content": [{"type": "image"}]}], frame.image, frame.depth)
    with torch.no_grad():
        keys = model(**batch, use_cache=True).past_key_values
    caches = [shared_attention.SharedPrefixCache(keys) for _ in range(3)]
    for cache in caches:
        assert all(own.prefix_keys is layer.keys for own, layer in zip(cache.shared, keys.layers, strict=True))
        assert cache.get_seq_length() == batch["input_ids"].shape[1]


def test_a_template_with_the_question_first_falls_back_and_says_so(
    pair: tuple[DepthVLM, DepthProcessor], caplog: pytest.LogCaptureFixture
) -> None:
    model, processor = pair
    mark = processor.processor.image_token
    processor.processor.chat_template = (
        "{% for m in messages %}{% for c in m.content if c.type == 'text' %}{{ c.text }}{% endfor %}{% endfor %}" + mark
    )
    frame = frame_of((64, 64))
    with caplog.at_level(logging.WARNING):
        answers = answer_questions(model, processor, frame, QUESTIONS[:2], max_new_tokens=3)
    assert "asking one by one" in caplog.text
    assert [list(a.token_ids) for a in answers] == [
        alone(model, processor, frame, q, max_new_tokens=3) for q in QUESTIONS[:2]
    ]


def test_depth_reaches_the_shared_prefix(pair: tuple[DepthVLM, DepthProcessor]) -> None:
    model, processor = pair
    near, far = frame_of((64, 64)), frame_of((64, 64))
    far = RgbdFrame(near.image, near.depth.scaled(8.0), near.camera)
    answers = [answer_questions(model, processor, f, QUESTIONS, max_new_tokens=8) for f in (near, far)]
    assert answers[0] != answers[1]


def test_the_model_is_left_in_the_mode_it_was_in(pair: tuple[DepthVLM, DepthProcessor]) -> None:
    model, processor = pair
    model.train()
    answer_questions(model, processor, frame_of((64, 64)), QUESTIONS[:2], max_new_tokens=2)
    assert model.training
    assert model.vlm.training


def test_limits_must_be_positive(pair: tuple[DepthVLM, DepthProcessor]) -> None:
    model, processor = pair
    for settings in ({"max_new_tokens": 0}, {"batch_size": 0}):
        with pytest.raises(SdvlmError, match="must be positive"):
            answer_questions(model, processor, frame_of((64, 64)), QUESTIONS, **settings)


def test_an_adapter_around_the_model_answers_too(pair: tuple[DepthVLM, DepthProcessor]) -> None:
    from peft import LoraConfig, get_peft_model

    model, processor = pair
    wanted = answer_questions(model, processor, frame_of((64, 64)), QUESTIONS[:2], max_new_tokens=4)
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=r"vlm\.model\.language_model\..*q_proj"))
    assert answer_questions(adapted, processor, frame_of((64, 64)), QUESTIONS[:2], max_new_tokens=4) == wanted
    with torch.no_grad():
        assert isinstance(adapted.vlm, torch.nn.Module)


def test_where_a_prompt_attends_both_ways_each_question_reads_the_picture_anew() -> None:
    tiny = ZOO["paligemma"]()
    model = DepthVLM.from_vlm(tiny.model, "dpe")
    model.vlm.generation_config.eos_token_id = None
    processor = DepthProcessor.for_model(model, tiny.processor)
    frame = frame_of((100, 75))
    wanted = [alone(model, processor, frame, question, max_new_tokens=8) for question in QUESTIONS]
    for settings in ({}, {"share_prefix": False}):
        answers = answer_questions(model, processor, frame, QUESTIONS, max_new_tokens=8, **settings)
        assert [list(answer.token_ids) for answer in answers] == wanted
    assert len({tuple(tokens) for tokens in wanted}) > 1
    keys = []
    for question in QUESTIONS[:2]:  # the reason: what is made of the picture's first token depends on the question
        batch = processor.encode_questions(frame, [question])[0]
        with torch.no_grad():
            keys.append(model(**batch, use_cache=True).past_key_values.layers[-1].keys[:, :, 0])
    assert not torch.allclose(*keys, atol=1e-4)
