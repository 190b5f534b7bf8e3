"""Look at a scene through its frames, whatever the scene has: a mesh, masks, or boxes alone.

With a mesh, instances are rendered into each picture and kept where the picture's own depth agrees (MSMU stage 2 and
the occlusion filter of stage 3). With masks or boxes alone, the measured depth decides what is seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sdvlm.data.colors import ColorWords, colors_from_pixels, instance_colors
from sdvlm.data.nouns import clean_label
from sdvlm.data.observe import Observation, observe
from sdvlm.scenes.frames_from_boxes import Seen, see_boxes, see_masks
from sdvlm.scenes.render import Renderer
from sdvlm.scenes.scene import Scene, SceneFrame, SceneObject
from sdvlm.types import DepthKind, DepthMap, RgbdFrame, SdvlmError

__all__ = ["SceneViewer", "View", "VisibilityConfig"]


@dataclass(frozen=True)
class VisibilityConfig:
    """When a pixel counts as seen."""

    depth_tolerance_m: float = 0.1
    """a rendered pixel counts as seen where the sensor measures the same depth up to this, metres ..."""
    depth_tolerance_share: float = 0.04
    """... or up to this share of the depth: sensors err more far away"""
    min_confirmed: float = 0.3
    """pixels the sensor did not measure count as seen only where it confirms this share of the object"""
    box_margin_m: float = 0.02
    """scenes without a mesh: how far outside its box a point of an object may lie, metres"""

    def __post_init__(self) -> None:
        if min(self.depth_tolerance_m, self.depth_tolerance_share, self.box_margin_m) < 0:
            raise SdvlmError("tolerances and margins of a view must not be negative")
        if not 0 <= self.min_confirmed <= 1:
            raise SdvlmError(f"min_confirmed is a share between 0 and 1; got {self.min_confirmed}")


@dataclass(frozen=True, eq=False)
class View:
    """One frame as loaded, with depth (measured or rendered), and what it sees."""

    frame: RgbdFrame
    observation: Observation


class SceneViewer:
    """Looks at the frames of one scene; what all frames share (ray tracer, colours of the mesh) is made once.

    Args:
        scene: with a mesh, or with frames that carry masks or depth.
        config: when a pixel counts as seen.
    """

    def __init__(self, scene: Scene, config: VisibilityConfig | None = None) -> None:
        self.scene = scene
        self.config = config or VisibilityConfig()
        self._objects = _labelled(scene.objects)
        self._renderer = None if scene.mesh is None else Renderer(scene.mesh)
        self._colors: Mapping[int, ColorWords] = {} if scene.mesh is None else instance_colors(scene.mesh)

    def view(self, frame: SceneFrame) -> View:
        """Load a frame and see what is in it.

        Raises:
            SdvlmError: the picture or its depth cannot be read, its depth is not metric, or it has none and the scene
                has neither a mesh to render it from nor masks.
        """
        loaded = frame.load()
        objects = self._objects if frame.objects is None else _labelled(frame.objects)
        if loaded.depth is not None and loaded.depth.kind is not DepthKind.METRIC:
            raise SdvlmError(f"{loaded.name}: depth is {loaded.depth.kind.value}; answers in metres need metric depth")
        if self._renderer is not None and frame.instances is None:
            return self._rendered(frame, loaded, objects, self._renderer)
        if loaded.depth is None:
            raise SdvlmError(f"{loaded.name}: has no depth, and the scene has no mesh to render it from")
        depth = loaded.depth.values
        seen = self._measured(frame, depth, objects)
        colors = colors_from_pixels(loaded.image, seen.instances)
        return View(loaded, self._observation(frame, objects, seen, depth, colors))

    def _rendered(
        self, frame: SceneFrame, loaded: RgbdFrame, objects: tuple[SceneObject, ...], renderer: Renderer
    ) -> View:
        config, camera, pose = self.config, frame.camera, frame.T_world_cam
        depth, instances = renderer.trace(camera, pose)
        ids = {thing.id for thing in objects}.intersection(np.unique(instances).tolist())
        amodal = renderer.amodal_counts(camera, pose, sorted(ids))
        seen = observe(
            objects,
            instances,
            depth,
            camera,
            pose,
            amodal=amodal,
            colors=self._colors,
            sensor_depth_m=None if loaded.depth is None else loaded.depth.values,
            depth_tolerance_m=config.depth_tolerance_m,
            depth_tolerance_share=config.depth_tolerance_share,
            min_confirmed=config.min_confirmed,
        )
        if loaded.depth is None:
            loaded = replace(loaded, depth=DepthMap(depth, source="rendered"))
        return View(loaded, seen)

    def _measured(self, frame: SceneFrame, depth: NDArray[np.float32], objects: tuple[SceneObject, ...]) -> Seen:
        config = self.config
        if frame.instances is None:
            return see_boxes(
                objects,
                depth,
                frame.camera,
                frame.T_world_cam,
                margin_m=config.box_margin_m,
                depth_tolerance_m=config.depth_tolerance_m,
            )
        return see_masks(
            frame.instances(),
            depth,
            objects,
            frame.camera,
            frame.T_world_cam,
            depth_tolerance_m=config.depth_tolerance_m,
            from_outline=self.scene.box_source == "fitted",
        )

    @staticmethod
    def _observation(
        frame: SceneFrame,
        objects: tuple[SceneObject, ...],
        seen: Seen,
        depth: NDArray[np.float32],
        colors: Mapping[int, ColorWords],
    ) -> Observation:
        return observe(
            objects,
            seen.instances,
            depth,
            frame.camera,
            frame.T_world_cam,
            amodal=seen.amodal,
            colors=colors,
            unconfirmed=seen.unconfirmed,
        )


def _labelled(objects: Sequence[SceneObject]) -> tuple[SceneObject, ...]:
    """With labels as questions can say them: "Office_Chair" is an office chair."""
    return tuple(replace(thing, category=clean_label(thing.category) or "unknown") for thing in objects)
