from pathlib import Path

import numpy as np
import pytest
import trimesh

from sdvlm.scenes.ply import read_ply, write_ply
from sdvlm.types import SdvlmError

FIELDS = [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("red", "u1"), ("green", "u1"), ("blue", "u1"), ("label", "<u2")]


@pytest.fixture
def mesh() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    vertices = np.zeros(7, dtype=FIELDS)
    for name in "xyz":
        vertices[name] = rng.normal(size=7)
    vertices["red"], vertices["label"] = np.arange(7), 39
    return vertices, np.array([[0, 1, 2], [2, 3, 4], [4, 5, 6]], dtype=np.int32)


def test_written_meshes_read_back_bit_for_bit(tmp_path: Path, mesh: tuple[np.ndarray, np.ndarray]) -> None:
    write_ply(tmp_path / "a.ply", *mesh)
    vertices, faces = read_ply(tmp_path / "a.ply")
    assert np.array_equal(vertices, mesh[0])
    assert np.array_equal(faces, mesh[1])


def test_an_independent_reader_sees_the_same_geometry(tmp_path: Path, mesh: tuple[np.ndarray, np.ndarray]) -> None:
    write_ply(tmp_path / "a.ply", *mesh)
    loaded = trimesh.load(tmp_path / "a.ply", process=False)
    assert loaded.vertices == pytest.approx(np.stack([mesh[0][axis] for axis in "xyz"], axis=-1))
    assert np.array_equal(loaded.faces, mesh[1])


def test_a_file_of_an_independent_writer_is_read(tmp_path: Path) -> None:
    box = trimesh.creation.box((1, 2, 3))
    box.visual.vertex_colors = [10, 20, 30, 255]
    box.export(tmp_path / "box.ply", encoding="binary")
    vertices, faces = read_ply(tmp_path / "box.ply")
    assert np.stack([vertices[axis] for axis in "xyz"], axis=-1) == pytest.approx(box.vertices)
    assert np.array_equal(faces, box.faces)
    assert (vertices["green"] == 20).all()


def test_broken_files_are_refused_in_one_line(tmp_path: Path, mesh: tuple[np.ndarray, np.ndarray]) -> None:
    path = tmp_path / "a.ply"
    write_ply(path, *mesh)
    whole = path.read_bytes()
    for data, message in [
        (whole[:-3], "cut short"),
        (b"hello", "not a PLY"),
        (whole.replace(b"binary_little_endian", b"binary_big_endian"), "binary_big_endian"),
        (whole.replace(b"property float z", b"property float w"), "lack x, y or z"),
        (whole.replace(b"property ushort label", b"property list uchar int label"), "cannot read PLY line"),
        (whole[:-1] + b"\x7f", "triangles of vertices"),
    ]:
        path.write_bytes(data)
        with pytest.raises(SdvlmError, match=message):
            read_ply(path)
