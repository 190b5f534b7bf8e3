"""Parts of pairs into shards: near-duplicates across chunks dropped, train and test told apart, the manifest last.

Light columns of all parts are read first and decide what becomes of every row; then rows are copied in the source's
order, a row group in memory at a time. The same parts give the same bytes.
"""

from __future__ import annotations

import math
import shutil
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sdvlm
from sdvlm.data.manifest import MANIFEST, Manifest
from sdvlm.data.parquet import iter_tables
from sdvlm.data.shard_files import SHARD_NAMES, ShardFiles, publish
from sdvlm.data.splits import place_of
from sdvlm.extras import require
from sdvlm.pairs.columns import FORMAT, PAIRS
from sdvlm.pairs.config import PairsConfig
from sdvlm.pairs.phash import NearDuplicates

__all__ = ["Verdicts", "assemble", "judge"]

_STAGE = ".assembling"
_LIGHT = ("pair_id", "scene_id", "copy", "phash")
_SPLITS = ("train", "test")


@dataclass
class Verdicts:
    """What becomes of every row, in the order of the parts.

    Args:
        places: where the row's scene (or picture) stands between 0 and 1; negative: the row is dropped.
        limit: those below it are held out.
        duplicates: dropped picture and the earlier one it repeats.
    """

    places: array[float] = field(default_factory=lambda: array("d"))
    limit: float = 0.0
    duplicates: list[tuple[str, str]] = field(default_factory=list)

    @property
    def kept(self) -> bool:
        """Whether any row is."""
        return any(place >= 0 for place in self.places)


def judge(parts: Sequence[Path], config: PairsConfig) -> Verdicts:
    """Read what decides: no picture is read.

    Scenes are held out by a hash of their names (pictures, where there are no scenes), and of two or more at least one
    for the test and one for training. An augmented copy shares the fate of its picture.
    """
    verdicts = Verdicts(limit=config.test_share)
    near = None if config.dedupe is None else NearDuplicates(config.dedupe)
    least, most, last = 2.0, -1.0, -1.0
    for path in parts:
        for table in iter_tables(path, _LIGHT, layout=PAIRS):
            for row in table.to_pylist():
                if row["copy"] == 0:
                    last = _place(row, near, verdicts.duplicates, config.seed)
                verdicts.places.append(last)
                if last >= 0:
                    least, most = min(least, last), max(most, last)
    if 0 < config.test_share < 1:
        verdicts.limit = _limit(config.test_share, least, most)
    return verdicts


def _limit(share: float, least: float, most: float) -> float:
    """What places are held out below: the share, moved so that both splits have a scene where there are two."""
    if least >= most:
        return 0.0
    return math.nextafter(least, 1.0) if share <= least else min(share, most)


def _place(row: Mapping[str, Any], near: NearDuplicates | None, repeated: list[tuple[str, str]], seed: int) -> float:
    if near is not None:
        phash = row["phash"] % (1 << 64)
        if (earlier := near.seen(phash)) is not None:
            repeated.append((row["pair_id"], earlier))
            return -1.0
        near.add(phash, row["pair_id"])
    return place_of(row["scene_id"] or row["pair_id"], seed)


def assemble(
    parts: Sequence[Path],
    out: Path,
    verdicts: Verdicts,
    *,
    settings: Mapping[str, Any],
    rows_per_shard: int | None = None,
    bytes_per_shard: int = 256 << 20,
) -> Manifest:
    """Write ``out/data/SPLIT-00000-of-0000N.parquet`` and last of all the manifest.

    Args:
        parts: files, in the order of the source.
        out: folder of the data set; shards and manifest of an earlier run stay until the new ones are all there.
        verdicts: of these parts; at least one row is kept.
        settings: what they were built with, for the manifest.
        rows_per_shard: a shard ends after so many rows.
        bytes_per_shard: and as soon as it has so many bytes.
    """
    data, stage = out / "data", out / _STAGE
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir(parents=True)
    try:
        held = {split: _Held() for split in _SPLITS}
        with ExitStack() as stack:
            files = {
                split: stack.enter_context(ShardFiles(stage, split, "pair", rows_per_shard, bytes_per_shard, PAIRS))
                for split in _SPLITS
            }
            for split, row in _rows(parts, verdicts):
                files[split].write_table(row)
                held[split].add(row)
        (out / MANIFEST).unlink(missing_ok=True)  # unfinished from here on
        data.mkdir(exist_ok=True)
        for stale in data.glob(f"*{SHARD_NAMES}"):
            stale.unlink()
        shards = tuple(shard for split in _SPLITS for shard in publish(files[split].done, data, split))
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    used = [split for split in _SPLITS if files[split].done]
    counts = {split: held[split].to_dict() for split in used}
    versions = {"sdvlm": sdvlm.__version__, "pyarrow": str(require("pyarrow").__version__)}
    manifest = Manifest(shards, dict.fromkeys(used, "pair"), counts, dict(settings), versions, FORMAT)
    manifest.write(out)
    return manifest


def _rows(parts: Sequence[Path], verdicts: Verdicts) -> Iterator[tuple[str, Any]]:
    """Rows that are kept, one at a time as Arrow tables with their split; copies in the test split are not kept."""
    pa = require("pyarrow", "writing parquet")
    number = 0
    column = PAIRS.schema().get_field_index("split")
    for path in parts:
        for table in iter_tables(path, layout=PAIRS):
            copies = table.column("copy").to_pylist()
            for index in range(table.num_rows):
                place, number = verdicts.places[number], number + 1
                split = "test" if place < verdicts.limit else "train"
                if place < 0 or (split == "test" and copies[index]):
                    continue
                yield split, table.slice(index, 1).set_column(column, PAIRS.schema().field(column), pa.array([split]))


class _Held:
    """What a split holds, counted as it is written."""

    def __init__(self) -> None:
        self._rows = self._copies = 0
        self._scenes: set[str] = set()
        self._kinds, self._sources = Counter[str](), Counter[str]()

    def add(self, row: Any) -> None:
        """A table of one row."""
        self._rows += 1
        self._copies += row.column("copy")[0].as_py() > 0
        scene = row.column("scene_id")[0].as_py()
        if scene:
            self._scenes.add(scene)
        self._kinds[row.column("kind")[0].as_py()] += 1
        self._sources[row.column("depth_source")[0].as_py()] += 1

    def to_dict(self) -> dict[str, Any]:
        """For the manifest: ``rows`` are ``pairs`` and their ``copies``."""
        return {
            "rows": self._rows,
            "pairs": self._rows - self._copies,
            "copies": self._copies,
            "scenes": len(self._scenes),
            "kinds": dict(sorted(self._kinds.items())),
            "depth_sources": dict(sorted(self._sources.items())),
        }
