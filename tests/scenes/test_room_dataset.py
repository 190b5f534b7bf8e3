from pathlib import Path

import pytest

from sdvlm.scenes.room_dataset import RoomDataset, write_rooms
from sdvlm.scenes.scannet import read_scannet_scene
from sdvlm.scenes.sensor import SensorConfig
from sdvlm.types import SdvlmError


def test_an_interrupted_run_goes_on_and_gives_the_same_files(tmp_path: Path) -> None:
    dataset = RoomDataset(scenes=2, seed=3, frames=1, image_size=(48, 36), supersample=1)
    whole = write_rooms(tmp_path / "whole", dataset)
    assert [room.skipped for room in whole] == [False, False]
    write_rooms(tmp_path / "resumed", RoomDataset(scenes=1, seed=3, frames=1, image_size=(48, 36), supersample=1))
    (tmp_path / "resumed" / ".scene0001_00.dead.partial").mkdir()
    resumed = write_rooms(tmp_path / "resumed", dataset)
    assert [room.skipped for room in resumed] == [True, False]
    files = sorted(path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*") if path.is_file())
    assert files == sorted(
        path.relative_to(tmp_path / "resumed") for path in (tmp_path / "resumed").rglob("*") if path.is_file()
    )
    assert all((tmp_path / "whole" / name).read_bytes() == (tmp_path / "resumed" / name).read_bytes() for name in files)


def test_a_folder_of_other_settings_is_refused(tmp_path: Path) -> None:
    write_rooms(tmp_path, RoomDataset(scenes=1, seed=1, frames=1, image_size=(32, 24), supersample=1))
    with pytest.raises(SdvlmError, match="other settings"):
        write_rooms(tmp_path, RoomDataset(scenes=1, seed=2, frames=1, image_size=(32, 24), supersample=1))


def test_the_label_table_names_every_category_of_the_rooms(tmp_path: Path) -> None:
    (room,) = write_rooms(tmp_path, RoomDataset(scenes=1, seed=1, frames=1, image_size=(32, 24), supersample=1))
    lines = [line.split("\t") for line in (tmp_path / "scannetv2-labels.combined.tsv").read_text().splitlines()]
    table = {line[1]: int(line[lines[0].index("nyu40id")]) for line in lines[1:]}
    assert table["chair"] == 5  # NYU40: chair is class 5, bed 4, window 9
    assert (table["bed"], table["window"]) == (4, 9)
    assert {item.category for item in read_scannet_scene(room.folder).objects} <= set(table)


def test_sensor_depth_has_holes_and_a_size_of_its_own(tmp_path: Path) -> None:
    dataset = RoomDataset(
        scenes=1, frames=2, image_size=(64, 48), depth_size=(48, 36), supersample=1, sensor=SensorConfig()
    )
    (room,) = write_rooms(tmp_path, dataset)
    for frame in read_scannet_scene(room.folder).frames:
        depth = frame.load().depth
        assert depth.size == (64, 48)
        assert 0.2 < depth.valid.mean() < 1.0


def test_rooms_can_be_written_as_streams_and_gone_on_with(tmp_path: Path) -> None:
    small = {"seed": 3, "frames": 2, "image_size": (48, 36), "supersample": 1}
    write_rooms(tmp_path, RoomDataset(scenes=1, sens=True, **small))
    first, second = write_rooms(tmp_path, RoomDataset(scenes=2, sens=True, **small))
    assert (first.skipped, first.frames, second.skipped, second.frames) == (True, 2, False, 2)
    assert sorted(path.suffix for path in first.folder.iterdir()) == [".json"] * 3 + [".ply"] * 2 + [".sens", ".txt"]
    assert len(read_scannet_scene(first.folder).frames) == 2
    with pytest.raises(SdvlmError, match="other settings"):
        write_rooms(tmp_path, RoomDataset(scenes=1, **small))
