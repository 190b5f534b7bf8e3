"""What every family must do, one contract for all of them."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from tests.models.conftest import QUESTIONS
from tests.models.zoo import MEMBERS, ZOO
from tests.models.zoo.expected import DEEP, PACKED, PREFIX, REFUSED
from tests.models.zoo.facts import pack_result, prefix_result
from transformers import Trainer, TrainingArguments
from transformers.utils.import_utils import is_torchvision_available

from sdvlm.fusion.config import FusionConfig
from sdvlm.models.adapters import add_lora
from sdvlm.models.processor import DepthProcessor
from sdvlm.models.run_folder import Base, merge_run, save_run
from sdvlm.models.wrapper import DepthVLM
from sdvlm.types import Camera, DepthMap, RgbdFrame, SdvlmError

SIZES = [(100, 75), (57, 90)]
GREEDY = {"max_new_tokens": 4, "do_sample": False}
PER_TOKEN = ("input_ids", "attention_mask", "mm_token_type_ids", "token_type_ids", "labels")


class Member:
    """A family's tiny model with fusions around it."""

    def __init__(self, name: str) -> None:
        self.name, self.tiny = name, ZOO[name]()

    def wrapped(self, fusion: Any) -> tuple[DepthVLM, DepthProcessor]:
        model = DepthVLM.from_vlm(copy.deepcopy(self.tiny.model), fusion)
        return model.eval(), DepthProcessor.for_model(model, self.tiny.processor)


@pytest.fixture(scope="module", params=MEMBERS)
def member(request: pytest.FixtureRequest) -> Member:
    return Member(request.param)


def picture(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)


def depth_map(size: tuple[int, int], seed: int = 0) -> DepthMap:
    return DepthMap(np.random.default_rng(seed).uniform(0.5, 6.0, (size[1], size[0])))


def ask(question: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}]


def batch_of(processor: DepthProcessor, which: list[int], depth: bool = True, **settings: Any) -> Any:
    sizes = [SIZES[index] for index in which]
    maps = [depth_map(size, index) for index, size in zip(which, sizes, strict=True)] if depth else None
    images = [picture(size, index) for index, size in zip(which, sizes, strict=True)]
    return processor([ask(QUESTIONS[3 * index]) for index in which], images, maps, **settings)


def logits(model: Any, batch: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(**batch).logits


def test_without_depth_it_is_the_base_model_bit_for_bit(member: Member) -> None:
    model, processor = member.wrapped("dpe")
    batch = batch_of(processor, [0, 1], depth=False)
    assert torch.equal(logits(model, batch), logits(member.tiny.model, batch))
    assert torch.equal(model.generate(**batch, **GREEDY), member.tiny.model.generate(**batch, **GREEDY))


@pytest.mark.parametrize("fusion", ["gated", "mlp"])
def test_a_fresh_zero_initialised_fusion_changes_nothing_even_with_depth(member: Member, fusion: str) -> None:
    model, processor = member.wrapped(fusion)
    seeing, plain = batch_of(processor, [0, 1]), batch_of(processor, [0, 1], depth=False)
    assert torch.equal(logits(model, seeing), logits(member.tiny.model, plain))
    assert torch.equal(model.generate(**seeing, **GREEDY), member.tiny.model.generate(**plain, **GREEDY))


def test_depth_changes_the_logits_and_generation_follows(member: Member) -> None:
    model, processor = member.wrapped("dpe")
    batch = batch_of(processor, [0])
    seen = logits(model, batch)
    assert not torch.allclose(seen, logits(member.tiny.model, batch_of(processor, [0], depth=False)), atol=1e-3)
    said = model.generate(**batch, max_new_tokens=1, do_sample=False)
    assert said[0, -1] == seen[0, -1].argmax()


def test_a_batch_of_mixed_sizes_equals_its_singles_on_both_padding_sides(member: Member) -> None:
    model, processor = member.wrapped("dpe")
    singles = [logits(model, batch_of(processor, [index]))[0] for index in (0, 1)]
    for side in ("left", "right"):
        batch = batch_of(processor, [0, 1], padding_side=side)
        together = logits(model, batch)
        for row, alone in enumerate(singles):
            kept = batch["attention_mask"][row].bool()
            torch.testing.assert_close(together[row, kept], alone, atol=5e-5, rtol=1e-4)


def test_a_saved_processor_loads_and_encodes_alike(member: Member, tmp_path: Path) -> None:
    _, processor = member.wrapped("gated")
    processor.save_pretrained(tmp_path)
    if member.name == "mistral3" and not is_torchvision_available():
        with pytest.raises(SdvlmError, match="pip install torchvision"):
            DepthProcessor.from_pretrained(tmp_path)
        return
    again = DepthProcessor.from_pretrained(tmp_path)
    mine, theirs = batch_of(processor, [0, 1]), batch_of(again, [0, 1])
    assert set(mine) == set(theirs)
    for name in mine:
        torch.testing.assert_close(mine[name], theirs[name], equal_nan=True, rtol=0, atol=0)


def test_a_saved_model_loads_and_gives_the_same_logits(member: Member, tmp_path: Path) -> None:
    model, processor = member.wrapped("mlp")
    torch.nn.init.normal_(model.fusion.mlp.last.weight)
    batch = batch_of(processor, [0, 1])
    model.save_pretrained(tmp_path)
    again = DepthVLM.from_pretrained(tmp_path)
    assert type(again.vlm) is type(member.tiny.model)
    assert torch.equal(logits(again, batch), logits(model, batch))


def test_the_loss_is_the_same_on_both_padding_sides(member: Member) -> None:
    model, processor = member.wrapped("dpe")
    losses = []
    for side in ("left", "right"):
        batch = labelled(batch_of(processor, [0, 1], padding_side=side))
        real = batch["attention_mask"]
        batch["labels"][(real.cumsum(dim=1) == 1) & (real == 1)] = -100  # nothing but padding comes before it
        with torch.no_grad():
            losses.append(model(**batch).loss)
    assert torch.isfinite(losses[0])
    torch.testing.assert_close(*losses, rtol=1e-5, atol=1e-5)


def test_a_trained_run_merged_gives_the_same_logits(member: Member, tmp_path: Path) -> None:
    member.tiny.model.save_pretrained(tmp_path / "base")
    model, processor = member.wrapped("mlp")
    add_lora(model, 2, 4)
    batch = batch_of(processor, [0, 1])
    before = logits(model, batch)
    trained = [one for one in model.parameters() if one.requires_grad]
    for _ in range(2):  # from the second step on all of it moves: adapters and fusion start as products with zero
        model(**labelled(batch)).loss.backward()
        with torch.no_grad():
            for one in trained:
                one.sub_(0.2 * one.grad / one.grad.norm().clamp(min=1e-3))
                one.grad = None
    seen = logits(model, batch)
    assert (seen - before).abs().max() > 1e-2
    save_run(tmp_path / "run", model, processor, Base(str(tmp_path / "base")))
    if member.name == "mistral3" and not is_torchvision_available():
        with pytest.raises(SdvlmError, match="torchvision"):
            merge_run(tmp_path / "run", tmp_path / "merged")
        return
    assert merge_run(tmp_path / "run", tmp_path / "merged") > 0
    merged = DepthVLM.from_pretrained(tmp_path / "merged")
    assert not any("lora_" in name for name in merged.state_dict())
    torch.testing.assert_close(logits(merged, batch), seen, rtol=1e-4, atol=1e-4)  # W x + B A x, summed in float32


def test_gradients_reach_the_fusion(member: Member) -> None:
    model, processor = member.wrapped("mlp")
    batch = labelled(batch_of(processor, [0, 1]))
    model.train()
    model(**batch).loss.backward()
    assert model.fusion.mlp.last.weight.grad.abs().max() > 0


def labelled(batch: Any) -> dict[str, Any]:
    return {**batch, "labels": batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)}


class _Rows(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> int:
        return index


def test_a_trainer_step_moves_adapters_and_fusion_alone(member: Member, tmp_path: Path) -> None:
    model, processor = member.wrapped("mlp")
    torch.nn.init.normal_(model.fusion.mlp.last.weight, std=0.1)
    decoder = next(name for name, module in model.named_modules() if module is model.vlm.get_decoder())
    layers = rf"{decoder.replace('.', '[.]')}[.].*(q_proj|v_proj)"
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=layers))
    model.fusion.requires_grad_(True)
    batch = labelled(batch_of(processor, [0, 1]))
    before = {name: one.detach().clone() for name, one in adapted.named_parameters()}
    arguments = TrainingArguments(
        str(tmp_path), max_steps=1, per_device_train_batch_size=2, learning_rate=0.1, report_to=[], use_cpu=True,
        remove_unused_columns=False, save_strategy="no", disable_tqdm=True, lr_scheduler_type="constant",
    )  # fmt: skip
    Trainer(adapted, arguments, train_dataset=_Rows(), data_collator=lambda rows: dict(batch)).train()
    moved = {name for name, one in adapted.named_parameters() if not torch.equal(one.detach(), before[name])}
    assert any(".fusion." in name for name in moved)
    assert any("lora_B" in name for name in moved)
    assert all(".fusion." in name or "lora_" in name for name in moved)


def test_it_runs_in_bfloat16(member: Member) -> None:
    model, processor = member.wrapped("dpe")
    batch = batch_of(processor, [0, 1])
    seen = logits(model.to(torch.bfloat16), batch.to(torch.bfloat16))
    assert seen.dtype == torch.bfloat16
    assert torch.isfinite(seen).all()


def test_answers_behind_a_shared_prefix_equal_asking_one_by_one_or_are_refused(member: Member) -> None:
    model, processor = member.wrapped("dpe")
    frame = RgbdFrame(picture(SIZES[0]), depth_map(SIZES[0]), Camera.from_fov(*SIZES[0], 60.0))
    result = prefix_result(model, processor, frame, QUESTIONS[:4])
    assert result.equal or result.refused
    assert result.said == PREFIX.get(member.name, "shared")


def test_packed_rows_teach_what_separate_rows_teach_or_are_refused(member: Member) -> None:
    model, processor = member.wrapped("dpe")
    result = pack_result(model, processor)
    assert result.equal or result.refused
    assert result.said == PACKED.get(member.name, "yes")


@pytest.mark.parametrize("fusion", ["encoder_add", "depth_token", "depth_prompt"])
def test_what_adds_tokens_or_reads_depth_pictures_runs_or_says_in_a_line_why_not(member: Member, fusion: str) -> None:
    def look() -> torch.Tensor:
        model, processor = member.wrapped(fusion)
        return logits(model, batch_of(processor, [0, 1]))

    if member.name not in REFUSED[fusion]:
        assert torch.isfinite(look()).all()
        return
    with pytest.raises(SdvlmError) as caught:
        look()
    assert "\n" not in str(caught.value)


def test_deeper_levels_take_depth_by_choice(member: Member) -> None:
    model, processor = member.wrapped(replace(FusionConfig.preset("dpe"), deep=True))
    shallow, _ = member.wrapped("dpe")
    batch = batch_of(processor, [0])
    if member.name not in DEEP:
        with pytest.raises(SdvlmError, match="no deeper feature levels"):
            model(**batch)
        return
    assert not torch.allclose(logits(model, batch), logits(shallow, batch), atol=1e-3)
    fresh, _ = member.wrapped(replace(FusionConfig.preset("gated"), deep=True))
    plain = batch_of(processor, [0], depth=False)
    assert torch.equal(logits(fresh, batch), logits(member.tiny.model, plain))
