"""First stage: train the vision tower on dense labels, then keep its features of every frame."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor

from sdvlm.fusion.depth_grid import CHANNELS
from sdvlm.nano.config import build_vlm
from sdvlm.nano.dense import DenseHeads, DenseLabels, dense_labels
from sdvlm.nano.frames import COLOR_NAMES, NanoFrame
from sdvlm.nano.optimise import run_steps, save_whole
from sdvlm.nano.recipe import Recipe

__all__ = ["normalise", "tower_features", "train_tower"]

log = logging.getLogger("sdvlm.nano.train")

PIXEL_MEAN, PIXEL_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""CLIP's normalisation, as the processor applies it"""


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


def frame_labels(frame: NanoFrame, categories: dict[str, int]) -> DenseLabels:
    """Dense labels of a training frame."""
    return dense_labels(
        torch.from_numpy(frame.coverage.astype(np.float32) / 255),
        torch.tensor([categories[name] for name in frame.categories], dtype=torch.long),
        torch.from_numpy(frame.colors),
        torch.from_numpy(frame.boxes.astype(np.float32)),
        torch.from_numpy(frame.depth[:, CHANNELS.index("z")]),
        len(categories) + 1,
    )


def train_tower(recipe: Recipe, path: Path, frames: list[NanoFrame], tokenizer: Tokenizer) -> None:
    """First stage: dense labels. Writes the vision tower's weights, those of each cycle beside them."""
    last: Path | None = None
    for cycle, (steps, lr) in enumerate(recipe.tower_cycles):
        of_cycle = path.with_name(f"tower-{cycle}.safetensors")
        if not of_cycle.exists():
            _train_cycle(recipe, cycle, steps, lr, last, of_cycle, frames, tokenizer)
        last = of_cycle
    if last is not None and not path.exists():
        save_whole(load_file(last), path)


def _train_cycle(
    recipe: Recipe,
    cycle: int,
    steps: int,
    lr: float,
    start: Path | None,
    path: Path,
    frames: list[NanoFrame],
    tokenizer: Tokenizer,
) -> None:
    torch.manual_seed(recipe.seed + 10 * cycle)
    tower = build_vlm(recipe.config, tokenizer).model.vision_tower
    if start is not None:
        tower.load_state_dict(load_file(start))
    tower.set_attn_implementation("eager")  # with so few tokens twice as fast as SDPA's CPU kernel
    names = sorted({name for frame in frames for name in frame.categories})
    categories = {name: index + 1 for index, name in enumerate(names)}
    heads = DenseHeads(recipe.config.vision_width, len(categories) + 1, len(COLOR_NAMES))
    device = torch.device(recipe.device)
    tower.to(device)
    heads.to(device)
    held, frames = frames[:64], frames[64:]

    def batch(chosen: list[NanoFrame]) -> tuple[Tensor, DenseLabels]:
        pixels = normalise(torch.from_numpy(np.stack([frame.picture for frame in chosen])))
        return pixels, stack_labels([frame_labels(frame, categories) for frame in chosen]).to(device)

    def loss_of(step: int) -> tuple[Tensor, dict[str, float]]:
        rng = np.random.default_rng([recipe.seed, cycle, step])
        pixels, labels = batch([frames[i] for i in rng.integers(len(frames), size=recipe.tower_batch)])
        shown = jitter(pixels, torch.Generator().manual_seed(int(rng.integers(2**40)))).to(device)
        with torch.autocast(device.type, torch.bfloat16):
            features = tower(shown).last_hidden_state[:, 1:]
        losses = heads.losses(features.float(), labels)
        return torch.stack(list(losses.values())).sum(), {k: float(v.detach()) for k, v in losses.items()}

    state = path.with_suffix(".state.safetensors")
    for step, _ in run_steps(f"tower {cycle}", steps, [tower, heads], lr, recipe, loss_of, state):
        if step % 1000 == 0 or step == steps:
            pixels, labels = batch(held)
            with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
                features = tower(pixels.to(device)).last_hidden_state[:, 1:].float()
            log.info("tower held-out %s", {k: round(v, 3) for k, v in heads.accuracy(features, labels).items()})
    save_whole({k: v.contiguous() for k, v in tower.state_dict().items()}, path)


def tower_features(
    recipe: Recipe, path: Path, tower_path: Path, frames: list[NanoFrame], tokenizer: Tokenizer
) -> Tensor:
    """(F, N, Dv) bfloat16 patch features of every frame, made once and memory-mapped after."""
    if not path.exists():
        tower = build_vlm(recipe.config, tokenizer).model.vision_tower
        tower.load_state_dict(load_file(tower_path))
        tower.set_attn_implementation("eager")
        device = torch.device(recipe.device)
        tower.to(device)
        parts = []
        for start in range(0, len(frames), 64):
            pixels = normalise(torch.from_numpy(np.stack([f.picture for f in frames[start : start + 64]])))
            with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):
                parts.append(tower(pixels.to(device)).last_hidden_state[:, 1:].to("cpu", torch.bfloat16))
        save_whole({"features": torch.cat(parts)}, path)
    return load_file(path)["features"]
