"""What a peer's pipeline does for each object, on the same pictures and masks as ours.

Pipelines that start from single pictures (SpatialRGPT's and those after it) lift each mask to a point cloud: jitter
(sigma 4 mm), statistical outlier removal (10 neighbours, 1.2 standard deviations), voxels of max(1 cm, extent / 40),
DBSCAN (0.2 m, 10 points) of which the largest cluster stays, oriented box. Their libraries are Open3D, or here, where
that is not installed, SciPy and scikit-learn. What they run before it (tagger, detector, segmenter, depth network) is
not counted, nor is the extent's exact definition known to us: three times the norm of the standard deviations is taken.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdvlm.bench.timing import alternate, ratio
from sdvlm.data.observe import observe
from sdvlm.data.select import select
from sdvlm.data.view import SceneViewer, View
from sdvlm.extras import is_installed, require
from sdvlm.geometry.project import unproject
from sdvlm.scenes.fitted_box import fit_box
from sdvlm.scenes.reader import SceneReader
from sdvlm.scenes.render import Renderer
from sdvlm.scenes.scene import Scene, SceneFrame

__all__ = ["compare_with_peer", "peer_sides"]

_JITTER_M = 0.004
_NEIGHBOURS, _DEVIATIONS = 10, 1.2
_MIN_VOXEL_M, _VOXEL_SHARE = 0.01, 1 / 40
_EPS_M, _MIN_POINTS = 0.2, 10

Cloud = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Shot:
    """A frame with what was seen in it, and the objects fit to be asked about."""

    scene: Scene
    frame: SceneFrame
    view: View
    renderer: Renderer
    kept: tuple[int, ...]


def compare_with_peer(reader: SceneReader, repeats: int = 3) -> dict[str, Any]:
    """Time, and error of the sizes, of three ways to an object's box; one thread.

    ``ours`` renders the annotated scene into the picture (which makes the masks), counts hidden pixels and observes;
    boxes are the annotated ones. ``ours_from_masks`` fits a box to a mask's measured points, for sources without boxes.
    ``peer`` does what the module says, from the same masks and depth.

    Raises:
        SdvlmError: neither Open3D nor SciPy with scikit-learn is installed.
    """
    name, sides = peer_sides()
    shots = [shot for scene_id in reader.scene_ids() for shot in _shots(reader.read(scene_id))]
    objects = sum(len(shot.kept) for shot in shots)
    rng = np.random.default_rng(0)

    def ours() -> None:
        for shot in shots:
            _look(shot)

    def from_masks() -> list[tuple[float, ...]]:
        return [_fitted_sides(shot, one) for shot in shots for one in shot.kept]

    def peer() -> list[tuple[float, ...]]:
        return [sides(cloud, rng) for shot in shots for cloud in _clouds(shot)]

    times = alternate({"ours": ours, "ours_from_masks": from_masks, "peer": peer}, repeats)
    truth = [_truth(shot, one) for shot in shots for one in shot.kept]
    return {
        "with": name,
        "pictures": len(shots),
        "objects": objects,
        "ms_per_object": {way: round(1000 * timing.median / objects, 2) for way, timing in times.items()},
        "peer_over_ours": ratio(times["peer"], times["ours"]),
        "peer_over_ours_from_masks": ratio(times["peer"], times["ours_from_masks"]),
        "median_error_of_sizes": {
            "ours": 0.0,
            "ours_from_masks": _error(from_masks(), truth),
            "peer": _error(peer(), truth),
        },
    }


def peer_sides() -> tuple[str, Callable[[Cloud, np.random.Generator], tuple[float, ...]]]:
    """The libraries found, and the function from an object's points (N, 3) to its box's sides, longest first."""
    if not is_installed("open3d") and is_installed("sklearn") and is_installed("scipy"):
        tree, cluster = require("scipy.spatial").cKDTree, require("sklearn.cluster").DBSCAN
        return "scipy and scikit-learn", lambda cloud, rng: _scipy_sides(tree, cluster, cloud, rng)
    o3d = require("open3d", "the peer's pipeline")
    return f"open3d {o3d.__version__}", lambda cloud, rng: _open3d_sides(o3d, cloud, rng)


def _open3d_sides(o3d: Any, points: Cloud, rng: np.random.Generator) -> tuple[float, ...]:
    jittered = points + rng.normal(0, _JITTER_M, points.shape)
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(jittered))
    cloud, _ = cloud.remove_statistical_outlier(_NEIGHBOURS, _DEVIATIONS)
    cloud = cloud.voxel_down_sample(_voxel(np.asarray(cloud.points)))
    kept = _largest(np.asarray(cloud.cluster_dbscan(_EPS_M, _MIN_POINTS)))
    cloud = cloud.select_by_index(np.flatnonzero(kept))
    if len(cloud.points) < 4:
        return (0.0, 0.0, 0.0)
    return _descending(cloud.get_oriented_bounding_box(robust=True).extent)


def _scipy_sides(tree: Any, cluster: Any, points: Cloud, rng: np.random.Generator) -> tuple[float, ...]:
    cloud = points + rng.normal(0, _JITTER_M, points.shape)
    away = tree(cloud).query(cloud, k=min(_NEIGHBOURS, len(cloud)))[0].mean(axis=1)
    cloud = cloud[away <= away.mean() + _DEVIATIONS * away.std()]
    _, cells = np.unique(np.floor(cloud / _voxel(cloud)).astype(np.int64), axis=0, return_inverse=True)
    cells = cells.reshape(-1)
    cloud = np.stack([np.bincount(cells, axis) for axis in cloud.T], axis=1) / np.bincount(cells)[:, None]
    cloud = cloud[_largest(cluster(eps=_EPS_M, min_samples=_MIN_POINTS).fit_predict(cloud))]
    if len(cloud) < 4:
        return (0.0, 0.0, 0.0)
    axes = np.linalg.eigh(np.cov(cloud.T))[1]
    return _descending(np.ptp(cloud @ axes, axis=0))


def _voxel(points: Cloud) -> float:
    return max(_MIN_VOXEL_M, 3 * float(np.linalg.norm(points.std(axis=0))) * _VOXEL_SHARE)


def _largest(labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """The points of the biggest cluster; -1 is noise, and where all is noise all stay."""
    found = labels[labels >= 0]
    return np.asarray(labels == np.bincount(found).argmax()) if len(found) else np.ones(len(labels), dtype=bool)


def _shots(scene: Scene) -> list[_Shot]:
    viewer = SceneViewer(scene)
    assert scene.mesh is not None  # rooms have one
    renderer = Renderer(scene.mesh)
    shots = []
    for frame in scene.frames:
        view = viewer.view(frame)
        kept = tuple(one.id for one in select(view.observation).kept)
        shots.append(_Shot(scene, frame, view, renderer, kept))
    return shots


def _look(shot: _Shot) -> None:
    camera, pose = shot.frame.camera, shot.frame.T_world_cam
    depth, instances = shot.renderer.trace(camera, pose)
    ids = np.unique(instances[instances > 0]).tolist()
    amodal = shot.renderer.amodal_counts(camera, pose, ids)
    observe(shot.scene.objects, instances, depth, camera, pose, amodal=amodal, sensor_depth_m=_measured(shot))


def _measured(shot: _Shot) -> NDArray[np.float32]:
    assert shot.view.frame.depth is not None  # a view has depth
    return shot.view.frame.depth.values


def _clouds(shot: _Shot) -> list[Cloud]:
    """World points of each kept object's mask. The peer makes the picture's points once, too."""
    depth = _measured(shot)
    points = unproject(depth, shot.frame.camera) @ shot.frame.T_world_cam[:3, :3].T + shot.frame.T_world_cam[:3, 3]
    return [points[shot.view.observation.mask(one) & np.isfinite(depth)] for one in shot.kept]


def _fitted_sides(shot: _Shot, instance: int) -> tuple[float, ...]:
    mask = shot.view.observation.mask(instance)
    box = fit_box(mask, _measured(shot), shot.frame.camera, shot.frame.T_world_cam)
    return (0.0, 0.0, 0.0) if box is None else _descending(box.size)


def _truth(shot: _Shot, instance: int) -> tuple[float, ...]:
    return _descending(shot.view.observation.object(instance).object.box.size)


def _descending(sides: Any) -> tuple[float, ...]:
    return tuple(sorted(map(float, sides), reverse=True))


def _error(found: list[tuple[float, ...]], truth: list[tuple[float, ...]]) -> float:
    """Median over objects of the largest relative error among the three sides."""
    return round(
        statistics.median(
            max(abs(one - true) / true for one, true in zip(sides, trues, strict=True))
            for sides, trues in zip(found, truth, strict=True)
        ),
        3,
    )
