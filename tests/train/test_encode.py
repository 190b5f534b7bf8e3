"""Examples to batches: what is learned, who keeps its pictures, and what is left out."""

from __future__ import annotations

import logging
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from sdvlm.train.config import TrainConfig, VarySettings
from sdvlm.train.encode import ExampleEncoder
from sdvlm.train.example import Dialogue
from sdvlm.train.forward import answer_losses
from sdvlm.train.packing import IGNORED
from sdvlm.types import SdvlmError

from .conftest import picture_example, text_example, with_fusion


@pytest.fixture(scope="module")
def llava(tiny_families):
    """Model and processor that no test here changes."""
    return with_fusion(tiny_families["llava"], "gated")


def test_what_is_learned_are_the_answers_and_their_end(trainee):
    example = picture_example(dialogues=2)
    batch = ExampleEncoder(trainee.processor, TrainConfig(), pack=False)([example])
    tokenizer = trainee.processor.tokenizer
    for row, dialogue in enumerate(example.dialogues):
        learned = tokenizer.decode(batch["labels"][row][batch["labels"][row] != IGNORED])
        wanted = [text for role, text in dialogue.turns if role == "assistant"]
        assert [one.strip() for one in learned.split(tokenizer.eos_token)] == [*wanted, ""]


def test_a_picture_with_dialogues_of_several_families_names_each_learned_part(llava):
    _, processor = llava
    one, two = picture_example(0, 2, family="scale_estimation"), picture_example(1, 3, family="relative_position")
    batch = ExampleEncoder(processor, TrainConfig(), pack=True)([one, text_example(), two])
    assert batch["families"] == ["scale_estimation"] * 2 + ["general"] + ["relative_position"] * 3


def test_depth_and_camera_follow_a_picture_that_is_made_smaller(make_trainee):
    """Of a plane that rises to the right, a small copy shows each token the same depth; the camera keeps its rays."""
    processor = make_trainee("qwen2.5-vl").processor
    example = picture_example(size=(96, 64))
    plane = np.broadcast_to(np.linspace(1, 4, 96, dtype=np.float32), (64, 96))
    example = replace(example, depth=(replace(example.depth[0], values=plane.copy()),))
    small = ExampleEncoder(processor, TrainConfig(max_pixels=1600))
    (row,) = small.rows(example)
    picture = small._smaller(Image.fromarray(example.images[0]))
    assert picture.width * picture.height <= 1600
    assert picture.width / picture.height == pytest.approx(1.5, rel=0.05)
    depth, cameras = small._resized(example, [picture])
    assert depth[0].size == cameras[0].size == picture.size
    assert cameras[0].fx / picture.width == pytest.approx(example.cameras[0].fx / 96, rel=1e-6)
    columns = int(row.inputs["image_grid_thw"][0, 2]) // 2
    known = row.inputs["depth_grid"][:, 0].reshape(-1, columns)
    middles = 1 + 3 * (np.arange(columns) + 0.5) / columns  # metres
    assert np.abs(known.numpy() - middles).max() < 3 / columns / 2


def test_a_dialogue_beyond_the_budget_is_named_and_left_out_or_stops(llava, caplog):
    _, processor = llava
    long = Dialogue((("user", "How far?"), ("assistant", "very " * 200 + "far")), "scale_estimation")
    example = replace(picture_example(dialogues=2), dialogues=(*picture_example(dialogues=2).dialogues, long))
    with caplog.at_level(logging.WARNING):
        (row,) = ExampleEncoder(processor, TrainConfig(max_tokens=200)).rows(example)
    assert row.row.dialogues == (0, 1)
    assert row.families == ("absolute_distance", "absolute_distance")
    assert "example 0: dialogue 2 has" in caplog.text
    with pytest.raises(SdvlmError, match=r"example 0: dialogue 2 has \d+ tokens, more than max_tokens 200; raise"):
        ExampleEncoder(processor, TrainConfig(max_tokens=200, too_long="stop")).rows(example)


def test_a_batch_of_which_nothing_is_left_can_be_gone_through_and_teaches_nothing(trainee):
    batch = ExampleEncoder(trainee.processor, TrainConfig(max_tokens=3))([picture_example()])
    assert batch["families"] == []
    assert torch.all(batch["labels"] == IGNORED)
    trainee.model.requires_grad_(True)
    losses, where = answer_losses(trainee.model, trainee.model.vlm, batch)
    assert (losses.numel(), where.shape) == (0, (0, 2))
    losses.sum().backward()
    assert all(one.grad is None or not one.grad.any() for one in trainee.model.parameters())


@pytest.mark.parametrize("always", [True, False])
def test_a_text_brings_a_blank_picture_only_where_all_processes_must_look(trainee, always):
    encoder = ExampleEncoder(trainee.processor, TrainConfig(), always_vision=always)
    batch = encoder([text_example()])
    assert ("pixel_values" in batch) == always
    plain = ExampleEncoder(trainee.processor, TrainConfig())([text_example()])
    with torch.no_grad():
        found, wanted = (answer_losses(trainee.model, trainee.model.vlm, one)[0] for one in (batch, plain))
    assert found.tolist() == pytest.approx(wanted.tolist(), rel=1e-5)
    with_picture = encoder([text_example(), picture_example()])
    assert len(with_picture["input_ids"]) == 2  # no blank beside a real one


def test_content_is_masked_only_of_tokens_with_depth_and_never_for_evaluation(llava):
    _, processor = llava
    encoder = ExampleEncoder(processor, TrainConfig(vary=VarySettings(rgb_masking=0.5)))
    rows = [picture_example(seed, depth=seed % 2 == 0, dialogues=1) for seed in range(8)]
    batch = encoder(rows)
    known = ~batch["depth_grid"][:, 0].isnan()
    assert bool(batch["image_keep"][~known].all())
    assert 0.3 < float((~batch["image_keep"][known]).float().mean()) < 0.7
    assert torch.equal(encoder(rows)["image_keep"], batch["image_keep"])
    for plain in (encoder.unvaried(), encoder.unvaried(False)):
        assert "image_keep" not in plain(rows)
    assert (encoder.unvaried().pack, encoder.unvaried(False).pack) == (True, False)


def test_a_model_without_a_fusion_is_given_no_depth(tiny_families):
    _, processor = with_fusion(tiny_families["llava"], None)
    batch = ExampleEncoder(processor, TrainConfig())([picture_example()])
    assert not [name for name in batch if name.startswith("depth")]


def test_an_encoder_travels_to_the_loaders_workers(llava):
    _, processor = llava
    encoder = ExampleEncoder(processor, TrainConfig())
    again = pickle.loads(pickle.dumps(encoder))
    for name, one in encoder([picture_example()]).items():
        found = again([picture_example()])[name]
        assert one == found if isinstance(one, list) else torch.equal(one.nan_to_num(), found.nan_to_num())
