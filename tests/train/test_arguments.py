"""Arguments of transformers: all can be set, but for those that would break the run; batches come out even."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest
from transformers import TrainingArguments

from sdvlm.extras import is_installed
from sdvlm.train.arguments import _OWN, training_arguments
from sdvlm.train.config import TrainConfig
from sdvlm.types import SdvlmError


def made(tmp_path, world=1, global_batch=32, dtype="auto", heldout=0.02, **arguments):
    config = TrainConfig(
        global_batch=global_batch, dtype=dtype, heldout=heldout, arguments={"use_cpu": True} | arguments
    )
    return training_arguments(config, tmp_path, world)


@pytest.mark.parametrize(("each", "world", "steps"), [(1, 1, 32), (2, 4, 4), (8, 4, 1), (32, 1, 1)])
def test_accumulation_makes_up_the_global_batch(tmp_path, each, world, steps):
    args = made(tmp_path, world, per_device_train_batch_size=each)
    assert args.gradient_accumulation_steps == steps
    assert args.per_device_eval_batch_size == each


@pytest.mark.parametrize(("each", "world"), [(5, 1), (1, 3), (8, 8)])
def test_a_global_batch_that_does_not_come_out_even_is_refused(tmp_path, each, world):
    with pytest.raises(SdvlmError, match=f"32 is no multiple of {world} processes times .* {each}; change one"):
        made(tmp_path, world, per_device_train_batch_size=each)


def test_accumulation_that_is_given_is_taken(tmp_path):
    assert made(tmp_path, per_device_train_batch_size=5, gradient_accumulation_steps=3).gradient_accumulation_steps == 3


def test_nothing_is_tracked_uploaded_or_printed_unless_asked(tmp_path):
    args = made(tmp_path)
    assert (args.report_to, args.push_to_hub, args.disable_tqdm) == ([], False, True)
    assert args.output_dir == str(tmp_path / "checkpoints")
    assert made(tmp_path, report_to="tensorboard").report_to == ["tensorboard"]


def test_evaluation_goes_with_held_out_data(tmp_path):
    assert made(tmp_path).eval_strategy == "steps"
    assert made(tmp_path, heldout=0.0).eval_strategy == "no"
    assert made(tmp_path, eval_strategy="epoch").eval_strategy == "epoch"


def test_yaml_is_taken_as_it_is_meant(tmp_path):
    args = made(tmp_path, learning_rate="1e-4", save_strategy=False, adam_epsilon="1E-7", eval_strategy=False)
    assert (args.learning_rate, args.adam_epsilon) == (1e-4, 1e-7)
    assert (args.save_strategy, args.eval_strategy) == ("no", "no")


@pytest.mark.parametrize(
    ("dtype", "given", "bf16"),
    [("float32", {}, False), ("auto", {}, False), ("bfloat16", {}, True), ("float16", {}, True),
     ("bfloat16", {"bf16": False}, False)],
)  # fmt: skip
def test_frozen_weights_of_16_bit_come_with_autocast(tmp_path, dtype, given, bf16):
    """What is trained is float32: without, the first product of the two kinds would fail."""
    assert made(tmp_path, dtype=dtype, **given).bf16 is bf16


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"learning_rat": 1e-3}, "arguments.learning_rat is no field of transformers.TrainingArguments"),
        ({"output_dir": "x"}, "arguments.output_dir is the run's own folder; leave it out"),
        ({"remove_unused_columns": True}, "not for these data"),
        ({"label_smoothing_factor": 0.1}, "not in our loss"),
        ({"resume_from_checkpoint": "x"}, "--no-resume"),
        ({"auto_find_batch_size": True}, "would change global_batch"),
        ({"per_device_train_batch_size": 0}, "must be a whole number of at least 1; got 0"),
        ({"per_device_train_batch_size": "four"}, "must be a whole number of at least 1; got 'four'"),
        ({"gradient_accumulation_steps": 0}, "must be a whole number"),
        ({"lr_scheduler_type": "sine"}, "transformers refuses the arguments: .*sine"),
        ({"optim": "adam9"}, "transformers refuses the arguments: .*adam9"),
        ({"fp16": True, "bf16": True}, "transformers refuses"),
        ({"report_to": "nowhere", "save_strategy": "sometimes"}, "transformers refuses the arguments: .*sometimes"),
        ({"load_best_model_at_end": True, "save_strategy": "epoch"}, "transformers refuses"),
        ({"fsdp": True, "fsdp_config": "/no/such/file.json"}, "transformers refuses .*file.json"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path, arguments, said):
    with pytest.raises(SdvlmError, match=said) as told:
        made(tmp_path, **arguments)
    assert "\n" not in str(told.value)


def test_every_field_that_is_refused_is_one(tmp_path):
    assert set(_OWN) <= {one.name for one in fields(TrainingArguments)}


def test_fsdp_settings_are_taken(tmp_path):
    args = made(tmp_path, fsdp=True, fsdp_config={"version": 2, "transformer_layer_cls_to_wrap": ["LlamaDecoderLayer"]})
    assert args.fsdp_plugin_args["fsdp_version"] == 2
    assert args.fsdp_plugin_args["transformer_cls_names_to_wrap"] == "LlamaDecoderLayer"


def test_a_deepspeed_config_is_handed_on(tmp_path):
    """Where DeepSpeed is not installed that is said, which is as far as the path can be followed."""
    zero = {"zero_optimization": {"stage": 2}, "train_micro_batch_size_per_gpu": "auto", "bf16": {"enabled": "auto"}}
    (tmp_path / "zero2.json").write_text(json.dumps(zero), encoding="utf-8")
    for given in (str(tmp_path / "zero2.json"), zero):
        if is_installed("deepspeed"):
            assert made(tmp_path, deepspeed=given).hf_deepspeed_config.is_zero2()
            continue
        with pytest.raises(SdvlmError, match=r"arguments\.deepspeed needs deepspeed, which is not installed; pip"):
            made(tmp_path, deepspeed=given)
