"""Side adapters: small trainable blocks beside a frozen vision tower that let its layers see depth.

The family of ViT-Adapter (arXiv 2205.08534) and HFIT (arXiv 2502.06219): a pyramid of depth features goes along the
tower; at a few layers it reads the tower's tokens and writes back into them, through factors that start at zero. HFIT's
own code is not public; this is the documented family, not a port of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from sdvlm.fusion.adapter_blocks import Stage, Stem
from sdvlm.fusion.tower_layers import (
    layers_read,
    patch_side,
    pictures_of,
    token_rows,
    tower_layers,
    tower_width,
)
from sdvlm.types import SdvlmError

__all__ = ["SideAdapter", "TowerDepth"]


class TowerDepth(nn.Module):
    """What puts depth into a vision tower by hooks on its layers, that live as long as :meth:`inside`.

    Attributes:
        layers: indices of the tower's layers in whose inputs depth enters.
        stem: (P, C, H, W) float32 planes to what the stages carry on.
        stages: of each of the layers, (P, h, w, D) tokens and what is carried to the update of the tokens, where it
            counts (P, h, w, 1), and what is carried further.
    """

    layers: tuple[int, ...]
    stem: Any
    stages: nn.ModuleList

    @contextmanager
    def inside(self, base_model: nn.Module, depth_inputs: Mapping[str, Tensor], known: Tensor) -> Iterator[None]:
        """While this lasts, pictures that this thread sends through the tower are seen with their depth.

        Args:
            base_model: the model that this was made for.
            depth_inputs: ``pixel_values``: float32 depth planes in the tower's layout, of all pictures in order, and
                ``image_grid_thw`` where the tower is packed (``fusion.pixel_layout``).
            known: (P,) bool, pictures that have depth.

        Raises:
            SdvlmError: the depth does not belong to the pictures, or the tower orders its tokens in an unknown way; or
                its gradients are checkpointed by transformers before 5.23.
        """
        if not known.any() and not torch.is_grad_enabled():  # in training every parameter takes part in every step
            yield
            return
        run = _Run(self, base_model, depth_inputs, known)
        layers = tower_layers(base_model)
        _check_checkpointing(layers)
        with ExitStack() as stack:
            for index, layer in enumerate(self.layers):
                handle = layers[layer].register_forward_pre_hook(run.hook(index), with_kwargs=True)
                stack.callback(handle.remove)
            yield


class SideAdapter(TowerDepth):
    """Depth inside the vision tower, at the tower's resolution and finer.

    Works on the inputs of the tower's layers, by hooks that live as long as :meth:`inside`; the tower's weights are
    not touched and should be frozen. A fresh adapter leaves every token as it is. A token's update is nothing where no
    cell around it is known, and a picture without depth keeps its tokens bit for bit. An update is a share of the mean
    size of the picture's tokens, since towers differ in it a hundredfold.

    Behind the layer where it enters, the tower's own attention spreads depth over the picture: unlike the fusions of
    the tokens it is not local.

    Args:
        base_model: the vision-language model without its head; read for its sizes, not kept.
        channels: planes of the depth map.
        width: channels of the adapter; default: a quarter of the tower's, a multiple of 8.
        stages: layers that it reads and writes, evenly spaced from the first; fewer where the tower has fewer.

    Raises:
        SdvlmError: the tower is no plain transformer, or a setting is out of range.
    """

    def __init__(self, base_model: nn.Module, channels: int, width: int | None = None, stages: int = 4) -> None:
        super().__init__()
        patch, inner = patch_side(base_model), tower_width(base_model)
        if patch % 2:
            raise SdvlmError(f"side adapters read depth at half a patch; this tower's patches are {patch} pixels wide")
        if channels < 1 or stages < 1 or (width is not None and width < 1):
            raise SdvlmError(f"channels, width and stages must be at least 1; got {channels}, {width}, {stages}")
        width = width or max(8, inner // 4 // 8 * 8)
        depth = layers_read(base_model)
        if depth < 1:
            raise SdvlmError("this model's image tokens do not pass through its tower's layers; use another fusion")
        stages = min(stages, depth)
        self.layers = tuple(depth * stage // stages for stage in range(stages))
        self.stem = Stem(channels, width, patch)
        self.stages = nn.ModuleList(Stage(inner, width) for _ in range(stages))


def _check_checkpointing(layers: nn.ModuleList) -> None:
    """Before 5.23 a layer's hooks are run again in the backward pass, when these here are gone."""
    if "__call__" in vars(GradientCheckpointingLayer) and any(
        getattr(layer, "gradient_checkpointing", False) and layer.training for layer in layers
    ):
        raise SdvlmError(
            "the fusion 'adapter' under gradient checkpointing needs transformers >= 5.23; "
            "upgrade, or train without checkpointing"
        )


@dataclass
class _Group:
    """Pictures of one size.

    Args:
        members: indices of the pictures.
        known: (P,) bool, pictures with depth.
        pyramid: as the stages have left it.
    """

    members: list[int]
    known: Tensor
    pyramid: Any


class _Run:
    """One pass of pictures through the tower."""

    def __init__(
        self, adapter: TowerDepth, base_model: nn.Module, depth_inputs: Mapping[str, Tensor], known: Tensor
    ) -> None:
        self.adapter, self.base_model, self.inputs = adapter, base_model, dict(depth_inputs)
        self.thread = threading.get_ident()
        self.device = adapter.stem.pixels.weight.device
        pictures = pictures_of(base_model, depth_inputs)
        if len(known) != len(pictures):
            raise SdvlmError(f"got depth for {len(pictures)} pictures and {len(known)} marks of which is known")
        sizes: dict[torch.Size, list[int]] = {}
        for index, planes in enumerate(pictures):
            sizes.setdefault(planes.shape, []).append(index)
        self.groups = [
            _Group(
                members,
                known[members].to(self.device),
                adapter.stem(torch.stack([pictures[index] for index in members]).to(self.device)),
            )
            for members in sizes.values()
        ]

    def hook(self, stage: int) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], Any]:
        """What a stage does with the arguments of its layer."""

        def enter(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if threading.get_ident() != self.thread:
                return None
            if args:
                return (self.see(stage, args[0]), *args[1:]), kwargs
            return args, kwargs | {"hidden_states": self.see(stage, kwargs["hidden_states"])}

        return enter

    def see(self, stage: int, hidden: Tensor) -> Tensor:
        """The layer's tokens, (B, S, D) or (T, D), with depth in them."""
        places = token_rows(self.base_model, self.inputs, hidden.shape)
        flat = hidden.reshape(-1, hidden.shape[-1])
        block: Any = self.adapter.stages[stage]
        for group in self.groups:
            rows = torch.stack([places[index] for index in group.members]).to(hidden.device)  # [P, h, w]
            tokens = flat[rows]
            update, near, group.pyramid = block(tokens.to(self.device), group.pyramid)
            size = tokens.detach().float().square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
            changed = tokens + (update.to(hidden.device).float() * size).to(tokens.dtype)
            touched = (near & group.known[:, None, None, None]).to(hidden.device)
            changed = torch.where(touched, changed, tokens)
            flat = flat.index_copy(0, rows.flatten(), changed.flatten(0, 2))
        return flat.view(hidden.shape)
