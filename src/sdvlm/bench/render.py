"""How fast procedural rooms are rendered."""

from __future__ import annotations

from typing import Any

import numpy as np

from sdvlm.bench.timing import alternate
from sdvlm.scenes.look import sample_look
from sdvlm.scenes.render import Renderer
from sdvlm.scenes.rooms import make_room
from sdvlm.scenes.viewpoints import sample_cameras

__all__ = ["bench_render"]

SIZE = (320, 240)


def bench_render(rooms: int = 4, frames: int = 10, repeats: int = 5, seed: int = 0) -> dict[str, Any]:
    """Render views of furnished rooms at 320 x 240: colour, depth and instance ids; and geometry alone beside it.

    Args:
        rooms: different rooms.
        frames: views of each.
        repeats: timed turns over all of them.
        seed: of rooms, views and light.
    """
    rng = np.random.default_rng(seed)
    views = []
    for _ in range(rooms):
        room = make_room(rng)
        renderer = Renderer(room.mesh, room.face_materials)
        cameras = sample_cameras(room, rng, frames, SIZE, renderer=renderer)
        views += [(renderer, camera, pose, sample_look(rng, room.size)) for camera, pose in cameras]

    def draw() -> None:
        for renderer, camera, pose, look in views:
            renderer.render(camera, pose, look, rng)

    def trace() -> None:
        for renderer, camera, pose, _ in views:
            renderer.trace(camera, pose)

    times = alternate({"render": draw, "geometry_only": trace}, repeats)
    return {
        "frames_per_second": round(len(views) / times["render"].median, 1),
        "frames_per_second_range": [round(len(views) / pick(times["render"].seconds), 1) for pick in (max, min)],
        "frames_per_second_geometry_only": round(len(views) / times["geometry_only"].median, 1),
        "size": list(SIZE),
        "views": len(views),
        "threads": "Embree traces a bundle of rays on one thread",
        "times": {name: timing.to_dict() for name, timing in times.items()},
    }
