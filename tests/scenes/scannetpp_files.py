"""Write a procedural room as a ScanNet++ scene, file by file from the published layout, without the reader."""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdvlm.scenes.look import Look
from sdvlm.scenes.ply import write_ply
from sdvlm.scenes.render import Renderer
from sdvlm.scenes.rooms import Room
from sdvlm.types import Camera

FISHEYE = (96, 64, 46.0, 45.0, 48.7, 31.2, (0.03, -0.01, 0.004, -0.001))
OPENCV = (128, 96, 105.0, 104.0, 63.1, 48.6, (0.05, -0.02, 0.001, -0.002))


@dataclass(frozen=True)
class Taken:
    """A picture: its name, the true pose, and all that can be seen from there."""

    name: str
    pose: np.ndarray
    view: WideView


def fisheye_directions(width, height, fx, fy, cx, cy, k) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) x and y of the direction (x, y, 1) each pixel looks in: the polynomial inverted through a table."""
    theta = np.linspace(0, 1.5, 200_001)
    bent = theta + k[0] * theta**3 + k[1] * theta**5 + k[2] * theta**7 + k[3] * theta**9
    a = (np.arange(width) + 0.5 - cx) / fx
    b = (np.arange(height)[:, None] + 0.5 - cy) / fy
    radius = np.hypot(a, b)
    stretch = np.tan(np.interp(radius, bent, theta)) / np.maximum(radius, 1e-9)
    return a * stretch, b * stretch


def opencv_directions(width, height, fx, fy, cx, cy, d) -> tuple[np.ndarray, np.ndarray]:
    """The same for OpenCV's radial and tangential terms, by fixed point iteration."""
    k1, k2, p1, p2 = d
    a = np.broadcast_to((np.arange(width) + 0.5 - cx) / fx, (height, width))
    b = np.broadcast_to((np.arange(height)[:, None] + 0.5 - cy) / fy, (height, width))
    x, y = a, b
    for _ in range(200):
        r2 = x * x + y * y
        radial = 1 + k1 * r2 + k2 * r2**2
        x, y = (
            (a - 2 * p1 * x * y - p2 * (r2 + 2 * x * x)) / radial,
            (b - p1 * (r2 + 2 * y * y) - 2 * p2 * x * y) / radial,
        )
    return x, y


class WideView:
    """All that a place sees within ``reach`` of the axis, to look up directions (x, y, 1) in: one exposure for all."""

    def __init__(self, renderer: Renderer, pose: np.ndarray, directions: tuple[np.ndarray, np.ndarray]) -> None:
        reach = 1.02 * max(float(np.abs(one).max()) for one in directions)
        fov = 2 * math.degrees(math.atan(reach))
        self._cameras = Camera.from_fov(600, 600, fov), Camera.from_fov(1200, 1200, fov)
        self._image = renderer.render(self._cameras[0], pose, Look(supersample=1, shadows=False)).image
        self._depth, _ = renderer.trace(self._cameras[1], pose)

    def image(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return self._image[self._at(self._cameras[0], x, y)]

    def depth_m(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return self._depth[self._at(self._cameras[1], x, y)]

    @staticmethod
    def _at(camera: Camera, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.floor(y * camera.fy + camera.cy).astype(int), np.floor(x * camera.fx + camera.cx).astype(int)


def quaternion(R: np.ndarray) -> tuple[float, float, float, float]:
    """w, x, y, z by the eigenvector of Bar-Itzhack's matrix, which needs no case distinction."""
    K = np.array(
        [
            [R[0, 0] - R[1, 1] - R[2, 2], 0, 0, 0],
            [R[0, 1] + R[1, 0], R[1, 1] - R[0, 0] - R[2, 2], 0, 0],
            [R[0, 2] + R[2, 0], R[1, 2] + R[2, 1], R[2, 2] - R[0, 0] - R[1, 1], 0],
            [R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1], R[0, 0] + R[1, 1] + R[2, 2]],
        ]
    )
    _, vectors = np.linalg.eigh(K / 3)
    x, y, z, w = vectors[:, -1]
    return w, x, y, z


def colmap_text(folder: Path, model: str, numbers: tuple, taken: list[Taken]) -> None:
    width, height, fx, fy, cx, cy, bent = numbers
    folder.mkdir(parents=True)
    parameters = " ".join(map(repr, (fx, fy, cx, cy, *bent)))
    (folder / "cameras.txt").write_text(f"# Camera list\n1 {model} {width} {height} {parameters}\n")
    lines = ["# Image list with two lines of data per image:"]
    for index, one in enumerate(taken, start=1):
        T = np.linalg.inv(one.pose)
        words = [index, *quaternion(T[:3, :3]), *T[:3, 3], 1, one.name]
        points = "" if index % 2 else "10.5 20.5 -1 3.5 4.5 77"
        lines += [" ".join(map(str, words)), points]
    (folder / "images.txt").write_text("\n".join(lines) + "\n")
    (folder / "points3D.txt").write_text("# 3D point list\n")


def transform_matrix(pose: np.ndarray) -> list[list[float]]:
    """Camera-to-world as the release stores it: negate columns 1 and 2, swap rows 0 and 1, negate row 2."""
    flipped = pose @ np.diag([1.0, -1.0, -1.0, 1.0])
    permutation = np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1.0]])
    return (permutation @ flipped).tolist()


def nerfstudio_json(path: Path, model: str, numbers: tuple, taken: list[Taken], bad: tuple[str, ...] = ()) -> None:
    width, height, fx, fy, cx, cy, bent = numbers
    names = {"OPENCV_FISHEYE": ("k1", "k2", "k3", "k4"), "OPENCV": ("k1", "k2", "p1", "p2"), "PINHOLE": ()}[model]
    document = {"fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy, "w": width, "h": height, "camera_model": model}
    document |= dict(zip(names, bent, strict=False))
    frames = [
        {
            "file_path": one.name,
            "mask_path": one.name.replace("JPG", "png"),
            "transform_matrix": transform_matrix(one.pose),
            "is_bad": one.name in bad,
        }
        for one in taken
    ]
    document |= {"frames": frames[1:], "test_frames": frames[:1]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def write_scans(folder: Path, room: Room) -> None:
    """Mesh, segments and annotation; the second object's segments are also given to a larger object over it."""
    (folder / "scans").mkdir(parents=True)
    mesh = room.mesh
    fields = [(name, "<f4") for name in "xyz"] + [(name, "u1") for name in ("red", "green", "blue")]
    table = np.empty(len(mesh.vertices), dtype=fields)
    for column, name in enumerate("xyz"):
        table[name] = mesh.vertices[:, column]
    for column, name in enumerate(("red", "green", "blue")):
        table[name] = mesh.colors[:, column]
    write_ply(folder / "scans" / "mesh_aligned_0.05.ply", table, mesh.faces)
    segments = mesh.instances.astype(int) * 1000
    (folder / "scans" / "segments.json").write_text(
        json.dumps({"sceneId": folder.name, "segIndices": segments.tolist()})
    )
    groups = []
    for item in room.objects:
        box = item.box
        groups.append(
            {
                "id": item.id - 1,
                "objectId": item.id - 1,
                "label": item.category,
                "segments": [item.id * 1000],
                "obb": {
                    "centroid": box.center.tolist(),
                    "axesLengths": box.size[[2, 0, 1]].tolist(),
                    "normalizedAxes": box.rotation.T[[2, 0, 1]].ravel().tolist(),
                },
            }
        )
    two = sorted({int(item.id) for item in room.objects})[:2]
    groups.append({"id": 900, "objectId": 900, "label": "arrangement", "segments": [one * 1000 for one in two]})
    groups.append({"id": 901, "objectId": 901, "label": "REMOVE", "segments": [two[0] * 1000]})
    (folder / "scans" / "segments_anno.json").write_text(json.dumps({"sceneId": folder.name, "segGroups": groups}))


def write_dslr(folder: Path, room: Room, poses: list[np.ndarray]) -> list[Taken]:
    """Fisheye photographs with COLMAP and nerfstudio poses."""
    (folder / "dslr" / "resized_images").mkdir(parents=True)
    renderer, taken = Renderer(room.mesh), []
    x, y = fisheye_directions(*FISHEYE)
    for index, pose in enumerate(poses):
        one = Taken(f"DSC{index + 1:05d}.JPG", pose, WideView(renderer, pose, (x, y)))
        image = one.view.image(x, y)
        Image.fromarray(image).save(folder / "dslr" / "resized_images" / one.name, quality=98, subsampling=0)
        taken.append(one)
    colmap_text(folder / "dslr" / "colmap", "OPENCV_FISHEYE", FISHEYE, taken)
    nerfstudio_json(folder / "dslr" / "nerfstudio" / "transforms.json", "OPENCV_FISHEYE", FISHEYE, taken)
    return taken


def write_iphone(folder: Path, room: Room, poses: list[np.ndarray], every: int = 10) -> tuple[list[Taken], list]:
    """Phone frames 0, ``every``, 2 ``every``, ... with poses; also returns their (192, 256) depth, metres."""
    (folder / "iphone" / "rgb").mkdir(parents=True)
    (folder / "iphone" / "rgb.mkv").write_bytes(b"video")
    renderer, taken, depths = Renderer(room.mesh), [], []
    width, height, fx, fy, cx, cy, bent = OPENCV
    directions = opencv_directions(*OPENCV)
    fine = opencv_directions(2 * width, 2 * height, 2 * fx, 2 * fy, 2 * cx, 2 * cy, bent)
    for index, pose in enumerate(poses):
        one = Taken(f"frame_{every * index:06d}.jpg", pose, WideView(renderer, pose, directions))
        image = one.view.image(*directions)
        Image.fromarray(image).save(folder / "iphone" / "rgb" / one.name, quality=98, subsampling=0)
        depths.append(one.view.depth_m(*fine))
        taken.append(one)
    colmap_text(folder / "iphone" / "colmap", "OPENCV", OPENCV, taken)
    nerfstudio_json(folder / "iphone" / "nerfstudio" / "transforms.json", "OPENCV", OPENCV, taken)
    return taken, depths


def depth_pngs(folder: Path, depths: list[np.ndarray], every: int = 10) -> None:
    (folder / "iphone" / "depth").mkdir()
    for index, depth in enumerate(depths):
        stored = np.nan_to_num(depth.astype(float) * 1000).round().astype(np.uint16)
        Image.fromarray(stored).save(folder / "iphone" / "depth" / f"frame_{every * index:06d}.png")


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def depth_stream(frames: list[np.ndarray]) -> bytes:
    """All frames as float32 metres in one raw deflate stream."""
    return raw_deflate(b"".join(np.nan_to_num(frame).astype("<f4").tobytes() for frame in frames))


def counted_depth(frames: list[np.ndarray], lz4_frames: bool = True) -> bytes:
    """Each frame after its int32 count of bytes: uint16 millimetres in lz4, or float32 metres in raw deflate."""
    lz4 = pytest.importorskip("lz4.block") if lz4_frames else None
    out = b""
    for frame in frames:
        metres = np.nan_to_num(frame.astype(float))
        if lz4 is not None:
            packed = lz4.compress((metres * 1000).round().astype("<u2").tobytes(), store_size=False)
        else:
            packed = raw_deflate(metres.astype("<f4").tobytes())
        out += len(packed).to_bytes(4, "little", signed=True) + packed
    return out
