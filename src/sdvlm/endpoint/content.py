"""Parts of a message: text, and pictures as data URLs."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["Part", "picture_part", "text_part"]

Part = Mapping[str, Any]
"""One entry of a message's ``content`` list"""

_QUALITY = 90


def text_part(text: str) -> Part:
    """Text."""
    return {"type": "text", "text": text}


def picture_part(image: NDArray[np.uint8]) -> Part:
    """A picture, (H, W, 3) uint8 sRGB, as a JPEG data URL."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=_QUALITY, subsampling=0)
    url = f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}
