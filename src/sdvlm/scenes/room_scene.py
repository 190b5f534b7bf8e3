"""A procedural room as a `Scene` whose frames are rendered when they are loaded."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sdvlm.scenes.look import Look, sample_look
from sdvlm.scenes.render import Renderer
from sdvlm.scenes.rooms import Room
from sdvlm.scenes.scene import Scene, SceneFrame
from sdvlm.scenes.sensor import SensorConfig, sensor_depth
from sdvlm.types import Camera, DepthMap, RgbdFrame

__all__ = ["room_scene"]


def room_scene(
    room: Room,
    scene_id: str,
    cameras: Sequence[tuple[Camera, NDArray[np.float64]]],
    seed: int = 0,
    *,
    supersample: int = 2,
    sensor: SensorConfig | None = None,
) -> Scene:
    """Objects, mesh and frames of a room.

    Args:
        room: what to photograph.
        scene_id: name of the scene.
        cameras: intrinsics and (4, 4) pose T_world_cam of each frame.
        seed: decides the room's light, the frames' exposure and all noise; the same seed renders the same pixels.
        supersample: colour rays along each side of a pixel.
        sensor: adds pixel noise and a depth sensor's noise and holes; None: clean pictures and true depth.

    Returns:
        A scene whose frames carry the ids "0", "1", ... and render on `load`.
    """
    renderer = Renderer(room.mesh, room.face_materials)
    light = sample_look(
        np.random.default_rng(seed), room.size, supersample=supersample, sensor_noise=sensor is not None
    )

    def frame(index: int, camera: Camera, pose: NDArray[np.float64]) -> SceneFrame:
        def load() -> RgbdFrame:
            rng = np.random.default_rng([seed, index])
            look: Look = dataclasses.replace(light, exposure_ev=light.exposure_ev + float(rng.normal(0, 0.1)))
            drawn = renderer.render(camera, pose, look, rng)
            depth = drawn.depth_m if sensor is None else sensor_depth(drawn.depth_m, rng, sensor, drawn.image)
            return RgbdFrame(
                image=drawn.image,
                depth=DepthMap(depth, source="rendered" if sensor is None else "rendered sensor"),
                camera=camera,
                T_world_cam=pose,
                name=f"{scene_id}/{index}",
            )

        return SceneFrame(str(index), camera, pose, load)

    frames = tuple(frame(index, camera, pose) for index, (camera, pose) in enumerate(cameras))
    return Scene(scene_id, room.objects, frames, room.mesh, source="rooms")
