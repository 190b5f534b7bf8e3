"""Adapter folders as the official training script leaves them, against the merge worked out by hand and by PEFT."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sdvlm.models.official import is_official, load_official, load_official_depth, official_processor
from sdvlm.types import SdvlmError

from .conftest import CONFIG, DEPTH, MLP, WIDTH, Make, whole_state, write_files

RANK, ALPHA = 4, 8
SETTINGS = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "bias": "none", "fan_in_fan_out": False}
Q, DOWN = "model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj"
QKV, PATCH = "depth.pretrained.blocks.0.attn.qkv", "depth.pretrained.patch_embed.proj"


def lora(seed: int = 5, **b: float) -> dict[str, Tensor]:
    """A and B of two language and two depth layers, as PEFT saves them; B of the depth layers is zero."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {
        Q: ((RANK, WIDTH), (WIDTH, RANK)),
        DOWN: ((RANK, MLP), (WIDTH, RANK)),
        QKV: ((RANK, DEPTH), (3 * DEPTH, RANK)),
        PATCH: ((RANK, 3, 14, 14), (DEPTH, RANK, 1, 1)),
    }
    out = {}
    for name, (a_shape, b_shape) in shapes.items():
        out[f"base_model.model.{name}.lora_A.weight"] = torch.randn(a_shape, generator=generator)
        size = b.get("depth", 0.0) if name.startswith("depth") else 0.1
        out[f"base_model.model.{name}.lora_B.weight"] = size * torch.randn(b_shape, generator=generator)
    return out


def projector(seed: int = 6) -> dict[str, Tensor]:
    names = ("0.weight", "0.bias", "2.weight", "2.bias")
    state, generator = whole_state(), torch.Generator().manual_seed(seed)
    new = {
        f"model.mm_projector.{n}": torch.randn(state[f"model.mm_projector.{n}"].shape, generator=generator)
        for n in names
    }
    return {name: value.half() for name, value in new.items()}


@pytest.fixture
def adapt(make: Make, tmp_path: Path) -> Any:
    """``adapt(adapter, suffix, prefix, base_state, **settings)``: an adapter folder over a base beside it."""

    def build(
        adapter: dict[str, Tensor] | None = None,
        suffix: str = "bin",
        prefix: str = "base_model.model.",
        base_state: dict[str, Tensor] | None = None,
        named: str = "base",
        **settings: Any,
    ) -> Path:
        base = make("base", base_state)
        (base / "config.json").write_text(json.dumps({**CONFIG, "use_depth": False}))  # the adapter's own counts
        folder = tmp_path / "checkpoint-lora"
        folder.mkdir()
        config = SETTINGS | {"base_model_name_or_path": named} | settings
        write_files(folder, {"config.json": CONFIG, "adapter_config.json": config})
        adapter = lora() if adapter is None else adapter
        if suffix == "bin":
            torch.save(adapter, folder / "adapter_model.bin")
        else:
            save_file(adapter, folder / "adapter_model.safetensors")
        torch.save({prefix + name: value for name, value in projector().items()}, folder / "non_lora_trainables.bin")
        return folder

    return build


def merged(name: str, adapter: dict[str, Tensor], alpha: float = ALPHA) -> Tensor:
    """``W + alpha / r B A``, rounded once."""
    a, b = (adapter[f"base_model.model.{name}.lora_{one}.weight"] for one in "AB")
    return (whole_state()[f"{name}.weight"].float() + (b @ a) * (alpha / RANK)).half()


@pytest.mark.parametrize("suffix", ["bin", "safetensors"])
@pytest.mark.parametrize("prefix", ["base_model.model.", "base_model.", "base_model.model.model.", ""])
def test_adapters_are_merged_and_the_projector_replaced(adapt: Any, suffix: str, prefix: str) -> None:
    folder = adapt(suffix=suffix, prefix=prefix)
    assert is_official(folder)
    model, state, adapter = load_official(folder).vlm.model, whole_state(), lora()
    layers = model.language_model.layers
    assert torch.equal(layers[0].self_attn.q_proj.weight, merged(Q, adapter))
    assert torch.equal(layers[1].mlp.down_proj.weight, merged(DOWN, adapter))
    assert torch.equal(layers[1].self_attn.q_proj.weight, state["model.layers.1.self_attn.q_proj.weight"])
    new = projector()
    assert torch.equal(model.multi_modal_projector.linear_1.weight, new["model.mm_projector.0.weight"])
    assert torch.equal(model.multi_modal_projector.linear_2.bias, new["model.mm_projector.2.bias"])
    depth = load_official_depth(folder).model.state_dict()
    kept = state["depth.pretrained.patch_embed.proj.weight"].float()
    assert torch.equal(depth["backbone.embeddings.patch_embeddings.projection.weight"], kept)
    assert official_processor(folder).processor.image_token_id == 286  # the first row to spare


def test_the_merge_is_pefts_own(adapt: Any) -> None:
    peft = pytest.importorskip("peft")

    class Two(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.conv = torch.nn.Linear(DEPTH, 3 * DEPTH), torch.nn.Conv2d(3, DEPTH, 14, 14)

    two, state, adapter = Two().half(), whole_state(), lora(depth=0.2)
    for module, name in ((two.linear, QKV), (two.conv, PATCH)):
        module.load_state_dict({one: state[f"{name}.{one}"] for one in ("weight", "bias")})
    wrapped = peft.get_peft_model(two, peft.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=["linear", "conv"]))
    for module, name in ((wrapped.base_model.model.linear, QKV), (wrapped.base_model.model.conv, PATCH)):
        module.lora_A["default"].weight.data = adapter[f"base_model.model.{name}.lora_A.weight"]
        module.lora_B["default"].weight.data = adapter[f"base_model.model.{name}.lora_B.weight"]
    theirs = wrapped.merge_and_unload()
    depth = load_official_depth(adapt(adapter)).model.state_dict()
    stacked = [depth[f"backbone.encoder.layer.0.attention.{one}_proj.weight"] for one in "qkv"]
    assert torch.equal(torch.cat(stacked), theirs.linear.weight.float())
    found = depth["backbone.embeddings.patch_embeddings.projection.weight"]
    torch.testing.assert_close(found, theirs.conv.weight.float(), rtol=0, atol=2e-3)  # it convolves in float16


@pytest.mark.parametrize(
    ("settings", "alpha"),
    [
        ({"lora_alpha": 20}, 20),
        ({"use_rslora": True}, ALPHA * RANK**0.5),
        ({"alpha_pattern": {"q_proj": 3}}, 3),
        ({"alpha_pattern": {"layers.0.self_attn.q_proj": 5, "down_proj": 1}}, 5),
    ],
)
def test_the_scale_is_the_one_the_settings_mean(adapt: Any, settings: dict[str, Any], alpha: float) -> None:
    found = load_official(adapt(**settings)).vlm.model.language_model.layers[0].self_attn.q_proj.weight
    assert torch.equal(found, merged(Q, lora(), alpha))


def test_dead_depth_targets_of_a_base_without_depth_are_left_out_and_said(
    adapt: Any, caplog: pytest.LogCaptureFixture
) -> None:
    plain = {name: value for name, value in whole_state().items() if not name.startswith("depth")}
    folder = adapt(base_state=plain)
    with caplog.at_level(logging.INFO, logger="sdvlm"):
        model = load_official(folder)
    assert "2 targets without effect that its base lacks" in caplog.text
    assert "no depth network" in caplog.text
    assert model.fusion is not None  # it was trained with depth, which now has to be given
    assert model.config.estimator is None
    assert official_processor(folder).estimator is None


def test_depth_targets_with_effect_need_their_weights(adapt: Any) -> None:
    plain = {name: value for name, value in whole_state().items() if not name.startswith("depth")}
    with pytest.raises(SdvlmError, match=r"changes 2 weights that its base lacks: depth\.pretrained"):
        load_official(adapt(lora(depth=0.1), base_state=plain))


def test_the_base_may_be_given_in_place_of_the_one_named(adapt: Any, tmp_path: Path) -> None:
    folder = adapt(named="/gone/with/the/machine")
    with pytest.raises(SdvlmError, match=r"the base '/gone/.+' of the adapter .+ is not here; give it with base="):
        load_official(folder)
    moved = tmp_path / "moved"
    shutil.copytree(tmp_path / "base", moved / "away")
    given = load_official(folder, base=moved / "away")
    assert torch.equal(given.vlm.model.language_model.layers[0].self_attn.q_proj.weight, merged(Q, lora()))
    assert official_processor(folder, base=moved / "away").estimator is not None


def test_what_is_no_plain_adapter_is_refused(adapt: Any, tmp_path: Path) -> None:
    folder = adapt()
    settings = folder / "adapter_config.json"

    def refused(message: str, adapter: dict[str, Tensor] | None = None, **change: Any) -> None:
        settings.write_text(json.dumps(SETTINGS | {"base_model_name_or_path": "base"} | change))
        torch.save(lora() if adapter is None else adapter, folder / "adapter_model.bin")
        with pytest.raises(SdvlmError, match=message):
            load_official(folder)

    refused("an adapter with use_dora is not known here", use_dora=True)
    half = {name: value for name, value in lora().items() if "q_proj.lora_B" not in name}
    refused("holds 1 tensors that are no pair of LoRA weights: .*q_proj.lora_A", half)
    vectors = lora() | {f"base_model.model.{Q}.lora_magnitude_vector": torch.ones(WIDTH)}
    refused("holds 1 tensors that are no pair", vectors)
    wide = lora()
    wide[f"base_model.model.{Q}.lora_A.weight"] = torch.zeros(RANK, WIDTH + 1)
    refused("they do not belong together", wide)
    settings.unlink()
    with pytest.raises(SdvlmError, match=r"has adapter_model\.bin but no adapter_config\.json"):
        load_official(folder)


def test_a_saved_merge_is_the_adapter_folder(adapt: Any, tmp_path: Path) -> None:
    model = load_official(adapt())
    model.save_pretrained(tmp_path / "own")
    weights = load_file(tmp_path / "own" / "model.safetensors")
    assert any(torch.equal(value, merged(Q, lora())) for value in weights.values())
