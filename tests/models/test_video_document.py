"""docs/families.md about several pictures and videos: its code runs, its families are those there are."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from tests.models.filmed import FRAMES, SIZE, Filmed, depth_maps, frames, needs_torchvision

from sdvlm.models.families.video import VIDEO
from sdvlm.types import Camera

TEXT = (Path(__file__).parents[2] / "docs" / "families.md").read_text(encoding="utf-8")
SECTION = re.search(r"\n## Several pictures, video\n(.*?)\n## ", TEXT, re.S)[1]
BLOCKS = re.findall(r"```python\n(.*?)```", SECTION, re.S)


def run(block: str) -> dict:
    filmed = Filmed("qwen2_5_vl")
    one, other = depth_maps([0, 1])[:2]
    names = {"np": np, "model": filmed.model, "processor": filmed.processor, "camera": Camera.from_fov(*SIZE, 60.0)}
    names |= {"left": frames()[0], "right": frames()[1], "depth_left": one, "depth_right": other, "frames": frames()}
    exec(compile(block, "docs/families.md", "exec"), names)
    return names


def test_the_code_about_several_pictures_runs() -> None:
    (block,) = [one for one in BLOCKS if "video" not in one]
    run(block)


@needs_torchvision
def test_the_code_about_video_runs() -> None:
    (block,) = [one for one in BLOCKS if "video" in one]
    assert len(run(block)["video_depth"]) == FRAMES


def test_every_family_with_video_is_named() -> None:
    rows = re.findall(r"^\| (`(?!model_type).*?) \|", SECTION, re.M)
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(VIDEO)
