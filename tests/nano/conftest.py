"""A very small nano model and a few rendered frames, made once."""

from __future__ import annotations

import pytest
import torch
from tokenizers import Tokenizer

from sdvlm.data.questions import iter_phrases
from sdvlm.nano.config import NanoConfig, build_vlm
from sdvlm.nano.frames import NanoFrame, ShardConfig, make_frames
from sdvlm.nano.tokenizer import train_tokenizer
from sdvlm.scenes.furniture import CATEGORIES

SMALL = NanoConfig(
    image_size=64,
    patch_size=16,
    vision_width=48,
    vision_layers=2,
    text_width=60,
    text_layers=3,
    text_mlp=64,
    early=False,
)


@pytest.fixture(scope="session")
def config() -> NanoConfig:
    return SMALL


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return train_tokenizer([*iter_phrases(CATEGORIES)], 1000)


@pytest.fixture(scope="session")
def frames() -> list[NanoFrame]:
    return list(make_frames(SMALL, ShardConfig(rooms=2, frames_per_room=2, questions_per_frame=12), seed=3))


@pytest.fixture
def vlm(tokenizer: Tokenizer) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_vlm(SMALL, tokenizer).eval()
