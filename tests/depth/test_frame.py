import json
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdvlm.depth.frame import load_image, load_rgbd
from sdvlm.depth.io import write_depth
from sdvlm.types import Camera, DepthKind, DepthMap, SdvlmError

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data" / "real_rgbd"
ORIENTATION = 0x0112


def picture(height: int = 24, width: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(path: Path, image: np.ndarray, **options: object) -> Path:
    Image.fromarray(image).save(path, **options)
    return path


def test_a_picture_loads_as_it_was_saved(tmp_path: Path) -> None:
    np.testing.assert_array_equal(load_image(save(tmp_path / "a.png", picture())), picture())


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (1, lambda image: image),
        (2, lambda image: image[:, ::-1]),
        (3, lambda image: image[::-1, ::-1]),
        (6, lambda image: np.rot90(image, -1)),
        (8, lambda image: np.rot90(image, 1)),
    ],
)
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, turn: object) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path = save(tmp_path / "a.png", picture(), exif=exif)
    np.testing.assert_array_equal(load_image(path), turn(picture()))  # type: ignore[operator]


def test_grey_palette_and_transparent_pictures_become_rgb(tmp_path: Path) -> None:
    grey = picture()[..., 0]
    np.testing.assert_array_equal(load_image(save(tmp_path / "g.png", grey)), np.repeat(grey[..., None], 3, axis=2))
    alpha = np.dstack([picture(), np.full((24, 32), 7, dtype=np.uint8)])
    np.testing.assert_array_equal(load_image(save(tmp_path / "t.png", alpha)), picture())
    Image.fromarray(picture()).quantize(8).save(tmp_path / "p.png")
    assert load_image(tmp_path / "p.png").shape == (24, 32, 3)


def test_unusable_pictures_are_refused_in_one_line(tmp_path: Path) -> None:
    whole = save(tmp_path / "whole.jpg", picture(200, 200)).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("hello")
    save(tmp_path / "depth.png", np.full((4, 4), 2000, dtype=np.uint16))
    for name, match in {
        "none.jpg": "no such file",
        ".": "is a folder",
        "cut.jpg": "damaged or cut short",
        "empty.jpg": r"empty \(0 bytes\)",
        "text.jpg": "no picture that can be read",
        "depth.png": "16-bit greyscale, which looks like depth",
    }.items():
        with pytest.raises(SdvlmError, match=match) as caught:
            load_image(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_depth_and_camera_come_along(tmp_path: Path) -> None:
    image = save(tmp_path / "a.png", picture())
    depth = write_depth(tmp_path / "d.png", DepthMap(np.linspace(1, 4, 24 * 32).reshape(24, 32)))
    frame = load_rgbd(image, depth, "30,31,15.5,11.5")
    assert frame.depth is not None
    assert frame.depth.kind is DepthKind.METRIC
    assert frame.camera == Camera(32, 24, 30, 31, 16, 12)
    assert frame.name == "a.png"
    bare = load_rgbd(image)
    assert bare.depth is None
    assert bare.camera is None


def test_depth_of_another_size_is_refused_with_both_sizes_and_the_fix(tmp_path: Path) -> None:
    image = save(tmp_path / "a.png", picture(24, 32))
    depth = write_depth(tmp_path / "d.png", DepthMap(np.full((12, 16), 2.0)))
    with pytest.raises(SdvlmError, match=r"depth is 16x12 but the image is 32x24; pass .*--resize-depth"):
        load_rgbd(image, depth)


@pytest.mark.parametrize("small", [(12, 16), (9, 13), (48, 64)])
def test_resized_depth_is_nearest_and_invents_no_value(tmp_path: Path, small: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    values = np.where(rng.random(small) < 0.2, np.nan, np.where(rng.random(small) < 0.5, 1.0, 5.0))
    image = save(tmp_path / "a.png", picture(24, 32))
    depth = write_depth(tmp_path / "d.npz", DepthMap(values))
    frame = load_rgbd(image, depth, resize_depth=True)
    assert frame.depth is not None
    for row in range(24):
        for column in range(32):
            source = values[int((row + 0.5) * small[0] / 24), int((column + 0.5) * small[1] / 32)]
            np.testing.assert_equal(frame.depth.values[row, column], np.float32(source))


def test_another_aspect_ratio_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    image = save(tmp_path / "a.png", picture(24, 32))
    depth = write_depth(tmp_path / "d.png", DepthMap(np.full((16, 16), 2.0)))
    with caplog.at_level(logging.WARNING):
        load_rgbd(image, depth, resize_depth=True)
    assert "differ in aspect ratio" in caplog.text


def test_depth_that_missed_the_exif_rotation_is_named_as_such(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    image = save(tmp_path / "a.jpg", picture(24, 32), exif=exif)
    depth = write_depth(tmp_path / "d.png", DepthMap(np.full((24, 32), 2.0)))
    with pytest.raises(SdvlmError, match="depth is 32x24 but the image is 24x32; the picture was turned"):
        load_rgbd(image, depth)


def test_a_camera_that_does_not_fit_the_picture_is_refused(tmp_path: Path) -> None:
    image = save(tmp_path / "a.png", picture(24, 32))
    with pytest.raises(SdvlmError, match="lies outside the 32x24 image"):
        load_rgbd(image, camera="500,500,320,240")
    with pytest.raises(SdvlmError, match="camera is for 64x48"):
        load_rgbd(image, camera=Camera.from_fov(64, 48, 60))


@pytest.mark.skipif(not SHARED.exists(), reason="the shared real RGB-D frames are not here")
def test_every_real_frame_loads_with_its_depth_and_camera() -> None:
    lines = (SHARED / "index.jsonl").read_text().splitlines()
    assert lines
    for line in lines:
        folder = SHARED / json.loads(line)["dir"]
        depth = next((folder / name for name in ("depth.png", "sparse_depth.json") if (folder / name).exists()), None)
        frame = load_rgbd(folder / "rgb.jpg", depth, folder / "meta.json")
        assert frame.camera is not None
        assert (frame.depth is None) == (depth is None)
        if frame.depth is not None:
            assert frame.depth.valid.any()
