"""Which files of a data set of the hub hold its rows, and where they lie.

The files themselves are read as those of this machine are: parquet row group by row group, WebDataset shards member by
member, over the hub's file system, so nothing is downloaded twice and any worker can begin anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from sdvlm.depth.raw import one_line
from sdvlm.extras import require
from sdvlm.types import SdvlmError

__all__ = ["hub_files", "is_hub_id"]


def is_hub_id(text: str) -> bool:
    """Whether a text has the form "owner/name"."""
    return re.fullmatch(r"[\w][\w.-]*/[\w][\w.-]*", text) is not None


def hub_files(
    data_set: str, split: str | None = None, config: str | None = None
) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The files of a data set, resolved by ``datasets`` without reading a row.

    Args:
        data_set: "owner/name" on the hub, or a folder laid out as one.
        split: one of its splits; None: all of them.
        config: one of its configurations, where it has several.

    Returns:
        "table" or "webdataset", and (URL or path, name to show in ids) of each file, by split.

    Raises:
        SdvlmError: it cannot be reached, has no such split or configuration, or its files are of other formats.
    """
    datasets = require("datasets", f"reading {data_set} from the hub")
    try:
        found = datasets.load_dataset_builder(data_set, name=config).config.data_files or {}
    except Exception as error:  # whatever the hub's clients raise: no network, no such data set, no such configuration
        raise SdvlmError(
            f"{data_set}: is no file or folder here, and as a data set of the hub it gave: {one_line(error)}"
        ) from error
    if split is not None and split not in found:
        raise SdvlmError(f"{data_set}: has no split '{split}'; it has {', '.join(map(str, found)) or 'none'}")
    files = [(str(name), str(url)) for name in ([split] if split is not None else found) for url in found[name]]
    layout = _layout(data_set, [url for _, url in files])
    return layout, tuple((url, shown) for url, shown in zip([url for _, url in files], _shown(files), strict=True))


def _layout(data_set: str, urls: list[str]) -> str:
    if urls and all(url.endswith(".parquet") for url in urls):
        return "table"
    if urls and all(url.endswith(".tar") for url in urls):
        return "webdataset"
    seen = sorted({url.rpartition(".")[2] for url in urls}) or ["nothing"]
    raise SdvlmError(
        f"{data_set}: holds {', '.join(seen)}; only parquet and .tar are read from the hub. Save it first: "
        "datasets.load_dataset(...).save_to_disk(FOLDER), then pass FOLDER"
    )


def _shown(files: Iterable[tuple[str, str]]) -> list[str]:
    """ "train/train-00000-of-00002"; a number in front where two files of a split share their name."""
    plain = [f"{split}/{url.rpartition('/')[2].rpartition('.')[0]}" for split, url in files]
    return [one if plain.count(one) == 1 else f"{index:05d}-{one}" for index, one in enumerate(plain)]
