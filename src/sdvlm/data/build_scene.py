"""One scene into records: look at its frames, sort out what is fit to be asked about, name it, ask, explain.

Pure: the same scene and settings give the same records, whoever computes them and in whatever order.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from sdvlm.data.build_config import BuildConfig
from sdvlm.data.encode import encode_depth, encode_picture, plain_picture
from sdvlm.data.names import Names, name_objects
from sdvlm.data.observe import Observation
from sdvlm.data.question_config import QuestionConfig
from sdvlm.data.questions import ask_all
from sdvlm.data.reasoning import explain
from sdvlm.data.reasoning_endpoint import Reasoned
from sdvlm.data.record import FrameRecord, ObjectRecord
from sdvlm.data.schema import QuestionSample, QuestionType
from sdvlm.data.select import SelectConfig, Selection, select
from sdvlm.data.verify import find_faults
from sdvlm.data.view import SceneViewer, View
from sdvlm.scenes.scene import Scene, SceneFrame
from sdvlm.types import RgbdFrame, SdvlmError

__all__ = ["BuiltScene", "Namer", "Reasoner", "Rejection", "build_scene", "frame_rng"]


class Namer(Protocol):
    """Finds distinguishing names of a picture's kept objects, such as :class:`sdvlm.data.reword.Reworder`."""

    def names(self, frame: RgbdFrame, selection: Selection) -> dict[int, str]:
        """Names by instance id, each verified to mean that object alone; objects without one are left out."""


class Reasoner(Protocol):
    """Writes the chain of thought of a question, such as the endpoint of :mod:`sdvlm.data.reasoning_endpoint`."""

    def reason(
        self,
        frame: RgbdFrame,
        observation: Observation,
        samples: Sequence[QuestionSample],
        names: Mapping[int, Names],
        rng: np.random.Generator,
    ) -> list[Reasoned]:
        """A chain for each question, or why there is none."""


@dataclass(frozen=True)
class Rejection:
    """What could not be built and why: a scene, or one frame of it."""

    scene_id: str
    frame_id: str | None
    reason: str

    def to_dict(self) -> dict[str, str | None]:
        """A line of ``rejected.jsonl``."""
        return {"scene_id": self.scene_id, "frame_id": self.frame_id, "reason": self.reason}


@dataclass(frozen=True, eq=False)
class BuiltScene:
    """What one scene gave.

    Args:
        records: one for each picture that is asked about.
        dropped: why objects and frames were left out -> how many; objects are counted in every frame that sees them.
        rejected: frames that could not be read.
        split: the official split of the scene, if its source states one.
    """

    records: tuple[FrameRecord, ...]
    dropped: Mapping[str, int]
    rejected: tuple[Rejection, ...]
    split: str | None = None


def build_scene(
    scene: Scene,
    config: BuildConfig,
    allowed: frozenset[str] | None = None,
    namer: Namer | None = None,
    reasoner: Reasoner | None = None,
    *,
    verify: bool = False,
) -> BuiltScene:
    """Build the records of one scene.

    Args:
        scene: from a reader.
        config: what to build.
        allowed: categories common enough to be asked about; None: all, as ``config.select`` says.
        namer: finds names by looking; without one, and for what it cannot name, names come from geometry and colour.
        reasoner: writes chains of thought; without one the template engine does.
        verify: work every answer out a second time (:mod:`sdvlm.data.verify`); a frame with a wrong one is rejected.

    Raises:
        SdvlmError: the scene has no frame that can be used, or no object.
    """
    selecting = config.select if allowed is None else _only(config.select, allowed)
    viewer = SceneViewer(scene, config.visibility)
    builder = _FrameBuilder(scene, config, selecting, namer, reasoner, verify)
    rejected = [Rejection(scene.id, one.frame_id, one.reason) for one in scene.skipped if not one.expected]
    builder.dropped["frame: no pose"] += sum(one.expected for one in scene.skipped)
    if not scene.frames:
        why = f": {rejected[0].reason}" if rejected else ""
        raise SdvlmError(f"scene {scene.id} has no frame that can be used{why}")
    if not scene.objects and not any(frame.objects for frame in scene.frames):
        raise SdvlmError(f"scene {scene.id} is empty: it has {len(scene.frames)} frames and no annotated object")
    records = []
    for frame in _spread(scene.frames, config.frames_per_scene):
        try:
            record = builder.build(frame, viewer.view(frame))
        except SdvlmError as error:
            rejected.append(Rejection(scene.id, frame.id, str(error)))
            continue
        if record is not None:
            records.append(record)
    dropped = {reason: count for reason, count in sorted(builder.dropped.items()) if count}
    return BuiltScene(tuple(records), dropped, tuple(rejected), scene.split)


def frame_rng(seed: int, scene_id: str, frame_id: str) -> np.random.Generator:
    """The generator of one frame: of nothing but the seed and the two ids."""
    digest = hashlib.blake2b(f"{scene_id}\0{frame_id}".encode(), digest_size=16).digest()
    return np.random.default_rng([seed, *np.frombuffer(digest, dtype="<u4").tolist()])


class _FrameBuilder:
    """Builds frame after frame and counts what it leaves out."""

    def __init__(
        self,
        scene: Scene,
        config: BuildConfig,
        selecting: SelectConfig,
        namer: Namer | None,
        reasoner: Reasoner | None,
        verify: bool,
    ) -> None:
        self.scene, self.config, self.selecting = scene, config, selecting
        self.asking = _answerable(config.questions, scene)
        self.namer, self.reasoner, self.verify = namer, reasoner, verify
        self.dropped: Counter[str] = Counter()

    def build(self, frame: SceneFrame, view: View) -> FrameRecord | None:
        """The record of a frame; None where it gives too few questions."""
        scene, config = self.scene, self.config
        rng = frame_rng(config.seed, scene.id, frame.id)
        selection = select(view.observation, self.selecting)
        given = {} if self.namer is None else self.namer.names(view.frame, selection)
        names = name_objects(selection, config.names, given)
        self._count(selection, names)
        samples = ask_all(selection, rng, self.asking, name_config=config.names, given_names=given)
        if len(samples) < config.min_questions:
            self.dropped["frame: few questions"] += 1
            return None
        if self.verify:
            _refuse_wrong(samples, view.observation, given)
        return FrameRecord(
            scene_id=scene.id,
            frame_id=frame.id,
            image_id=f"{scene.id}/{frame.id}",
            picture=_picture(frame, view.frame),
            size=view.frame.size,
            depth_png=None if view.frame.depth is None else encode_depth(view.frame.depth),
            camera=frame.camera,
            T_world_cam=frame.T_world_cam,
            objects=_objects(selection, names),
            samples=tuple(self._explained(view, samples, names, rng)),
            source=scene.source,
            box_source=scene.box_source,
            depth_source="none" if view.frame.depth is None else view.frame.depth.source,
        )

    def _count(self, selection: Selection, names: Mapping[int, Names]) -> None:
        for reason, ids in selection.dropped.items():
            self.dropped[f"object: {reason}"] += len(ids)
        self.dropped["object: ambiguous name"] += sum(seen.id not in names for seen in selection.kept)

    def _explained(
        self, view: View, samples: Sequence[QuestionSample], names: Mapping[int, Names], rng: np.random.Generator
    ) -> Iterator[QuestionSample]:
        """The samples, some of them with a chain of thought."""
        for sample in samples:
            if rng.random() >= self.config.reasoning_share:
                yield sample
                continue
            if self.reasoner is None:
                chain = explain(sample, view.observation, rng, names=names)
            else:
                (result,) = self.reasoner.reason(view.frame, view.observation, [sample], names, rng)
                chain = result.reasoning
            self.dropped["reasoning: none right"] += chain is None
            yield replace(sample, reasoning=chain)


def _refuse_wrong(samples: Sequence[QuestionSample], observation: Observation, given: Mapping[int, str]) -> None:
    """Raise if an answer is not what the scene says. It never should be: then this library is wrong, not the data."""
    for sample in samples:
        faults = find_faults(sample, observation, given)
        if faults:
            raise SdvlmError(f"{sample.question!r} is answered wrongly: {faults[0]}")


def _answerable(config: QuestionConfig, scene: Scene) -> QuestionConfig:
    """Without the questions that the scene's annotation cannot answer.

    What is not annotated may be there all the same unless the annotation is exhaustive: no counts, no existence. And a
    box fitted to visible points ends where the object is hidden: no sizes.
    """
    if not scene.exhaustive:
        weights = dict(config.weights) | {QuestionType.COUNT: 0.0, QuestionType.ZERO: 0.0}
        config = replace(config, complete_labels=False, weights=weights)
    return replace(config, gravity_known=False) if scene.box_source == "fitted" else config


def _only(config: SelectConfig, allowed: frozenset[str]) -> SelectConfig:
    own = config.allowed_categories
    return replace(config, allowed_categories=allowed if own is None else own & allowed)


def _spread(frames: Sequence[SceneFrame], count: int | None) -> list[SceneFrame]:
    """So many frames, evenly spread from the first to the last."""
    if count is None or count >= len(frames):
        return list(frames)
    places = np.linspace(0, len(frames) - 1, count).round().astype(int) if count > 1 else [len(frames) // 2]
    return [frames[place] for place in places]


def _picture(frame: SceneFrame, loaded: RgbdFrame) -> bytes:
    """The picture as stored where that is what was looked at, else encoded anew."""
    stored = None if frame.picture is None else frame.picture()
    return encode_picture(loaded.image) if stored is None else plain_picture(stored)


def _objects(selection: Selection, names: Mapping[int, Names]) -> tuple[ObjectRecord, ...]:
    """Everything the frame sees, with the name it goes by and the reason it was dropped for."""
    why = {instance: reason for reason, ids in selection.dropped.items() for instance in ids}
    return tuple(
        ObjectRecord.of(seen, names[seen.id].best if seen.id in names else None, why.get(seen.id))
        for seen in selection.observation.objects
    )
