"""Which pixels of which frames each video token looks at.

The cells of all frames are laid out as a film strip, one view below the other, and sent through the model's own code
as ``models.grid`` does it with a picture: what comes out tells box and frame of each token.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedConfig

from sdvlm.fusion.depth_grid import CHANNELS
from sdvlm.fusion.pool import pool_depth
from sdvlm.fusion.pool_frames import joined_frames
from sdvlm.models.families import family_of
from sdvlm.models.families.family import Boxes, Size
from sdvlm.models.families.video import video_family_of
from sdvlm.models.skeleton import build_skeleton, probe
from sdvlm.models.videos import Video
from sdvlm.types import SdvlmError

__all__ = ["VideoGrid", "VideoTokens"]

_KEPT = 32
_NEAR = 1e-6


@dataclass(frozen=True, eq=False)
class VideoTokens:
    """Where the N tokens of a video look.

    Args:
        boxes: (N, 4) float64 left, top, right, bottom in pixels of its frames; NaN rows for tokens that look nowhere.
        frames: (N, 2) the first and the last frame each looks at; -1 for tokens that look nowhere.
    """

    boxes: Boxes
    frames: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.boxes)


class VideoGrid:
    """The tokens of the videos of one model behind one processor.

    Args:
        config: of the vision-language model.
        video_processor: the part of its processor that takes videos.

    Raises:
        SdvlmError: the family takes no video.
    """

    def __init__(self, config: PreTrainedConfig, video_processor: Any) -> None:
        self.config, self.video_processor = config, video_processor
        self.family, self.facts = family_of(config), video_family_of(config)
        self._skeleton: nn.Module | None = None
        self._kept: OrderedDict[tuple[Size, int], VideoTokens] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {"config": self.config, "video_processor": self.video_processor}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def tokens(self, size: Size, count: int) -> VideoTokens:
        """The tokens of a video of ``count`` frames of ``size`` (width, height), in order.

        Raises:
            SdvlmError: the video does not fit the model.
        """
        if (size, count) not in self._kept:
            self._kept[size, count] = self._probed(size, count)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return self._kept[size, count]

    def packed(self, video: Video) -> Tensor:
        """(N, C) packed depth of the video's tokens, as ``depth_inputs.pack_depth`` makes it of pictures."""
        tokens = self.tokens(video.size, len(video))
        rows = torch.empty(len(tokens), len(CHANNELS))
        for first, last in np.unique(tokens.frames, axis=0):
            which = np.flatnonzero((tokens.frames == (first, last)).all(axis=1))
            boxes = tokens.boxes[which]
            seen = [(None, None)] if first < 0 else [(video.depth[i], video.camera[i]) for i in range(first, last + 1)]
            grids = [pool_depth(depth, boxes, video.size, camera) for depth, camera in seen]
            rows[torch.from_numpy(which)] = joined_frames(grids).pack()
        return rows

    def _probed(self, size: Size, count: int) -> VideoTokens:
        steps, joined = self.facts.frame(self.video_processor, size, count), self.facts.joined(self.video_processor)
        view, views = steps.target_size, -(-count // joined)
        cells, stride = self.family.cells(self.config, view), 2.0 * view[1]
        if self._skeleton is None:
            self._skeleton = build_skeleton(self.config, self.family)
        strip = [cells + np.array([0.0, index * stride, 0.0, index * stride]) for index in range(views)]
        inputs = self.facts.inputs(self.config, view, views)
        function = "get_image_features" if "pixel_values" in inputs else "get_video_features"
        found = probe(self._skeleton, self.family, inputs, strip, function)
        somewhere: NDArray[np.bool_] = np.asarray(np.isfinite(found).all(axis=1))
        of_view = np.where(somewhere[:, None], found[:, 1::2] // stride, -1).astype(np.int64)  # [N, 2] first and last
        if (of_view[:, 0] != of_view[:, 1]).any():
            raise SdvlmError(
                f"tokens of '{self.config.model_type}' look at several steps of a video, which is not known"
            )
        boxes = _whole(found - of_view[:, [0]] * np.array([0.0, stride, 0.0, stride]), cells)
        first = of_view * joined
        frames = np.minimum(first + np.array([0, joined - 1]), count - 1)
        return VideoTokens(steps.boxes_to_source(boxes), np.where(somewhere[:, None], frames, -1))


def _whole(boxes: Boxes, cells: Boxes) -> Boxes:
    """Boxes grown to whole cells: a token made between cells has the mean of their boxes and looks at all of them."""
    cell = np.tile(cells[0, 2:] - cells[0, :2], 2)
    places = boxes / cell
    grown = np.concatenate([np.floor(places[:, :2] + _NEAR), np.ceil(places[:, 2:] - _NEAR)], axis=1)
    return np.asarray(grown * cell)
