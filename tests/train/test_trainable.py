"""What trains: groups by module path, and nothing beside them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sdvlm.train.config import LearningRates, LoraSettings, TrainConfig
from sdvlm.train.trainable import group_of, optimizer_groups, prepare_groups, projector_path, trained_groups
from sdvlm.types import SdvlmError

PARTS = {
    "llava": {"language_model": "model.language_model", "projector": "model.multi_modal_projector",
              "vision_tower": "model.vision_tower"},
    "qwen2.5-vl": {"language_model": "model.language_model", "projector": "model.visual.merger",
                   "vision_tower": "model.visual"},
}  # fmt: skip
LORA = LoraSettings(4, 8, 0.0)


def numbers(module: nn.Module) -> int:
    return sum(one.numel() for one in module.parameters())


def part(trainee, name: str) -> nn.Module:
    return trainee.model.vlm.get_submodule(PARTS[trainee.name][name])


def sizes(groups) -> dict[str, int]:
    return {group.name: sum(one.numel() for one in group.parameters) for group in groups}


def trains(trainee) -> set[str]:
    return {name for name, one in trainee.model.named_parameters() if one.requires_grad}


def test_without_lora_every_weight_is_in_the_group_of_its_module(trainee):
    parts = {name: numbers(part(trainee, name)) for name in PARTS[trainee.name]}
    if PARTS[trainee.name]["projector"].startswith(PARTS[trainee.name]["vision_tower"]):
        parts["vision_tower"] -= parts["projector"]
    parts["language_model"] += numbers(trainee.model.vlm.get_output_embeddings())
    parts["fusion"] = numbers(trainee.model.fusion)
    groups = prepare_groups(trainee.model, TrainConfig(lora=None, lr=LearningRates(1e-3, 1e-3, 1e-3, 1e-3)))
    assert sizes(groups) == parts
    assert sum(parts.values()) == numbers(trainee.model)


def test_lora_is_on_every_linear_layer_inside_the_language_model_and_nowhere_else(trainee):
    language = PARTS[trainee.name]["language_model"]
    linear = {name: one for name, one in trainee.model.vlm.named_modules() if isinstance(one, nn.Linear)}
    wanted = {name for name in linear if name.startswith(f"{language}.")}
    expected = sum(LORA.r * (linear[name].in_features + linear[name].out_features) for name in wanted)
    groups = {one.name: one for one in prepare_groups(trainee.model, TrainConfig(lora=LORA))}
    adapters = groups["language_model"].names
    assert {name.removeprefix("vlm.").partition(".lora_")[0] for name in adapters} == wanted
    assert sizes(groups.values())["language_model"] == expected
    assert set(groups) == {"language_model", "projector", "fusion"}
    assert not [name for name in trains(trainee) if "lm_head" in name or "embed_tokens" in name]


@pytest.mark.parametrize("projector", [0.0, 1e-3])
@pytest.mark.parametrize("lora", [None, LORA])
def test_a_tower_is_trained_by_its_own_rate_and_a_rate_of_none_freezes(trainee, lora, projector):
    rates = LearningRates(language_model=1e-4, projector=projector, fusion=0.0, vision_tower=3e-6)
    groups = {one.name: one for one in prepare_groups(trainee.model, TrainConfig(lora=lora, lr=rates))}
    assert set(groups) == {"language_model", "vision_tower"} | ({"projector"} if projector else set())
    assert groups["vision_tower"].lr == 3e-6
    inside = projector_path(trainee.model.vlm)
    assert any(f".{inside}." in f".{name}" for name in trains(trainee)) == bool(projector)
    tower = PARTS[trainee.name]["vision_tower"]
    assert all(name.startswith(f"vlm.{tower}.") for name in groups["vision_tower"].names)


def test_what_is_trained_is_float32_and_the_rest_stays_as_it_is(trainee):
    trainee.model.to(torch.bfloat16)
    groups = prepare_groups(trainee.model, TrainConfig(lora=LORA))
    assert {one.dtype for group in groups for one in group.parameters} == {torch.float32}
    frozen = {one.dtype for one in trainee.model.parameters() if not one.requires_grad}
    assert frozen == {torch.bfloat16}


def test_groups_hold_what_the_model_holds(trainee):
    """The optimiser's parameters are the model's own, each once."""
    groups = prepare_groups(trainee.model, TrainConfig(lora=LORA))
    own = dict(trainee.model.named_parameters())
    held = [(name, one) for group in groups for name, one in zip(group.names, group.parameters, strict=True)]
    assert all(own[name] is one for name, one in held)
    assert {name for name, _ in held} == trains(trainee)
    assert len(held) == len(trains(trainee))
    assert [one.names for one in trained_groups(trainee.model, LearningRates())] == [one.names for one in groups]


def test_only_matrices_decay(trainee):
    rates = LearningRates(1e-4, 2e-4, 3e-4, 4e-4)
    groups = optimizer_groups(prepare_groups(trainee.model, TrainConfig(lora=None, lr=rates)), 0.1)
    for group in groups:
        assert {one.ndim > 1 for one in group["params"]} == {group["weight_decay"] == 0.1}
        assert group["lr"] == getattr(rates, group["name"])
    assert len({id(one) for group in groups for one in group["params"]}) == len(list(trainee.model.parameters()))


def test_a_head_that_is_tied_to_the_embedding_counts_once(make_trainee):
    trainee = make_trainee("llava")
    vlm = trainee.model.vlm
    vlm.get_output_embeddings().weight = vlm.get_input_embeddings().weight
    groups = prepare_groups(trainee.model, TrainConfig(lora=None))
    assert sizes(groups)["language_model"] == numbers(part(trainee, "language_model"))


def test_nothing_to_train_is_refused(make_trainee):
    trainee = make_trainee("llava", "dpe")
    with pytest.raises(SdvlmError, match="nothing would be trained"):
        prepare_groups(trainee.model, TrainConfig(lr=LearningRates(0, 0, 1e-3, 0)))


def test_a_model_with_adapters_of_its_own_is_refused(make_trainee):
    trainee = make_trainee("llava")
    prepare_groups(trainee.model, TrainConfig(lora=LORA))
    with pytest.raises(SdvlmError, match="has adapters already"):
        prepare_groups(trainee.model, TrainConfig(lora=LORA))


def test_every_parameter_has_a_group(trainee):
    assert {group_of(trainee.model, name) for name, _ in trainee.model.named_parameters()} == {
        "language_model", "projector", "fusion", "vision_tower",
    }  # fmt: skip
