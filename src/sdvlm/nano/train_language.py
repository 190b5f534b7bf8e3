"""Second and third stage, on the features of the finished tower: names find their things, then answers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from sdvlm.fusion.build import build_fusion
from sdvlm.fusion.early import EarlyDepth
from sdvlm.nano.config import build_vlm
from sdvlm.nano.encode import FAMILIES
from sdvlm.nano.facts import BetweenHead, FactsHead
from sdvlm.nano.frames import NanoFrame
from sdvlm.nano.language import GROUNDING_LAYER, image_token_losses, naming_losses
from sdvlm.nano.norms import use_fused_norms
from sdvlm.nano.numbers import ValuesHead
from sdvlm.nano.optimise import Losses, run_steps, save_whole
from sdvlm.nano.precision import fast_arithmetic
from sdvlm.nano.prefix_attention import register as register_prefix_attention
from sdvlm.nano.recipe import ON_THE_WAY, Recipe
from sdvlm.nano.sampler import Drawn, Sampler
from sdvlm.nano.sight import Sight
from sdvlm.nano.start import Start, start_tokens
from sdvlm.nano.train_tower import pictures_of

__all__ = ["Learner", "Look", "train_language", "train_names"]

Look = Tensor | list[NanoFrame]
"""(F, N, Dv) kept features of the frames, or the frames, where features depend on how depth is shown"""
STARTED = 128
"""pictures that the start is set from"""


class Learner:
    """The model, its fusion and the read-out of the facts, on the tower's features."""

    def __init__(self, recipe: Recipe, tokenizer: Tokenizer, seed: int) -> None:
        torch.manual_seed(seed)
        self.vlm: Any = build_vlm(recipe.config, tokenizer)
        self.fusion = build_fusion(recipe.config.fusion, recipe.config.text_width, self.vlm.model)
        self.sight = Sight(self.vlm.model, self.fusion if isinstance(self.fusion, EarlyDepth) else None)
        self.facts = FactsHead(recipe.config.text_width)
        self.values = ValuesHead(recipe.config.text_width)
        self.between = BetweenHead(recipe.config.text_width)
        self.vlm.model.language_model.set_attn_implementation(register_prefix_attention())
        use_fused_norms(self.vlm.model.language_model)
        if recipe.compiled:
            torch._dynamo.config.recompile_limit = 64  # every layer, prefix and rows, first layers and all
            for layer in self.vlm.model.language_model.layers:
                layer.forward = torch.compile(layer.forward, dynamic=True)
        self.device = torch.device(recipe.device)
        for module in self.parts().values():
            module.to(self.device)

    @property
    def behind(self) -> nn.Module:
        """The fusion of the tokens, which these stages train; what enters the tower stays as it was trained."""
        return self.fusion.behind if isinstance(self.fusion, EarlyDepth) else self.fusion

    def parts(self) -> dict[str, nn.Module]:
        """The modules by the prefix of their weights' names."""
        heads = {"facts.": self.facts, "values.": self.values, "between.": self.between}
        return {"vlm.": self.vlm, "fusion.": self.fusion, **heads}

    def see(self, drawn: Drawn, look: Look) -> Tensor:
        """(B, N, Dv) features of a step's pictures: kept ones, or where depth enters the tower those it makes now."""
        if isinstance(look, Tensor):
            return look[drawn.indices].float().to(self.device)
        pixels = pictures_of([look[index] for index in drawn.indices]).to(self.device)
        return self.sight.look(pixels, drawn.planes).float()

    def load(self, path: Path) -> None:
        """Take the weights that :meth:`save` wrote."""
        weights = load_file(path)
        for prefix, module in self.parts().items():
            own = {name[len(prefix) :]: value for name, value in weights.items() if name.startswith(prefix)}
            if not own and module in (self.values, self.between):
                continue  # the second stage has no use for them
            missing, unexpected = module.load_state_dict(own, strict=False)
            if unexpected or [name for name in missing if name != "lm_head.weight"]:
                raise ValueError(f"{path} does not fit: missing {missing}, unexpected {unexpected}")
        self.vlm.tie_weights()

    def save(self, path: Path) -> None:
        """All weights in one file; tied weights once."""
        tensors = {
            prefix + name: value.detach().contiguous()
            for prefix, module in self.parts().items()
            for name, value in module.state_dict().items()
            if name != "lm_head.weight"
        }
        save_whole(tensors, path)

    def train(
        self,
        name: str,
        path: Path,
        steps: int,
        lr: float,
        modules: list[nn.Module],
        recipe: Recipe,
        loss_of: Losses,
        keep_every: int = 0,
    ) -> None:
        """Optimise modules, write all weights to ``path``, and what is reported on the way beside it.

        ``keep_every``: hundreds of steps between weights kept in ``ON_THE_WAY``, 0: none.
        """
        reports = path.with_suffix(".log.jsonl")
        for step, means in run_steps(name, steps, modules, lr, recipe, loss_of, path.with_suffix(".state.safetensors")):
            with reports.open("a") as stream:
                stream.write(json.dumps({"step": step} | {key: round(value, 4) for key, value in means.items()}) + "\n")
            if keep_every and step % keep_every == 0 and step < steps:
                self.save(path.parent / ON_THE_WAY / f"{step:05d}.safetensors")
        self.save(path)


def train_names(
    recipe: Recipe, path: Path, tower: Path, frames: list[NanoFrame], look: Look, tokenizer: Tokenizer
) -> None:
    """Second stage: names find their things and read off where they are and how large."""
    if path.exists():
        return
    learner = Learner(recipe, tokenizer, recipe.seed + 1)
    if recipe.start:
        Start.read(recipe.start).give_language(learner.vlm, learner.behind)
    learner.sight.load(tower)
    sampler = Sampler(frames, tokenizer, recipe, 1)
    if not recipe.start:
        _start_tokens(learner, frames, look)

    def loss_of(step: int) -> tuple[Tensor, dict[str, float]]:
        drawn = sampler.draw(step).to(learner.device)
        with fast_arithmetic(learner.device):
            seen = learner.see(drawn, look)
            grounding, named = naming_losses(
                learner.vlm, learner.fusion, seen, drawn.depth, drawn.batches, learner.facts
            )
        report = {"ground": float(grounding.detach()), "facts": float(named.detach())}
        return grounding + recipe.facts_weight * named, report

    model = learner.vlm.model.language_model
    modules = [learner.vlm.model.multi_modal_projector, model.embed_tokens, *model.layers[: GROUNDING_LAYER + 1]]
    modules += [learner.behind, learner.facts]
    name = f"{path.parent.name} names"
    learner.train(name, path, recipe.naming_steps, recipe.naming_lr, modules, recipe, loss_of)


def _start_tokens(learner: Learner, frames: list[NanoFrame], look: Look) -> None:
    """Set the size of the image tokens and of the depth in them from the first pictures."""
    first = Drawn(
        list(range(min(len(frames), STARTED))),
        torch.stack([torch.from_numpy(frame.depth) for frame in frames[:STARTED]]),
        torch.stack([torch.from_numpy(frame.planes).float() for frame in frames[:STARTED]]),
        [],
    ).to(learner.device)
    start_tokens(learner.vlm, learner.fusion, learner.see(first, look), first.depth)


def train_language(
    recipe: Recipe, path: Path, start: Path, frames: list[NanoFrame], look: Look, tokenizer: Tokenizer
) -> None:
    """Third stage: answers. Starts from the second stage's weights and writes all weights."""
    if path.exists():
        return
    learner = Learner(recipe, tokenizer, recipe.seed + 2)
    learner.load(start)
    sampler = Sampler(frames, tokenizer, recipe, 2)

    def loss_of(step: int) -> tuple[Tensor, dict[str, float]]:
        drawn = sampler.draw(step).to(learner.device)
        with fast_arithmetic(learner.device):
            seen = learner.see(drawn, look)
            losses = image_token_losses(
                learner.vlm,
                learner.fusion,
                seen,
                drawn.depth,
                drawn.batches,
                learner.facts,
                learner.values,
                learner.between,
                settling=bool(recipe.start) and step < recipe.warmup * recipe.steps,
            )
        weight = recipe.grounding_weight * (1 - 0.9 * step / recipe.steps)
        family_of = torch.cat([rows.family for rows in drawn.batches])
        names = ("answer", "grounding", "facts", "said", "fetching", "copying", "between")
        report = {name: float(getattr(losses, name).detach()) for name in names}
        for family, name in enumerate(FAMILIES):
            of_family = losses.per_row[family_of == family]
            report[name.value[:12]] = float(of_family.mean()) if len(of_family) else math.nan
        told = (
            losses.grounding + losses.fetching + losses.copying + recipe.facts_weight * (losses.facts + losses.between)
        )
        return losses.answer + weight * told + recipe.said_weight * losses.said, report

    modules: list[nn.Module] = [learner.vlm.model.multi_modal_projector, learner.vlm.model.language_model]
    modules += [learner.behind, learner.facts, learner.values, learner.between]
    learner.train(path.parent.name, path, recipe.steps, recipe.lr, modules, recipe, loss_of, recipe.keep_every)
