"""A side adapter inside the towers of real models: what it leaves alone, what it changes, that it can be trained."""

from __future__ import annotations

import copy
import threading
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaModel, Qwen2_5_VLConfig, Qwen2_5_VLModel
from transformers.modeling_layers import GradientCheckpointingLayer

from sdvlm.fusion.adapter import SideAdapter
from sdvlm.fusion.depth_channels import DepthChannels
from sdvlm.fusion.pixel_layout import lay_out
from sdvlm.fusion.tower_layers import tower_layers
from sdvlm.fusion.towers import find_tower
from sdvlm.models.processor import DepthProcessor
from sdvlm.models.wrapper import DepthVLM
from sdvlm.types import DepthMap, SdvlmError

from .conftest import Tiny

SIZES = [(100, 75), (60, 90), (75, 75)]
CHANNELS = DepthChannels()
ALL = torch.ones(len(SIZES), dtype=torch.bool)


def pixels_of(tiny: Tiny, sizes: list[tuple[int, int]]) -> dict[str, Tensor]:
    """RGB inputs of ``get_image_features`` by the family's own processor."""
    images = [np.random.default_rng(i).integers(0, 256, (h, w, 3), dtype=np.uint8) for i, (w, h) in enumerate(sizes)]
    made = tiny.processor.image_processor(images, return_tensors="pt")
    return {name: made[name] for name in ("pixel_values", "image_grid_thw") if name in made}


def depth_of(tiny: Tiny, pixels: dict[str, Tensor]) -> dict[str, Tensor]:
    """Depth of every processed pixel, but for a hole, in the tower's layout."""
    if "image_grid_thw" in pixels:
        patch = tiny.model.config.vision_config.patch_size
        sizes = [(h * patch, w * patch) for _, h, w in pixels["image_grid_thw"].tolist()]
    else:
        sizes = [tuple(pixels["pixel_values"].shape[-2:])] * len(pixels["pixel_values"])
    planes = []
    for index, size in enumerate(sizes):
        z = np.random.default_rng(100 + index).uniform(0.5, 8.0, size).astype(np.float32)
        z[3:9, 5:20] = np.nan
        planes.append(torch.from_numpy(CHANNELS.planes(DepthMap(z))))
    return lay_out(planes, tiny.model.config.vision_config)


def fresh(tiny: Tiny, stages: int = 4) -> SideAdapter:
    torch.manual_seed(3)
    return SideAdapter(tiny.model.base_model, CHANNELS.count, stages=stages)


def opened(tiny: Tiny, stages: int = 4) -> SideAdapter:
    """An adapter as if trained: its gates are open."""
    adapter = fresh(tiny, stages)
    for stage in adapter.stages:
        torch.nn.init.normal_(stage.injector.gamma, std=0.1)
    return adapter


def tokens_of(base: Any, pixels: dict[str, Tensor]) -> list[Tensor]:
    return list(base.get_image_features(**pixels, return_dict=True).pooler_output)


def seen(adapter: SideAdapter, base: Any, pixels: dict[str, Tensor], depth: dict[str, Tensor], known: Tensor) -> Any:
    with adapter.inside(base, depth, known):
        return tokens_of(base, pixels)


@torch.no_grad()
def test_a_fresh_adapter_leaves_the_tokens_bit_for_bit_and_an_open_one_changes_them(tiny: Tiny) -> None:
    base, pixels = tiny.model.base_model, pixels_of(tiny, SIZES)
    depth, plain = depth_of(tiny, pixels), tokens_of(tiny.model.base_model, pixels_of(tiny, SIZES))
    assert all(map(torch.equal, plain, seen(fresh(tiny), base, pixels, depth, ALL)))
    assert not any(map(torch.equal, plain, seen(opened(tiny), base, pixels, depth, ALL)))
    assert all(map(torch.equal, plain, tokens_of(base, pixels)))  # nothing of it is left behind


def test_pictures_without_depth_keep_their_tokens_bit_for_bit_in_training_too(tiny: Tiny) -> None:
    base, pixels, adapter = tiny.model.base_model, pixels_of(tiny, SIZES), opened(tiny)
    depth, plain = depth_of(tiny, pixels), tokens_of(base, pixels)
    fused = seen(adapter, base, pixels, depth, torch.tensor([True, False, True]))
    assert [torch.equal(*pair) for pair in zip(plain, fused, strict=True)] == [False, True, False]
    nothing = seen(adapter, base, pixels, depth, ~ALL)
    assert all(map(torch.equal, plain, nothing))
    torch.cat(nothing).sum().backward()
    for parameter in adapter.parameters():  # takes part, so that processes that train together stay together
        assert parameter.grad is not None
        assert not parameter.grad.any()
    unknown = {**depth, "pixel_values": torch.zeros_like(depth["pixel_values"])}
    assert all(map(torch.equal, plain, seen(adapter, base, pixels, unknown, ALL)))


@torch.no_grad()
def test_only_layer_tokens_near_known_depth_change(tiny: Tiny) -> None:
    """Depth in one corner: the first layer's input changes there and in no class token."""
    base, pixels, adapter = tiny.model.base_model, pixels_of(tiny, SIZES[:1]), opened(tiny, stages=1)
    depth = depth_of(tiny, pixels)
    vision = tiny.model.config.vision_config
    grid = depth.get(
        "image_grid_thw", torch.tensor([[1, *(s // tiny.patch for s in pixels["pixel_values"].shape[-2:])]])
    )
    rows, columns = grid[0, 1:].tolist()
    planes = torch.zeros(CHANNELS.count, rows * vision.patch_size, columns * vision.patch_size)
    planes[:, : vision.patch_size, : vision.patch_size] = 1.0
    taken: list[Tensor] = []

    def keep(_: Any, args: tuple[Tensor, ...]) -> None:
        taken.append(args[0].flatten(0, -2))

    with adapter.inside(base, lay_out([planes], vision), ALL[:1]):
        handle = tower_layers(base)[0].register_forward_pre_hook(keep)
        tokens_of(base, pixels)
        handle.remove()
    handle = tower_layers(base)[0].register_forward_pre_hook(keep)
    tokens_of(base, pixels)
    handle.remove()
    # its own patch, the three beside it, and those under the one cell of two patches: the same four
    assert int((taken[0] != taken[1]).any(dim=-1).sum()) == 4


@torch.no_grad()
def test_a_batch_equals_its_pictures_one_by_one(tiny: Tiny) -> None:
    base, adapter = tiny.model.base_model, opened(tiny)
    pixels = pixels_of(tiny, SIZES)
    depth = depth_of(tiny, pixels)
    together = seen(adapter, base, pixels, depth, ALL)
    lengths = [int(g.prod()) for g in pixels["image_grid_thw"]] if "image_grid_thw" in pixels else [1] * len(SIZES)
    start = 0
    for index, length in enumerate(lengths):
        one, its_depth = (
            {
                name: values[start : start + length] if name == "pixel_values" else values[index : index + 1]
                for name, values in inputs.items()
            }
            for inputs in (pixels, depth)
        )
        alone = seen(adapter, base, one, its_depth, ALL[:1])
        assert torch.allclose(alone[0], together[index], atol=1e-5, rtol=1e-4)
        start += length


def test_the_first_step_opens_the_gates_and_the_second_trains_everything(tiny: Tiny) -> None:
    model, adapter = copy.deepcopy(tiny.model).requires_grad_(False), fresh(tiny)
    pixels = pixels_of(tiny, SIZES)
    depth, optimizer = depth_of(tiny, pixels), torch.optim.SGD(adapter.parameters(), lr=0.1)

    def moved() -> set[str]:
        optimizer.zero_grad()
        torch.cat(seen(adapter, model.base_model, pixels, depth, ALL)).square().mean().backward()
        return {name for name, p in adapter.named_parameters() if p.grad is not None and p.grad.any()}

    names = {name for name, _ in adapter.named_parameters()}
    assert moved() == {name for name in names if name.endswith("gamma")}
    optimizer.step()
    assert names - moved() <= {f"stages.{index}.injector.key.bias" for index in range(4)}  # softmax cancels it
    assert all(p.grad is None for p in model.parameters())


def test_gradient_checkpointing_changes_no_gradient(tiny: Tiny) -> None:
    pixels = pixels_of(tiny, SIZES)
    depth, gradients = depth_of(tiny, pixels), []
    for checkpointing in (False, True):
        model, adapter = copy.deepcopy(tiny.model).requires_grad_(False).train(), opened(tiny)
        if checkpointing:
            model.gradient_checkpointing_enable()
            assert any(
                getattr(module, "gradient_checkpointing", False) for module in find_tower(model.base_model).modules()
            )
        if checkpointing and "__call__" in vars(GradientCheckpointingLayer):  # before transformers 5.23
            with pytest.raises(SdvlmError, match=r"needs transformers >= 5\.23"):
                seen(adapter, model.base_model, pixels, depth, ALL)
            return
        torch.cat(seen(adapter, model.base_model, pixels, depth, ALL)).square().mean().backward()
        gradients.append([parameter.grad for parameter in adapter.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        assert torch.allclose(plain, recomputed, rtol=1e-4, atol=1e-7)


@torch.no_grad()
def test_a_half_precision_model_takes_float_depth_and_stays_close(tiny: Tiny) -> None:
    pixels = pixels_of(tiny, SIZES)
    depth, adapter = depth_of(tiny, pixels), opened(tiny)
    full = torch.cat(seen(adapter, tiny.model.base_model, pixels, depth, ALL))
    plain = torch.cat(tokens_of(tiny.model.base_model, pixels))
    half = copy.deepcopy(tiny.model).bfloat16()
    pixels["pixel_values"] = pixels["pixel_values"].bfloat16()
    fused = torch.cat(seen(adapter.bfloat16(), half.base_model, pixels, depth, ALL))
    assert fused.dtype is torch.bfloat16
    assert all(
        map(
            torch.equal,
            tokens_of(half.base_model, pixels),
            seen(fresh(tiny).bfloat16(), half.base_model, pixels, depth, ALL),
        )
    )
    assert (fused.float() - full).norm() < 0.3 * (full - plain).norm()


def test_autocast_in_training_gives_finite_gradients(tiny: Tiny) -> None:
    pixels, adapter = pixels_of(tiny, SIZES), opened(tiny)
    with torch.autocast("cpu", torch.bfloat16):
        fused = seen(adapter, tiny.model.base_model, pixels, depth_of(tiny, pixels), ALL)
    torch.cat(fused).float().square().mean().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in adapter.parameters())


@torch.no_grad()
def test_what_is_saved_is_what_loads_and_the_host_is_no_part_of_it(tiny: Tiny) -> None:
    pixels, adapter = pixels_of(tiny, SIZES), opened(tiny)
    depth, other = depth_of(tiny, pixels), fresh(tiny)
    other.load_state_dict(adapter.state_dict())
    base = tiny.model.base_model
    assert all(map(torch.equal, seen(adapter, base, pixels, depth, ALL), seen(other, base, pixels, depth, ALL)))
    assert sum(p.numel() for p in adapter.parameters()) < sum(p.numel() for p in find_tower(base).parameters())


@torch.no_grad()
def test_another_thread_sees_the_pictures_without_depth(tiny: Tiny) -> None:
    base, pixels = tiny.model.base_model, pixels_of(tiny, SIZES)
    plain, elsewhere = tokens_of(base, pixels), []
    with opened(tiny).inside(base, depth_of(tiny, pixels), ALL):
        thread = threading.Thread(target=lambda: elsewhere.extend(tokens_of(base, pixels)))
        thread.start()
        thread.join()
    assert all(map(torch.equal, plain, elsewhere))


@torch.no_grad()
def test_depth_of_other_pictures_is_refused_and_leaves_no_hook(tiny: Tiny) -> None:
    base, pixels, adapter = tiny.model.base_model, pixels_of(tiny, SIZES), opened(tiny)
    plain, depth = tokens_of(base, pixels), depth_of(tiny, pixels_of(tiny, SIZES[:2]))
    with pytest.raises(SdvlmError, match="exactly these pictures"):
        seen(adapter, base, pixels, depth, ALL[:2])
    with pytest.raises(SdvlmError, match="2 pictures and 3 marks"):
        seen(adapter, base, pixels, depth, ALL)
    assert all(map(torch.equal, plain, tokens_of(base, pixels)))


def test_settings_out_of_range_are_refused(tiny: Tiny) -> None:
    with pytest.raises(SdvlmError, match="at least 1"):
        SideAdapter(tiny.model.base_model, 0)
    with pytest.raises(SdvlmError, match="at least 1"):
        SideAdapter(tiny.model.base_model, 2, stages=0)


TEXT = {"vocab_size": 8, "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1}


def test_at_real_widths_it_is_one_to_five_per_cent_of_the_tower() -> None:
    clip = CLIPVisionConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=24,
        num_attention_heads=16,
        image_size=336,
        patch_size=14,
    )
    qwen = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "out_hidden_size": 3584}
    rope = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [8, 12, 12]}}
    with torch.device("meta"):
        hosts = [
            LlavaModel(LlavaConfig(vision_config=clip, text_config=LlamaConfig(**TEXT))),
            Qwen2_5_VLModel(Qwen2_5_VLConfig(vision_config=qwen, text_config=TEXT | rope | {"num_key_value_heads": 1})),
        ]
        for host, layers in zip(hosts, [(0, 5, 11, 17), (0, 8, 16, 24)], strict=True):
            adapter = SideAdapter(host, CHANNELS.count)
            assert adapter.layers == layers
            added, there = (sum(p.numel() for p in part.parameters()) for part in (adapter, find_tower(host)))
            assert 0.01 < added / there < 0.05


def asked(tiny: Tiny, dtype: torch.dtype = torch.float32) -> tuple[DepthVLM, dict[str, Any]]:
    """A model with a fresh adapter, and a prompt of two pictures of which one has depth, through the processor."""
    model = DepthVLM.from_vlm(copy.deepcopy(tiny.model).to(dtype), "adapter").eval()
    processor = DepthProcessor.for_model(model, copy.deepcopy(tiny.processor))
    images = [
        np.random.default_rng(i).integers(0, 256, (h, w, 3), dtype=np.uint8) for i, (w, h) in enumerate(SIZES[:2])
    ]
    depth = DepthMap(np.random.default_rng(9).uniform(0.5, 8.0, SIZES[0][::-1]))
    content = [{"type": "image"}, {"type": "image"}, {"type": "text", "text": "Is the bed left of the curtain?"}]
    batch = dict(processor([{"role": "user", "content": content}], images, [depth, None]))
    return model, batch | {"pixel_values": batch["pixel_values"].to(dtype)}


@torch.no_grad()
def test_a_fresh_model_with_an_adapter_answers_as_its_base_and_an_open_one_does_not(tiny: Tiny) -> None:
    model, batch = asked(tiny)
    plain = {name: value for name, value in batch.items() if not name.startswith("depth_")}
    assert torch.equal(model(**batch).logits, tiny.model(**plain).logits)
    greedy = {"max_new_tokens": 6, "do_sample": False}
    assert torch.equal(model.generate(**batch, **greedy), tiny.model.generate(**plain, **greedy))
    model.fusion.load_state_dict(opened(tiny).state_dict())
    assert not torch.equal(model(**batch).logits, tiny.model(**plain).logits)


@torch.no_grad()
def test_a_half_precision_model_hands_its_adapter_depth_in_full(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = asked(tiny, torch.bfloat16)
    given, real = [], model.fusion.inside
    monkeypatch.setattr(model.fusion, "inside", lambda *args: (given.append(args[1]), real(*args))[1])
    model(**batch)
    assert torch.equal(given[0]["pixel_values"], batch["depth_pixels"])
