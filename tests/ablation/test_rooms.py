"""Squared pictures come back from disk as they were, and see what the nano model's processor would have seen."""

from pathlib import Path

import numpy as np

from sdvlm.ablation.materials import plain_model
from sdvlm.ablation.rooms import Rooms, read_rooms, square, views, write_rooms
from sdvlm.types import Camera, DepthMap, RgbdFrame


def test_rooms_are_read_as_they_were_written(tmp_path: Path, rooms: Rooms) -> None:
    write_rooms(tmp_path / "a.safetensors", rooms)
    again = read_rooms([tmp_path / "a.safetensors"] * 2)
    assert len(again) == 2 * len(rooms)
    for name in ("pictures", "depth_mm", "cameras"):
        one = getattr(rooms, name)
        np.testing.assert_array_equal(getattr(again, name), np.concatenate([one, one]))
    assert again.questions == rooms.questions * 2


def test_the_same_seed_gives_the_same_rooms(rooms: Rooms) -> None:
    again = Rooms.of(views(5, 2, 2, 16, rooms.pictures.shape[1]))
    np.testing.assert_array_equal(again.pictures, rooms.pictures)
    assert again.questions == rooms.questions


def test_squaring_is_what_the_processor_does(small_folder: Path) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (48, 80, 3)).astype(np.uint8)
    values = np.linspace(1, 4, 48 * 80).reshape(48, 80).astype(np.float32)
    frame = RgbdFrame(image, DepthMap(values), Camera.from_fov(80, 48, 60))
    squared = square(frame, 64)
    _, processor = plain_model(small_folder)
    whole, stretched = (
        processor.processor.image_processor([one.image], return_tensors="np")["pixel_values"]
        for one in (frame, squared)
    )
    np.testing.assert_allclose(whole, stretched, atol=0.03)  # rounded once between
    assert squared.camera is not None
    assert squared.camera.fov_x_deg == frame.camera.fov_x_deg
