"""Two training processes are one with the batch of both."""

import os
import socket
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from sdvlm.pretrain.log import read_metrics

WORDS = [
    "--objective", "infonce", "--steps", "3", "--batch", "12", "--chunk", "4", "--lr", "2e-3", "--tower-lr", "5e-4",
    "--device", "cpu", "--set", "embedding=16", "--set", "pool=2", "--set", "eval_every=3", "--set", "probe_pairs=8",
    "--set", "tensorboard=false",
]  # fmt: skip
RUN = "import sys; from sdvlm.cli.main import main; main(sys.argv[1:])"


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def train(processes, data, out, rgb, cache):
    """Start that many processes as torchrun does, wait for all; what they said."""
    common = os.environ | {
        "SDVLM_CACHE": str(cache), "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(processes),
    }  # fmt: skip
    started = [
        subprocess.Popen(
            [sys.executable, "-c", RUN, "pretrain", str(data), str(out), "--rgb", str(rgb), *WORDS],
            env=common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]
    said = [one.communicate(timeout=300) for one in started]
    assert [one.returncode for one in started] == [0] * processes, said
    return [out for out, _ in said]


@pytest.mark.slow
def test_two_processes_train_as_one_does(pairs_folder, rgb_folder, tmp_path):
    train(1, pairs_folder, tmp_path / "one", rgb_folder, tmp_path / "cache")
    said = train(2, pairs_folder, tmp_path / "two", rgb_folder, tmp_path / "other")
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
