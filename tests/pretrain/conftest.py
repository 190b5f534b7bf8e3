"""A small data set of pairs whose depth and picture show the same blobs, and a tiny RGB tower on disk."""

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pytest
import torch
from transformers import CLIPImageProcessorPil, CLIPVisionConfig, CLIPVisionModel

from sdvlm.pairs.build import build_pairs
from sdvlm.pairs.config import PairsConfig
from sdvlm.pairs.source import RawPair
from sdvlm.types import Camera, DepthKind, DepthMap


@dataclass(frozen=True)
class BlobChunk:
    """One scene: a wall with blobs before it; frames see it from places side by side."""

    number: int
    frames: int
    size: tuple[int, int]
    kind: DepthKind

    @property
    def key(self):
        return f"scene{self.number:04d}"

    def read(self):
        width, height = self.size
        v, u = np.mgrid[:height, :width] / height
        for frame in range(self.frames):
            rng = np.random.default_rng([self.number, frame])
            wall = np.exp(np.random.default_rng(self.number).uniform(0.5, 1.8))
            metres = np.full((height, width), wall)
            image = np.full((height, width, 3), 90.0)
            for color in rng.uniform(20, 255, (4, 3)):
                inside = (u - rng.uniform(0, width / height)) ** 2 + (v - rng.uniform()) ** 2 < rng.uniform(0.02, 0.09)
                metres[inside] = wall * rng.uniform(0.3, 0.9)
                image[inside] = color * metres[inside][:1] / wall if inside.any() else 0
            metres[rng.random(metres.shape) < 0.05] = np.nan
            depth = DepthMap(metres, self.kind, "made up")
            camera = Camera(width, height, width, width, width / 2, height / 2)
            yield RawPair(f"{self.key}/{frame}", self.key, image.astype(np.uint8), None, depth, camera)


@dataclass(frozen=True)
class Blobs:
    """A source of such scenes."""

    scenes: int = 24
    frames: int = 4
    size: tuple[int, int] = (40, 32)
    kind: DepthKind = DepthKind.METRIC
    name: str = "blobs"
    root: str = "blobs"
    skipped = MappingProxyType({})

    def settings(self):
        return {}

    def chunks(self, size):
        for number in range(self.scenes):
            yield BlobChunk(number, self.frames, self.size, self.kind)


def write_pairs(folder, test_share=0.25, **source):
    build_pairs(Blobs(**source), folder, PairsConfig(depth="sensor", dedupe=None, test_share=test_share))
    return folder


@pytest.fixture(scope="session")
def make_pairs():
    """``make_pairs(folder, test_share=0.25, scenes=24, frames=4, size=(40, 32), kind=...)``: writes a data set."""
    return write_pairs


@pytest.fixture(scope="session")
def pairs_folder(tmp_path_factory):
    """96 pairs of 24 scenes, about a quarter of the scenes held out."""
    return write_pairs(tmp_path_factory.mktemp("pairs") / "data")


@pytest.fixture(scope="session")
def rgb_folder(tmp_path_factory):
    """A CLIP vision tower of 4 x 4 patches with random weights, and its image processor."""
    folder = tmp_path_factory.mktemp("tower")
    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=24, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=8
    )
    tower = CLIPVisionModel(config)
    for parameter in tower.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.15)
    tower.save_pretrained(folder)
    CLIPImageProcessorPil(size={"height": 32, "width": 32}, do_center_crop=False).save_pretrained(folder)
    return folder
