"""Which source fits what the user named: by its suffix, by what a folder holds, or by the name the user gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdvlm.pairs.source import SOURCES, PairSource
from sdvlm.pairs.source_files import files_below
from sdvlm.pairs.source_folder import FolderSource
from sdvlm.pairs.source_frames import FramesSource
from sdvlm.pairs.source_hub import hub_files, is_hub_id
from sdvlm.pairs.source_reading import Reading
from sdvlm.pairs.source_table import TableSource, is_saved, saved_files, table_files
from sdvlm.pairs.source_webdataset import ShardSource, shard_files
from sdvlm.scenes.reader import READERS, open_reader
from sdvlm.types import SdvlmError

__all__ = ["Wanted", "open_as"]

_FITTING = {
    "table": "column, split, depth_column, scene, config",
    "webdataset": "column, split, depth_column, config",
    "folder": "scene='folder'",
    "frames": "the options of its reader",
}
_BY_SUFFIX = {".parquet": "table", ".arrow": "table", ".tar": "webdataset", ".tgz": "webdataset", ".gz": "webdataset"}


@dataclass(frozen=True)
class Wanted:
    """What of a source is read; see :func:`sdvlm.pairs.source.open_source`."""

    column: str | None = None
    split: str | None = None
    depth_column: str | None = None
    scene: str | None = None
    config: str | None = None
    reading: Reading | None = None


def open_as(root: str, reader: str | None, wanted: Wanted, reader_options: Mapping[str, Any]) -> PairSource:
    """The source; see :func:`sdvlm.pairs.source.open_source`.

    Raises:
        SdvlmError: nothing fits, or an option does not go with what fits.
    """
    path = Path(root)
    if reader is not None and reader not in SOURCES and reader not in READERS:
        raise SdvlmError(f"no reader '{reader}'; choose one of {', '.join((*SOURCES, *READERS))}")
    if not path.exists():
        if not is_hub_id(root) or path.suffix in (".parquet", ".tar"):
            raise SdvlmError(f"{root}: no such file or folder; a data set of the hub is named owner/name")
        layout, files = hub_files(root, wanted.split, wanted.config)
    else:
        layout, files = _layout_of(path) if reader is None else ("frames" if reader in READERS else reader), ()
    _refuse_ignored(root, layout, wanted, reader_options)
    reading = wanted.reading or Reading()
    if layout == "folder":
        if not path.is_dir():
            raise SdvlmError(f"{root}: is one file; pass a folder of pictures, a parquet file or a .tar")
        return FolderSource(root, reading, wanted.scene == "folder")
    if layout == "frames":
        return FramesSource(open_reader(root, reader if reader in READERS else None, **reader_options), root)
    if layout == "webdataset":
        files = files or shard_files(path, wanted.split)
        return ShardSource(root, files, wanted.column, wanted.depth_column, reading)
    files = files or (saved_files if is_saved(path) else table_files)(path, wanted.split)
    return TableSource(root, files, wanted.column, wanted.depth_column, wanted.scene, reading)


def _layout_of(path: Path) -> str:
    """One of `SOURCES`, by the suffix of a file or the first thing that is found in a folder."""
    if path.is_file():
        return _BY_SUFFIX.get(path.suffix.lower(), "folder")
    if is_saved(path) or next(files_below(path, ".parquet"), None) is not None:
        return "table"
    if next(files_below(path, ".tar"), None) is not None:
        return "webdataset"
    for make in READERS.values():
        try:
            make(path).scene_ids()
        except SdvlmError:
            continue
        return "frames"
    return "folder"


def _refuse_ignored(root: str, layout: str, wanted: Wanted, reader_options: Mapping[str, Any]) -> None:
    """An option that would do nothing is an error: the user believes that it does something."""
    given = {name for name in ("column", "split", "depth_column", "scene", "config") if getattr(wanted, name)}
    takes = {
        "table": {"column", "split", "depth_column", "scene", "config"},
        "webdataset": {"column", "split", "depth_column", "config"},
        "folder": {"scene"} if wanted.scene == "folder" else set(),
        "frames": set(),
    }[layout]
    ignored = sorted(given - takes) + (sorted(reader_options) if layout != "frames" else [])
    if layout == "frames" and wanted.reading not in (None, Reading()):
        ignored.append("reading")
    if ignored:
        raise SdvlmError(
            f"{root}: is read as {layout}, which takes no {', '.join(ignored)}; it takes {_FITTING[layout]}"
        )
