"""Two gloo processes give the loss and the gradients of one process with the whole batch."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from sdvlm.pretrain.gather import gathered
from sdvlm.pretrain.info_nce import Temperature, info_nce, scene_numbers

SCENES = ["a", "b", "b", "", "c", "a", "", "d"]
CHILD = """
import sys
import numpy as np
import torch
from torch import distributed, nn
from sdvlm.pretrain.gather import gathered
from sdvlm.pretrain.grad_cache import Encoded, cached_backward
from sdvlm.pretrain.info_nce import Temperature, info_nce, scene_numbers

rank, folder, scenes = int(sys.argv[1]), sys.argv[2], sys.argv[3].split(",")
distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
rows = slice(0, 5) if rank == 0 else slice(5, 8)
given = np.load(f"{folder}/batch.npz")
model = nn.Linear(6, 4)
model.load_state_dict({"weight": torch.from_numpy(given["weight"]), "bias": torch.from_numpy(given["bias"])})
temperature = Temperature(0.3, learned=True)
depth, rgb = (torch.from_numpy(given[name][rows]) for name in ("depth", "rgb"))
numbers = scene_numbers(scenes)[rows]
out = {}
for way in ("whole", "chunks"):
    model.zero_grad(), temperature.zero_grad()
    if way == "whole":
        told = info_nce(model(depth), rgb, temperature(), numbers, "mask", gathered)
        told.loss.backward()
        loss = told.loss.detach()
    else:
        chunks = list(zip(depth.split(2), rgb.split(2), strict=True))
        loss_of = lambda a, b: info_nce(a, b, temperature(), numbers, "mask", gathered).loss
        loss = cached_backward(lambda chunk: Encoded((model(chunk[0]), chunk[1])), chunks, loss_of).loss
    gradients = [model.weight.grad, model.bias.grad, temperature.log_scale.grad]
    for one in gradients:
        distributed.all_reduce(one)
    out |= {f"{way}{i}": one.numpy() / 2 for i, one in enumerate(gradients)} | {f"{way}_loss": loss.numpy()}
out["order"] = gathered(torch.arange(8)[rows]).numpy()
np.savez(f"{folder}/rank{rank}.npz", **out)
distributed.destroy_process_group()
"""


def test_two_processes_of_unequal_batches_equal_one_with_all(tmp_path):
    torch.manual_seed(0)
    model, temperature = nn.Linear(6, 4), Temperature(0.3, learned=True)
    depth, rgb = torch.randn(8, 6), torch.randn(8, 4)
    state = {name: one.detach().numpy() for name, one in model.state_dict().items()}
    np.savez(tmp_path / "batch.npz", depth=depth.numpy(), rgb=rgb.numpy(), **state)
    children = [
        subprocess.Popen([sys.executable, "-c", CHILD, str(rank), str(tmp_path), ",".join(SCENES)]) for rank in (0, 1)
    ]
    loss = info_nce(model(depth), rgb, temperature(), scene_numbers(SCENES), "mask").loss
    loss.backward()
    assert [child.wait(timeout=120) for child in children] == [0, 0]
    for rank in (0, 1):
        got = np.load(tmp_path / f"rank{rank}.npz")
        assert got["order"].tolist() == list(range(8))
        for way in ("whole", "chunks"):
            assert float(got[f"{way}_loss"]) == pytest.approx(float(loss.detach()), abs=1e-6)
            for i, one in enumerate((model.weight, model.bias, temperature.log_scale)):
                np.testing.assert_allclose(got[f"{way}{i}"], one.grad.numpy(), atol=1e-6)


def test_one_process_keeps_its_own_rows_as_they_are():
    rows = torch.randn(3, 2, requires_grad=True)
    assert gathered(rows) is rows
