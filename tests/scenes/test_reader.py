from pathlib import Path

import numpy as np
import pytest

from sdvlm.scenes.reader import READERS, open_reader
from sdvlm.scenes.room_dataset import RoomDataset, write_rooms
from sdvlm.scenes.rooms import make_room
from sdvlm.scenes.scannet import ScannetReader
from sdvlm.scenes.scannetpp import ScannetppReader
from sdvlm.types import SdvlmError

from .scannetpp_files import write_scans


def rooms(root: Path) -> Path:
    write_rooms(root, RoomDataset(scenes=1, frames=1, image_size=(32, 24), supersample=1))
    return root


def scannetpp(root: Path) -> Path:
    write_scans(root / "data" / "0a1b2c3d4e", make_room(np.random.default_rng(1)))
    return root


def test_a_layout_is_told_by_what_the_folder_holds(tmp_path: Path) -> None:
    assert isinstance(open_reader(rooms(tmp_path / "a")), ScannetReader)
    assert isinstance(open_reader(scannetpp(tmp_path / "b")), ScannetppReader)


def test_options_reach_the_reader_that_was_told(tmp_path: Path) -> None:
    reader = open_reader(rooms(tmp_path), frame_step=3, box="axis_aligned")
    assert (reader.name, reader.root, reader.frame_step, reader.box) == ("scannet", tmp_path, 3, "axis_aligned")
    with pytest.raises(SdvlmError, match="no option device; it takes box, labels, frame_step, color_to_depth"):
        open_reader(tmp_path, device="iphone")


def test_a_folder_of_no_layout_is_told_what_each_looks_for(tmp_path: Path) -> None:
    with pytest.raises(SdvlmError) as error:
        open_reader(tmp_path)
    for name in READERS:
        assert f"{name}: " in str(error.value)
    assert "aggregation.json" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_of_two_layouts_needs_a_name(tmp_path: Path) -> None:
    scannetpp(tmp_path)
    (tmp_path / "data").rename(tmp_path / "moved")
    (tmp_path / "moved" / "0a1b2c3d4e").rename(tmp_path / "0a1b2c3d4e")
    rooms(tmp_path)
    with pytest.raises(SdvlmError, match=r"several layouts \(scannet, scannetpp\); name the reader"):
        open_reader(tmp_path)
    assert open_reader(tmp_path, "scannetpp").scene_ids() == ["0a1b2c3d4e"]


def test_names_and_folders_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SdvlmError, match="no reader 'matterport'; choose one of scannet, scannetpp, sunrgbd, rgbd"):
        open_reader(tmp_path, "matterport")
    with pytest.raises(SdvlmError, match="not a folder"):
        open_reader(tmp_path / "none")


@pytest.mark.parametrize("name", list(READERS))
def test_each_reader_is_made_by_its_name_and_says_what_it_looked_for(tmp_path: Path, name: str) -> None:
    reader = READERS[name](tmp_path)
    assert reader.name == name
    with pytest.raises(SdvlmError):
        reader.scene_ids()


def test_the_example_of_the_document_runs(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "readers.md").read_text()
    block = text.split("```python\n")[1].split("```")[0]
    assert '"path/to/scannet"' in block
    known: dict = {}
    exec(block.replace('"path/to/scannet"', repr(str(rooms(tmp_path)))), known)
    assert known["frame"].depth.size == known["frame"].size == (32, 24)
