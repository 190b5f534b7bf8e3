"""The files of a published data set, and their rows one at a time.

Layouts: a ``save_to_disk`` folder of several splits (``dataset_dict.json``, ``train/``, ``test/``) or of one
(``state.json``, ``data-*.arrow`` in the Arrow IPC stream format), parquet files or a folder of them, JSON lines, a JSON
list. Arrow files are mapped, not read, so memory does not grow with their size.
"""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sdvlm.data.json_rows import iter_json_list
from sdvlm.extras import require
from sdvlm.types import SdvlmError

__all__ = ["COLUMNS", "count_rows", "find_files", "read_rows"]

COLUMNS = ("conversations", "image", "image_base64", "image_size", "image_mode", "type")
"""columns that are read; others stay on disk"""
_SUFFIXES = (".arrow", ".parquet", ".jsonl", ".json")
_SPLITS = ("train", "test", "validation", "valid", "val", "dev")
_NOT_DATA = ("dataset_dict.json", "dataset_info.json", "dataset_infos.json", "state.json")
_SHARD = re.compile(r"^(?P<stem>.*?)-?(?P<index>\d{5})-of-(?P<count>\d{5})")
_ROWS = 16
_BUFFER = 1 << 20


def find_files(path: Path, split: str) -> list[Path]:
    """Data files of a split, in order.

    Args:
        path: a file (taken as it is, whatever the split) or a folder of one of the layouts above.
        split: ``train``, ``test`` or another name that a sub-folder or file name carries.

    Raises:
        SdvlmError: nothing is there, the split is not, or shards are missing; the message names what is there.
    """
    if path.is_file():
        if path.suffix not in _SUFFIXES:
            raise SdvlmError(f"{path}: is no data file; wanted one of {', '.join(_SUFFIXES)} or a folder of them")
        return [path]
    if not path.is_dir():
        raise SdvlmError(f"{path}: no such file or folder; give an MSMU folder, or an Arrow, parquet or JSON file")
    if (path / "state.json").is_file():
        return _listed(path)
    if (path / split).is_dir():
        return find_files(path / split, split)
    if (path / "dataset_dict.json").is_file():
        raise SdvlmError(f"{path}: has no split {split!r}; it has {_subfolders(path)}")
    files = _data_files(path)
    if not files:
        raise SdvlmError(
            f"{path}: holds no Arrow, parquet or JSON data and no split {split!r}; sub-folders: {_subfolders(path)}"
        )
    named = [file for file in files if _split_of(file)]
    chosen = [file for file in named if _split_of(file) == split] if named else files
    if not chosen:
        raise SdvlmError(f"{path}: has no files of split {split!r}; it has {', '.join(file.name for file in named)}")
    return _complete(chosen, path)


def read_rows(file: Path, columns: Sequence[str] = COLUMNS) -> Iterator[dict[str, Any] | SdvlmError]:
    """Rows of a file as dicts, or for a row that cannot be read the error that says why.

    Args:
        file: Arrow, parquet, JSON lines or a JSON list.
        columns: of Arrow and parquet, only these are read; rows of JSON come whole.

    Raises:
        SdvlmError: the file itself is damaged.
    """
    if file.suffix in (".jsonl", ".json"):
        yield from _json_rows(file)
        return
    for batch in _batches(file, columns):
        found = {name: batch.column(name) for name in columns if name in batch.schema.names}
        for index in range(batch.num_rows):
            try:
                yield {name: column[index].as_py() for name, column in found.items()}
            except (UnicodeDecodeError, ValueError) as error:
                yield SdvlmError(f"cannot be decoded: {error}")


def count_rows(file: Path) -> int:
    """Number of rows of a file, broken ones included; of Arrow and parquet without reading their values."""
    if file.suffix == ".parquet":
        with _naming(file):
            return int(require("pyarrow.parquet", "reading parquet").ParquetFile(file).metadata.num_rows)
    if file.suffix == ".arrow":
        return sum(batch.num_rows for batch in _batches(file))
    return sum(1 for _ in _json_rows(file))


def _batches(file: Path, wanted: Sequence[str] = COLUMNS) -> Iterator[Any]:
    """Record batches of an Arrow (stream or file format) or parquet file, :data:`_ROWS` rows or fewer each."""
    with _naming(file):
        if file.suffix == ".parquet":
            pq = require("pyarrow.parquet", "reading parquet")
            table = pq.ParquetFile(file, memory_map=False, buffer_size=_BUFFER, pre_buffer=False)
            columns = [name for name in wanted if name in table.schema_arrow.names]
            yield from table.iter_batches(_ROWS, columns=columns, use_threads=False)
            return
        arrow = require("pyarrow", "reading Arrow data")
        with file.open("rb") as stream:
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)  # closed with the last batch that reads it
        source = arrow.BufferReader(arrow.py_buffer(mapped))
        whole = arrow.ipc.open_file(source) if mapped[:6] == b"ARROW1" else None
        parts = arrow.ipc.open_stream(source) if whole is None else map(whole.get_batch, range(_count(whole)))
        for part in parts:
            for start in range(0, part.num_rows, _ROWS):
                yield part.slice(start, _ROWS)
                if hasattr(mmap, "MADV_DONTNEED"):  # else what was read stays in memory until the file is closed
                    mapped.madvise(mmap.MADV_DONTNEED)


def _count(reader: Any) -> int:
    return int(reader.num_record_batches)


class _naming:
    """Turns pyarrow's errors into one line that names the file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __enter__(self) -> None:
        if self.file.stat().st_size == 0:
            raise SdvlmError(f"{self.file}: is empty (0 bytes); copy it again")
        with self.file.open("rb") as stream:
            if stream.read(20).startswith(b"version https://git"):
                raise SdvlmError(f"{self.file}: is a Git LFS pointer, not the data; fetch it with git lfs pull")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError | ValueError | NotImplementedError) and not isinstance(error, SdvlmError):
            said = " ".join(str(error).split()) or type(error).__name__
            raise SdvlmError(f"{self.file}: is damaged, cut short or no {self.file.suffix} file: {said}") from error


def _json_rows(file: Path) -> Iterator[dict[str, Any] | SdvlmError]:
    if file.suffix == ".json":
        for row in iter_json_list(file):
            yield row if isinstance(row, dict) else SdvlmError("is no JSON object")
        return
    with file.open("rb") as lines:
        for line in lines:
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield SdvlmError(f"is no JSON: {error}")
                continue
            yield row if isinstance(row, dict) else SdvlmError("is no JSON object")


def _listed(folder: Path) -> list[Path]:
    """Shards of a single-split ``save_to_disk`` folder, as its ``state.json`` lists them."""
    try:
        state = json.loads((folder / "state.json").read_bytes())
        names = [str(entry["filename"]) for entry in state["_data_files"]]
    except (ValueError, KeyError, TypeError) as error:
        raise SdvlmError(f"{folder / 'state.json'}: must list _data_files with a filename each: {error!r}") from error
    if any(Path(name).name != name for name in names):
        raise SdvlmError(f"{folder / 'state.json'}: a data file lies outside the folder; copy the whole data set again")
    missing = [name for name in names if not (folder / name).is_file()]
    if missing or not names:
        raise SdvlmError(f"{folder}: misses {', '.join(missing) or 'its data files'}; copy the whole data set again")
    return [folder / name for name in names]


def _data_files(folder: Path) -> list[Path]:
    """Data files in a folder or in its ``data/``, all of the first kind that is there, in order of their numbers."""
    for suffix in _SUFFIXES:
        for place in (folder, folder / "data"):
            found = [file for file in place.glob(f"*{suffix}") if file.name not in _NOT_DATA]
            if found:
                return sorted(found, key=lambda file: [part.zfill(12) for part in re.split(r"(\d+)", file.name)])
    return []


def _split_of(file: Path) -> str | None:
    """The split a file name starts or ends with (``test-00000-of-00001.parquet``, ``msmu_test.parquet``)."""
    words = re.split(r"[^a-z]+", re.sub(r"-?\d{5}-of-\d{5}.*", "", file.stem.lower()))
    return next((word for word in (words[0], words[-1]) if word in _SPLITS), None)


def _complete(files: list[Path], folder: Path) -> list[Path]:
    """The files, if no shard of those that number themselves is missing."""
    for file in files:
        shard = _SHARD.match(file.name)
        if shard:
            same = [one for one in files if one.name.startswith(f"{shard['stem']}-") or not shard["stem"]]
            if len(same) < int(shard["count"]):
                raise SdvlmError(f"{folder}: {len(same)} of {int(shard['count'])} shards are there; copy the rest")
    return files


def _subfolders(path: Path) -> str:
    return ", ".join(sorted(one.name for one in path.iterdir() if one.is_dir())) or "none"
