"""What oriented boxes and a viewpoint decide, worked out from the boxes' corners alone.

The checkers' own geometry: no extents, no box code of the rest of the project. Any rigid frame will do, metres.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["BEST", "BoxView", "nearest_to_origin"]

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class BoxView:
    """Boxes by their corners, and who looks at them.

    Args:
        corners: (8, 3) of each box by instance id, ordered as :meth:`sdvlm.types.Box3D.corners` orders them.
        eye: (3,) the camera's centre.
        across, forward: (3,) unit vectors of the camera to the right and along the optical axis.
        up: (3,) unit vector; None: the third axis of each box is the vertical one.
    """

    corners: Mapping[int, Vector]
    eye: Vector
    across: Vector
    forward: Vector
    up: Vector | None

    def middle(self, instance: int) -> Vector:
        """(3,) mean of the corners."""
        return np.asarray(self.corners[instance].mean(axis=0))

    def range(self, instance: int) -> float:
        """Metres from the camera's centre to the middle."""
        return float(np.linalg.norm(self.middle(instance) - self.eye))

    def depth(self, instance: int) -> float:
        """Metres along the optical axis to the middle."""
        return float((self.middle(instance) - self.eye) @ self.forward)

    def extents(self, instance: int) -> tuple[float, float, float]:
        """Longer and shorter horizontal edge and vertical edge, metres."""
        edges = self.corners[instance][[4, 2, 1]] - self.corners[instance][0]
        lengths = np.linalg.norm(edges, axis=1)
        rise = np.abs(edges @ self.up) / np.maximum(lengths, 1e-12) if self.up is not None else np.array([0, 0, 1.0])
        vertical = int(np.argmax(rise))
        short, long = sorted(np.delete(lengths, vertical).tolist())
        return long, short, float(lengths[vertical])

    def height(self, instance: int) -> float:
        """Vertical edge, metres."""
        return self.extents(instance)[2]

    def volume(self, instance: int) -> float:
        """Cubic metres."""
        return float(np.prod(self.extents(instance)))

    def gap(self, first: int, second: int) -> float:
        """Metres between the two solid boxes, 0 where they touch: the least vector from one to the other."""
        differences = self.corners[first][:, None] - self.corners[second][None]
        return nearest_to_origin(differences.reshape(-1, 3))

    def lengths(self, definition: str, ids: Sequence[int], count: int) -> tuple[float, ...]:
        """The lengths a definition asks for of the objects named; of heights the last ``count`` (others are given)."""
        if definition == "centre_to_centre":
            return (float(np.linalg.norm(self.middle(ids[0]) - self.middle(ids[1]))),)
        if definition == "closest_surfaces":
            return (self.gap(ids[0], ids[1]),)
        if definition == "camera_to_centre":
            return (self.range(ids[0]),)
        if definition == "depth_of_centre":
            return (self.depth(ids[0]),)
        if definition == "height":
            return tuple(self.height(instance) for instance in ids[-count:])
        long, short, height = self.extents(ids[0])
        return {"width": (short,), "length": (long,)}.get(definition, (long, short, height))

    def order(self, definition: str, first: int, second: int) -> str:
        """Yes, no, or undecided where range and depth disagree: nearer than, in front of, behind."""
        nearer = self.range(first) < self.range(second)
        if definition == "nearer_than":
            return "yes" if nearer else "no"
        if nearer != (self.depth(first) < self.depth(second)):
            return "undecided"
        return "yes" if nearer == (definition == "in_front_of") else "no"

    def best(self, definition: str, ids: Sequence[int]) -> int:
        """Position of the object that wins a comparison."""
        measure, choose = BEST[definition]
        measured = [measure(self, instance) for instance in ids]
        return measured.index(choose(measured))

    def meant_by_size(self, word: str, ids: Sequence[int]) -> set[int]:
        """Whom a size word may mean: of a comparative all unless there are two.

        The largest may be any that no other exceeds in volume without being less in any extent.
        """
        if word.endswith("er") and len(ids) != 2:
            return set(ids)
        sign = 1 if word.startswith(("tall", "larg")) else -1
        if word.startswith(("tall", "short")):
            most = max(sign * self.height(instance) for instance in ids)
            return {instance for instance in ids if sign * self.height(instance) == most}
        return {one for one in ids if not any(self._exceeds(other, one, sign) for other in ids)}

    def _exceeds(self, other: int, one: int, sign: int) -> bool:
        pairs = zip(self.extents(other), self.extents(one), strict=True)
        more = sign * self.volume(other) > sign * self.volume(one)
        return more and all(sign * theirs >= sign * mine - 1e-9 for theirs, mine in pairs)

    def lies_left(self, first: int, second: int) -> bool:
        """Whether the first one's middle lies left of the second's, for the camera."""
        return bool((self.middle(second) - self.middle(first)) @ self.across > 0)


BEST: Mapping[str, tuple[Callable[[BoxView, int], float], Callable[[Sequence[float]], float]]] = {
    "tallest": (BoxView.height, max),
    "shortest": (BoxView.height, min),
    "nearest": (BoxView.range, min),
    "farthest": (BoxView.range, max),
}
"""What a comparison measures, and which value of it wins."""


def nearest_to_origin(points: NDArray[np.float64], tolerance: float = 1e-12) -> float:
    """Distance of the origin from the convex hull of (N, 3) points: 0 inside.

    Wolfe's method ("Finding the nearest point in a polytope", 1976): the nearest point of the hull of a few points,
    one more wherever the hull reaches further towards the origin.
    """
    chosen = [int(np.argmin(np.einsum("ij,ij->i", points, points)))]
    weights = np.ones(1)
    nearest = points[chosen[0]]
    for _ in range(200):
        reach = points @ nearest
        step = int(np.argmin(reach))
        if nearest @ nearest - reach[step] <= tolerance * max(1.0, float(nearest @ nearest)) or step in chosen:
            break
        chosen.append(step)
        weights = np.append(weights, 0.0)
        while True:
            flat = _nearest_of_plane(points[chosen])
            if (flat > 1e-12).all():
                weights = flat
                break
            outside = flat <= 1e-12
            stop = float(np.min(weights[outside] / np.maximum(weights[outside] - flat[outside], 1e-300), initial=1.0))
            weights = (1 - stop) * weights + stop * flat
            stay = weights > 1e-12
            if stay.all():  # the newest point alone was in the way
                stay[int(np.argmin(weights))] = False
            chosen = [one for one, keep in zip(chosen, stay, strict=True) if keep]
            weights = weights[stay] / weights[stay].sum()
        nearest = weights @ points[chosen]
    return float(np.linalg.norm(nearest))


def _nearest_of_plane(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights, summing to 1, of the point nearest to the origin on the flat through (n, 3) points."""
    n = len(points)
    system = np.ones((n + 1, n + 1))
    system[:n, :n], system[n, n] = points @ points.T, 0.0
    return np.asarray(np.linalg.lstsq(system, np.append(np.zeros(n), 1.0), rcond=None)[0][:n])
