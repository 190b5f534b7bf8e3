"""What a run tells: one line a step, one an evaluation, from the first process alone; TensorBoard files on the side."""

from __future__ import annotations

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from sdvlm.train.log import SayCallback, tensorboard


@pytest.fixture
def told():
    """(logs, first process) to the lines that are said."""

    def tell(logs, first=True):
        lines = []
        state = TrainerState(global_step=7, max_steps=50, is_local_process_zero=first)
        SayCallback(lines.append).on_log(None, state, TrainerControl(), logs)
        return lines

    return tell


def test_a_step_is_a_line(told):
    assert told({"loss": 1.23456, "learning_rate": 1.5e-4}) == ["step 7 of 50: loss 1.2346, learning rate 0.00015"]
    assert told({"loss": 1.0}) == ["step 7 of 50: loss 1.0000"]


def test_an_evaluation_is_a_line_with_and_without_depth(told):
    assert told({"eval_loss": 2.0}) == ["step 7: held-out loss 2.0000"]
    assert told({"eval_loss": 2.0, "eval_without_depth_loss": 2.5}) == [
        "step 7: held-out loss 2.0000, 2.5000 without depth"
    ]


def test_nothing_else_is_said_and_other_processes_are_silent(told):
    assert told(None) == told({}) == told({"train_runtime": 3.0}) == told({"loss": 1.0}, first=False) == []


def test_tensorboard_files_hold_what_was_logged(tmp_path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    callback = tensorboard(tmp_path / "tensorboard")
    state = TrainerState(global_step=3, is_world_process_zero=True)
    args = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to=[])
    callback.on_log(args, state, TrainerControl(), {"loss": 0.5, "eval_loss_count": 0.25})
    callback.on_train_end(args, state, TrainerControl())
    found = reader.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    scalars = {name: found.Scalars(name)[0].value for name in found.Tags()["scalars"]}
    assert scalars == {"train/loss": 0.5, "eval/loss_count": 0.25}
