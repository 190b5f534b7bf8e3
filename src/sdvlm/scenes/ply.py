"""Binary PLY meshes with per-vertex properties, as ScanNet writes them.

Only what these files use: ``binary_little_endian 1.0``, scalar vertex properties, triangles as a ``uchar int`` list.
trimesh reads such files too, but merges vertices and drops labels; vertex order is what ScanNet's labels hang on.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sdvlm.types import SdvlmError

__all__ = ["read_ply", "write_ply"]

_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "<i2"),
    **dict.fromkeys(("ushort", "uint16"), "<u2"),
    **dict.fromkeys(("int", "int32"), "<i4"),
    **dict.fromkeys(("uint", "uint32"), "<u4"),
    **dict.fromkeys(("float", "float32"), "<f4"),
    **dict.fromkeys(("double", "float64"), "<f8"),
}
_NAMES = {
    "i1": "char",
    "u1": "uchar",
    "i2": "short",
    "u2": "ushort",
    "i4": "int",
    "u4": "uint",
    "f4": "float",
    "f8": "double",
}
_MAX_HEADER = 64 * 1024


def write_ply(path: Path, vertices: NDArray[np.void], faces: NDArray[np.int32]) -> None:
    """Write a mesh.

    Args:
        path: the file, written in place.
        vertices: (V,) structured array; each field becomes a vertex property of the same name.
        faces: (F, 3) vertex indices.
    """
    names = vertices.dtype.names or ()
    kinds = [vertices.dtype[name] for name in names]
    little = np.dtype([(name, kind.newbyteorder("<")) for name, kind in zip(names, kinds, strict=True)])
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(vertices)}"]
    lines += [f"property {_NAMES[kind.str[1:]]} {name}" for name, kind in zip(names, kinds, strict=True)]
    lines += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header"]
    packed = np.empty(len(faces), dtype=[("count", "u1"), ("corners", "<i4", (3,))])
    packed["count"], packed["corners"] = 3, faces
    header = "\n".join(lines) + "\n"
    path.write_bytes(header.encode("ascii") + vertices.astype(little).tobytes() + packed.tobytes())


def _header(data: bytes, path: Path) -> tuple[list[list[str]], int]:
    """Header lines split into words, and where the body starts."""
    end = data.find(b"end_header", 0, _MAX_HEADER)
    line_end = data.find(b"\n", end) + 1
    if not data.startswith(b"ply") or end < 0 or line_end == 0:
        raise SdvlmError(f"{path}: not a PLY file (no 'ply ... end_header' at its start)")
    return [line.split() for line in data[:end].decode("ascii", "replace").splitlines()[1:]], line_end


def _vertex_type(lines: list[list[str]], path: Path) -> tuple[np.dtype, int, int]:
    """Structured type of a vertex, number of vertices and of faces."""
    element, counts, fields = "", {"vertex": 0, "face": 0}, []
    for words in lines:
        match words:
            case ["format", kind, _] if kind != "binary_little_endian":
                raise SdvlmError(f"{path}: PLY format is {kind}; only binary_little_endian is read, convert the file")
            case ["element", name, count] if name in counts and count.isdigit():
                element, counts[name] = name, int(count)
            case ["property", kind, name] if element == "vertex" and kind in _TYPES:
                fields.append((name, _TYPES[kind]))
            case ["property", "list", "uchar" | "uint8", "int" | "int32" | "uint" | "uint32", _] if element == "face":
                pass
            case ["property" | "element", *_]:
                raise SdvlmError(
                    f"{path}: cannot read PLY line '{' '.join(words)}'; wanted scalar vertices and triangles"
                )
    if not {"x", "y", "z"} <= {name for name, _ in fields}:
        raise SdvlmError(f"{path}: PLY vertices lack x, y or z; found {[name for name, _ in fields]}")
    return np.dtype(fields), counts["vertex"], counts["face"]


def read_ply(path: Path) -> tuple[NDArray[np.void], NDArray[np.int32]]:
    """Read a mesh, vertices in the file's order.

    Returns:
        (V,) structured vertices with the file's property names, and (F, 3) int32 triangles.

    Raises:
        SdvlmError: not such a PLY, cut short, a face that is no triangle, or an index out of range.
    """
    data = path.read_bytes()
    lines, start = _header(data, path)
    vertex_type, vertex_count, face_count = _vertex_type(lines, path)
    face_type = np.dtype([("count", "u1"), ("corners", "<i4", (3,))])
    body = vertex_count * vertex_type.itemsize
    if len(data) < start + body + face_count * face_type.itemsize:
        raise SdvlmError(f"{path}: cut short, {len(data)} bytes for {vertex_count} vertices and {face_count} triangles")
    vertices = np.frombuffer(data, vertex_type, vertex_count, start)
    packed = np.frombuffer(data, face_type, face_count, start + body)
    faces = packed["corners"].astype(np.int32)
    if (packed["count"] != 3).any() or (len(faces) and not 0 <= faces.min() <= faces.max() < vertex_count):
        raise SdvlmError(f"{path}: faces must be triangles of vertices 0..{vertex_count - 1}")
    return vertices, faces
