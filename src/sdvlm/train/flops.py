"""Model FLOPs of a training step, worked out from the model's layers and the batch's counts.

Two operations (a multiplication and an addition) for each weight and row that is multiplied; backwards as many again
for the gradient of the input, where anything before it trains, and as many for that of the weight, where it trains. So
6 N T for a trained matrix, 4 N T for a frozen one under adapters (Kaplan et al., arXiv 2001.08361, section 2.1; PaLM,
arXiv 2204.02311, appendix B). Attention is counted by the pairs its mask lets through. What is recomputed, such as with
gradient checkpointing, is not model work and left out; so are norms, activations, embeddings and the loss.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from sdvlm.fusion.towers import find_tower, vision_children
from sdvlm.fusion.vision_half import VisionHalf
from sdvlm.models.families import family_of
from sdvlm.train.batch_facts import BatchFacts

__all__ = ["DENSE_PEAKS", "peak_flops", "step_flops"]

DENSE_PEAKS: dict[str, float] = {
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
    "V100": 125e12,
}
"""dense bfloat16 (V100: float16) tensor-core FLOP/s by part of the device's name, from the makers' data sheets"""

_FIRST = ("q_proj", "k_proj", "v_proj", "qkv_proj")


def peak_flops(device_name: str) -> float | None:
    """Dense 16-bit peak of a GPU by its name; None where it is not known."""
    return next((peak for name, peak in DENSE_PEAKS.items() if _words(name) <= _words(device_name)), None)


def step_flops(model: Any, facts: BatchFacts, cached_tower: bool = False) -> float:
    """Operations of forward and backward pass of one batch.

    Args:
        model: a ``DepthVLM``; what trains is read from its parameters.
        facts: of the batch (``batch_facts``).
        cached_tower: the tower's features come from the disk.
    """
    host = model.vlm.base_model
    parts = nn.ModuleDict(vision_children(host))
    vision = _vision(parts, model.config.vlm_config, facts, cached_tower, tower=find_tower(host))
    fusion = _fusion(model, facts) if model.fusion is not None and facts.reads_depth else 0.0
    image_trains = facts.images > 0 and (_trains(parts) or (model.fusion is not None and _trains(model.fusion)))
    return vision + fusion + _language(model, facts, image_trains)


def _language(model: Any, facts: BatchFacts, image_trains: bool) -> float:
    decoder, head = model.vlm.get_decoder(), model.get_output_embeddings()
    embeds_train = image_trains or _trains(model.get_input_embeddings())
    total, gradient = 0.0, embeds_train  # whether the input of the layer at hand has a gradient
    for layer in decoder.layers:
        trains = _trains(layer)
        for name, linear in _linears(layer):
            at_start = any(one in name.split(".") for one in _FIRST) and "lora_B" not in name
            total += _linear(linear, facts.tokens, gradient if at_start else gradient or trains)
        width = _attention_width(decoder.config)
        total += 4.0 * facts.pairs * width * (3 if gradient or trains else 1)  # scores and mix; four products backwards
        gradient = gradient or trains
    if head is not None:
        for _, linear in _linears(head):
            total += _linear(linear, facts.learned, gradient)
    return total


def _vision(parts: nn.Module, config: Any, facts: BatchFacts, cached: bool, tower: Any) -> float:
    """Tower and projector."""
    if not facts.images:
        return 0.0
    family = family_of(config)
    merge_inside = family.merge is not None
    projector = parts.get_submodule(family.merge or family.source)
    inside = {id(module) for module in projector.modules()}
    merged = family.merged(config)
    extra = facts.images if hasattr(getattr(tower, "embeddings", None), "class_embedding") else 0
    patches, total = facts.patches, 0.0
    tower_trains = any(_own_trains(module) for module in tower.modules() if id(module) not in inside)
    outside = cached and not (merge_inside and _trains(projector))  # not even the tower's way to its projector is run
    for module in tower.modules():
        if id(module) in inside or outside:
            continue
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            total += _linear(module, patches, False)
        elif isinstance(module, nn.Linear) and not cached:
            total += _linear(module, patches + extra, tower_trains)
    if not cached:
        pairs = _tower_pairs(tower, facts, extra > 0)
        total += 4.0 * pairs * tower.config.hidden_size * (3 if tower_trains else 1)
    gradient = tower_trains
    for module in projector.modules() if not (outside and merge_inside) else ():
        if isinstance(module, nn.Linear):
            total += _linear(module, patches // merged, gradient)
        gradient = gradient or any(one.requires_grad for one in module.parameters(recurse=False))
    return total


def _tower_pairs(tower: Any, facts: BatchFacts, class_token: bool) -> float:
    """Pairs of patches that see each other, over all layers."""
    config = tower.config
    layers = getattr(config, "depth", None) or config.num_hidden_layers
    whole = sum((rows * columns + class_token) ** 2 for rows, columns in facts.grids)
    if not getattr(config, "window_size", None):
        return float(layers * whole)
    side = config.window_size // config.patch_size
    windows = sum(_lengths_squared(rows, side) * _lengths_squared(columns, side) for rows, columns in facts.grids)
    full = len(config.fullatt_block_indexes)
    return float(full * whole + (layers - full) * windows)


def _lengths_squared(length: int, side: int) -> int:
    """Sum of the squared lengths of the stretches of ``side`` that a length is cut into."""
    count, rest = divmod(length, side)
    return count * side**2 + rest**2


def _fusion(model: Any, facts: BatchFacts) -> float:
    """The fusion's own layers on the image tokens; a depth encoder as a second look of the vision half."""
    family = family_of(model.config.vlm_config)
    tokens = facts.patches // family.merged(model.config.vlm_config)
    total, counted = 0.0, set()
    for module in model.fusion.modules():
        if isinstance(module, VisionHalf):
            total += _vision(module.parts, model.config.vlm_config, facts, False, module.tower)
            counted |= {id(one) for one in module.modules()}
    rows = facts.patches if model.config.fusion_settings.place == "tower" else tokens
    for module in model.fusion.modules():
        if id(module) not in counted and isinstance(module, nn.Linear | nn.Conv2d | nn.Conv3d):
            total += _linear(module, rows, _trains(module))
    return total


def _linear(module: Any, rows: int, input_gradient: bool) -> float:
    """A matrix product of ``rows`` rows, forwards and backwards."""
    is_matrix = isinstance(module, nn.Linear)  # a quantised one holds its weights packed
    weights = module.in_features * module.out_features if is_matrix else module.weight.numel()
    return float(2.0 * weights * rows * (1 + input_gradient + _own_trains(module)))


def _linears(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, one in module.named_modules():
        if isinstance(one, nn.Linear):
            yield name, one


def _attention_width(config: Any) -> int:
    heads = config.num_attention_heads
    return int(heads * (getattr(config, "head_dim", None) or config.hidden_size // heads))


def _trains(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())


def _own_trains(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return isinstance(weight, torch.Tensor) and weight.requires_grad


def _words(name: str) -> set[str]:
    return set(name.replace("-", " ").split())
