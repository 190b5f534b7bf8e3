"""Where pairs come from: what a source is, what it gives, and which one fits what the user named.

A source lists references in chunks, lazily and without decoding anything; a chunk is small, pickles, and is read in a
worker, where each picture is decoded exactly once and one at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sdvlm.types import Camera, DepthMap

if TYPE_CHECKING:
    from sdvlm.pairs.source_reading import Reading

__all__ = ["SOURCES", "Chunk", "PairSource", "RawPair", "Refusal", "open_source"]

SOURCES = ("folder", "table", "webdataset", "frames")
"""names of the sources"""


@dataclass(frozen=True, eq=False)
class RawPair:
    """A picture as it came out of its source.

    Args:
        pair_id: unique in the source and stable between runs ("sub/dir/name.jpg", "shard-0003/00017").
        scene_id: the scene it shows; "" where the source has no scenes.
        image: (H, W, 3) sRGB, upright.
        encoded: the bytes of a JPEG, PNG or WebP that every viewer shows as exactly ``image``; None: there are none.
        depth: sensor depth of the picture's size, where the source has it.
        camera: intrinsics of the picture, where they are known.
    """

    pair_id: str
    scene_id: str
    image: NDArray[np.uint8]
    encoded: bytes | None
    depth: DepthMap | None = None
    camera: Camera | None = None


@dataclass(frozen=True)
class Refusal:
    """A picture that cannot be used: its id and one line that names the file and says why."""

    pair_id: str
    reason: str


class Chunk(Protocol):
    """References to some pictures of a source; picklable."""

    @property
    def key(self) -> str:
        """Unique in the source, stable while the content is, and usable as a file name; sorts in the source's order."""

    def read(self) -> Iterator[RawPair | Refusal]:
        """Each picture, decoded once, one in memory at a time; bad ones become refusals.

        Raises:
            OSError: this machine fails (a full disk), which is no fault of a picture.
        """


class PairSource(Protocol):
    """Pictures, perhaps with sensor depth, that pairs are made of."""

    @property
    def name(self) -> str:
        """One of `SOURCES`."""

    @property
    def root(self) -> str:
        """What the user named."""

    @property
    def skipped(self) -> Mapping[str, int]:
        """What the last pass of :meth:`chunks` left out as no picture at all: reason -> how many."""

    def settings(self) -> dict[str, Any]:
        """JSON values that decide what the source gives, besides its content; for stamps and manifests."""

    def chunks(self, size: int) -> Iterator[Chunk]:
        """References to everything, about ``size`` pictures each, in a fixed order and lazily; nothing is decoded.

        Raises:
            SdvlmError: there is nothing to read, or ``size`` is below 1.
        """


def open_source(
    source: str | Path,
    *,
    column: str | None = None,
    split: str | None = None,
    reader: str | None = None,
    depth_column: str | None = None,
    scene: str | None = None,
    config: str | None = None,
    reading: Reading | None = None,
    **reader_options: Any,
) -> PairSource:
    """The source that fits what the user named.

    Args:
        source: a parquet or tar file; a folder of parquet files, of tar files, of what ``datasets`` saved, of RGB-D
            scenes, or of pictures, looked for in this order; or "owner/name" of a data set on the hub.
        column: of the picture in a table, or extension of its member in a WebDataset; None: found.
        split: only files of this split, by their names; None: all.
        reader: one of `SOURCES` to read the source as, or of `sdvlm.scenes.reader.READERS` for RGB-D scenes; None: see
            above.
        depth_column: of sensor depth in a table, or extension of its member; None: there is none.
        scene: column of the scene's name in a table; "folder": pictures of one folder show one scene; None: no scenes.
        config: configuration of a data set on the hub, where it has several.
        reading: which pictures are taken, and how their depth is read.
        reader_options: of the reader of RGB-D scenes (``frame_step``).

    Raises:
        SdvlmError: there is no such file, folder or data set, or it does not have what was named.
    """
    from sdvlm.pairs.source_open import Wanted, open_as

    wanted = Wanted(column, split, depth_column, scene, config, reading)
    return open_as(str(source), reader, wanted, reader_options)
