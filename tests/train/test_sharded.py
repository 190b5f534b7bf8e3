"""FSDP2: weights spread over two processes give the gradients and the folder of one."""

from __future__ import annotations

import socket

import pytest
import torch
from tests.train.sharded import step

from sdvlm.models.run_folder import load_run
from sdvlm.train.config import LoraSettings, TrainConfig
from sdvlm.train.start import start_model
from sdvlm.train.trainable import prepare_groups


@pytest.mark.slow
def test_a_sharded_model_has_the_gradients_of_the_whole_one_and_is_saved_whole(model_folders, tmp_path):
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    base = str(model_folders["llava"])
    torch.multiprocessing.spawn(step, (port, base, str(tmp_path / "run")), nprocs=2)
    torch.manual_seed(0)
    config = TrainConfig(model=base, fusion="gated", lora=LoraSettings(4, 8, 0.0))
    wanted, _, _ = start_model(config)
    prepare_groups(wanted, config)
    found = load_run(tmp_path / "run").state_dict()
    state = wanted.state_dict()
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], one) for name, one in state.items())
