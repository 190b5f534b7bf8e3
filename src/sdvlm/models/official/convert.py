"""Official checkpoints to our own layout, which loads everywhere a ``DepthVLM`` does.

The weights keep their bits and their dtype. They go from file to file one tensor at a time, so that memory stays at
that of the largest one, whatever the size of the checkpoint.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from transformers import DepthAnythingForDepthEstimation

from sdvlm.models.official.depth_network import depth_preprocessing
from sdvlm.models.official.layout import open_official
from sdvlm.models.official.load import DEPTH_FOLDER, depth_vlm_config, generation_settings
from sdvlm.models.official.plan import Move, make_plan
from sdvlm.models.official.processor import llava_processor
from sdvlm.models.official.shards import MAX_SHARD_BYTES, Outgoing, write_shards
from sdvlm.models.wrapper import DepthVLM
from sdvlm.types import SdvlmError

__all__ = ["ImportReport", "import_official"]


@dataclass(frozen=True)
class ImportReport:
    """What an import wrote.

    Args:
        source, out: folder or hub id, and the new folder.
        tensors, gigabytes: of the vision-language model.
        depth_tensors: of the depth network; 0: there is none.
        dtype: most weights', such as float16.
        pooling: of depth, ``unpadded`` or ``boxes``; None: the checkpoint does not use depth.
        files: written, relative to ``out``.
        notes: what was left out and what else to know, a sentence each.
    """

    source: str
    out: str
    tensors: int
    gigabytes: float
    depth_tensors: int
    dtype: str
    pooling: str | None
    files: tuple[str, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def import_official(
    source: str | PathLike[str],
    out: str | PathLike[str],
    pooling: str = "unpadded",
    *,
    base: str | PathLike[str] | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
    **hub: Any,
) -> ImportReport:
    """Write an official checkpoint as ``DepthVLM.from_pretrained`` and ``DepthProcessor.from_pretrained`` load it.

    ``out`` gets the config, the weights, the generation config, the processor's files, and in ``depth/`` the depth
    network as a stock Depth Anything checkpoint. It appears whole or not at all.

    Args:
        source: a merged checkpoint or an adapter folder, or a hub id of one.
        out: a folder that does not exist yet, or is empty.
        pooling: what the config says of pooling: ``"unpadded"`` as released, or ``"boxes"``.
        base: what an adapter belongs to; None: what it names itself.
        max_shard_bytes: of one weights file.
        hub: revision, token, cache_dir, local_files_only.

    Raises:
        SdvlmError: as ``load_official``, or ``out`` holds something.
    """
    target = Path(out)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise SdvlmError(f"{target} is there already; give a folder that does not exist yet, or is empty")
    official = open_official(source, base, **hub)
    plan = make_plan(official, **hub)
    config = depth_vlm_config(official, plan, pooling)
    config.architectures = [DepthVLM.__name__]
    config.dtype = next(move.dtype for move in plan.vlm if move.target.endswith("embed_tokens.weight"))
    with _appearing(target) as folder:
        processor = llava_processor(official, plan)
        written = write_shards(folder, _outgoing(plan.vlm, "vlm."), max_shard_bytes)
        config.save_pretrained(folder)
        processor.save_pretrained(folder)
        settings = json.dumps(generation_settings(official), indent=2)
        (folder / "generation_config.json").write_text(settings + "\n", encoding="utf-8")
        if config.estimator is not None:
            assert plan.depth_config is not None
            network = folder / DEPTH_FOLDER
            network.mkdir()
            plan.depth_config.architectures = [DepthAnythingForDepthEstimation.__name__]
            plan.depth_config.dtype = plan.depth[0].dtype
            plan.depth_config.save_pretrained(network)
            depth_preprocessing(plan.depth_config, official.told_depth).save_pretrained(network)
            write_shards(network, _outgoing(plan.depth, ""), max_shard_bytes)
        total = sum(file.stat().st_size for file in written)
        files = tuple(sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()))
    fusion = config.fusion_settings
    return ImportReport(
        source=str(source),
        out=str(target),
        tensors=len(plan.vlm),
        gigabytes=round(total / 1e9, 3),
        depth_tensors=len(plan.depth) if config.estimator is not None else 0,
        dtype=str(config.dtype).removeprefix("torch."),
        pooling=None if fusion is None else fusion.pooling,
        files=files,
        notes=tuple(plan.notes),
    )


def _outgoing(moves: Sequence[Move], prefix: str) -> list[Outgoing]:
    return [Outgoing(prefix + move.target, move.shape, move.dtype, move.read) for move in moves]


@contextmanager
def _appearing(target: Path) -> Iterator[Path]:
    """A temporary folder beside ``target`` that takes its name when the block ends without error."""
    folder = target.with_name(f".{target.name}-{uuid.uuid4().hex[:8]}.tmp")
    folder.mkdir(parents=True)
    try:
        yield folder
        if target.is_dir():
            target.rmdir()
        os.replace(folder, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
