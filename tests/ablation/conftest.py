"""A very small model of the nano kind on disk, and a few squared rooms, made once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sdvlm.ablation.config import AblationConfig
from sdvlm.ablation.rooms import Rooms, views
from sdvlm.data.questions import iter_phrases
from sdvlm.models.processor import DepthProcessor
from sdvlm.models.wrapper import DepthVLM
from sdvlm.nano.config import NanoConfig, build_processor, build_vlm
from sdvlm.nano.tokenizer import train_tokenizer
from sdvlm.scenes.furniture import CATEGORIES

SMALL = NanoConfig(
    image_size=64, patch_size=16, vision_width=48, vision_layers=2, text_width=60, text_layers=2, text_mlp=64
)
TOY = AblationConfig(
    seeds=1, train_rooms=2, frames_per_room=2, questions_per_frame=12, test_questions=16, base_steps=2, steps=3,
    pictures=2, questions=4, estimator_steps=5, dtype="float32",
)  # fmt: skip


@pytest.fixture(scope="session")
def toy() -> AblationConfig:
    return TOY


@pytest.fixture(scope="session")
def rooms() -> Rooms:
    return Rooms.of(views(5, 2, 2, 16, SMALL.image_size))


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved ``DepthVLM`` with random weights, large enough that every part matters."""
    folder = tmp_path_factory.mktemp("small")
    tokenizer = train_tokenizer([*iter_phrases(CATEGORIES)], 700)
    torch.manual_seed(0)
    vlm = build_vlm(SMALL, tokenizer)
    for parameter in vlm.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.15)
    model = DepthVLM.from_vlm(vlm, SMALL.fusion)
    model.save_pretrained(folder)
    DepthProcessor.for_model(model, build_processor(SMALL, tokenizer)).save_pretrained(folder)
    return folder
