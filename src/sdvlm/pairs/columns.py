"""The columns of a data set of RGB-D pairs, and the way between a pair and its row.

Pictures are JPEG, PNG or WebP as any viewer shows them; metric depth is a 16-bit PNG in millimetres, any other depth
(or metres beyond 65.534) an ``.npz`` of half floats, so relative and inverse maps are never taken for metres.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from PIL import Image

from sdvlm.data.encode import decode_depth, encode_depth, encode_picture
from sdvlm.data.msmu_picture import decode_picture
from sdvlm.data.parquet import Layout
from sdvlm.depth.raw import DECODE_ERRORS, one_line
from sdvlm.extras import require
from sdvlm.pairs.record import Pair
from sdvlm.types import Camera, DepthKind, DepthMap, SdvlmError

__all__ = [
    "FORMAT",
    "MAKER",
    "PAIRS",
    "Row",
    "depth_bytes",
    "depth_of",
    "pair_of",
    "pairs_schema",
    "picture_bytes",
    "row_of",
]

FORMAT = "sdvlm-pairs-1"
MAKER = "sdvlm pairs"
Row = dict[str, Any]
"""One row as plain values, as pyarrow's ``to_pylist`` and ``datasets`` give it."""

_PNG_MAX_M = 65.534
_HALF_MAX = 65000.0


def pairs_schema() -> Any:
    """The Arrow schema of a row, in the order of its columns.

    ``camera`` has pixel centres at +0.5. ``copy`` is 0 for a picture as its source has it; augmented copies count from
    1 and say in ``augmentation`` (JSON) what was done. ``phash`` is the perceptual hash of the uncopied picture.

    Raises:
        SdvlmError: pyarrow is not installed.
    """
    pa = require("pyarrow", "writing parquet")
    text, real, small = pa.string(), pa.float64(), pa.int32()
    camera = pa.struct([("width", small), ("height", small), ("fx", real), ("fy", real), ("cx", real), ("cy", real)])
    return pa.schema(
        [
            ("pair_id", text),
            ("scene_id", text),
            ("split", text),
            ("copy", small),
            ("augmentation", text),
            ("image", pa.binary()),
            ("width", small),
            ("height", small),
            ("depth", pa.binary()),
            ("depth_encoding", text),
            ("kind", text),
            ("depth_source", text),
            ("licence", text),
            ("camera", camera),
            ("camera_estimated", pa.bool_()),
            ("phash", pa.int64()),
        ]
    )


PAIRS = Layout(FORMAT, MAKER, pairs_schema, ("image", "depth"), group_bytes=2 << 20, group_rows=32, stored=True)
"""Row groups are small, because a pair is read by reading its group: a shuffled epoch reads a few MB for each."""


def picture_bytes(image: np.ndarray[Any, np.dtype[np.uint8]], quality: int = 95) -> bytes:
    """(H, W, 3) uint8 RGB as JPEG of that quality with full colour resolution, or as PNG where it is 0 (lossless)."""
    if not quality:
        return encode_picture(image)
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality, subsampling=0)
    return stream.getvalue()


def depth_bytes(depth: DepthMap) -> tuple[bytes, str]:
    """A map as a row holds it, and its ``depth_encoding``; the same bytes for the same map.

    ``png_mm``: 16-bit PNG in millimetres, 0 unknown. ``npz_f16`` (``npz_f32`` where a number does not fit): the numbers
    as they are, NaN unknown.
    """
    known = depth.values[depth.valid]
    if depth.kind is DepthKind.METRIC and (not known.size or float(known.max()) <= _PNG_MAX_M):
        return encode_depth(depth), "png_mm"
    fits = not known.size or float(np.abs(known).max()) <= _HALF_MAX
    stream = io.BytesIO()
    np.savez_compressed(stream, depth=depth.values.astype(np.float16 if fits else np.float32))
    return stream.getvalue(), "npz_f16" if fits else "npz_f32"


def depth_of(row: Mapping[str, Any]) -> DepthMap:
    """The depth map of a row, with its kind and source.

    Raises:
        SdvlmError: it is damaged or not as :func:`depth_bytes` writes it.
    """
    if row["depth_encoding"] == "png_mm":
        return decode_depth(row["depth"], row["depth_source"])
    try:
        with np.load(io.BytesIO(row["depth"]), allow_pickle=False) as archive:
            return DepthMap(archive["depth"].astype(np.float32), DepthKind(row["kind"]), row["depth_source"])
    except SdvlmError:
        raise
    except DECODE_ERRORS as error:
        raise SdvlmError(f"the depth is damaged: {one_line(error)}; build the pairs again") from error


def pair_of(row: Mapping[str, Any]) -> Pair:
    """The pair a row was written from.

    Raises:
        SdvlmError: a column is missing, damaged, or does not fit the others.
    """
    try:
        camera = None if row["camera"] is None else Camera(**row["camera"])
        return Pair(row["pair_id"], row["scene_id"], decode_picture(row["image"]), depth_of(row), camera)
    except SdvlmError as error:
        raise SdvlmError(f"{row.get('pair_id')}: {error}") from error
    except KeyError as error:
        raise SdvlmError(f"the row has no {error}; wanted a row that {MAKER} wrote") from error
    except (TypeError, ValueError) as error:
        raise SdvlmError(f"the row is not as {MAKER} writes it: {type(error).__name__}: {error}") from error


def row_of(
    pair: Pair,
    encoded: bytes,
    *,
    licence: str,
    camera_estimated: bool,
    phash: int,
    split: str,
    copy: int = 0,
    augmentation: str | None = None,
) -> Row:
    """The row of a pair.

    Args:
        pair: what the row says.
        encoded: its picture, as a file.
        licence: of the weights that made the depth, or of the data it came with.
        camera_estimated: whether the camera is an estimator's guess.
        phash: unsigned 64-bit perceptual hash.
        split: "train" or "test".
        copy: number of an augmented copy, from 1; 0 for the picture itself.
        augmentation: what was done to a copy, as JSON.
    """
    depth, encoding = depth_bytes(pair.depth)
    width, height = pair.size
    return {
        "pair_id": pair.pair_id,
        "scene_id": pair.scene_id,
        "split": split,
        "copy": copy,
        "augmentation": augmentation,
        "image": encoded,
        "width": width,
        "height": height,
        "depth": depth,
        "depth_encoding": encoding,
        "kind": str(pair.depth.kind),
        "depth_source": pair.depth.source,
        "licence": licence,
        "camera": None if pair.camera is None else asdict(pair.camera),
        "camera_estimated": camera_estimated,
        "phash": phash - (1 << 64) if phash >= 1 << 63 else phash,
    }
