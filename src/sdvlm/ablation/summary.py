"""The figures of an ablation: every cell's scores over its seeds, and what it gains on the cell without depth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sdvlm.ablation.cells import CELLS, Cell
from sdvlm.ablation.config import AblationConfig
from sdvlm.ablation.cost import cost_group
from sdvlm.ablation.exam import ARMS, METRIC_FAMILIES, Sitting
from sdvlm.ablation.intervals import family_means, over_seeds, paired_over_seeds
from sdvlm.ablation.materials import Materials
from sdvlm.eval.paired import Asked

__all__ = ["summary"]


def summary(
    config: AblationConfig,
    cells: list[Cell],
    results: Mapping[str, dict[str, Any]],
    materials: Materials,
    cost: Mapping[str, Any],
) -> dict[str, Any]:
    """Figures of every cell of which at least one seed is there."""
    exam = materials.exam
    asked: dict[str, dict[str, dict[int, list[Asked]]]] = {}
    for one in results.values():
        arms = {arm: Sitting.from_dict(kept).asked(exam) for arm, kept in one["arms"].items()}
        for arm, answers in arms.items():
            asked.setdefault(one["cell"], {}).setdefault(arm, {})[one["seed"]] = answers
    plain = asked.get(CELLS[0].name, {})
    rows = []
    for cell in cells:
        runs = [one for one in results.values() if one["cell"] == cell.name]
        if runs:
            rows.append(_row(cell, runs, asked[cell.name], plain, cost.get(cost_group(cell))))
    return {
        "config": config.to_dict(),
        "questions": sum(len(one) for one in exam.questions),
        "test_pictures": len(exam),
        "train_pictures": len(materials.train),
        "cells": rows,
    }


def _row(
    cell: Cell,
    runs: list[dict[str, Any]],
    asked: dict[str, dict[int, list[Asked]]],
    plain: dict[str, dict[int, list[Asked]]],
    cost: dict[str, Any] | None,
) -> dict[str, Any]:
    row: dict[str, Any] = {"cell": cell.name, "title": cell.title, "published": cell.published, "seeds": len(runs)}
    row |= {name: runs[0][name] for name in ("extra_tokens", "parameters")}
    row["loss"] = over_seeds([one["loss"] for one in runs]).to_dict()
    row["cost"] = cost
    for arm in ARMS:
        if arm in asked:
            row[arm] = _score(asked[arm], plain.get(arm, {}) if cell.fusion is not None else {})
    return row


def _score(asked: dict[int, list[Asked]], plain: dict[int, list[Asked]]) -> dict[str, Any]:
    """Of one arm: mean of the families, the families, those of lengths alone, and the lead on ``plain``, if given."""
    families = [family_means(answers) for answers in asked.values()]
    score = over_seeds([sum(one.values()) / len(one) for one in families]).to_dict()
    score["families"] = {name: sum(one[name] for one in families) / len(families) for name in families[0]}
    lengths = [name for name in METRIC_FAMILIES if name in families[0]]
    if lengths:
        score["lengths"] = over_seeds([sum(one[name] for name in lengths) / len(lengths) for one in families]).to_dict()
    both = sorted(set(asked) & set(plain))
    if both:
        runs = [[of[seed] for seed in both] for of in (asked, plain)]
        score["over_none"] = paired_over_seeds(*runs)
        if lengths:
            runs = [[[one for one in answers if one[1] in lengths] for answers in of] for of in runs]
            score["lengths_over_none"] = paired_over_seeds(*runs)["macro"]
    return score
