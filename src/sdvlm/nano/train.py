"""Train the nano model: ``python -m sdvlm.nano.train OUT`` (data, tower, language model; with and without depth).

Every stage writes its result whole and is skipped when it is there: an interrupted run goes on with the same command.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from sdvlm.nano.export import export_checkpoint
from sdvlm.nano.frames import NanoFrame, make_frames, read_shard, write_shard
from sdvlm.nano.recipe import ARMS, Recipe
from sdvlm.nano.tokenizer import train_tokenizer
from sdvlm.nano.train_language import train_language, train_names
from sdvlm.nano.train_tower import tower_features, train_tower

log = logging.getLogger("sdvlm.nano.train")


def make_data(recipe: Recipe, out: Path, workers: int) -> list[Path]:
    """Write the shards that are missing, in ``workers`` processes."""
    out.mkdir(parents=True, exist_ok=True)
    paths = [out / f"shard-{index:05d}.safetensors" for index in range(recipe.shards)]
    missing = [(path, recipe.data_seed + index) for index, path in enumerate(paths) if not path.exists()]
    with ProcessPoolExecutor(max_workers=workers) as pool:
        for path in pool.map(partial(_make_shard, recipe), missing):
            log.info("made %s", path.name)
    return paths


def _make_shard(recipe: Recipe, job: tuple[Path, int]) -> Path:
    path, seed = job
    write_shard(path, list(make_frames(recipe.config, recipe.shard, seed)))
    return path


def _read(paths: list[Path]) -> list[NanoFrame]:
    frames = [frame for path in paths for frame in read_shard(path)]
    log.info("%d frames, %d questions", len(frames), sum(len(frame.questions) for frame in frames))
    return frames


def make_tokenizer(recipe: Recipe, path: Path, frames: Iterable[NanoFrame]) -> Tokenizer:
    """Train the tokenizer on every template and on questions of the data, or read it back."""
    if not path.exists():
        from sdvlm.data.categories import COMMON_CATEGORIES
        from sdvlm.data.questions import iter_phrases

        frames = list(frames)
        words = sorted(COMMON_CATEGORIES) + sorted({name for frame in frames for name in frame.categories})
        texts = [*iter_phrases(words)] * 3
        texts += [q[part] for frame in frames for q in frame.questions for part in ("question", "answer")]
        train_tokenizer(texts, recipe.vocab_size).save(str(path))
    return Tokenizer.from_file(str(path))


def main(argv: list[str] | None = None) -> None:
    """Parse and run the stages."""
    parser = argparse.ArgumentParser(description="Train the embedded nano model.")
    parser.add_argument("out", type=Path)
    stages = ("data", "tower", "features", *ARMS, "all")
    parser.add_argument("--stage", choices=stages, default="all")
    parser.add_argument("--workers", type=int, default=2)
    for name in ("shards", "naming_steps", "steps"):
        parser.add_argument("--" + name.replace("_", "-"), type=int)
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    given: dict[str, Any] = {n: getattr(args, n) for n in ("shards", "naming_steps", "steps") if getattr(args, n)}
    recipe, out = replace(Recipe(), **given), args.out
    out.mkdir(parents=True, exist_ok=True)
    (out / "recipe.json").write_text(json.dumps(asdict(recipe), indent=1))
    paths = make_data(recipe, out / "data", args.workers)
    if args.stage == "data":
        return
    cut = round(recipe.tower_share * len(paths))
    if not (out / "tower.safetensors").exists():
        frames = _read(paths[:cut])
        tokenizer = make_tokenizer(recipe, out / "tokenizer.json", frames[:1000])
        train_tower(recipe, out / "tower.safetensors", frames, tokenizer)
    if args.stage == "tower":
        return
    tokenizer, frames = Tokenizer.from_file(str(out / "tokenizer.json")), _read(paths[cut:])
    features = tower_features(recipe, out / "features.safetensors", out / "tower.safetensors", frames, tokenizer)
    if args.stage == "features":
        return
    for name, arm_of in ARMS.items():
        if args.stage in (name, "all"):
            arm = arm_of(recipe)
            (out / name).mkdir(exist_ok=True)
            weights = out / name / "weights.safetensors"
            names = out / name / "names.safetensors"
            train_names(arm, names, out / "tower.safetensors", frames, features, tokenizer)
            train_language(arm, weights, names, frames, features, tokenizer)
            if not (out / name / "checkpoint").exists():
                export_checkpoint(weights, out / "tokenizer.json", out / name / "checkpoint", arm.config)


if __name__ == "__main__":
    main()
