"""From the frames of a scene to one file, and from the files of all scenes to the shards of a data set.

A scene is written by itself (a *part*) as soon as it is built, so a run can stop at any moment and go on later; parts
become shards when all are there. Both appear whole or not at all, and the manifest comes last.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

import sdvlm
from sdvlm.data.columns import Per, Row, rows_of, split_row, with_questions
from sdvlm.data.manifest import MANIFEST, Manifest, add_counts
from sdvlm.data.parquet import RowWriter, iter_tables, read_meta
from sdvlm.data.record import FrameRecord
from sdvlm.data.shard_files import SHARD_NAMES, ShardFiles, Staged, publish
from sdvlm.depth.atomic import atomic_file
from sdvlm.extras import require
from sdvlm.types import SdvlmError

__all__ = ["ROWS_OF_SPLIT", "assemble", "read_part_meta", "write_part"]

ROWS_OF_SPLIT: dict[str, Per] = {"train": "picture", "test": "question"}
"""what a row holds where nobody says otherwise, as MSMU is published; in other splits a picture"""
_STAGE = ".assembling"


def write_part(path: Path, records: Iterable[FrameRecord], meta: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Write the frames of one scene, whole or not at all; the same bytes for the same input.

    Args:
        path: of the part; its folder is made.
        records: frames of the scene. Those that ask nothing have no row.
        meta: JSON values to keep in the file: what the scene was built with, and under ``counts`` whole numbers that
            are added up over all parts ("dropped": {"small": 3}).

    Returns:
        the file's metadata: ``meta``, and under ``held`` the numbers of pictures and questions, and questions by type.

    Raises:
        SdvlmError: a record does not fit the columns, or pyarrow is not installed.
    """
    for leftover in path.parent.glob(f".{path.name}.*.tmp"):  # of a run that was killed
        leftover.unlink(missing_ok=True)
    frames = [frame for frame in records if frame.samples]
    types = Counter(sample.type.value for frame in frames for sample in frame.samples)
    held = {"pictures": len(frames), "questions": types.total(), "types": dict(sorted(types.items()))}
    said = dict(meta or {}) | {"held": held}
    with atomic_file(path) as stream, RowWriter(stream, "picture", said) as writer:
        for frame in frames:
            writer.write(rows_of(frame))
    return said


def read_part_meta(path: Path) -> dict[str, Any]:
    """The metadata of a part; that it can be read proves that the part is whole.

    Raises:
        SdvlmError: the part is missing, cut short or of another version: build its scene again.
    """
    return read_meta(path)


def assemble(
    parts: Iterable[tuple[str, Path]],
    out: Path,
    *,
    settings: Mapping[str, Any] | None = None,
    per: Mapping[str, Per] | None = None,
    only: Mapping[str, Collection[tuple[str, int]]] | None = None,
    rows_per_shard: int | None = None,
    bytes_per_shard: int = 256 << 20,
) -> Manifest:
    """Turn parts into shards, ``out/data/SPLIT-00000-of-0000N.parquet``, and last of all write the manifest.

    The same parts give the same bytes in whatever order they are listed. One row group is in memory at a time.

    Args:
        parts: (split, file). Within a split, rows stand in the order of the files' names.
        out: folder of the data set. Shards and manifest of an earlier run stay until the new ones are all there.
        settings: what it was built with, for the manifest.
        per: what a row holds, by split; default :data:`ROWS_OF_SPLIT`.
        only: for a split, the questions that are wanted, as (image_id, number in its picture from 0); splits that are
            not named keep all.
        rows_per_shard: a shard ends after so many rows.
        bytes_per_shard: and as soon as it has so many bytes.

    Raises:
        SdvlmError: a part is damaged, a picture is there twice or a scene is in two splits, ``only`` names a question
            that is not there, or nothing is left to write.
    """
    by_split = _sorted_parts(parts)
    kinds = {split: (per or {}).get(split, ROWS_OF_SPLIT.get(split, "picture")) for split in by_split}
    for split, kind in kinds.items():
        if kind not in get_args(Per):
            raise SdvlmError(f"a row of split {split!r} holds a 'picture' or a 'question'; got {kind!r}")
    if (rows_per_shard is not None and rows_per_shard < 1) or bytes_per_shard < 1:
        raise SdvlmError(f"a shard holds at least one row and one byte; got {rows_per_shard} and {bytes_per_shard}")
    data, stage = out / "data", out / _STAGE
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir(parents=True)
    homes = _Homes()
    staged: dict[str, list[Staged]] = {}
    counts: dict[str, dict[str, Any]] = {}
    for split, paths in by_split.items():
        wanted = set(only[split]) if only is not None and split in only else None
        with ShardFiles(stage, split, kinds[split], rows_per_shard, bytes_per_shard) as files_of_split:
            splitter = _Splitter(files_of_split)
            for path in paths:
                _copy(path, splitter, wanted, homes)
        if wanted:
            image, number = sorted(wanted)[0]
            raise SdvlmError(f"{len(wanted)} wanted questions of {split!r} are in no part, such as {image} {number}")
        staged[split] = files_of_split.done
        built = add_counts(read_part_meta(path).get("counts", {}) for path in paths)
        counts[split] = built | {"scenes": len(paths)} | splitter.held
    if not any(staged.values()):
        raise SdvlmError(f"{out}: the {sum(map(len, by_split.values()))} parts hold no question; nothing to write")
    (out / MANIFEST).unlink(missing_ok=True)  # unfinished from here on
    data.mkdir(exist_ok=True)
    for stale in data.glob(f"*{SHARD_NAMES}"):
        stale.unlink()
    files = tuple(shard for split, done in staged.items() for shard in publish(done, data, split))
    stage.rmdir()
    versions = {"sdvlm": sdvlm.__version__, "pyarrow": str(require("pyarrow").__version__)}
    manifest = Manifest(
        files, {split: str(kind) for split, kind in kinds.items()}, counts, dict(settings or {}), versions
    )
    manifest.write(out)
    return manifest


class _Homes:
    """Where each picture and scene was met, so that nothing is in the data twice."""

    def __init__(self) -> None:
        self._pictures: set[str] = set()
        self._scenes: dict[str, str] = {}

    def enter(self, table: Any, split: str, path: Path) -> None:
        for image in table.column("image_id").to_pylist():
            if image in self._pictures:
                raise SdvlmError(f"{path}: picture {image} is in another part already; list each scene once")
            self._pictures.add(image)
        for scene in set(table.column("scene_id").to_pylist()):
            if self._scenes.setdefault(scene, split) != split:
                raise SdvlmError(
                    f"{path}: scene {scene} is in split {split!r} and in {self._scenes[scene]!r}; choose one"
                )


class _Splitter:
    """Pictures of one split, as the rows of its shards, and what was in them."""

    def __init__(self, files: ShardFiles) -> None:
        self.files, self._pictures, self._types = files, 0, Counter[str]()

    @property
    def held(self) -> dict[str, Any]:
        """What was written: rows, pictures, questions, and questions by type."""
        questions = {"questions": self._types.total(), "types": dict(sorted(self._types.items()))}
        return {"rows": self.files.rows, "pictures": self._pictures} | questions

    def add(self, picture: Row) -> None:
        """A picture with at least one question, as one row or one row a question."""
        self._pictures += 1
        self._types.update(question["type"] for question in picture["questions"])
        training = self.files.split == "train"
        for row in split_row(picture, reasoning=training) if self.files.per == "question" else [picture]:
            self.files.write([row])


def _sorted_parts(parts: Iterable[tuple[str, Path]]) -> dict[str, list[Path]]:
    """Files by split; splits and files in the order of their names."""
    by_split: dict[str, list[Path]] = {}
    for split, path in parts:
        if not split.isidentifier():
            raise SdvlmError(f"a split is named by letters and digits, such as train; got {split!r}")
        by_split.setdefault(split, []).append(path)
    return {split: sorted(by_split[split], key=lambda path: (path.name, str(path))) for split in sorted(by_split)}


def _copy(path: Path, splitter: _Splitter, wanted: set[tuple[str, int]] | None, homes: _Homes) -> None:
    """The rows of a part into the shards; wanted questions are taken out of ``wanted`` as they are met."""
    for table in iter_tables(path):
        homes.enter(table, splitter.files.split, path)
        for index in range(table.num_rows):
            picture: Row = table.slice(index, 1).to_pylist()[0]
            if wanted is not None:
                picture = _chosen(picture, wanted)
            if picture["questions"]:
                splitter.add(picture)


def _chosen(picture: Row, wanted: set[tuple[str, int]]) -> Row:
    image = picture["image_id"]
    kept = []
    for number, question in enumerate(picture["questions"]):
        if (image, number) in wanted:
            wanted.remove((image, number))
            kept.append(question)
    return with_questions(picture, kept)
