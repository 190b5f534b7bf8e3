"""``sdvlm pretrain`` on pairs of rooms, with the vision tower of a tiny model of ours."""

import json

import pytest


@pytest.fixture(scope="module")
def room_pairs(tmp_path_factory):
    """Pairs of six small rooms."""
    from sdvlm.pairs.build import build_pairs
    from sdvlm.pairs.config import PairsConfig
    from sdvlm.pairs.source import open_source
    from sdvlm.scenes.room_dataset import RoomDataset, write_rooms

    folder = tmp_path_factory.mktemp("rooms")
    write_rooms(folder / "rooms", RoomDataset(scenes=6, frames=2, image_size=(48, 36), supersample=1, seed=3))
    build_pairs(open_source(folder / "rooms"), folder / "pairs", PairsConfig(test_share=0.5, dedupe=None))
    return folder / "pairs"


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("SDVLM_CACHE", str(tmp_path / "cache"))


SHORT = ["--steps", "2", "--batch", "4", "--chunk", "4", "--device", "cpu", "--set", "tensorboard=false"]


def test_it_trains_says_what_came_of_it_and_does_not_train_again(room_pairs, tiny_folder, tmp_path, run, run_json):
    words = ["pretrain", room_pairs, tmp_path / "out", "--rgb", tiny_folder, *SHORT]
    code, out, err = run(*words)
    assert code == 0, err
    assert "R@1" in out
    assert "chance" in out
    assert "step 2 of 2" in err
    assert (tmp_path / "out" / "encoder" / "config.json").is_file()
    document = run_json(*words)
    assert document["steps"] == 2
    assert document == json.loads((tmp_path / "out" / "result.json").read_text())
    assert {"depth_to_rgb_r1", "trunk_r2", "retrieval_chance"} <= set(document["final"])


def test_the_encoder_fits_the_model_its_tower_came_from(room_pairs, tiny_folder, tmp_path, run):
    import torch

    from sdvlm.fusion.encoder import DepthEncoder
    from sdvlm.fusion.vision_half import VisionHalf
    from sdvlm.models.wrapper import DepthVLM

    code, _, err = run("pretrain", room_pairs, tmp_path / "out", "--rgb", tiny_folder, *SHORT)
    assert code == 0, err
    encoder = DepthEncoder.from_pretrained(tmp_path / "out" / "encoder")
    half = VisionHalf(DepthVLM.from_pretrained(tiny_folder, dtype=torch.float32).vlm.base_model, encoder.channels.count)
    half.load_tower(encoder)
    assert torch.equal(next(half.tower.parameters()), next(encoder.tower.parameters()))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "speed=3"], "no setting 'speed'"),
        (["--set", "pool"], "FIELD=VALUE"),
        (["--share", "0"], "share"),
        (["--objective", "clip"], "--objective"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(room_pairs, tmp_path, run, words, said):
    code, _, err = run("pretrain", room_pairs, tmp_path / "out", *SHORT, *words)
    assert code == 2
    assert said in err
    assert len([line for line in err.splitlines() if line.startswith("error")]) == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_without_a_vision_tower_is_refused(room_pairs, tmp_path, run):
    code, _, err = run("pretrain", room_pairs, tmp_path / "out", "--rgb", tmp_path, *SHORT)
    assert code == 2
    assert "no model with a vision tower" in err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_no_pairs_is_refused(tmp_path, run, tiny_folder):
    code, _, err = run("pretrain", tmp_path, tmp_path / "out", "--rgb", tiny_folder, *SHORT)
    assert code == 2
    assert "sdvlm pairs" in err


def test_a_full_disk_is_named_and_leaves_nothing_half_written(room_pairs, tiny_folder, tmp_path, run, monkeypatch):
    from sdvlm.pretrain import checkpoint

    def full(tensors, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    code, _, err = run("pretrain", room_pairs, tmp_path / "out", "--rgb", tiny_folder, *SHORT)
    assert code == 1
    assert "No space left on device" in err
    assert str(tmp_path / "out") in err
    assert list((tmp_path / "out" / "checkpoints").iterdir()) == []
