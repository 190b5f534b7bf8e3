import json
from pathlib import Path

import pytest

from sdvlm.depth.camera_file import check_camera, read_camera
from sdvlm.types import Camera, SdvlmError

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data" / "real_rgbd"
SIZE = (640, 480)
EXPECTED = Camera(640, 480, 518.0, 519.0, 325.5, 253.5)  # principal point half a pixel beyond the calibration's


@pytest.mark.parametrize("text", ["518,519,325,253", " 518, 519, 325, 253 ", "518 519 325 253"])
def test_four_numbers_are_a_camera_whose_pixel_centres_were_integers(text: str) -> None:
    assert read_camera(text, SIZE) == EXPECTED


@pytest.mark.parametrize(
    "content",
    [
        {"fx": 518, "fy": 519, "cx": 325, "cy": 253},
        {"intrinsics": {"fx": 518, "fy": 519, "cx": 325, "cy": 253}, "width": 640, "height": 480},
        {"camera": {"width": 640, "height": 480, "fx": 518, "fy": 519, "cx": 325, "cy": 253}},
        {"K": [[518, 0, 325], [0, 519, 253], [0, 0, 1]]},
        {"k": [518, 0, 325, 0, 519, 253, 0, 0, 1], "width": 640, "height": 480},
        {"camera_matrix": {"rows": 3, "cols": 3, "data": [518, 0, 325, 0, 519, 253, 0, 0, 1]}},
    ],
)
def test_json_files_of_every_usual_shape_give_the_same_camera(tmp_path: Path, content: dict[str, object]) -> None:
    (tmp_path / "camera.json").write_text(json.dumps(content))
    assert read_camera(tmp_path / "camera.json", SIZE) == EXPECTED
    assert read_camera(str(tmp_path / "camera.json"), SIZE) == EXPECTED


def test_scannets_4x4_text_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "intrinsic_color.txt").write_text("518 0 325 0\n0 519 253 0\n0 0 1 0\n0 0 0 1\n")
    assert read_camera(tmp_path / "intrinsic_color.txt", SIZE) == EXPECTED


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("518,519,325", "has 3 numbers; wanted fx,fy,cx,cy"),
        ("a,b,c,d", "not numbers"),
        ("518,519,nan,253", "must be a finite number"),
        ("518,519,725,253", r"principal point \(725, 253\) lies outside the 640x480 image"),
        ("325,253,518,519", "lies outside"),
        ("-518,519,325,253", "focal lengths must be positive"),
        ("4.1,4.1,325,253", "fx=4.1 for a 640x480 image; wanted pixels between 64 and 12800"),
        ("0.8,0.8,0.5,0.5", "not normalised"),
        ("20000,519,325,253", "fx=20000"),
        ("nowhere.json", "no such file"),
    ],
)
def test_cameras_that_do_not_fit_are_refused_in_one_line(text: str, match: str) -> None:
    with pytest.raises(SdvlmError, match=match) as caught:
        read_camera(text, SIZE)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("{", "wanted fx,fy,cx,cy"),
        ('{"f": 1}', "has no fx, fy, cx, cy and no matrix K"),
        ('{"fx": null, "fy": 1, "cx": 1, "cy": 1}', "wanted fx,fy,cx,cy"),
        ('{"fx": 518, "fy": 519, "cx": 325, "cy": 253, "width": 1296, "height": 968}', "is for 1296x968 pixels"),
        ('{"K": [1, 2]}', "has 2 numbers"),
        ("hello", "not numbers"),
    ],
)
def test_unusable_camera_files_are_refused_in_one_line(tmp_path: Path, content: str, match: str) -> None:
    (tmp_path / "c.json").write_text(content)
    with pytest.raises(SdvlmError, match=match) as caught:
        read_camera(tmp_path / "c.json", SIZE)
    assert "\n" not in str(caught.value)


def test_a_camera_for_another_size_is_refused_with_both_sizes() -> None:
    with pytest.raises(SdvlmError, match="camera is for 640x480 pixels but the image is 320x240"):
        check_camera(EXPECTED, (320, 240))


@pytest.mark.skipif(not SHARED.exists(), reason="the shared real RGB-D frames are not here")
def test_the_description_of_every_real_frame_is_a_camera() -> None:
    files = sorted(SHARED.glob("*/*/meta.json"))
    assert files
    for path in files:
        meta = json.loads(path.read_text())
        camera = read_camera(path, (meta["width"], meta["height"]))
        assert (camera.fx, camera.cx) == (meta["intrinsics"]["fx"], meta["intrinsics"]["cx"] + 0.5)
