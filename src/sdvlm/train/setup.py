"""Everything a run needs before its first step: model, groups, data, batches."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from transformers import TrainingArguments, set_seed
from transformers.trainer_utils import IntervalStrategy

from sdvlm.depth.cache import default_cache_folder
from sdvlm.models.processor import DepthProcessor
from sdvlm.models.run_folder import Base
from sdvlm.models.wrapper import DepthVLM
from sdvlm.train.arguments import training_arguments
from sdvlm.train.batch_problems import check_batch
from sdvlm.train.can_pack import TOLERANCE, choose_attention, packing_error, why_not_packed
from sdvlm.train.config import TrainConfig
from sdvlm.train.encode import ExampleEncoder
from sdvlm.train.mixture import Mixture
from sdvlm.train.sources import check_kinds
from sdvlm.train.start import start_model
from sdvlm.train.store import ExampleStore
from sdvlm.train.trainable import Group, prepare_groups
from sdvlm.types import SdvlmError

__all__ = ["Setup", "set_up"]

log = logging.getLogger(__name__)
Say = Callable[[str], None]
_LOOKED_AT = 16
"""examples of each part looked through for one to try packing on"""


@dataclass(frozen=True, eq=False)
class Setup:
    """A run before its first step.

    Args:
        config: of the run.
        model: groups prepared.
        processor: of the model.
        base: what the model was made from.
        groups: what trains.
        train: in the order it is to be seen.
        heldout: kept for evaluation; None: nothing is.
        stores: parts of the mixture.
        encoder: makes batches.
        args: of transformers.
        unpacked: why rows are not packed; None: they are.
    """

    config: TrainConfig
    model: DepthVLM
    processor: DepthProcessor
    base: Base
    groups: list[Group]
    train: Mixture
    heldout: Mixture | None
    stores: list[ExampleStore]
    encoder: ExampleEncoder
    args: TrainingArguments
    unpacked: str | None


def set_up(config: TrainConfig, out: Path, say: Say, cache: Path | None = None) -> Setup:
    """Load, open and check what a run needs; nothing is written but caches.

    Args:
        config: of the run.
        out: its folder.
        say: is told what goes on.
        cache: folder of data stores; default: the user's cache.

    Raises:
        SdvlmError: there is no data, or model, data and settings do not fit together.
    """
    if not config.data:
        raise SdvlmError("no data to train on; give DATA, what sdvlm build wrote or MSMU as published")
    world = _world()
    args = training_arguments(config, out, world)
    folder = cache or default_cache_folder("train")
    with args.main_process_first(desc="data"):
        stores = [ExampleStore.open(part, folder, say) for part in config.data]
    for store in stores:
        left_out = f", {store.broken_rows} rows left out" if store.broken_rows else ""
        say(f"{store.name}: {len(store)} pictures or texts, {int(store.dialogue_counts().sum())} dialogues{left_out}")
    set_seed(int(args.seed))  # new weights are the same in every process, and in the same run again
    model, processor, base = start_model(config)
    fusion = model.config.fusion_settings
    if fusion is not None:
        check_kinds({store.name: store.depth_kinds for store in stores}, any_kind=len(fusion.kinds) > 1)
    groups = prepare_groups(model, config)
    if args.device.type == "cuda" and not args.fsdp and not args.deepspeed and config.quantization == "none":
        module: Any = model
        module.to(args.device)  # so that packing is tried where training runs
    if config.pack and config.attention != "as loaded":
        choose_attention(model.vlm, config.attention, args.device.type)
    encoder = ExampleEncoder(processor, config, config.pack, always_vision=world > 1)
    unpacked = _why_plain(config, model, encoder, stores)
    if unpacked is not None and config.pack:
        say(f"rows are not packed: {unpacked}")
        encoder.pack, config = False, replace(config, pack=False)
    for store in stores:
        check_batch(_first_batch(store, encoder), processor)
    train, heldout = Mixture.split_heldout(stores, config, int(args.seed))
    if heldout is None:
        args.eval_strategy = IntervalStrategy.NO
    return Setup(config, model, processor, base, groups, train, heldout, stores, encoder, args, unpacked)


def _first_batch(store: ExampleStore, encoder: ExampleEncoder) -> dict[str, Any]:
    """Of the first example that is not left out."""
    for index in range(min(_LOOKED_AT, len(store))):
        rows = encoder.rows(store[index])
        if rows:
            return encoder.stack(rows)
    raise SdvlmError(
        f"{store.name}: every dialogue of the first examples is longer than max_tokens {encoder.config.max_tokens}; "
        "raise max_tokens or lower max_pixels"
    )


def _why_plain(config: TrainConfig, model: DepthVLM, encoder: ExampleEncoder, stores: list[ExampleStore]) -> str | None:
    """Why rows are not packed; None: they are."""
    if not config.pack:
        return "the settings say so"
    vlm: Any = model.vlm
    reason = why_not_packed(vlm)
    if reason is not None:
        return reason
    was_training = model.training
    model.eval()
    try:
        some = [store[index] for store in stores for index in range(min(_LOOKED_AT, len(store)))]
        error = packing_error(model, vlm, encoder, some)
    finally:
        model.train(was_training)
    most = TOLERANCE[vlm.dtype]
    if error is not None and error > most:
        return f"answers of packed rows differ by {error:.2g} of their loss from those of separate ones"
    return None


def _world() -> int:
    """Processes of this run, as the launcher says."""
    import os

    return int(os.environ.get("WORLD_SIZE", "1"))
