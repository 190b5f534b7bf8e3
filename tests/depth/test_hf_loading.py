"""Loading checkpoints: identity, licence, and everything that is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sdvlm.depth import hf
from sdvlm.depth.hf import load_hf_estimator
from sdvlm.types import DepthKind, SdvlmError

Folder = Callable[[str], Path]


def picture() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def test_revision_follows_weights_config_kind_and_dtype(checkpoint: Folder, tmp_path: Path) -> None:
    first = load_hf_estimator(str(checkpoint("dpt")))
    again = load_hf_estimator(str(checkpoint("dpt")))
    assert first.revision == again.revision
    assert load_hf_estimator(str(checkpoint("dpt")), kind=DepthKind.METRIC).revision != first.revision
    assert load_hf_estimator(str(checkpoint("dpt")), dtype="bfloat16").revision == f"{first.revision}+bfloat16"
    copy = shutil.copytree(checkpoint("dpt"), tmp_path / "dpt")
    weights = load_file(copy / "model.safetensors")
    weights["head.head.4.bias"] += 1
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    assert load_hf_estimator(str(copy)).revision != first.revision


def test_the_licence_comes_from_the_model_card_beside_the_weights(checkpoint: Folder, tmp_path: Path) -> None:
    copy = shutil.copytree(checkpoint("dpt"), tmp_path / "dpt")
    assert load_hf_estimator(str(copy)).licence == "unknown"
    (copy / "README.md").write_text("---\ntags:\n- depth\nlicense: cc-by-nc-4.0\n---\n# A card\n")
    assert load_hf_estimator(str(copy)).licence == "cc-by-nc-4.0"


def refused(folder: Path | str, match: str, **options: Any) -> None:
    with pytest.raises(SdvlmError, match=match) as caught:
        load_hf_estimator(str(folder), **options)
    assert "\n" not in str(caught.value)


@pytest.fixture
def broken(checkpoint: Folder, tmp_path: Path) -> Path:
    """A copy of a good checkpoint, to be broken."""
    return shutil.copytree(checkpoint("depth_anything_metric"), tmp_path / "broken")


def test_folders_that_lack_a_part_are_refused(broken: Path, tmp_path: Path) -> None:
    refused(tmp_path, "has no config.json")
    (broken / "preprocessor_config.json").unlink()
    refused(broken, "has no preprocessor_config.json")
    weights = broken / "model.safetensors"
    weights.rename(broken / "pytorch_model.bin")
    refused(broken, r"has no \.safetensors weights; pickled weights are not loaded")
    (broken / "config.json").write_text("{")
    refused(broken, "config.json cannot be read")


@pytest.mark.parametrize("keep", [0, 4, 0.5, 0.99])
def test_truncated_weights_are_refused(broken: Path, keep: float) -> None:
    weights = broken / "model.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[: int(keep) if keep >= 1 else int(keep * len(data))])
    refused(broken, "cannot be loaded: .*is the download complete")


def test_missing_and_misshapen_weights_are_refused(broken: Path) -> None:
    weights = load_file(broken / "model.safetensors")
    del weights["head.conv3.bias"]
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    refused(broken, r"1 weights are missing .*\(first: head\.conv3\.bias\)")
    weights["head.conv3.bias"] = torch.zeros(5)
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    refused(broken, "belong together|size mismatch|cannot be loaded")


def test_weights_that_no_forward_pass_uses_may_be_missing(broken: Path) -> None:
    """As in the released Intel/dpt-large, whose first fusion layer lacks its never used second branch."""
    images = [picture()]
    before = load_hf_estimator(str(broken)).estimate(images)[0].depth.values
    weights = load_file(broken / "model.safetensors")
    kept = {name: value for name, value in weights.items() if "fusion_stage.layers.0.residual_layer1" not in name}
    assert len(kept) < len(weights)
    save_file(kept, broken / "model.safetensors", metadata={"format": "pt"})
    np.testing.assert_array_equal(load_hf_estimator(str(broken)).estimate(images)[0].depth.values, before)


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({"model_type": "bert"}, "is a bert model, not a depth estimator"),
        ({"model_type": "chmv2"}, "canopy height"),
        ({"model_type": "no_such_type"}, "cannot be loaded"),
        ({}, "cannot be loaded"),
    ],
)
def test_folders_of_other_models_are_refused(broken: Path, config: dict[str, str], match: str) -> None:
    (broken / "config.json").write_text(json.dumps(config))
    refused(broken, match)


def test_bad_options_are_refused(checkpoint: Folder) -> None:
    refused(checkpoint("dpt"), "dtype must name a torch float type", dtype="int8")
    refused(checkpoint("dpt"), "batch_size must be at least 1", batch_size=0)
    refused(checkpoint("dpt"), "device 'abacus' cannot be used", device="abacus")


def test_a_hub_that_cannot_be_reached_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object) -> None:
        raise OSError("We couldn't connect\nto the hub")

    monkeypatch.setattr(hf, "_load_config", unreachable)
    refused("somebody/something", "We couldn't connect to the hub; check the id and the network")
