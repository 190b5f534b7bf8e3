"""Pictures into RGB-D pairs: ``source -> chunks -> parts -> shards``, on any engine, resumable by chunk.

A worker builds one chunk and sends it back as the bytes of its part; this process alone writes into the output folder.
So workers need no shared file system, a part is whole or not there, and the result does not depend on who built what.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdvlm.data.build_folder import PARTS, claim, digest_of, drop_parts, finished, part_path, whole_parts
from sdvlm.data.manifest import Manifest
from sdvlm.depth.atomic import atomic_file
from sdvlm.engine import EngineConfig, run_jobs
from sdvlm.pairs.assemble import assemble, judge
from sdvlm.pairs.build_part import Job, Unusable, build_part
from sdvlm.pairs.columns import PAIRS
from sdvlm.pairs.config import PairsConfig
from sdvlm.pairs.source import PairSource, Refusal
from sdvlm.types import SdvlmError

__all__ = ["DUPLICATES", "REJECTED", "PairsProgress", "PairsResult", "build_pairs"]

REJECTED = "rejected.jsonl"
DUPLICATES = "duplicates.jsonl"


@dataclass(frozen=True)
class PairsResult:
    """What a build left behind.

    Args:
        out: the output folder.
        manifest: of the finished data.
        built: chunks built by this run.
        kept: chunks an earlier run had built.
        rejected: pictures, or whole chunks, that could not be used, as in ``rejected.jsonl``.
        duplicates: near-duplicates left out, as in ``duplicates.jsonl``.
    """

    out: Path
    manifest: Manifest
    built: int
    kept: int
    rejected: tuple[Refusal, ...]
    duplicates: int


PairsProgress = Callable[[str, int, int], None]
"""called after each chunk: its key, chunks done, and rejected pictures so far"""


def build_pairs(
    source: PairSource,
    out: Path,
    config: PairsConfig | None = None,
    engine: EngineConfig | None = None,
    *,
    strict: bool = False,
    progress: PairsProgress | None = None,
) -> PairsResult:
    """Make pairs of all pictures of a source; go on where an earlier run with the same settings stopped.

    Memory does not grow with the number of pictures, but for a hash and a name of each; each picture is decoded once.

    Args:
        source: of the pictures.
        out: output folder; holds ``data/*.parquet``, ``manifest.json``, ``rejected.jsonl`` and ``duplicates.jsonl``.
        config: how pairs are made.
        engine: who makes them. The result is the same.
        strict: stop at the first picture that cannot be used; what is built so far is gone on with by the next run.
        progress: told after each chunk.

    Raises:
        SdvlmError: the source is empty, the estimator does not load, no picture could be used, ``out`` is a file or
            holds data of other settings or pictures, or, where ``strict``, a picture cannot be used.
        OSError: a file cannot be written (the disk is full); nothing half-written is left, and the next run goes on.
    """
    config = config or PairsConfig()
    settings = json.loads(json.dumps({**source.settings(), **config.to_dict()}))  # as the manifest gives it back
    stamp = digest_of(settings)
    if out.exists() and not out.is_dir():
        raise SdvlmError(f"{out} is a file; give a folder to build into")
    done = finished(out, stamp, PAIRS)
    if done is not None:
        return _as_it_is(source, out, config, done)
    parts, chunks = claim(out, stamp, PAIRS), _Chunks(source, config, out / PARTS)
    lost: list[Refusal] = []
    refused = 0
    for result in run_jobs(iter(chunks), build_part, engine):
        if isinstance(result.value, Unusable):
            raise SdvlmError(result.value.reason)
        if result.value is None:
            lost.append(Refusal(result.key, f"chunk {result.key}: {result.error or 'gave nothing'}"))
        else:
            with atomic_file(part_path(parts, result.key)) as stream:
                stream.write(result.value)
            refused += _refused(parts, result.key, strict)
        if strict and lost:
            raise SdvlmError(lost[0].reason)
        if progress is not None:
            progress(result.key, chunks.kept + chunks.given, refused + len(lost))
    skipped = dict(sorted(source.skipped.items()))
    settings |= {"stamp": stamp, "chunks": digest_of(chunks.keys), "skipped": skipped}
    return _finish(source, out, config, settings, chunks, lost)


class _Chunks:
    """The chunks of a source, listed as they are needed: jobs for those that are not built yet."""

    def __init__(self, source: PairSource, config: PairsConfig, parts: Path) -> None:
        self._source, self._config, self._parts = source, config, parts
        self.keys: list[str] = []
        self.kept = self.given = 0

    def __iter__(self) -> Iterator[tuple[str, Job]]:
        for chunk in self._source.chunks(self._config.chunk):
            self.keys.append(chunk.key)
            if whole_parts(self._parts, [chunk.key], PAIRS):
                self.kept += 1
            else:
                self.given += 1
                yield chunk.key, Job(chunk, self._config)


def _refused(parts: Path, key: str, strict: bool) -> int:
    """Pictures refused in a part; an error if there are any and there should be none."""
    meta = whole_parts(parts, [key], PAIRS)[key]
    if strict and meta["refused"]:
        part_path(parts, key).unlink()  # mended or left out, its pictures are looked at again
        raise SdvlmError(meta["refused"][0][1])
    return len(meta["refused"])


def _as_it_is(source: PairSource, out: Path, config: PairsConfig, manifest: Manifest) -> PairsResult:
    """What a finished folder holds, if it is of these pictures."""
    keys = [chunk.key for chunk in source.chunks(config.chunk)]
    if digest_of(keys) != manifest.settings.get("chunks"):
        raise SdvlmError(f"{out} holds pairs of other pictures than {source.root} has now; give another folder")
    rejected = [Refusal(one["pair_id"], one["reason"]) for one in _read_lines(out / REJECTED)]
    return PairsResult(out, manifest, 0, len(keys), tuple(rejected), len(_read_lines(out / DUPLICATES)))


def _finish(
    source: PairSource,
    out: Path,
    config: PairsConfig,
    settings: Mapping[str, Any],
    chunks: _Chunks,
    lost: list[Refusal],
) -> PairsResult:
    """Write the lists of what was left out, the shards and the manifest; drop the parts if no chunk was lost."""
    parts, gone = out / PARTS, {one.pair_id for one in lost}
    keys = [key for key in chunks.keys if key not in gone]
    rejected, duplicates = [], list[tuple[str, str]]()
    for key in keys:
        meta = whole_parts(parts, [key], PAIRS)[key]
        rejected += [Refusal(pair_id, reason) for pair_id, reason in meta["refused"]]
        duplicates += [(pair_id, earlier) for pair_id, earlier in meta["duplicates"]]
    rejected += sorted(lost, key=lambda one: one.pair_id)
    paths = [part_path(parts, key) for key in keys]
    verdicts = judge(paths, config)
    duplicates += verdicts.duplicates
    _write_lines(out / REJECTED, [{"pair_id": one.pair_id, "reason": one.reason} for one in rejected])
    _write_lines(out / DUPLICATES, [{"pair_id": pair_id, "of": earlier} for pair_id, earlier in duplicates])
    if not verdicts.kept:
        first = f"; the first: {rejected[0].reason}" if rejected else ""
        raise SdvlmError(f"{source.root}: none of its {len(rejected)} pictures could be used{first}")
    manifest = assemble(paths, out, verdicts, settings=settings)
    if not lost:
        drop_parts(parts)
    return PairsResult(out, manifest, chunks.given - len(lost), chunks.kept, tuple(rejected), len(duplicates))


def _write_lines(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    with atomic_file(path) as stream:
        stream.write("".join(json.dumps(row) + "\n" for row in rows).encode())


def _read_lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
