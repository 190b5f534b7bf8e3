"""The harness T0 to T8 on every fusion there is, or the controls that ask on a model."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from sdvlm.eval import controls
from sdvlm.eval.controls import ControlResult
from sdvlm.eval.token_controls import identity, locality
from sdvlm.eval.toy import TASKS, Depth, Training, accuracy, draw, packed_grid, score_model, tiny_llava, train_toy
from sdvlm.eval.toy import with_new_depth as new_depth
from sdvlm.eval.toy_frames import ToyAnswerer, control_samples
from sdvlm.eval.toy_inputs import toy_inputs
from sdvlm.fusion.build import build_fusion
from sdvlm.fusion.config import PLACES, POOLED, FusionConfig
from sdvlm.geometry.transform import letterbox
from sdvlm.models.wrapper import DepthVLM

__all__ = ["KNOWN_TO_FAIL", "bench_controls", "every_fusion", "harness"]

KNOWN_TO_FAIL = frozenset(
    (name, "ordinal") for name in ("depth_image", "depth_prompt", "depth_token, apart", "concat, apart")
)
"""depth that stands apart from the tokens it belongs to: see docs/fusion.md"""


def bench_controls(
    seeds: int = 2, model: str | None = None, questions: int = 200, steps: int = 300, samples: int = 300
) -> dict[str, Any]:
    """T8 for every fusion and seed, then the other controls on the first seed's models.

    Args:
        seeds: of the toy task, from 0.
        model: run the controls that ask on this model instead (``nano``, a folder, a hub id), about held-out rooms.
        questions: with ``model``: how many.
        steps: of training.
        samples: pictures the controls that ask use; T8 uses 1,024.
    """
    if model is not None:
        from sdvlm.bench.model_controls import ask_model

        return ask_model(model, questions)
    torch.manual_seed(0)
    rows, found = [], []
    for name, config in every_fusion().items():
        for seed in range(seeds):
            for task in TASKS:
                started = time.perf_counter()
                trained = train_toy(config, task, Training(steps=steps, seed=seed))
                score = score_model(trained, task, name)
                result = score.control()
                rows.append(
                    {"fusion": name, "task": task, "seed": seed, "passed": result.passed}
                    | {"given": _share(score.given), "shuffled": _share(score.shuffled), "absent": _share(score.absent)}
                    | {"train_and_test_s": round(time.perf_counter() - started, 1)}
                )
                if config is not None and seed == 0 and task == "ordinal":
                    found += [{"fusion": name} | one.to_dict() for one in harness(trained, config, samples)]
    rows += [_matched("constant", steps), _matched("noise", steps)]
    return {
        "passed": all(row["passed"] for row in rows if (row["fusion"], row["task"]) not in KNOWN_TO_FAIL),
        "known_to_fail": sorted(f"{fusion}: T8 {task}" for fusion, task in KNOWN_TO_FAIL),
        "toy": rows,
        "controls": found,
        "failed": [f"{one['fusion']}: {one['name']}" for one in found if one["passed"] is False],
    }


def every_fusion() -> dict[str, FusionConfig | None]:
    """No depth, the preset of every fusion, the released encoding, depth tokens as published, min-max codes."""
    presets = {name: FusionConfig.preset(name) for name in (*PLACES, "sdvlm")}
    others = {
        "depth_token, apart": replace(presets["depth_token"], paired=False),
        "concat, apart": replace(presets["concat"], paired=False),
        "dpe, min-max": FusionConfig("dpe", coordinate="minmax", relative_norm=0.3),
        "mlp, min-max": FusionConfig("mlp", coordinate="minmax", relative_norm=1.0),
    }
    return {"none": None} | presets | others


def harness(model: DepthVLM, config: FusionConfig, samples: int = 300) -> list[ControlResult]:
    """T0, T1 and T3 to T7 for a fusion and a toy model trained with it on the ordinal task."""
    rng = np.random.default_rng(1)
    batch = draw(rng, samples, "ordinal")
    shown = control_samples(batch, "ordinal")
    swapped = control_samples(new_depth(batch, rng, "ordinal"), "ordinal")
    answerer, chance = ToyAnswerer(model), 0.5
    return [
        _fresh_identity(config),
        controls.swap(answerer, shown, swapped),
        controls.shuffle(answerer, shown, rng),
        controls.constant(answerer, shown, chance),
        controls.noise(answerer, shown, chance, rng),
        controls.missing(answerer, shown, chance),
        _locality(config),
        controls.sign(answerer, shown),
    ]


def _fresh_identity(config: FusionConfig) -> ControlResult:
    batch = draw(np.random.default_rng(2), 4, "ordinal")
    plain, given = (
        {**made, "attention_mask": torch.ones_like(made["input_ids"])}
        for made in (toy_inputs(None, batch.pixels, None), toy_inputs(config, batch.pixels, packed_grid(batch.z)))
    )
    return identity(DepthVLM.from_vlm(tiny_llava(0), config), plain, given)


def _locality(config: FusionConfig) -> ControlResult:
    """T6 where the fusion works token by token on pooled depth; what reads a whole map or prompt is not local."""
    cells = np.array([[8 * i, 8 * j, 8 * i + 8, 8 * j + 8] for j in range(8) for i in range(8)])
    size = (83, 61)
    if config.name in POOLED:
        return locality(
            build_fusion(config, 32),
            32,
            letterbox(size, (64, 64)).boxes_to_source(cells),
            size,
            np.random.default_rng(1),
        )
    why = "does not apply: " + (
        "a tower's attention spreads what it reads over all tokens" if config.channels else "depth is in the prompt"
    )
    return ControlResult("T6 locality", math.nan, 0.0, None, why)


def _matched(depth: Depth, steps: int) -> dict[str, Any]:
    """T4: the same parameters trained on depth that says nothing must end where no depth ends."""
    started = time.perf_counter()
    model = train_toy(FusionConfig.preset("mlp"), "ordinal", Training(steps=steps), depth)
    given = accuracy(model, "ordinal", depth)
    return (
        {"fusion": f"mlp trained on {depth} depth", "task": "ordinal", "seed": 0, "passed": given <= 0.60}
        | {"given": _share(given), "shuffled": None, "absent": None}
        | {"train_and_test_s": round(time.perf_counter() - started, 1)}
    )


def _share(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 3)
