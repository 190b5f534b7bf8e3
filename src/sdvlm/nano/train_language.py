"""Second and third stage, on the features of the finished tower: names find their things, then answers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from sdvlm.fusion.build import build_fusion
from sdvlm.fusion.depth_grid import CHANNELS
from sdvlm.nano.config import build_vlm
from sdvlm.nano.encode import FAMILIES, encode_frame
from sdvlm.nano.facts import FactsHead
from sdvlm.nano.frames import NanoFrame
from sdvlm.nano.language import (
    GROUNDING_LAYER,
    EncodedQuestion,
    QuestionRows,
    Targets,
    collate_rows,
    image_token_losses,
    naming_loss,
)
from sdvlm.nano.optimise import run_steps, save_whole
from sdvlm.nano.prefix_attention import register as register_prefix_attention
from sdvlm.nano.recipe import Recipe
from sdvlm.nano.tokenizer import special_id

__all__ = ["train_language", "train_names"]


def drop_depth(packed: Tensor) -> Tensor:
    """A packed grid as it is for a picture without depth."""
    out = packed.clone()
    for name in ("z", "z_min", "z_max", "z_std", "x", "y"):
        out[..., CHANNELS.index(name)] = torch.nan
    for name in ("valid", "kind"):
        out[..., CHANNELS.index(name)] = 0
    return out


def worsen_depth(packed: Tensor, rng: np.random.Generator) -> Tensor:
    """A packed grid (N, C) as a poorer sensor would give it: noise that grows with distance, tokens without depth."""
    worse = drop_depth(packed)
    known = torch.from_numpy(rng.random(len(packed)) >= rng.uniform(0, 0.4))
    noise = torch.from_numpy(rng.normal(0, rng.uniform(0, 0.03), len(packed)).astype(np.float32))
    z = packed[:, CHANNELS.index("z")]
    gain = 1 + noise * z.nan_to_num().clamp(max=6) / 3
    out = torch.where(known[:, None], packed, worse)
    for name in ("z", "z_min", "z_max", "x", "y"):
        out[:, CHANNELS.index(name)] *= gain
    return out


class QuestionSampler:
    """Draws pictures and their questions as batches; a frame is encoded when it is first drawn."""

    def __init__(self, frames: list[NanoFrame], tokenizer: Tokenizer, seed: list[int]) -> None:
        self.frames, self.tokenizer, self.rng = frames, tokenizer, np.random.default_rng(seed)
        self.usable = [index for index, frame in enumerate(frames) if len(frame.questions) >= 8]
        self.encoded: dict[int, tuple[list[EncodedQuestion], Targets]] = {}

    def draw(self, pictures: int, questions: int, buckets: int) -> tuple[list[int], list[QuestionRows]]:
        """Indices of the frames drawn, and as many questions about each, cut into batches of like length."""
        chosen = [self.usable[i] for i in self.rng.integers(len(self.usable), size=pictures)]
        drawn: list[list[tuple[EncodedQuestion, Targets]]] = []
        for index in chosen:
            if index not in self.encoded:
                self.encoded[index] = encode_frame(self.frames[index], self.tokenizer)
            of_frame, targets = self.encoded[index]
            picked = self.rng.choice(len(of_frame), questions, replace=len(of_frame) < questions)
            in_order = sorted((of_frame[i] for i in picked), key=lambda question: len(question.ids))
            drawn.append([(question, targets) for question in in_order])
        return chosen, like_lengths(drawn, buckets, special_id(self.tokenizer, "<pad>"))


def build_for_training(recipe: Recipe, tokenizer: Tokenizer, start: Path, seed: int) -> tuple[Any, nn.Module]:
    """Model and fusion, with the weights of ``start``: a tower's alone, or those of an earlier stage."""
    torch.manual_seed(seed)
    vlm = build_vlm(recipe.config, tokenizer)
    fusion = build_fusion(recipe.config.fusion, recipe.config.text_width)
    vlm.model.language_model.set_attn_implementation(register_prefix_attention())
    weights = load_file(start)
    if any(name.startswith("vlm.") for name in weights):
        vlm.load_state_dict({k[4:]: v for k, v in weights.items() if k.startswith("vlm.")}, strict=False)
        fusion.load_state_dict({k[7:]: v for k, v in weights.items() if k.startswith("fusion.")})
        vlm.tie_weights()
    else:
        vlm.model.vision_tower.load_state_dict(weights)
    return vlm, fusion


def train_names(
    recipe: Recipe, path: Path, start: Path, frames: list[NanoFrame], features: Tensor, tokenizer: Tokenizer
) -> None:
    """Second stage, shared by both arms: names find their things. Depth plays no part."""
    if path.exists():
        return
    vlm, fusion = build_for_training(recipe, tokenizer, start, recipe.seed + 1)
    sampler = QuestionSampler(frames, tokenizer, [recipe.seed, 1])

    def loss_of(_: int) -> tuple[Tensor, dict[str, float]]:
        chosen, batches = sampler.draw(recipe.pictures, recipe.questions, recipe.buckets)
        with torch.autocast("cpu", torch.bfloat16):
            loss = naming_loss(vlm, features[chosen].float(), batches)
        return loss, {"ground": float(loss.detach())}

    model = vlm.model.language_model
    modules = [vlm.model.multi_modal_projector, model.embed_tokens, *model.layers[: GROUNDING_LAYER + 1]]
    for step, _ in run_steps("names", recipe.naming_steps, modules, recipe.naming_lr, recipe, loss_of):
        if step % 500 == 0:
            save_model(vlm, fusion, path.with_name("names-snapshot.safetensors"))
    save_model(vlm, fusion, path)


def train_language(
    recipe: Recipe, path: Path, start: Path, frames: list[NanoFrame], features: Tensor, tokenizer: Tokenizer
) -> None:
    """Third stage: answers. Writes all weights, the fusion's under ``fusion.``."""
    if path.exists():
        return
    vlm, fusion = build_for_training(recipe, tokenizer, start, recipe.seed + 2)
    sampler = QuestionSampler(frames, tokenizer, [recipe.seed, 2])
    facts = FactsHead(recipe.config.text_width)
    rng = np.random.default_rng([recipe.seed, 3])

    def depth_of(index: int) -> Tensor:
        packed, draw = torch.from_numpy(frames[index].depth), rng.random()
        if draw < recipe.depth_dropout:
            return drop_depth(packed)
        return worsen_depth(packed, rng) if draw > 1 - recipe.noisy_depth else packed

    def loss_of(step: int) -> tuple[Tensor, dict[str, float]]:
        chosen, batches = sampler.draw(recipe.pictures, recipe.questions, recipe.buckets)
        with torch.autocast("cpu", torch.bfloat16):
            seen, pooled = features[chosen].float(), torch.stack([depth_of(index) for index in chosen])
            losses = image_token_losses(vlm, fusion, seen, pooled, batches, facts)
        answer, grounding, named, per_row = losses
        weight = recipe.grounding_weight * (1 - 0.9 * step / recipe.steps)
        family_of = torch.cat([rows.family for rows in batches])
        report = {"answer": float(answer.detach()), "ground": float(grounding.detach())}
        report["facts"] = float(named.detach())
        for family, name in enumerate(FAMILIES):
            of_family = per_row[family_of == family]
            report[name.value[:12]] = float(of_family.mean()) if len(of_family) else math.nan
        return answer + weight * (grounding + recipe.facts_weight * named), report

    modules: list[nn.Module] = [vlm.model.multi_modal_projector, vlm.model.language_model, fusion, facts]
    for step, _ in run_steps(path.parent.name, recipe.steps, modules, recipe.lr, recipe, loss_of):
        if step % 500 == 0:
            save_model(vlm, fusion, path.with_name("snapshot.safetensors"))
    save_model(vlm, fusion, path)


def like_lengths(
    questions: list[list[tuple[EncodedQuestion, Targets]]], buckets: int, pad_id: int
) -> list[QuestionRows]:
    """Each picture's questions, sorted by length, cut into as many batches; every batch holds all pictures."""
    size = len(questions[0]) // buckets
    cuts = [[of_picture[start : start + size] for of_picture in questions] for start in range(0, size * buckets, size)]
    return [
        collate_rows([question for part in cut for question, _ in part], [t for part in cut for _, t in part], pad_id)
        for cut in cuts
    ]


def save_model(vlm: nn.Module, fusion: nn.Module, path: Path) -> None:
    """All weights of the model and its fusion in one file; tied weights once."""
    tensors = {f"vlm.{k}": v for k, v in vlm.state_dict().items() if k != "lm_head.weight"}
    tensors |= {f"fusion.{k}": v for k, v in fusion.state_dict().items()}
    save_whole({k: v.detach().contiguous() for k, v in tensors.items()}, path)
