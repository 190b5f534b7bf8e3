"""Two training processes are one with the batch of both."""

import json
import os
import socket
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from sdvlm.pretrain.config import PretrainConfig
from sdvlm.pretrain.log import read_metrics
from sdvlm.pretrain.run import pretrain

SETTINGS = {
    "objective": "infonce", "steps": 3, "batch": 12, "chunk": 4, "lr": 2e-3, "tower_lr": 5e-4, "device": "cpu",
    "embedding": 16, "pool": 2, "eval_every": 3, "eval_pairs": 8, "probe_pairs": 4, "tensorboard": False,
}  # fmt: skip
WORDS = [
    word
    for name, value in SETTINGS.items()
    for word in ("--set", f"{name}={value if isinstance(value, str) else json.dumps(value)}")
]
RUN = "import sys; from sdvlm.cli.main import main; main(sys.argv[1:])"


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def train_in_two(data, out, rgb, cache):
    """Start two processes as torchrun does and wait for both; what they said."""
    common = os.environ | {
        "SDVLM_CACHE": str(cache), "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2",
    }  # fmt: skip
    started = [
        subprocess.Popen(
            [sys.executable, "-c", RUN, "pretrain", str(data), str(out), "--rgb", str(rgb), *WORDS],
            env=common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [one.communicate(timeout=900) for one in started]
    assert [one.returncode for one in started] == [0, 0], said
    return [out for out, _ in said]


@pytest.mark.slow
def test_two_processes_train_as_one_does(pairs_folder, rgb_folder, tmp_path):
    config = PretrainConfig(rgb=str(rgb_folder), **SETTINGS)
    pretrain(pairs_folder, tmp_path / "one", config, cache_folder=tmp_path / "cache")
    said = train_in_two(pairs_folder, tmp_path / "two", rgb_folder, tmp_path / "other")
    assert "parameters" in said[0]
    assert said[1] == ""  # one of them speaks
    one, two = (
        [entry["contrast"] for entry in read_metrics(tmp_path / name) if entry["kind"] == "train"]
        for name in ("one", "two")
    )
    assert one == pytest.approx(two, rel=1e-4)
    first, second = (load_file(tmp_path / name / "encoder" / "model.safetensors") for name in ("one", "two"))
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, rtol=1e-2, atol=1e-3)
    features = [sorted(path.name for path in (tmp_path / name).rglob("*.npy")) for name in ("cache", "other")]
    assert features[0] == features[1] != []
