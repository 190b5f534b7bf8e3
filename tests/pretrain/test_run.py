"""A run of pre-training: learns, measures, resumes to the same losses, refuses what it cannot do."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file

from sdvlm.fusion.encoder import DepthEncoder
from sdvlm.pairs.dataset import PairDataset
from sdvlm.pretrain.config import PretrainConfig
from sdvlm.pretrain.log import read_metrics
from sdvlm.pretrain.result import read_result
from sdvlm.pretrain.run import pretrain
from sdvlm.types import DepthKind, SdvlmError

SMALL = {
    "steps": 8, "batch": 12, "chunk": 5, "lr": 2e-3, "tower_lr": 5e-4, "embedding": 16, "pool": 2, "eval_every": 4,
    "probe_pairs": 24, "tensorboard": False, "device": "cpu",
}  # fmt: skip


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def train(pairs_folder, rgb_folder, cache):
    """``train(out, **settings)``"""

    def go(out, data=pairs_folder, progress=None, resume=True, **settings):
        config = PretrainConfig(**{"rgb": str(rgb_folder)} | SMALL | settings)
        return pretrain(data, out, config, progress, resume=resume, cache_folder=cache)

    return go


@pytest.fixture(scope="module")
def finished(train, tmp_path_factory):
    out = tmp_path_factory.mktemp("finished")
    return train(out)


def losses(out):
    return [one["contrast"] for one in read_metrics(out) if one["kind"] == "train"]


def test_it_writes_an_encoder_that_loads_and_says_what_came_of_it(finished, pairs_folder):
    encoder = DepthEncoder.from_pretrained(finished.encoder)
    pair = PairDataset(pairs_folder, "test")[0]
    features = encoder(**encoder.prepare([pair.depth], [pair.camera]))
    assert features.shape == (1, 16, 24)
    assert {"depth_head.layers.0.weight", "rgb_head.mean", "temperature.log_scale"} <= set(
        load_file(finished.out / "projection.safetensors")
    )
    assert read_result(finished.out).final == finished.final
    assert finished.steps == 8
    assert finished.data["train_scenes"] + finished.data["test_scenes"] == 24


def test_it_is_evaluated_from_step_0_on_with_the_chance_line(finished):
    evaluated = [one for one in read_metrics(finished.out) if one["kind"] == "eval"]
    assert [one["step"] for one in evaluated] == [0, 4, 8]
    assert evaluated[0]["retrieval_chance"] == pytest.approx(1 / finished.data["test_pairs"])
    for name in ("depth_to_rgb_r1", "rgb_to_depth_r5", "trunk_r2", "embedding_r2", "effective_rank_trunk"):
        assert finished.start[name] == evaluated[0][name]
        assert finished.final[name] == evaluated[-1][name]


def test_no_training_leaves_the_encoder_a_clone_of_the_tower_on_grey_pictures(train, tmp_path, rgb_folder):
    from transformers import CLIPVisionModel

    result = train(tmp_path, steps=1, tower_lr=0.0, lr=1e-9, objective="infonce")
    encoder = DepthEncoder.from_pretrained(result.encoder)
    grey = torch.rand(2, 1, 32, 32)
    planes = torch.cat([grey, torch.rand(2, 1, 32, 32)], dim=1)
    tower = CLIPVisionModel.from_pretrained(rgb_folder).eval()
    expected = tower(grey.expand(-1, 3, -1, -1)).last_hidden_state[:, 1:]
    torch.testing.assert_close(encoder(planes), expected, rtol=1e-4, atol=1e-4)


def test_an_interrupted_run_goes_on_to_the_losses_of_one_that_was_not(train, finished, tmp_path):
    class Stop(Exception):
        pass

    def stop(kind, done, wanted, figures):
        if kind == "train" and done == 6:
            raise Stop

    with pytest.raises(Stop):
        train(tmp_path, progress=stop)
    assert not (tmp_path / "result.json").exists()
    result = train(tmp_path)
    assert losses(tmp_path) == losses(finished.out)
    assert result.final == finished.final
    mine, other = (load_file(one.encoder / "model.safetensors") for one in (result, finished))
    assert all(torch.equal(mine[name], other[name]) for name in other)


def test_a_finished_run_is_not_trained_again(train, finished):
    told = []
    again = train(finished.out, progress=lambda *said: told.append(said))
    assert again.final == finished.final
    assert told == []


def test_another_run_in_the_same_folder_is_refused_and_says_what_differs(train, finished):
    with pytest.raises(SdvlmError, match=r"config.temperature is 0.2, was 0.07"):
        train(finished.out, temperature=0.2)
    with pytest.raises(SdvlmError, match="no-resume"):
        train(finished.out, resume=False)


def test_chunks_change_nothing_but_memory(train, tmp_path):
    # without reconstruction nothing is drawn at random within a chunk
    whole = train(tmp_path / "whole", objective="infonce", chunk=12, steps=4)
    parts = train(tmp_path / "parts", objective="infonce", chunk=5, steps=4)
    assert losses(whole.out) == pytest.approx(losses(parts.out), rel=1e-5)


def test_features_are_encoded_once_and_without_the_cache_the_losses_are_the_same(train, finished, tmp_path):
    cached = train(tmp_path / "cached", objective="infonce", steps=4)
    assert finished.cached_pairs > 0 or cached.cached_pairs == 0
    assert train(tmp_path / "again", objective="infonce", steps=4).cached_pairs == 0
    direct = train(tmp_path / "direct", objective="infonce", steps=4, cache=False, centre=False)
    same = train(tmp_path / "same", objective="infonce", steps=4, centre=False)
    assert losses(direct.out) == pytest.approx(losses(same.out), rel=2e-3)  # half floats on disk


@pytest.mark.slow
def test_it_learns_to_find_the_picture_of_a_depth_map_and_to_tell_hidden_depth(train, tmp_path):
    train(tmp_path, steps=60, batch=20, chunk=20, lr=5e-3, tower_lr=2e-3, eval_every=60)
    trained = [one for one in read_metrics(tmp_path) if one["kind"] == "train"]
    first, last = trained[:5], trained[-10:]

    def mean(entries, name):
        return sum(one[name] for one in entries) / len(entries)

    assert mean(last, "accuracy") > max(3 / 20, 2 * mean(first, "accuracy"))
    assert mean(last, "contrast") < 0.8 * math.log(20)
    assert mean(last, "reconstruction") < 0.8 * mean(first, "reconstruction")


@pytest.mark.parametrize(
    "settings",
    [
        {"dtype": "bfloat16"},
        {"patch_weight": 0.5},
        {"learn_temperature": True, "false_negatives": "mask"},
        {"flip": 0.5, "crop": 0.7, "rotate_degrees": 5.0},
        {"workers": 1},
        {"objective": "comae", "curriculum": 0.5},
        {"coordinate": "inverse", "extras": ("valid", "height", "normal")},
        {"share": 0.2, "false_negatives": "keep", "batch": 64},
        {"pool": 1, "head_width": 32, "visible_weight": 0.0},
    ],
    ids=lambda settings: "-".join(settings),
)
def test_every_option_trains(train, tmp_path, settings):
    result = train(tmp_path, steps=4, eval_every=4, **settings)
    assert result.steps == 4
    assert all(one == one for one in result.final.values())
    trained = [one for one in read_metrics(tmp_path) if one["kind"] == "train"]
    assert all(one["gradient_norm"] > 0 for one in trained)


def test_depth_without_metres_needs_the_planes_and_the_objective_for_it(train, tmp_path, make_pairs):
    data = make_pairs(tmp_path / "data", scenes=8, kind=DepthKind.DISPARITY)
    with pytest.raises(SdvlmError, match="coordinate=per_image"):
        train(tmp_path / "a", data=data)
    with pytest.raises(SdvlmError, match="--objective infonce"):
        train(tmp_path / "a", data=data, coordinate="per_image")
    result = train(tmp_path / "b", data=data, coordinate="per_image", objective="infonce")
    assert "trunk_r2" not in result.final
    assert "depth_to_rgb_r1" in result.final


def test_data_without_a_held_out_split_is_refused(train, tmp_path, make_pairs):
    data = make_pairs(tmp_path / "data", test_share=0.0, scenes=4)
    with pytest.raises(SdvlmError, match="--test-share"):
        train(tmp_path / "out", data=data)


def test_a_loss_that_is_no_number_stops_the_run_and_leaves_the_last_checkpoint(train, tmp_path):
    with pytest.raises(SdvlmError, match="not finite"):
        train(tmp_path, lr=1e30, clip_norm=1e30, steps=20, checkpoint_every=1, eval_every=20)
    assert not (tmp_path / "result.json").exists()
    assert list((tmp_path / "checkpoints").iterdir())


def test_a_damaged_result_is_named(tmp_path):
    with pytest.raises(SdvlmError, match="no finished run"):
        read_result(tmp_path)
    (tmp_path / "result.json").write_text(json.dumps({"encoder": 1}))
    with pytest.raises(SdvlmError, match="damaged"):
        read_result(tmp_path)
