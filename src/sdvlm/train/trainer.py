"""``transformers.Trainer`` for packed rows with depth: own loss, own groups, own saving, evaluation by family."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, SequentialSampler
from transformers import Trainer, TrainingArguments

from sdvlm.models.wrapper import DepthVLM
from sdvlm.train.config import TrainConfig
from sdvlm.train.encode import ExampleEncoder
from sdvlm.train.even import Even
from sdvlm.train.forward import answer_losses
from sdvlm.train.heldout import Held, heldout_losses, share_of
from sdvlm.train.summary import Meter
from sdvlm.train.trainable import optimizer_groups, trained_groups
from sdvlm.train.watch import GradientWatch
from sdvlm.types import SdvlmError

__all__ = ["DepthTrainer", "last_checkpoint"]


class DepthTrainer(Trainer):
    """Trains a ``DepthVLM`` on a ``Mixture``, in one process or several.

    DDP is tested in two processes. FSDP2 is tested for what is ours (passes, gradients, the watch, the saved folder) on
    a model sharded by hand: accelerate takes it up on GPUs alone, so its own wrapping, and going on from its
    checkpoints, have not been run by us. Nor has DeepSpeed.

    Args:
        model: with its groups prepared (``trainable.prepare_groups``).
        args: of transformers.
        config: of the run.
        encoder: makes batches; given to the loaders.
        train: in the order it is to be seen; its ``set_epoch`` is called.
        heldout: for evaluation; None: none.
        save: (folder, state dict or None) writes the model so that ``load`` and everybody else can read it.
        load: (folder) puts saved weights into the model.
        meter: is told every batch before it is used, and when training rests.
    """

    model_accepts_loss_kwargs: bool

    def __init__(
        self,
        model: DepthVLM,
        args: TrainingArguments,
        config: TrainConfig,
        encoder: ExampleEncoder,
        train: Dataset[Any],
        heldout: Any,
        save: Callable[[Path, dict[str, Tensor] | None], None],
        load: Callable[[Path], None],
        meter: Meter,
        **kwargs: Any,
    ) -> None:
        self.depth_vlm, self.run_config, self.encoder = model, config, encoder
        self.heldout, self._write, self._read, self.meter = heldout, save, load, meter
        self._watch = GradientWatch(image_token_id=encoder.processor.image_token_id)
        rows = Even(train, args.per_device_train_batch_size * args.world_size)
        super().__init__(
            model=model, args=args, data_collator=encoder, train_dataset=rows, eval_dataset=heldout, **kwargs
        )
        self.model_accepts_loss_kwargs = True  # our loss is divided by the learned tokens of the whole step

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """Sum over the learned tokens, divided by how many the whole step has over all processes and accumulations."""
        self.meter.count(inputs)
        losses, _ = answer_losses(model, self.depth_vlm.vlm, inputs)
        items = losses.numel() if num_items_in_batch is None else num_items_in_batch
        loss = losses.sum() / max(int(items), 1)
        if num_items_in_batch is not None and self.args.average_tokens_across_devices:
            loss = loss * self.accelerator.num_processes  # DDP takes the mean over processes
        return loss

    def training_step(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Tensor:
        """One; after the first that can reach it, every group must have had a gradient.

        DeepSpeed has used the gradients up by then, and the first FSDP has them in pieces that no weight holds: there
        nothing is looked at.
        """
        loss: Tensor = super().training_step(model, inputs, *args, **kwargs)
        whole = not self.is_deepspeed_enabled and self._fsdp_version() != 1
        if whole and self.accelerator.sync_gradients and not self._watch.finished:
            self._watch.check(trained_groups(self.depth_vlm, self.run_config.lr), inputs)
        return loss

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """The optimiser of the arguments over the groups of the config, each with its learning rate."""
        if self.optimizer is None:
            groups = trained_groups(self.depth_vlm, self.run_config.lr)
            kind, kwargs = self.get_optimizer_cls_and_kwargs(self.args, self.depth_vlm)
            self.optimizer = kind(optimizer_groups(groups, self.args.weight_decay), **kwargs)
        return self.optimizer

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        """The mixture has its own order."""
        train: Any = self.train_dataset
        return SequentialSampler(train)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Mean loss of held-out answers: all, of each family, and with depth withheld."""
        if self.heldout is None:
            return {}
        with self.meter.resting():
            found = self._heldout_losses()
        self.log(found)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, found)
        return found

    def _heldout_losses(self) -> dict[str, float]:
        found: dict[str, float] = {}
        encoder = self.encoder.unvaried()
        processes = self.accelerator.num_processes
        batches, counted = share_of(
            len(self.heldout), self.args.per_device_eval_batch_size, self.accelerator.process_index, processes
        )
        arms = (("eval", Held(self.heldout, True)), ("eval_without_depth", Held(self.heldout, False)))
        for name, held in arms:
            loader = DataLoader(
                held, batch_sampler=batches, collate_fn=encoder, num_workers=self.args.dataloader_num_workers
            )
            losses = heldout_losses(self.model, self.depth_vlm.vlm, loader, self.accelerator, counted)
            found |= {f"{name}_{key}": value for key, value in losses.items()}
        return found

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        folder = Path(str(self.args.output_dir))
        try:
            with self.meter.resting():
                super()._save_checkpoint(*args, **kwargs)
        except (OSError, RuntimeError, SdvlmError) as error:  # a full disk is a RuntimeError of torch.save
            last = last_checkpoint(folder)
            kept = "there is no earlier one" if last is None else f"{last.name} is whole, and the run goes on from it"
            said = " ".join(str(error).split())[:200]
            raise SdvlmError(
                f"cannot save checkpoint-{self.state.global_step} in {folder}: {said}; {kept}; make room on the disk"
            ) from error

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        if self.args.should_save:
            self._write(Path(output_dir or str(self.args.output_dir)), state_dict)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        else:
            self._read(Path(resume_from_checkpoint))

    def _load_best_model(self) -> None:
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._load_best_model()
        else:
            self._read(Path(str(self.state.best_model_checkpoint)))

    def _fsdp_version(self) -> int | None:
        """None: not of FSDP."""
        plugin = getattr(self.accelerator.state, "fsdp_plugin", None)
        return None if plugin is None else int(getattr(plugin, "fsdp_version", 1))


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end; its state file is written last.

    A run that was killed while it saved leaves a folder without one, which is passed over.
    """
    numbered = [(int(one.name.split("-")[1]), one) for one in folder.glob("checkpoint-*") if _number(one.name)]
    for step, one in sorted(numbered, reverse=True):
        try:
            state = json.loads((one / "trainer_state.json").read_bytes())
        except (OSError, ValueError):
            continue
        if isinstance(state, dict) and state.get("global_step") == step:
            return one
    return None


def _number(name: str) -> bool:
    return name.split("-")[1].isdigit()
