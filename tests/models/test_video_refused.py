"""Videos that are not taken, each refused in a line that says what to do."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.models.filmed import FRAMES, SIZE, Filmed, asking, depth_maps, frames, needs_torchvision
from tests.models.zoo import BUILDABLE, ZOO, marked
from transformers.utils.import_utils import is_torchvision_available

from sdvlm.fusion.config import FusionConfig
from sdvlm.models.families.video import VIDEO
from sdvlm.models.processor import DepthProcessor
from sdvlm.models.wrapper import DepthVLM
from sdvlm.types import Camera, DepthKind, DepthMap, SdvlmError


def refusal(call: Any) -> str:
    with pytest.raises(SdvlmError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", [name for name in BUILDABLE if name not in VIDEO])
def test_a_family_without_video_says_so(name: str) -> None:
    tiny = ZOO[name]()
    processor = DepthProcessor.for_model(DepthVLM.from_vlm(tiny.model, "dpe"), tiny.processor)
    assert "takes no video" in refusal(lambda: processor(asking("video"), videos=frames()))


@pytest.mark.skipif(is_torchvision_available(), reason="torchvision is here")
@pytest.mark.parametrize("name", marked(VIDEO))
def test_without_torchvision_video_says_what_to_install(name: str) -> None:
    tiny = ZOO[name]()
    processor = DepthProcessor.for_model(DepthVLM.from_vlm(tiny.model, "dpe"), tiny.processor)
    said = refusal(lambda: processor(asking("video"), videos=frames()))
    assert said == "video needs torchvision: pip install torchvision"


@needs_torchvision
def test_counts_sizes_and_kinds_that_do_not_fit() -> None:
    filmed = Filmed("qwen3_vl")
    wrong = DepthMap(np.ones((10, 12)))
    relative = [DepthMap(np.ones(SIZE[::-1]), DepthKind.RELATIVE), *[None] * (FRAMES - 1)]
    video = frames()
    for said, given in (
        ("room for 1 videos but 0 came", {}),
        ("room for 1 videos but 2 came", {"videos": [video, video]}),
        ("got depth maps for 1 videos, of which there are 0", {"video_depth": [depth_maps([0])], "videos": None}),
        ("a video is an (F, H, W, 3) uint8 array", {"videos": [video[0, 0]]}),
        ("are of 100x75 and 57x90 pixels; one size", {"videos": [[video[0], frames(1, (57, 90))[0]]]}),
        ("got 2 depth maps for the 5 frames of video 0", {"videos": video, "video_depth": [[None, None]]}),
        ("5 frames and one depth map", {"videos": video, "video_depth": depth_maps([0])[0]}),
        ("is for 12x10 pixels, the picture is 100x75", {"videos": video, "video_depth": [wrong, *[None] * 4]}),
        ("is for 12x10 pixels", {"videos": video, "video_camera": Camera.from_fov(12, 10, 60.0)}),
        ("is relative but the fusion 'dpe' needs metric", {"videos": video, "video_depth": relative}),
        ("a positive number of frames a second; got 0", {"videos": video, "fps": 0}),
        ("got 2 frame rates for 1 videos", {"videos": video, "fps": [1, 2]}),
        ("does not fit this model", {"videos": frames(1)}),
    ):
        kinds = () if said.startswith("got depth maps for 1") else ("video",)
        assert said in refusal(lambda kinds=kinds, given=given: filmed.processor(asking(*kinds), **given))


@needs_torchvision
@pytest.mark.parametrize(
    ("fusion", "said"),
    [
        ("depth_token", "not into videos"),
        ("depth_prompt", "not into videos"),
        ("encoder_add", "not into videos"),
        (replace(FusionConfig.preset("dpe"), coordinate="minmax"), "counted over one picture"),
        (replace(FusionConfig.preset("dpe"), pooling="unpadded"), "use the pooling 'boxes'"),
        (None, "this model has no fusion"),
    ],
)
def test_fusions_that_take_no_depth_of_videos(fusion: Any, said: str) -> None:
    filmed = Filmed("qwen2_vl", fusion)
    assert said in refusal(lambda: filmed.batch(frames(), depth_maps([0])))
    assert "depth_grid_videos" not in filmed.batch(frames())


@needs_torchvision
@pytest.mark.parametrize("name", ["llava_onevision", "internvl"])
def test_videos_of_several_lengths_where_a_call_takes_one(name: str) -> None:
    filmed = Filmed(name)
    messages = [asking("video"), asking("video")]
    said = refusal(lambda: filmed.processor(messages, videos=[frames(3), frames(5)]))
    assert "videos of one length in a call; got 3 and 5 frames" in said


@needs_torchvision
def test_depth_without_the_frames_it_belongs_to_and_missing_grids() -> None:
    filmed = Filmed("qwen2_5_vl")
    batch = filmed.batch(frames(), depth_maps([0]))
    for name in ("pixel_values_videos", "video_grid_thw", "mm_token_type_ids"):
        rest = {key: value for key, value in batch.items() if key != name}
        assert name in refusal(lambda rest=rest: copy.copy(filmed.model)(**rest))


@needs_torchvision
def test_several_prompts_about_one_video_are_asked_one_by_one() -> None:
    filmed = Filmed("qwen2_vl")
    prompts = [filmed.processor.prompts.asking(asking("video", question=one)) for one in ("Table?", "Bed?")]
    assert "encoded together take no video" in refusal(lambda: filmed.processor.encode_prompts(prompts))


@needs_torchvision
def test_prompts_of_the_released_style_take_no_video() -> None:
    processor = Filmed("qwen2_vl").processor.with_options(conversation="vicuna_v1")
    assert "style 'vicuna_v1' take no video" in refusal(lambda: processor(asking("video"), videos=frames()))
