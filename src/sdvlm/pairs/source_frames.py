"""Frames that already have sensor depth, in any layout that `sdvlm.scenes.reader` reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sdvlm.data.encode import picture_header
from sdvlm.pairs.source import RawPair, Refusal
from sdvlm.pairs.source_files import check_chunk_size, chunk_key
from sdvlm.scenes.reader import SceneReader
from sdvlm.scenes.scene import SceneFrame
from sdvlm.types import SdvlmError

__all__ = ["FramesChunk", "FramesSource"]

_ONE_PICTURE_A_SCENE = ("sunrgbd",)
"""layouts whose scenes are single pictures; a chunk holds many of them"""


@dataclass(frozen=True)
class FramesChunk:
    """The frames of some scenes."""

    key: str
    reader: SceneReader
    scene_ids: tuple[str, ...]

    def read(self) -> Iterator[RawPair | Refusal]:
        """See :meth:`sdvlm.pairs.source.Chunk.read`; frames the scene leaves out for broken files are refusals."""
        for scene_id in self.scene_ids:
            try:
                scene = self.reader.read(scene_id)
            except SdvlmError as error:
                yield Refusal(scene_id, str(error))
                continue
            for skipped in scene.skipped:
                if not skipped.expected:
                    yield Refusal(f"{scene_id}/{skipped.frame_id}", f"{scene_id}/{skipped.frame_id}: {skipped.reason}")
            for frame in scene.frames:
                yield _pair(scene_id, frame)


@dataclass(frozen=True)
class FramesSource:
    """Posed RGB-D frames: a scene a chunk, as how many frames a scene has shows only when it is read.

    Scenes of thousands of frames are thinned by the reader's own ``frame_step``.
    """

    reader: SceneReader
    root: str
    name: str = field(default="frames", init=False)
    skipped: Counter[str] = field(default_factory=Counter, init=False, compare=False)

    def settings(self) -> dict[str, Any]:
        """See :meth:`sdvlm.pairs.source.PairSource.settings`."""
        options = {name: value for name, value in vars(self.reader).items() if name != "root"}
        return {"source": self.name, "reader": self.reader.name, "options": options}

    def chunks(self, size: int) -> Iterator[FramesChunk]:
        """See :meth:`sdvlm.pairs.source.PairSource.chunks`."""
        check_chunk_size(size)
        scene_ids = self.reader.scene_ids()
        if not scene_ids:
            raise SdvlmError(f"{self.root} holds no scene of layout {self.reader.name}")
        together = size if self.reader.name in _ONE_PICTURE_A_SCENE else 1
        for number, start in enumerate(range(0, len(scene_ids), together)):
            part = tuple(scene_ids[start : start + together])
            yield FramesChunk(chunk_key(number, *part), self.reader, part)


def _pair(scene_id: str, frame: SceneFrame) -> RawPair | Refusal:
    pair_id = f"{scene_id}/{frame.id}"
    try:
        loaded = frame.load()
        encoded = frame.picture() if frame.picture is not None else None
        if encoded is not None and not _plain(encoded):
            encoded = None
    except SdvlmError as error:
        return Refusal(pair_id, f"{pair_id}: {error}")
    return RawPair(pair_id, scene_id, loaded.image, encoded, loaded.depth, loaded.camera)


def _plain(encoded: bytes) -> bool:
    try:
        return picture_header(encoded).plain
    except SdvlmError:  # neither JPEG nor PNG
        return False
