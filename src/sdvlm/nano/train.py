"""Train the nano model (``sdvlm nano train OUT``): data, tower, language model; with depth, without, and min-max.

Every stage writes its result whole and is skipped when it is there: an interrupted run goes on with the same command.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from sdvlm.depth.atomic import atomic_file
from sdvlm.nano.export import export_checkpoint
from sdvlm.nano.frames import NanoFrame, make_frames, read_shard, write_shard
from sdvlm.nano.recipe import ARMS, ON_THE_WAY, Recipe
from sdvlm.nano.start import check_start
from sdvlm.nano.tokenizer import train_tokenizer
from sdvlm.nano.train_language import Look, train_language, train_names
from sdvlm.nano.train_tower import tower_features, train_tower
from sdvlm.types import SdvlmError

__all__ = ["make_data", "make_tokenizer", "train_nano"]

log = logging.getLogger("sdvlm.nano.train")


def make_data(recipe: Recipe, out: Path, workers: int) -> list[Path]:
    """Write the shards that are missing, in ``workers`` processes."""
    out.mkdir(parents=True, exist_ok=True)
    paths = [out / f"shard-{index:05d}.safetensors" for index in range(recipe.shards)]
    missing = [(path, recipe.data_seed + index) for index, path in enumerate(paths) if not path.exists()]
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:  # a fork may inherit a held lock
        for path in pool.map(partial(_make_shard, recipe), missing):
            log.info("made %s", path.name)
    return paths


def _make_shard(recipe: Recipe, job: tuple[Path, int]) -> Path:
    path, seed = job
    write_shard(path, list(make_frames(recipe.config, recipe.shard, seed)))
    return path


def _frames(paths: Sequence[Path]) -> Iterator[NanoFrame]:
    return (frame for path in paths for frame in read_shard(path))


@lru_cache(maxsize=1)
def _read(paths: tuple[Path, ...]) -> list[NanoFrame]:
    """The frames of some shards, read once by a process that trains several towers or arms on them."""
    frames = list(_frames(paths))
    log.info("%d frames, %d questions", len(frames), sum(len(frame.questions) for frame in frames))
    return frames


def make_tokenizer(recipe: Recipe, path: Path, frames: Iterable[NanoFrame]) -> Tokenizer:
    """Train the tokenizer on every template and on questions of the data, or read it back."""
    if recipe.start and not path.exists():
        Tokenizer.from_file(str(Path(recipe.start) / "tokenizer.json")).save(str(path))
    if not path.exists():
        from sdvlm.data.categories import COMMON_CATEGORIES
        from sdvlm.data.questions import iter_phrases

        frames = list(frames)
        words = sorted(COMMON_CATEGORIES) + sorted({name for frame in frames for name in frame.categories})
        texts = [*iter_phrases(words)] * 3
        texts += [q[part] for frame in frames for q in frame.questions for part in ("question", "answer")]
        train_tokenizer(texts, recipe.vocab_size).save(str(path))
    return Tokenizer.from_file(str(path))


def train_nano(recipe: Recipe, out: Path, arms: Sequence[str], workers: int = 1) -> list[Path]:
    """Run the stages that are not done yet.

    Args:
        recipe: every number of it; kept in ``out/recipe.json``.
        out: folder of the run.
        arms: names of ``recipe.ARMS``; none: only the data is made.
        workers: processes that draw rooms, and then train towers and arms side by side.

    Returns:
        A checkpoint folder for each arm.

    Raises:
        SdvlmError: ``out`` holds a run of another recipe, or the recipe starts from what is no model of its sizes.
    """
    if recipe.start:
        check_start(recipe.start, recipe.config)
    out.mkdir(parents=True, exist_ok=True)
    _check_recipe(recipe, out / "recipe.json")
    paths = make_data(recipe, out / "data", workers)
    if not arms:
        return []
    cut = min(max(1, round(recipe.tower_share * len(paths))), len(paths) - 1)  # some for each
    recipes = {name: ARMS[name](recipe) for name in arms}
    seeing = {arm.config.early: arm for arm in recipes.values()}
    missing = [arm for early, arm in seeing.items() if not _tower_path(out, early).exists()]
    if missing:
        make_tokenizer(recipe, out / "tokenizer.json", islice(_frames(paths[:cut]), 1000))
    _each(partial(_train_tower, out, tuple(paths[:cut])), missing, workers)
    if False in seeing:
        _keep_features(out, paths[cut:], seeing[False])
    _each(partial(_train_arm, out, tuple(paths[cut:])), list(recipes.items()), workers)
    return [out / name / "checkpoint" for name in arms]


def _each(job: Callable[[Any], None], items: list[Any], workers: int) -> None:
    """Run a job for every item, here or in processes that share the threads of this one."""
    if min(workers, len(items)) <= 1:
        for item in items:
            job(item)
        return
    import torch

    begin = partial(_begin_worker, max(1, torch.get_num_threads() // workers), log.getEffectiveLevel())
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=begin) as pool:
        list(pool.map(job, items))


def _begin_worker(threads: int, level: int) -> None:
    import torch

    torch.set_num_threads(threads)
    logging.basicConfig(format="%(levelname)s: %(message)s")
    log.setLevel(level)


def _tower_path(out: Path, early: bool) -> Path:
    return out / f"tower{'-with-depth' if early else ''}.safetensors"


def _train_tower(out: Path, paths: tuple[Path, ...], arm: Recipe) -> None:
    """The tower of the arms that see depth in it, or of those that do not."""
    tokenizer = Tokenizer.from_file(str(out / "tokenizer.json"))
    train_tower(arm, _tower_path(out, arm.config.early), _read(paths), tokenizer)


def _keep_features(out: Path, paths: list[Path], arm: Recipe) -> None:
    """What the tower without depth sees in every picture, made once for all arms that have it."""
    features = out / "features.safetensors"
    if not features.exists():
        tokenizer = Tokenizer.from_file(str(out / "tokenizer.json"))
        tower_features(arm, features, _tower_path(out, False), list(_frames(paths)), tokenizer)


def _train_arm(out: Path, paths: tuple[Path, ...], named: tuple[str, Recipe]) -> None:
    """Names and answers of an arm, then its checkpoint."""
    name, arm = named
    folder, tower = out / name, _tower_path(out, arm.config.early)
    folder.mkdir(exist_ok=True)
    names, weights = folder / "names.safetensors", folder / "weights.safetensors"
    if not weights.exists():
        tokenizer, frames = Tokenizer.from_file(str(out / "tokenizer.json")), _read(paths)
        look: Look = frames
        if not arm.config.early:
            look = tower_features(arm, out / "features.safetensors", tower, frames, tokenizer)
        train_names(arm, names, tower, frames, look, tokenizer)
        train_language(arm, weights, names, frames, look, tokenizer)
    on_the_way = {path: path.with_suffix("") for path in (folder / ON_THE_WAY).glob("*.safetensors")}
    for path, checkpoint in {**on_the_way, weights: folder / "checkpoint"}.items():
        if not checkpoint.exists():
            export_checkpoint(path, out / "tokenizer.json", checkpoint, arm.config)


_ANYWHERE = ("device", "compiled", "keep_every")
"""what a run may go on with another of: where it is computed, and what is kept on the way"""


def _check_recipe(recipe: Recipe, path: Path) -> None:
    """Keep the recipe, or see that the kept one is the same."""
    stated = json.loads(json.dumps(asdict(recipe)))
    if path.exists():
        kept = json.loads(path.read_text())
        differing = [name for name in stated if name not in _ANYWHERE and kept.get(name) != stated[name]]
        if differing:
            one = differing[0]
            raise SdvlmError(
                f"{path.parent} holds a run with {one} {kept.get(one)}, and {stated[one]} was asked for; go on with "
                "the same recipe or name another folder"
            )
    with atomic_file(path) as stream:
        stream.write((json.dumps(stated, indent=1) + "\n").encode())
