"""First stage: train the vision tower on dense labels, then keep its features of every frame."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from sdvlm.fusion.depth_grid import CHANNELS
from sdvlm.fusion.early import EarlyDepth
from sdvlm.nano.config import PLANES, build_vlm
from sdvlm.nano.dense import DenseHeads, DenseLabels, dense_labels
from sdvlm.nano.depth_changes import Showing
from sdvlm.nano.frames import COLOR_NAMES, NanoFrame
from sdvlm.nano.optimise import run_steps, save_whole
from sdvlm.nano.precision import fast_arithmetic
from sdvlm.nano.recipe import Recipe
from sdvlm.nano.sight import Sight
from sdvlm.nano.start import Start

__all__ = ["normalise", "pictures_of", "tower_features", "train_tower"]

log = logging.getLogger("sdvlm.nano.train")

PIXEL_MEAN, PIXEL_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""CLIP's normalisation, as the processor applies it"""
HELD = 64
"""frames that the tower is measured on and does not learn from"""


def normalise(pictures: Tensor) -> Tensor:
    """(B, S, S, 3) uint8 to (B, 3, S, S) float, as the processor does it."""
    mean, std = torch.tensor(PIXEL_MEAN), torch.tensor(PIXEL_STD)
    return ((pictures.float() / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()


def jitter(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Vary brightness, contrast and white balance of normalised pixels (B, 3, S, S), and add a little noise."""
    count = len(pixels)
    gain = (
        1
        + 0.15 * torch.randn(count, 1, 1, 1, generator=generator)
        + 0.04 * torch.randn(count, 3, 1, 1, generator=generator)
    )
    shift = 0.15 * torch.randn(count, 1, 1, 1, generator=generator)
    return pixels * gain + shift + 0.03 * torch.randn(pixels.shape, generator=generator)


def stack_labels(labels: list[DenseLabels]) -> DenseLabels:
    """Labels of one picture each as those of a batch."""
    names = DenseLabels.__dataclass_fields__
    return DenseLabels(*(torch.cat([getattr(one, name) for one in labels]) for name in names))


def frame_labels(frame: NanoFrame, categories: dict[str, int], factor: float = 1.0) -> DenseLabels:
    """Dense labels of a training frame, its depth ``factor`` times as far."""
    return dense_labels(
        torch.from_numpy(frame.coverage.astype(np.float32) / 255),
        torch.tensor([categories[name] for name in frame.categories], dtype=torch.long),
        torch.from_numpy(frame.colors),
        torch.from_numpy(frame.boxes.astype(np.float32)),
        torch.from_numpy(frame.depth[:, CHANNELS.index("z")]) * factor,
        len(categories) + 1,
    )


def sight_of(recipe: Recipe, tokenizer: Tokenizer, seed: int) -> Sight:
    """A fresh tower on the recipe's device, with depth in front of it where the recipe says so."""
    torch.manual_seed(seed)
    model: Any = build_vlm(recipe.config, tokenizer).model
    early = EarlyDepth(model, PLANES.count, nn.Identity()) if recipe.config.early else None
    return Sight(model, early).to(recipe.device)


def train_tower(recipe: Recipe, path: Path, frames: list[NanoFrame], tokenizer: Tokenizer) -> None:
    """First stage: dense labels. Writes the vision tower's weights."""
    if path.exists():
        return
    sight, device = sight_of(recipe, tokenizer, recipe.seed), torch.device(recipe.device)
    if recipe.start:
        Start.read(recipe.start).give_tower(sight)
    names = sorted({name for frame in frames for name in frame.categories})
    categories = {name: index + 1 for index, name in enumerate(names)}
    heads = DenseHeads(recipe.config.vision_width, len(categories) + 1, len(COLOR_NAMES)).to(device)
    held, frames = frames[:HELD], frames[HELD:]

    def loss_of(step: int) -> tuple[Tensor, dict[str, float]]:
        rng = np.random.default_rng([recipe.seed, step])
        chosen = [frames[i] for i in rng.integers(len(frames), size=recipe.tower_batch)]
        pixels = jitter(pictures_of(chosen), torch.Generator().manual_seed(int(rng.integers(2**40)))).to(device)
        shown = [shown_depth(recipe, frame, rng) for frame in chosen]
        labels = [frame_labels(frame, categories, factor) for frame, (_, factor) in zip(chosen, shown, strict=True)]
        with fast_arithmetic(device):
            features = sight(pixels, torch.stack([planes for planes, _ in shown]).to(device))
        losses = heads.losses(features.float(), stack_labels(labels).to(device))
        return torch.stack(list(losses.values())).sum(), {k: float(v.detach()) for k, v in losses.items()}

    name = f"tower{' with depth' if recipe.config.early else ''}"
    state = path.with_suffix(".state.safetensors")
    for step, _ in run_steps(name, recipe.tower_steps, [sight, heads], recipe.tower_lr, recipe, loss_of, state):
        if step % 1000 == 0 or step == recipe.tower_steps:
            planes = torch.stack([torch.from_numpy(frame.planes).float() for frame in held]).to(device)
            features = sight.look(pictures_of(held).to(device), planes)
            labels = stack_labels([frame_labels(frame, categories) for frame in held]).to(device)
            found = heads.accuracy(features.float(), labels)
            log.info("%s held-out %s", name, {key: round(value, 3) for key, value in found.items()})
    sight.save(path)


def shown_depth(recipe: Recipe, frame: NanoFrame, rng: np.random.Generator) -> tuple[Tensor, float]:
    """(P, S, S) planes as the tower sees them this time, and the factor of the scene's depth."""
    shown = Showing.draw(recipe, rng)
    return shown.planes(torch.from_numpy(frame.planes).float(), rng), shown.factor


def pictures_of(frames: list[NanoFrame]) -> Tensor:
    """(B, 3, S, S) normalised pictures."""
    return normalise(torch.from_numpy(np.stack([frame.picture for frame in frames])))


def tower_features(
    recipe: Recipe, path: Path, tower_path: Path, frames: list[NanoFrame], tokenizer: Tokenizer
) -> Tensor:
    """(F, N, Dv) bfloat16 patch features of every frame without depth, made once and memory-mapped after."""
    if not path.exists():
        sight = sight_of(recipe, tokenizer, 0)
        sight.load(tower_path)
        parts = []
        for start in range(0, len(frames), 64):
            pixels = pictures_of(frames[start : start + 64]).to(recipe.device)
            parts.append(sight.look(pixels).to("cpu", torch.bfloat16))
        save_whole({"features": torch.cat(parts)}, path)
    return load_file(path)["features"]
