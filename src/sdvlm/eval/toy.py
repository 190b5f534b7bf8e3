"""T8: a toy task that tells in seconds whether a fusion lets a language model use depth, and metres.

A picture of 4 x 4 patches is grey but for one red and one blue patch. The depth of every patch is drawn independently
of the picture, so colour says *which* patches are meant and only depth can say where they lie. ``ordinal`` asks whether
red is nearer than blue; it needs depth at the right token. ``absolute`` asks whether red is nearer than 3 m, while
every picture has its own depth scale; it needs metres (``fusion-methods`` 1.5, T8).

The model is a LLaVA 64 wide with two language layers and a frozen random tower, trained from scratch through
``DepthVLM``, the way real models are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from sdvlm.eval.controls import ControlResult
from sdvlm.eval.toy_inputs import CELLS, IMAGE, NO, PATCH, VOCABULARY, YES, toy_inputs
from sdvlm.fusion.config import FusionConfig
from sdvlm.fusion.depth_grid import CHANNELS, kind_code
from sdvlm.models.wrapper import DepthVLM
from sdvlm.types import Camera, DepthKind, SdvlmError

__all__ = [
    "TASKS",
    "ToyBatch",
    "ToyScore",
    "Training",
    "accuracy",
    "answer_logits",
    "draw",
    "packed_grid",
    "score_model",
    "tiny_llava",
    "train_toy",
    "with_new_depth",
]

Task = Literal["ordinal", "absolute"]
Depth = Literal["true", "shuffled", "constant", "noise", "none"]
TASKS: tuple[Task, ...] = ("ordinal", "absolute")

CAMERA = Camera.from_fov(CELLS * PATCH, CELLS * PATCH, 60.0)
LIMIT_M = 3.0
"""the absolute question asks for nearer than this"""


@dataclass(frozen=True, eq=False)
class ToyBatch:
    """B pictures with the answers to the one question asked of them.

    Args:
        pixels: (B, 3, 16, 16) float32, -1..1.
        z: (B, 16) metres of each patch, row by row.
        red, blue: (B,) long, the marked patches.
        nearer: (B,) bool, the answer.
    """

    pixels: Tensor
    z: Tensor
    red: Tensor
    blue: Tensor
    nearer: Tensor


def draw(rng: np.random.Generator, count: int, task: Task) -> ToyBatch:
    """Pictures, depths and answers; both answers are equally likely whatever the picture.

    Args:
        rng: the only source of randomness.
        count: pictures.
        task: ``ordinal``: every patch log-uniform in 0.3-30 m; ``absolute``: every patch log-uniform in 1.5-6 m times
            one scale a picture, log-uniform in 0.1-10.
    """
    patches = CELLS * CELLS
    grey = rng.uniform(-0.5, 0.5, (count, 1, 1))
    colours = np.repeat(np.repeat(grey, patches, axis=1), 3, axis=2)  # [B, 16, 3]
    red, blue = rng.permuted(np.tile(np.arange(patches), (count, 1)), axis=1)[:, :2].T
    rows = np.arange(count)
    colours[rows, red], colours[rows, blue] = (1.0, -1.0, -1.0), (-1.0, -1.0, 1.0)
    cells = torch.from_numpy(colours.astype(np.float32)).reshape(count, CELLS, CELLS, 3).permute(0, 3, 1, 2)
    pixels = cells.repeat_interleave(PATCH, dim=2).repeat_interleave(PATCH, dim=3)
    marks = torch.from_numpy(red.copy()), torch.from_numpy(blue.copy())
    return with_new_depth(ToyBatch(pixels, torch.empty(0), *marks, torch.empty(0)), rng, task)


def with_new_depth(batch: ToyBatch, rng: np.random.Generator, task: Task) -> ToyBatch:
    """The same pictures over depth drawn afresh, with the answers that go with it.

    Raises:
        SdvlmError: no such task.
    """
    if task not in TASKS:
        raise SdvlmError(f"no toy task '{task}'; choose one of {', '.join(TASKS)}")
    count, rows = len(batch.pixels), torch.arange(len(batch.pixels))
    low, high = (0.3, 30.0) if task == "ordinal" else (1.5, 6.0)
    z = np.exp(rng.uniform(np.log(low), np.log(high), (count, CELLS * CELLS)))
    if task == "absolute":
        z = z * np.exp(rng.uniform(np.log(0.1), np.log(10.0), (count, 1)))
    depths = torch.from_numpy(z.astype(np.float32))
    limit = depths[rows, batch.blue] if task == "ordinal" else torch.tensor(LIMIT_M)
    return replace(batch, z=depths, nearer=depths[rows, batch.red] < limit)


def packed_grid(z: Tensor) -> Tensor:
    """(B, 16) metres of flat patches to the packed depth grid (B * 16, C) their token boxes would pool to."""
    centres = (torch.arange(CELLS) + 0.5) * PATCH
    v, u = torch.meshgrid(centres, centres, indexing="ij")
    place = {"ray_x": (u - CAMERA.cx) / CAMERA.fx, "ray_y": (v - CAMERA.cy) / CAMERA.fy}
    place |= {"u": u / CAMERA.width, "v": v / CAMERA.height}
    columns = {name: values.flatten().expand_as(z) for name, values in place.items()}
    columns |= {"z": z, "z_min": z, "z_max": z, "z_std": torch.zeros_like(z), "valid": torch.ones_like(z)}
    columns |= {"x": columns["ray_x"] * z, "y": columns["ray_y"] * z}
    columns["kind"] = torch.full_like(z, kind_code(DepthKind.METRIC))
    return torch.stack([columns[name] for name in CHANNELS], dim=-1).flatten(0, 1)


def tiny_llava(seed: int) -> LlavaForConditionalGeneration:
    """A LLaVA 64 wide with random weights: one tower layer, frozen, and two language layers.

    Weights are drawn in proportion to the width (0.1 is near 64 ** -0.5): with the 0.02 of large models, signals in a
    narrow one start tiny and 300 steps are not always enough.
    """
    torch.manual_seed(seed)
    tower = CLIPVisionConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=1,
        num_attention_heads=4,
        image_size=CELLS * PATCH,
        patch_size=PATCH,
    )
    language = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
        initializer_range=0.1,
        pad_token_id=0,
    )
    config = LlavaConfig(
        vision_config=tower,
        text_config=language,
        image_token_index=IMAGE,
        vision_feature_layer=-1,
        tie_word_embeddings=False,
    )
    model = LlavaForConditionalGeneration(config)
    model.base_model.vision_tower.requires_grad_(False)
    return model


@dataclass(frozen=True)
class Training:
    """How the toy model is trained: AdamW, one-cycle."""

    steps: int = 300
    batch: int = 64
    learning_rate: float = 2e-3
    seed: int = 0


def train_toy(
    fusion: FusionConfig | None, task: Task, training: Training | None = None, depth: Depth = "true"
) -> DepthVLM:
    """A toy model trained on one task.

    Args:
        fusion: None trains without depth.
        task: see :func:`draw`.
        training: steps, batch, learning rate, seed.
        depth: what the model is given while it trains; ``constant`` and ``noise`` are the matched controls T4, T4b.
    """
    training = training or Training()
    model = DepthVLM.from_vlm(tiny_llava(training.seed), fusion)
    model.train()
    rng = np.random.default_rng(training.seed)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=training.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, training.learning_rate, total_steps=training.steps)
    for _ in range(training.steps):
        batch = draw(rng, training.batch, task)
        logits = _logits(model, batch, "none" if fusion is None else depth, rng)
        loss = torch.nn.functional.cross_entropy(logits, batch.nearer.long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model.train(False)
    return model


def _logits(model: DepthVLM, batch: ToyBatch, depth: Depth, rng: np.random.Generator) -> Tensor:
    """(B, 2) logits of no and yes, the model given the batch's depth or something else in its place."""
    z = batch.z
    if depth == "shuffled":
        z = torch.from_numpy(rng.permuted(z.numpy(), axis=1))
    elif depth == "constant":
        z = torch.full_like(z, 2.0)
    elif depth == "noise":
        z = with_new_depth(batch, rng, "ordinal").z
    return answer_logits(model, batch.pixels, None if depth == "none" else packed_grid(z))


def answer_logits(model: DepthVLM, pixels: Tensor, grid: Tensor | None) -> Tensor:
    """(B, 2) logits of no and yes for (B, 3, 16, 16) pictures and the packed depth grid of all of them, or None."""
    inputs = toy_inputs(model.config.fusion_settings, pixels, grid)
    logits: Tensor = model(**inputs, logits_to_keep=1).logits
    return logits[:, -1, [NO, YES]]


@torch.no_grad()
def accuracy(model: DepthVLM, task: Task, depth: Depth = "true", count: int = 1024, seed: int = 10_000) -> float:
    """Share of right answers on fresh pictures, the model given true depth or something else in its place."""
    rng = np.random.default_rng(seed)
    batch = draw(rng, count, task)
    logits = _logits(model, batch, depth, rng)
    return float((logits.argmax(dim=-1).bool() == batch.nearer).float().mean())


@dataclass(frozen=True)
class ToyScore:
    """Accuracies of one fusion trained on one task; NaN where there is no fusion to give depth to.

    Args:
        fusion: its name, or ``none``.
        task: what was asked.
        metric: whether the fusion takes metric depth only, so that it should carry metres.
        given, shuffled, absent: accuracy with true depth, with depth shuffled among the tokens, and without depth.
    """

    fusion: str
    task: Task
    metric: bool
    given: float
    shuffled: float
    absent: float

    def control(self) -> ControlResult:
        """T8 against its gates: 0.90 with depth where the fusion should carry it; 0.60 without or shuffled, 0.65 for
        metres that min-max codes cannot carry."""
        name = f"T8 {self.task} ({self.fusion})"
        said = f"accuracy {self.given:.2f} with depth, {self.shuffled:.2f} shuffled, {self.absent:.2f} without"
        if self.fusion == "none":
            return ControlResult(name, self.absent, 0.60, self.absent <= 0.60, f"{self.absent:.2f} without depth")
        if self.task == "absolute" and not self.metric:
            why = f"{said}; per-image min-max must not carry metres, so at most 0.65"
            return ControlResult(name, self.given, 0.65, self.given <= 0.65, why)
        # on the absolute task shuffled depth still tells the scale of the picture, so only absence is held against 0.60
        blind = max(self.absent, self.shuffled) if self.task == "ordinal" else self.absent
        why = f"{said}; wanted at least 0.90 with and at most 0.60 without" + " or shuffled" * (self.task == "ordinal")
        return ControlResult(name, self.given, 0.90, self.given >= 0.90 and blind <= 0.60, why)


def score_model(model: DepthVLM, task: Task, name: str = "") -> ToyScore:
    """T8 for a trained toy model: answer with true, shuffled and no depth.

    Args:
        model: from :func:`train_toy`, on this task.
        task: see :func:`draw`.
        name: to report it under; default: its fusion's.
    """
    absent = accuracy(model, task, "none")
    fusion = model.config.fusion_settings
    if fusion is None:
        return ToyScore("none", task, False, math.nan, math.nan, absent)
    metric = fusion.kinds == frozenset({DepthKind.METRIC})
    given, shuffled = accuracy(model, task), accuracy(model, task, "shuffled")
    return ToyScore(name or fusion.name, task, metric, given, shuffled, absent)
