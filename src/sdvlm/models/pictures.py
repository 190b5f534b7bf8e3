"""What callers hand over per picture, brought into one shape: a flat list, one entry a picture."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from sdvlm.types import SdvlmError

__all__ = ["flat", "merge_pictures", "per_picture", "picture_of"]


def flat(values: Any) -> list[Any]:
    """None, one value, a list or a list of lists of them as a list."""
    if values is None:
        return []
    if not isinstance(values, list | tuple):
        return [values]
    return list(itertools.chain.from_iterable(v if isinstance(v, list | tuple) else [v] for v in values))


def merge_pictures(
    carried: list[Any], given: Any, flatten: Callable[[Any], list[Any]] = flat, what: str = "picture"
) -> list[Any]:
    """Pictures (or videos) either from the message parts that carry them or from ``given``, flat; not a mixture."""
    if any(picture is not None for picture in carried):
        if given is not None or any(picture is None for picture in carried):
            named = "images" if what == "picture" else f"{what}s"
            raise SdvlmError(
                f"give every {what} in its message part or all of them in {named}, not some here, some there"
            )
        return carried
    return flatten(given)


def per_picture(values: Any, count: int, what: str, kind: type) -> list[Any]:
    """``values`` (nested or one or None) as one entry of ``kind`` or None for each of ``count`` pictures.

    Raises:
        SdvlmError: another count, which the message gives beside the wanted one, or another type.
    """
    if values is None:
        return [None] * count
    found = flat(values)
    if len(found) != count:
        raise SdvlmError(f"got {len(found)} {what} for {count} pictures; give one a picture, None where there is none")
    for value in found:
        if value is not None and not isinstance(value, kind):
            raise SdvlmError(f"got a {type(value).__name__} among the {what}; a {kind.__name__} or None is wanted")
    return found


def picture_of(image: Any) -> Image.Image:
    """A PIL image in RGB from a PIL image or an (H, W, 3) uint8 array."""
    if isinstance(image, Image.Image):
        return image.convert("RGB")
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
        return Image.fromarray(image)
    what = f"{image.dtype} array of shape {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
    raise SdvlmError(f"a picture is a PIL image or an (H, W, 3) uint8 array; got {what}")
