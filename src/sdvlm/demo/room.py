"""A room worth looking at, the best view of it, and questions of all eight kinds with their true answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sdvlm.data.colors import ColorWords, instance_colors
from sdvlm.data.names import name_objects
from sdvlm.data.observe import Observation, observe
from sdvlm.data.questions import QuestionConfig, ask_all
from sdvlm.data.scaled_question import scaled_question
from sdvlm.data.schema import QuestionSample, QuestionType
from sdvlm.data.select import Selection, select
from sdvlm.demo import DEFAULT_SEED
from sdvlm.eval.perturb import with_scaled_depth
from sdvlm.scenes.look import sample_look
from sdvlm.scenes.render import Renderer
from sdvlm.scenes.rooms import Room, RoomConfig, make_room
from sdvlm.scenes.viewpoints import ViewConfig, sample_cameras
from sdvlm.types import Camera, DepthMap, RgbdFrame, SdvlmError

__all__ = ["DemoView", "make_demo_view", "pick_questions"]

_ROOM = RoomConfig(side_m=(3.6, 6.5), objects=(12, 18), kinds=("living", "bedroom", "office", "dining", "studio"))
_VIEWS = ViewConfig(fov_x_deg=(58.0, 74.0), height_m=(1.3, 1.75), tilt_deg=(8.0, 22.0), objects=6)
_PICTURE, _GLANCE = (640, 480), (160, 120)
_MAX_ROOMS, _VIEWS_A_ROOM = 8, 10
_ENOUGH_OBJECTS = 6

View = tuple[Camera, NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class DemoView:
    """One picture of a room with everything known about it.

    Args:
        room: what was built.
        frame: picture, depth, camera and pose.
        selection: the objects the picture shows, and which of them are fit to be asked about.
        names: what each object fit to be asked about is called, by instance id.
        questions: with true answers, all eight kinds.
    """

    room: Room
    frame: RgbdFrame
    selection: Selection
    names: dict[int, str]
    questions: tuple[QuestionSample, ...]

    def at_scale(self, factor: float) -> DemoView:
        """The same picture of a room ``factor`` times as large, with the questions whose answer is another then."""
        scaled = [(one, scaled_question(one, factor)) for one in self.questions]
        changed = [new for old, new in scaled if new is not None and new.answer != old.answer]
        return replace(self, frame=with_scaled_depth(self.frame, factor), questions=tuple(changed))


def make_demo_view(seed: int = DEFAULT_SEED, count: int = 12) -> DemoView:
    """Build rooms until one has a view in which all eight kinds of question can be asked.

    Args:
        seed: decides everything.
        count: how many questions, at least 8.

    Raises:
        SdvlmError: fewer than 8 questions are wanted, or no room of several offers them all (another seed does).
    """
    if count < len(QuestionType):
        raise SdvlmError(f"the demo asks all {len(QuestionType)} kinds, so at least that many questions; got {count}")
    rng = np.random.default_rng(seed)
    for _ in range(_MAX_ROOMS):
        room = make_room(rng, _ROOM)
        renderer = Renderer(room.mesh, room.face_materials)
        colors = instance_colors(room.mesh)
        views = sample_cameras(room, rng, _VIEWS_A_ROOM, _GLANCE, _VIEWS, renderer)
        glances = [_look(room, renderer, view, colors) for view in views]
        ranked = sorted(zip(glances, views, strict=True), key=lambda pair: -_worth(pair[0]))
        for glance, (camera, pose) in ranked[:2]:
            if len(glance.kept) < _ENOUGH_OBJECTS:
                continue
            view = Camera.from_fov(*_PICTURE, camera.fov_x_deg), pose
            selection = _look(room, renderer, view, colors)
            config = QuestionConfig(per_frame=96, answer_style="short", extra_color_probability=0.5)
            questions = pick_questions(ask_all(selection, rng, config), count)
            if len({question.type for question in questions}) == len(QuestionType):
                return _finish(room, renderer, view, selection, questions, rng)
    raise SdvlmError(f"seed {seed}: no view among {_MAX_ROOMS} rooms lets all kinds be asked; try another --seed")


def pick_questions(samples: Sequence[QuestionSample], count: int) -> list[QuestionSample]:
    """The kinds in turn, each time a question about what has been asked about least; in the order of the kinds."""
    picked: list[QuestionSample] = []
    asked: dict[object, int] = {}
    rest = {kind: [sample for sample in samples if sample.type is kind] for kind in QuestionType}
    while len(picked) < count and any(rest.values()):
        for kind in QuestionType:
            if rest[kind] and len(picked) < count:
                best = min(rest[kind], key=lambda sample: sum(asked.get(key, 0) for key in _subjects(sample)))
                rest[kind].remove(best)
                picked.append(best)
                for key in _subjects(best):
                    asked[key] = asked.get(key, 0) + 1
    return sorted(picked, key=lambda sample: list(QuestionType).index(sample.type))


def _subjects(sample: QuestionSample) -> list[object]:
    return [*sample.objects, *sample.names, sample.answer_typed.definition, sample.answer_typed.values]


def _look(room: Room, renderer: Renderer, view: View, colors: Mapping[int, ColorWords]) -> Selection:
    camera, pose = view
    depth_m, instances = renderer.trace(camera, pose)
    amodal = renderer.amodal_counts(camera, pose, tuple(np.unique(instances[instances > 0]).tolist()))
    return select(observe(room.objects, instances, depth_m, camera, pose, amodal=amodal, colors=colors))


def _worth(selection: Selection) -> float:
    """Many different, nameable things that fill the picture; none cut off in front."""
    observation = selection.observation
    named = name_objects(selection)
    kinds = {one.category for one in selection.kept if one.id in named}
    filled = float((observation.instances > 0).mean())
    return len(named) + len(kinds) + 6 * min(filled, 0.5) - 8 * _cut_off(observation)


def _cut_off(observation: Observation) -> float:
    """Share of the picture that things mostly outside it take up."""
    pixels = sum(one.pixel_count for one in observation.objects if one.truncation > 0.3)
    return pixels / observation.instances.size


def _finish(
    room: Room,
    renderer: Renderer,
    view: View,
    selection: Selection,
    questions: Sequence[QuestionSample],
    rng: np.random.Generator,
) -> DemoView:
    camera, pose = view
    rendering = renderer.render(camera, pose, sample_look(rng, room.size, supersample=2), rng)
    depth = DepthMap(rendering.depth_m, source="rendered")
    frame = RgbdFrame(rendering.image, depth, camera, pose, name="demo room")
    names = {instance: (name.plain + name.placed)[0] for instance, name in name_objects(selection).items()}
    return DemoView(room, frame, selection, names, tuple(questions))
