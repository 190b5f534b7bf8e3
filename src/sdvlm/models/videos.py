"""What callers hand over per video, brought into one shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sdvlm.fusion.config import FusionConfig
from sdvlm.models.depth_inputs import checked_depth
from sdvlm.models.pictures import picture_of
from sdvlm.types import Camera, DepthMap, SdvlmError

__all__ = ["Video", "checked_videos", "flat_videos"]


@dataclass(frozen=True, eq=False)
class Video:
    """Frames in order, all of one size, with what is known of each.

    Args:
        frames: (F, H, W, 3) uint8 RGB, F > 0.
        depth: F entries, a map of the frames' size or None.
        camera: F entries, for the frames' size, or None.
        fps: frames a second; None: not known.
    """

    frames: NDArray[np.uint8]
    depth: tuple[DepthMap | None, ...]
    camera: tuple[Camera | None, ...]
    fps: float | None = None

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the frames."""
        return self.frames.shape[2], self.frames.shape[1]

    @property
    def has_depth(self) -> bool:
        """Whether any depth of any frame is known."""
        return any(one is not None and bool(one.valid.any()) for one in self.depth)

    @property
    def metadata(self) -> dict[str, Any]:
        """What Hugging Face processors want to know of the frames: they are given as they are, none left out."""
        count, (width, height) = len(self), self.size
        times = {"fps": self.fps, "duration": None if self.fps is None else count / self.fps}
        indices = list(range(count))
        return {"total_num_frames": count, "width": width, "height": height, "frames_indices": indices, **times}


def flat_videos(values: Any) -> list[Any]:
    """None, one video, a list or a list of lists of them as a list."""
    if values is None:
        return []
    if _is_video(values) or not isinstance(values, list | tuple):
        return [values]
    return [video for value in values for video in flat_videos(value)]


def checked_videos(
    fusion: FusionConfig | None, videos: Sequence[Any], depth: Any = None, camera: Any = None, fps: Any = None
) -> list[Video]:
    """Videos with their depth, if it is of sizes and kinds the fusion takes.

    Args:
        fusion: of the model.
        videos: each (F, H, W, 3) uint8 or a list of F pictures of one size.
        depth: None, or for each video None or F entries, a ``DepthMap`` or None; of one video its F entries alone do.
        camera: the same of ``Camera``; or one for all frames, of a video or of all videos.
        fps: frames a second, one number or for each video one or None.

    Raises:
        SdvlmError: counts or sizes disagree, or the fusion takes no such depth, or none of videos.
    """
    frames = [_frames_of(video, index) for index, video in enumerate(videos)]
    counts = [len(one) for one in frames]
    depths, cameras = _per_video(depth, counts, "depth maps"), _per_video(camera, counts, "cameras")
    rates = list(fps) if isinstance(fps, list | tuple) else [fps] * len(frames)
    if len(rates) != len(frames):
        raise SdvlmError(f"got {len(rates)} frame rates for {len(frames)} videos; give one a video or one for all")
    out = []
    for one, maps, seen_by, rate in zip(frames, depths, cameras, rates, strict=True):
        size = (one.shape[2], one.shape[1])
        checked, poses = checked_depth(fusion, [size] * len(one), maps, seen_by)
        if rate is not None and not rate > 0:
            raise SdvlmError(f"a video has a positive number of frames a second; got {rate}")
        out.append(Video(one, tuple(checked), tuple(poses), rate))
        _check_fusion(fusion, out[-1])
    return out


def _is_video(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim == 4
    return isinstance(value, list | tuple) and len(value) > 0 and all(_is_frame(one) for one in value)


def _is_frame(value: Any) -> bool:
    return isinstance(value, Image.Image) or (isinstance(value, np.ndarray) and value.ndim == 3)


def _frames_of(video: Any, index: int) -> NDArray[np.uint8]:
    """(F, H, W, 3) uint8."""
    if not _is_video(video):
        what = f"an array of shape {video.shape}" if isinstance(video, np.ndarray) else f"a {type(video).__name__}"
        raise SdvlmError(f"a video is an (F, H, W, 3) uint8 array or a list of pictures; got {what}")
    pictures = [np.asarray(picture_of(frame)) for frame in video]
    sizes = sorted({f"{one.shape[1]}x{one.shape[0]}" for one in pictures})
    if len(sizes) != 1:
        raise SdvlmError(f"the frames of video {index} are of {' and '.join(sizes) or 'no'} pixels; one size is wanted")
    return np.stack(pictures)


def _per_video(values: Any, counts: Sequence[int], what: str) -> list[list[Any]]:
    """Entries of each frame of each video."""
    if values is None or isinstance(values, Camera):
        return [[values] * count for count in counts]
    given = list(values) if isinstance(values, list | tuple) else [values]
    if len(counts) == 1 and not any(isinstance(one, list | tuple) for one in given) and len(given) == counts[0]:
        given = [given]
    if len(given) != len(counts):
        raise SdvlmError(f"got {what} for {len(given)} videos, of which there are {len(counts)}; give a list a video")
    out = []
    for index, (one, count) in enumerate(zip(given, counts, strict=True)):
        entries = list(one) if isinstance(one, list | tuple) else [one] * count
        if isinstance(one, DepthMap):
            raise SdvlmError(f"video {index} has {count} frames and one depth map; give a list, one or None a frame")
        if len(entries) != count:
            raise SdvlmError(
                f"got {len(entries)} {what} for the {count} frames of video {index}; give one or None each"
            )
        out.append(entries)
    return out


def _check_fusion(fusion: FusionConfig | None, video: Video) -> None:
    """That the fusion takes depth of videos.

    Raises:
        SdvlmError: it does not.
    """
    if fusion is None or not any(one is not None for one in video.depth):
        return
    reason = ""
    if fusion.place != "tokens" or fusion.channels is not None:
        reason = f"the fusion '{fusion.name}' puts depth into pictures or the prompt, not into videos; use 'gated'"
    elif fusion.per_picture:
        reason = f"the coordinate '{fusion.coordinate}' is counted over one picture, not a video; use 'log_metric'"
    elif fusion.pooling == "unpadded":
        reason = "the pooling 'unpadded' is of pictures, not of videos; use the pooling 'boxes'"
    elif len({one.kind for one in video.depth if one is not None}) > 1:
        reason = "the depth maps of one video are of several kinds; give it depth of one kind"
    if reason:
        raise SdvlmError(reason)
