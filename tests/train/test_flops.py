"""Model FLOPs against torch's own count of what is executed, and pairs of tokens against the mask itself."""

from dataclasses import replace

import pytest
import torch
from tests.train.conftest import picture_example, text_example
from torch.utils.flop_counter import FlopCounterMode

from sdvlm.fusion.towers import find_tower
from sdvlm.train.batch_facts import batch_facts, visible_pairs
from sdvlm.train.config import LearningRates, LoraSettings, TrainConfig
from sdvlm.train.encode import ExampleEncoder
from sdvlm.train.flops import DENSE_PEAKS, peak_flops, step_flops
from sdvlm.train.forward import answer_losses
from sdvlm.train.packing import PADDING, block_mask
from sdvlm.train.tower_cache import attach
from sdvlm.train.trainable import prepare_groups

RECIPES = {
    "everything": (None, LearningRates(vision_tower=1e-5)),
    "language model": (None, LearningRates(fusion=0.0, projector=0.0)),
    "projector and fusion": (None, LearningRates(language_model=0.0)),
    "adapters": (LoraSettings(r=4, alpha=8, dropout=0.0), LearningRates(projector=0.0, fusion=0.0)),
    "the paper's": (LoraSettings(r=4, alpha=8, dropout=0.0), LearningRates()),
}


def counted(trainee, batch, backward=True):
    """What is executed, all pairs of tokens counted as eager attention computes them."""
    with FlopCounterMode(display=False) as counter:
        losses, _ = answer_losses(trainee.model, trainee.model.vlm, batch)
        if backward:
            losses.sum().backward()
    return counter.get_total_flops()


def as_executed(batch, facts):
    """The same counts with every pair of tokens seen, and logits for every token that is kept."""
    rows, length = batch["input_ids"].shape
    kept = len((batch["labels"][:, 1:] != -100).nonzero()[:, 1].unique())
    return replace(facts, pairs=rows * length**2, tokens=rows * length, learned=rows * kept)


def prepared(make_trainee, family, recipe, fusion="gated"):
    trainee = make_trainee(family, fusion)
    lora, lr = RECIPES[recipe]
    if lora is not None:
        pytest.importorskip("peft")
    trainee.model.vlm.set_attn_implementation("eager")
    prepare_groups(trainee.model, TrainConfig(lora=lora, lr=lr))
    return trainee


def batch_for(trainee, *examples, pack=True):
    batch = ExampleEncoder(trainee.processor, TrainConfig(), pack)(examples)
    return batch, batch_facts(batch, trainee.model.config.vlm_config.vision_config)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("family", ["llava", "qwen2.5-vl"])
def test_the_count_is_what_torch_counts_within_three_percent(make_trainee, family, recipe):
    trainee = prepared(make_trainee, family, recipe)
    batch, facts = batch_for(trainee, picture_example(0, 4))
    found = step_flops(trainee.model, as_executed(batch, facts))
    assert found == pytest.approx(counted(trainee, batch), rel=0.03)


@pytest.mark.parametrize("fusion", ["dpe", "encoder_add", "concat"])
def test_fusions_with_and_without_an_encoder_are_counted(make_trainee, fusion):
    trainee = prepared(make_trainee, "llava", "everything", fusion)
    batch, facts = batch_for(trainee, picture_example(0, 3))
    assert step_flops(trainee.model, as_executed(batch, facts)) == pytest.approx(counted(trainee, batch), rel=0.05)


def test_text_alone_costs_no_vision(make_trainee):
    trainee = prepared(make_trainee, "llava", "everything")
    batch, facts = batch_for(trainee, text_example())
    assert facts.images == 0
    assert step_flops(trainee.model, as_executed(batch, facts)) == pytest.approx(counted(trainee, batch), rel=0.03)


def test_kept_features_save_the_tower(make_trainee, tmp_path):
    for family in ("llava", "qwen2.5-vl"):
        trainee = prepared(make_trainee, family, "language model")
        batch, facts = batch_for(trainee, picture_example(0, 2))
        executed = as_executed(batch, facts)
        with attach(trainee.model, tmp_path):
            counted(trainee, batch, backward=False)
            saved = counted(trainee, batch)
        assert step_flops(trainee.model, executed, cached_tower=True) == pytest.approx(saved, rel=0.03)
        with FlopCounterMode(display=False) as tower, torch.no_grad():
            host = trainee.model.vlm.base_model
            shown = {name: batch[name] for name in ("pixel_values", "image_grid_thw") if name in batch}
            find_tower(host)(*shown.values())
        spared = step_flops(trainee.model, executed) - step_flops(trainee.model, executed, cached_tower=True)
        assert spared == pytest.approx(tower.get_total_flops(), rel=0.01)


def test_a_trained_projector_inside_a_kept_tower_is_counted(make_trainee, tmp_path):
    trainee = prepared(make_trainee, "qwen2.5-vl", "projector and fusion")
    batch, facts = batch_for(trainee, picture_example(0, 2))
    with attach(trainee.model, tmp_path):
        counted(trainee, batch, backward=False)
        saved = counted(trainee, batch)
    executed = as_executed(batch, facts)
    assert step_flops(trainee.model, executed, cached_tower=True) == pytest.approx(saved, rel=0.04)


def test_pairs_are_those_of_the_mask():
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        prefix, lengths = (
            int(torch.randint(0, 9, (), generator=generator)),
            torch.randint(1, 6, (4,), generator=generator),
        )
        row = torch.cat(
            [torch.zeros(prefix), *[torch.full((int(n),), float(k)) for k, n in enumerate(lengths, 1)]]
        ).long()
        padding = torch.full((3,), PADDING)
        for segments in (torch.cat([row, padding]), torch.cat([padding, row])):
            mask = block_mask(segments[None])[0, 0]
            shown = mask[segments != PADDING][:, segments != PADDING]
            assert visible_pairs(segments[None]) == int(shown.sum())


def test_facts_count_tokens_pictures_and_dialogues(trainee):
    batch, facts = batch_for(trainee, picture_example(0, 4), picture_example(1, 3, size=(48, 64)), text_example())
    assert (facts.rows, facts.dialogues, facts.images) == (3, 8, 2)
    assert facts.tokens == int(batch["attention_mask"].sum())
    merged = 1 if trainee.name == "llava" else 4
    assert facts.patches // merged == len(batch["depth_grid"])
    assert facts.depth_tokens == int((~batch["depth_grid"][:, 0].isnan()).sum())
    _, apart = batch_for(trainee, picture_example(0, 4), picture_example(1, 3), text_example(), pack=False)
    assert apart.dialogues == 8
    assert apart.tokens > facts.tokens
    assert apart.images == 7
    assert apart.learned == facts.learned


def test_packing_costs_a_fraction_of_the_rows_apart(trainee):
    _, together = batch_for(trainee, picture_example(0, 8))
    apart = [batch_for(trainee, picture_example(0, 8), pack=False)[1]]
    assert step_flops(trainee.model, together) < step_flops(trainee.model, apart[0])


def test_peaks_are_found_by_the_devices_name():
    assert peak_flops("NVIDIA H200") == DENSE_PEAKS["H200"]
    assert peak_flops("NVIDIA H100 PCIe") == DENSE_PEAKS["H100 PCIe"]
    assert peak_flops("NVIDIA H100 80GB HBM3") == DENSE_PEAKS["H100"]
    assert peak_flops("Tesla V100-SXM2-32GB") == DENSE_PEAKS["V100"]
    assert peak_flops("NVIDIA L40S") == DENSE_PEAKS["L40S"]
    assert peak_flops("a slow one") is None
