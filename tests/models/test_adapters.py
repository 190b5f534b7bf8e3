"""Adapters sit on the language model alone, start as nothing, train alone, and merge into the weights."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from sdvlm.models.adapters import adapter_settings, adapter_tensors, add_lora, check_whole, fill_adapter, merge_adapter
from sdvlm.models.wrapper import DepthVLM
from sdvlm.types import SdvlmError

from .conftest import Tiny
from .test_wrapper import SIZES, batch_of, depth_of, wrap

pytest.importorskip("peft")

PROJECTOR = {"llava-pad": "model.multi_modal_projector", "qwen2.5-vl": "model.visual.merger"}


@pytest.fixture(params=list(PROJECTOR))
def tiny(request: pytest.FixtureRequest, tinies: dict[str, Tiny]) -> Tiny:
    return tinies[request.param]


def inputs_of(tiny: Tiny) -> dict[str, Any]:
    return batch_of(tiny, SIZES) | {"depth_grid": depth_of(tiny, SIZES)}


def disturb(model: DepthVLM) -> None:
    """Other values for everything that is trained, as training would leave them."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.05)


def test_every_linear_layer_of_the_language_model_gets_one_and_nothing_else_does(tiny: Tiny) -> None:
    model = wrap(tiny, "mlp")
    wanted = {
        f"model.language_model.{name}"
        for name, module in tiny.model.model.language_model.named_modules()
        if isinstance(module, nn.Linear)
    }
    add_lora(model, 4, 8)
    adapted = {name for name, module in model.vlm.named_modules() if hasattr(module, "lora_A")}
    assert adapted == wanted
    assert len(wanted) == 7 * 2


def test_new_adapters_change_no_bit_of_the_logits_and_no_class(tiny: Tiny) -> None:
    model, inputs = wrap(tiny, "dpe"), inputs_of(tiny)
    before, kind = model(**inputs).logits, type(model.vlm)
    add_lora(model, 4, 8, trained=[PROJECTOR[tiny.name]])
    assert type(model.vlm) is kind
    assert torch.equal(model.eval()(**inputs).logits, before)


def test_an_adapter_adds_alpha_over_r_times_b_a_x(tiny: Tiny) -> None:
    model = wrap(tiny, None)
    add_lora(model, 4, 12)
    disturb(model)
    layer = model.vlm.get_submodule("model.language_model.layers.1.mlp.down_proj").eval()
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    x = torch.randn(5, layer.in_features)
    torch.testing.assert_close(layer(x), layer.base_layer(x) + 12 / 4 * (x @ a.T @ b.T), atol=1e-6, rtol=1e-5)


def test_only_adapters_what_was_named_and_the_fusion_get_a_gradient(tiny: Tiny) -> None:
    model, inputs = wrap(tiny, "mlp"), inputs_of(tiny)
    add_lora(model, 4, 8, dropout=0.1, trained=[PROJECTOR[tiny.name]])
    disturb(model)
    model.train()(**inputs, labels=inputs["input_ids"]).loss.backward()
    with_gradient = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert with_gradient == {
        name
        for name, _ in model.named_parameters()
        if ".lora_" in name or name.startswith(("fusion.", f"vlm.{PROJECTOR[tiny.name]}."))
    }


def test_the_state_holds_no_tensor_twice(tiny: Tiny) -> None:
    model = wrap(tiny, "mlp")
    add_lora(model, 4, 8, trained=[PROJECTOR[tiny.name]])
    state = model.state_dict()
    places = [tensor.data_ptr() for tensor in state.values() if tensor.numel()]
    assert len(places) == len(set(places))
    assert sum("linear" in name or "mlp" in name for name in state if PROJECTOR[tiny.name] in name) > 0
    plain = {name.replace(".base_layer", "") for name in state if ".lora_" not in name}
    assert plain == set(wrap(tiny, "mlp").state_dict())


@pytest.mark.parametrize("ask_for_inputs", [False, True])
def test_gradient_checkpointing_changes_no_gradient(tiny: Tiny, ask_for_inputs: bool) -> None:
    inputs = inputs_of(tiny)
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        model = wrap(tiny, "mlp")
        add_lora(model, 4, 8)
        disturb(model)
        if checkpointing:
            named = "activation_checkpointing_enable"  # of transformers 5.23
            getattr(model, named if hasattr(model, named) else "gradient_checkpointing_enable")()
            if ask_for_inputs:
                model.enable_input_require_grads()
        model.train()(**inputs, labels=inputs["input_ids"], use_cache=False).loss.backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.requires_grad})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-7, rtol=1e-5)


def test_what_is_taken_out_and_put_into_another_model_gives_the_same_logits(tiny: Tiny) -> None:
    inputs, models = inputs_of(tiny), []
    for _ in range(2):
        models.append(wrap(tiny, "dpe"))
        add_lora(models[-1], 4, 8, trained=[PROJECTOR[tiny.name]])
    disturb(models[0])
    fill_adapter(models[1], adapter_tensors(models[0]), "here")
    assert torch.equal(models[0].eval()(**inputs).logits, models[1].eval()(**inputs).logits)
    lacking = adapter_tensors(models[0])
    lacking.pop(next(iter(lacking)))
    with pytest.raises(SdvlmError, match=r"'here' do not fit.*1 missing"):
        fill_adapter(models[1], lacking, "here")
    with pytest.raises(SdvlmError, match="the state to save lacks"):
        adapter_tensors(models[0], {})
    models[0].vlm.get_input_embeddings().requires_grad_(True)
    with pytest.raises(SdvlmError, match=r"1 trained tensors, such as .* would not be saved"):
        adapter_tensors(models[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_merging_leaves_the_plain_model_with_the_update_rounded_once(tiny: Tiny, dtype: torch.dtype) -> None:
    model, inputs = wrap(tiny, "dpe").to(dtype), inputs_of(tiny)
    name = "model.language_model.layers.0.self_attn.q_proj"
    add_lora(model, 4, 8)
    disturb(model)
    layer = model.vlm.get_submodule(name)
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    assert a.dtype == b.dtype == torch.float32
    wanted = (layer.base_layer.weight.double() + 2 * b.double() @ a.double()).to(dtype)
    logits = model.eval()(**inputs).logits
    with pytest.raises(SdvlmError, match="has adapters in it"):
        check_whole(model)
    assert merge_adapter(model) == 14
    check_whole(model)
    assert adapter_settings(model) is None
    assert set(model.state_dict()) == set(wrap(tiny, "dpe").state_dict())
    torch.testing.assert_close(model.vlm.get_submodule(name).weight, wanted, atol=1e-6, rtol=2**-7)
    if dtype == torch.float32:
        torch.testing.assert_close(model(**inputs).logits, logits, atol=1e-5, rtol=1e-4)


def test_adapters_that_were_put_around_the_whole_model_are_left_to_peft(tiny: Tiny) -> None:
    from peft import LoraConfig, get_peft_model

    model = wrap(tiny, "dpe")
    get_peft_model(model, LoraConfig(r=2, target_modules=r"vlm\.model\.language_model\..*q_proj"))
    with pytest.raises(SdvlmError, match="save and merge them with PEFT too"):
        check_whole(model)


def test_layers_that_share_a_pattern_with_others_are_listed_by_name() -> None:
    from sdvlm.models.adapters import _pattern

    names = ["a.0.q", "a.1.q", "vision.0.q", "xa.0.q"]
    assert _pattern(names[:2], names) == r"a\.\d+\.q"
    assert _pattern(names[:1], names) == r"a\.0\.q"


def test_what_cannot_be_adapted_or_trained_is_one_line(tiny: Tiny) -> None:
    model = wrap(tiny, "dpe")
    for path, said in (
        ("multi_modal_projector", "no one module 'multi_modal_projector'"),
        ("model.language_model.layers.0", "gets adapters"),
        ("nothing", "no one module 'nothing'"),
    ):
        with pytest.raises(SdvlmError, match=said):
            add_lora(copy.deepcopy(model), 4, 8, trained=[path])
    inner = PROJECTOR[tiny.name]
    outer = f"{inner}.linear_1" if tiny.name.startswith("llava") else "model.visual"
    with pytest.raises(SdvlmError, match="inside another module"):
        add_lora(copy.deepcopy(model), 4, 8, trained=[inner, outer])
    add_lora(model, 4, 8)
    with pytest.raises(SdvlmError, match="has adapters already"):
        add_lora(model, 4, 8)
