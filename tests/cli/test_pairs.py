"""``sdvlm pairs`` as a newcomer types it: what it prints, its exit codes, one line for bad input."""

import numpy as np
import pytest
import torch
from PIL import Image

from sdvlm.depth.estimator import load_estimator
from sdvlm.pairs.dataset import PairDataset
from sdvlm.types import Camera, DepthKind


def look(seed, size=(56, 42)):
    coarse = np.random.default_rng(seed).integers(20, 236, (6, 7, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    for number in range(6):
        look(number, (56, 42) if number % 2 else (42, 56)).save(root / f"{number}.jpg")
    (root / "notes.txt").write_text("not a picture")
    return root


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A tiny Depth Anything with random weights and its real image processor, as the hub would hold it."""
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, DPTImageProcessor

    backbone = {"model_type": "dinov2", "hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2}
    backbone |= {"image_size": 28, "patch_size": 14, "out_indices": [1, 2, 3, 4], "reshape_hidden_states": False}
    torch.manual_seed(0)
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=16,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        head_hidden_size=4,
        depth_estimation_type="metric",
        max_depth=20,
    )
    folder = tmp_path_factory.mktemp("weights") / "tiny-metric"
    DepthAnythingForDepthEstimation(config).save_pretrained(folder)
    size = {"height": 28, "width": 28}
    DPTImageProcessor(size=size, keep_aspect_ratio=True, ensure_multiple_of=14).save_pretrained(folder)
    return folder


def test_a_folder_of_photos_and_a_checkpoint_become_pairs_and_a_second_run_does_nothing(
    photos, checkpoint, tmp_path, run_json
):
    words = ["pairs", photos, tmp_path / "out", "--estimator", checkpoint, "--test-share", "0.3", "--batch-size", "2"]
    first = run_json(*words, "--chunk", "4")
    assert (first["built"], first["kept"], first["rejected"], first["duplicates"]) == (2, 0, [], 0)
    assert sum(first["skipped"].values()) == 1
    assert all((tmp_path / "out" / name).is_file() for name in first["files"])
    again = run_json(*words, "--chunk", "4")
    assert (again["built"], again["kept"], again["counts"]) == (0, 2, first["counts"])
    data, estimator = PairDataset(tmp_path / "out"), load_estimator(checkpoint)
    for pair in data:
        (alone,) = estimator.estimate([pair.image])
        assert pair.depth.kind is DepthKind.METRIC
        np.testing.assert_allclose(pair.depth.values, alone.depth.values, atol=0.001)


def test_what_is_known_of_camera_and_depth_reaches_the_pairs(photos, checkpoint, tmp_path, run_json):
    words = ["--estimator", checkpoint, "--camera", "60,61,27.5,20.5,56,42", "--allow-rejected"]
    made = run_json("pairs", photos, tmp_path / "out", *words)
    assert len(made["rejected"]) == 3  # the upright ones are of another size
    for pair in PairDataset(tmp_path / "out"):
        assert pair.camera == Camera(56, 42, 60.0, 61.0, 28.0, 21.0)  # pixel centres at +0.5


def test_copies_are_augmented_as_asked(photos, checkpoint, tmp_path, run_json):
    words = ["--estimator", checkpoint, "--copies", "2", "--flip", "0.5", "--rotate", "10", "--crop", "0.6,0.9"]
    counts = run_json("pairs", photos, tmp_path / "out", *words, "--test-share", "0")["counts"]
    assert counts["train"]["pairs"] * 2 == counts["train"]["copies"] == 12


def test_plain_output_tells_what_was_made_and_rejected(photos, checkpoint, tmp_path, run):
    for path in photos.glob("*.jpg"):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / path.name).write_bytes(path.read_bytes())
    look(0, (42, 56)).save(tmp_path / "in" / "again.png")
    (tmp_path / "in" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    words = ["pairs", tmp_path / "in", tmp_path / "out", "--estimator", checkpoint, "--test-share", "0"]
    code, out, err = run(*words)
    assert code == 1
    assert "train: 6 pairs; depth metric" in out
    assert "1 near-duplicates left out" in out
    assert "rejected broken.png:" in err
    assert run(*words, "--allow-rejected")[0] == 0
    code, _, err = run(*words[:2], tmp_path / "strict", *words[3:], "--strict")
    assert code == 2
    assert err.splitlines()[-1].startswith("error: broken.png:")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--estimator", "none", "--depth", "estimated"], "--estimator none estimates nothing"),
        (["--estimator", "none"], "has no depth of its own"),
        (["--estimator", "no/such/thing"], "unknown estimator"),
        (["--crop", "0.5"], "--crop wants MIN,MAX"),
        (["--camera", "1,2,3"], "--camera wants FX,FY,CX,CY,WIDTH,HEIGHT"),
        (["--copies", "1"], "copies would be all alike"),
        (["--flip", "0.5"], "nothing is augmented without copies"),
        (["--reader-option", "frames"], "--reader-option wants KEY=VALUE"),
        (["--column", "image"], "takes no column"),
        (["--engine", "local", "--workers", "3"], "engine local does one job at a time"),
        (["--dedupe", "99"], "distance of 0 to 15"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(photos, tmp_path, run, words, said):
    code, out, err = run("pairs", photos, tmp_path / "out", *words)
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith("error: ")
    assert said in err.splitlines()[-1]


def test_a_source_that_is_not_there_and_a_folder_in_use_are_told(photos, tmp_path, run):
    code, _, err = run("pairs", tmp_path / "nothing", tmp_path / "out")
    assert code == 2
    assert "no such file or folder" in err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    code, _, err = run("pairs", photos, tmp_path / "mine", "--no-resume")
    assert code == 2
    assert "is not empty" in err
