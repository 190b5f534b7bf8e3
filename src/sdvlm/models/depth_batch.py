"""What a processor makes and a ``DepthVLM`` takes."""

from __future__ import annotations

from typing import Any

from transformers import BatchFeature

__all__ = ["DepthBatch"]

_METRES = ("depth_grid", "depth_grid_videos", "depth_pixels")


class DepthBatch(BatchFeature):
    """Model inputs. ``to(device, dtype)`` casts pixels but leaves metres in float32."""

    def to(self, *args: Any, **kwargs: Any) -> DepthBatch:
        depth = {name: self[name] for name in _METRES if name in self}
        super().to(*args, **kwargs)
        self.update({name: value.to(device=self["input_ids"].device) for name, value in depth.items()})
        return self
