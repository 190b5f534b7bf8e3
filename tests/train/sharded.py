"""A step of a model whose weights are spread over processes (FSDP2), to be run in each of them."""

from __future__ import annotations

import copy
import os

import torch
from tests.train.conftest import picture_example, text_example
from torch import distributed
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import fully_shard

from sdvlm.models.run_folder import save_run
from sdvlm.train.config import LoraSettings, TrainConfig
from sdvlm.train.encode import ExampleEncoder
from sdvlm.train.forward import answer_losses
from sdvlm.train.start import start_model
from sdvlm.train.trainable import prepare_groups, trained_groups
from sdvlm.train.watch import GradientWatch


def step(rank: int, port: int, base: str, folder: str) -> None:
    """One of two processes: compares its gradients with those of the whole model, and saves that to ``folder``.

    The second process has no picture at first, and is given the blank one.
    """
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "WORLD_SIZE": "2"}
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    torch.manual_seed(0)
    config = TrainConfig(model=base, fusion="gated", lora=LoraSettings(4, 8, 0.0))
    model, processor, origin = start_model(config)
    prepare_groups(model, config)
    model.eval()
    whole = copy.deepcopy(model)
    for layer in model.vlm.get_decoder().layers:
        fully_shard(layer)
    fully_shard(model)

    encoder = ExampleEncoder(processor, config, always_vision=True)
    examples = [picture_example(0, 3), text_example()]
    batch = encoder([examples[rank]])
    answer_losses(model, model.vlm, batch)[0].sum().backward()
    answer_losses(whole, whole.vlm, encoder(examples))[0].sum().div(2).backward()  # FSDP takes the mean over processes
    groups = trained_groups(model, config.lr)
    watch = GradientWatch(image_token_id=processor.processor.image_token_id)
    watch.check(groups, batch)
    assert watch.finished
    wanted = dict(whole.named_parameters())
    for group in groups:
        for name, one in zip(group.names, group.parameters, strict=True):
            found = one.grad.full_tensor()
            torch.testing.assert_close(found, wanted[name].grad, rtol=1e-3, atol=1e-5, msg=name)
    state = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    if rank == 0:
        save_run(folder, model, processor, origin, state)
    distributed.barrier()
    distributed.destroy_process_group()
