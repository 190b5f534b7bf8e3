"""Tiny models and examples that training tests share."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from tests.models.conftest import QUESTIONS, tiny_llava, tiny_qwen
from tests.train.runs import save_models, write_chat
from tests.train.trainees import Trainee

from sdvlm.models.processor import DepthProcessor
from sdvlm.models.wrapper import DepthVLM
from sdvlm.train.example import Dialogue, Example
from sdvlm.types import Camera, DepthMap

FAMILY = {"llava": tiny_llava, "qwen2.5-vl": tiny_qwen}


@pytest.fixture(scope="session")
def tiny_families():
    """By name; tests copy the models before they change them."""
    return {name: make() for name, make in FAMILY.items()}


@pytest.fixture(params=list(FAMILY))
def family(request, tiny_families):
    """Each family in turn."""
    return tiny_families[request.param]


def with_fusion(tiny, fusion="dpe"):
    """A ``DepthVLM`` of one's own around a tiny model, and its processor."""
    model = DepthVLM.from_vlm(copy.deepcopy(tiny.model), fusion).train(False)
    return model, DepthProcessor.for_model(model, tiny.processor)


def picture_example(seed=0, dialogues=3, depth=True, size=(70, 50), family="absolute_distance"):
    """A random picture with that many questions about it; the second one is a conversation of two rounds."""
    rng = np.random.default_rng(seed)
    width, height = size
    asked = []
    for index in range(dialogues):
        turns = [("user", QUESTIONS[(index + seed) % len(QUESTIONS)]), ("assistant", f"{index}.25 m away")]
        if index == 1:
            turns += [("user", "Table?"), ("assistant", "Yes, the red chair.")]
        asked.append(Dialogue(tuple(turns), family))
    map_ = DepthMap(rng.uniform(1, 4, (height, width)).astype(np.float32)) if depth else None
    image = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Example(f"example {seed}", "made", tuple(asked), (image,), (map_,), (Camera.from_fov(width, height, 60.0),))


def text_example(seed=0):
    """No picture."""
    return Example(f"text {seed}", "made", (Dialogue((("user", QUESTIONS[seed % 5]), ("assistant", "yes"))),))


@pytest.fixture(scope="session")
def model_folders(tmp_path_factory):
    """Tiny models on disk, by family."""
    return save_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def chat(tmp_path_factory):
    """Folder of messages about pictures with depth: ``chat.jsonl``, ``depth/``."""
    return write_chat(tmp_path_factory.mktemp("chat"))


@pytest.fixture
def make_trainee(tiny_families):
    """(family, fusion) to a ``Trainee`` with weights of its own."""

    def make(name, fusion="gated"):
        return Trainee(name, *with_fusion(tiny_families[name], fusion))

    return make


@pytest.fixture(params=list(FAMILY))
def trainee(request, make_trainee):
    """Each family in turn, with the gated fusion."""
    return make_trainee(request.param)


@pytest.fixture(scope="session")
def built_folder(tmp_path_factory, make_record):
    """Data as ``sdvlm build`` leaves it: two training scenes of two pictures with eight questions each, one of test.

    Every second picture has no depth.
    """
    from sdvlm.data.shards import assemble, write_part

    folder, parts = tmp_path_factory.mktemp("built_for_training"), []
    for scene, split in (("a", "train"), ("b", "train"), ("c", "test")):
        write_part(folder / scene, [make_record(scene, frame, depth=frame == 0) for frame in range(2)])
        parts.append((split, folder / scene))
    assemble(parts, folder / "built")
    return folder / "built"
