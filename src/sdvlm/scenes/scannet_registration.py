"""Whether a scan's depth is registered to its colour, told by the mesh, and bringing it there.

The text file of a scene may give ``colorToDepthExtrinsics``: where the depth sensor stood beside the colour camera.
It does not say whether the stored depth was registered since. The mesh does: poses are those of the colour camera, so
depth that was registered agrees with the mesh seen from the pose, and depth that was not agrees with the mesh seen
from beside it.
"""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from sdvlm.scenes.rays import embree_scene, grid_rays, world_rays
from sdvlm.scenes.scannet_streams import Stream
from sdvlm.scenes.scene import SceneMesh
from sdvlm.types import Camera, SdvlmError

__all__ = ["depth_stands_beside"]

logger = logging.getLogger(__name__)

_FRAMES = 6
_GRID = (64, 48)
_FEWEST = 300
"""compared pixels below which nothing is concluded"""
_NO_HIT = 1e30
_FAR_OFF_M = 0.3
"""a measurement that lies farther from the mesh under both hypotheses is of something else"""


def depth_stands_beside(
    stream: Stream, mesh: SceneMesh, T_aligned_raw: NDArray[np.float64], T_depth_color: NDArray[np.float64]
) -> bool:
    """Whether stored depth agrees better with the mesh seen from the depth sensor's place than from the pose.

    Args:
        stream: stored frames; a few of them are read.
        mesh: in the aligned frame.
        T_aligned_raw: (4, 4) alignment of the poses.
        T_depth_color: (4, 4) ``colorToDepthExtrinsics``.
    """
    if len(mesh.faces) == 0:
        return False
    scene = embree_scene(mesh.vertices, mesh.faces)
    rows, columns = _grid(stream.depth_camera)
    rays = grid_rays(stream.depth_camera, columns, rows)
    T_color_depth = np.linalg.inv(T_depth_color)
    errors = []
    chosen = stream.frames[:: max(1, len(stream.frames) // _FRAMES)][:_FRAMES]
    for frame in chosen:
        try:
            measured = frame.depth_m()[np.ix_(rows, columns)].ravel()
        except SdvlmError as error:
            logger.info("frame %s is not used to tell whether depth is registered: %s", frame.id, error)
            continue
        pose = T_aligned_raw @ frame.pose
        both = []
        for T_world_depth in (pose, pose @ T_color_depth):
            hits = scene.run(*world_rays(rays, T_world_depth), output=True)
            both.append(np.abs(np.where(hits["tfar"] < _NO_HIT, hits["tfar"], np.nan) - measured))
        errors.append(np.stack(both))
    differences = np.concatenate(errors, axis=1) if errors else np.empty((2, 0))
    with np.errstate(invalid="ignore"):
        differences = differences[:, (differences < _FAR_OFF_M).any(axis=0) & np.isfinite(differences).all(axis=0)]
    if differences.shape[1] < _FEWEST:
        logger.warning("too little depth to tell whether it is registered to colour; taken as registered")
        return False
    registered, beside = np.minimum(differences, _FAR_OFF_M).mean(axis=1)
    logger.info("depth differs from the mesh by %.4f m as registered, by %.4f m as unregistered", registered, beside)
    return bool(beside < registered)


def _grid(camera: Camera) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of a coarse grid of depth pixels."""
    columns = np.unique(np.linspace(0, camera.width - 1, _GRID[0]).astype(np.int64))
    rows = np.unique(np.linspace(0, camera.height - 1, _GRID[1]).astype(np.int64))
    return rows, columns
