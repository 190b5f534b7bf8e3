"""What a run came to: counts and rates against sums by hand, and a document that reads back."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from tests.train.conftest import picture_example, text_example

from sdvlm.train.batch_facts import batch_facts
from sdvlm.train.config import LearningRates, TrainConfig
from sdvlm.train.encode import ExampleEncoder
from sdvlm.train.flops import step_flops
from sdvlm.train.summary import SUMMARY, Meter, RunSummary, read_summary, write_summary
from sdvlm.train.tower_cache import attach
from sdvlm.train.trainable import trained_groups
from sdvlm.types import SdvlmError


class Clock:
    """Seconds that a test sets."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def batches(trainee):
    encoder = ExampleEncoder(trainee.processor, TrainConfig())
    shown = [[picture_example(0, 5)], [picture_example(1, 3), text_example()], [picture_example(2, 2, depth=False)]]
    shown += [[text_example(1)], [picture_example(3, 4, size=(48, 64))], [picture_example(4, 2)]]
    return [encoder(examples) for examples in shown]


def metered(trainee, batches, seconds, clock=None, **others):
    clock = clock or Clock()
    meter = Meter(trainee.model, trained_groups(trainee.model, LearningRates()), clock, **others)
    for batch, length in zip(batches, seconds, strict=True):
        meter.count(batch)
        clock.now += length
    return meter


def facts_of(trainee, batches):
    return [batch_facts(batch, trainee.model.config.vlm_config.vision_config) for batch in batches]


def test_rates_are_of_the_batches_between_the_first_and_the_last(trainee, batches):
    seconds = [50.0, 2.0, 3.0, 1.0, 4.0, 500.0]
    found = metered(trainee, batches, seconds).finish()
    facts = facts_of(trainee, batches)
    assert found["images"] == 5
    assert found["dialogues"] == sum(one.dialogues for one in facts) == 5 + 4 + 2 + 1 + 4 + 2
    assert found["tokens"] == sum(int(batch["attention_mask"].sum()) for batch in batches)
    assert found["timed_seconds"] == pytest.approx(10.0)
    assert found["wall_seconds"] == pytest.approx(560.0)
    middle = facts[1:5]
    assert found["images_per_second"] == pytest.approx(3 / 10)
    assert found["dialogues_per_second"] == pytest.approx(11 / 10)
    assert found["tokens_per_second"] == pytest.approx(sum(one.tokens for one in middle) / 10)
    assert found["flops_per_second"] == pytest.approx(sum(step_flops(trainee.model, one) for one in middle) / 10)


def test_flops_are_linear_in_the_counts_of_batches_of_one_kind(trainee, batches):
    one, two = facts_of(trainee, [batches[0], batches[4]])
    names = ("rows", "tokens", "learned", "pairs", "dialogues", "depth_tokens", "grids")
    both = replace(one, **{name: getattr(one, name) + getattr(two, name) for name in names})
    apart = step_flops(trainee.model, one) + step_flops(trainee.model, two)
    assert step_flops(trainee.model, both) == pytest.approx(apart, rel=1e-12)


def test_evaluations_and_saving_count_as_wall_time_alone(trainee, batches):
    clock = Clock()
    meter = metered(trainee, batches[:2], [1.0, 2.0], clock)
    with meter.resting():
        clock.now += 1000.0
    for batch in batches[2:4]:
        meter.count(batch)
        clock.now += 5.0
    found = meter.finish()
    assert found["timed_seconds"] == pytest.approx(2.0 + 5.0)
    assert found["wall_seconds"] == pytest.approx(1013.0)


def test_a_run_of_one_batch_still_has_a_rate(trainee, batches):
    found = metered(trainee, batches[:1], [4.0]).finish()
    assert found["dialogues_per_second"] == pytest.approx(5 / 4)
    assert Meter(trainee.model, []).finish()["tokens"] == 0


def test_features_from_disk_are_not_counted_as_the_towers_work(trainee, batches, tmp_path):
    trainee.model.vlm.requires_grad_(False)
    whole = metered(trainee, batches[:3], [1.0, 1.0, 1.0]).finish()
    with attach(trainee.model, tmp_path):
        less = metered(trainee, batches[:3], [1.0, 1.0, 1.0]).finish()
    (fact,) = facts_of(trainee, batches[1:2])
    assert whole["flops_per_second"] == pytest.approx(step_flops(trainee.model, fact))
    assert less["flops_per_second"] == pytest.approx(step_flops(trainee.model, fact, cached_tower=True))


def test_losses_parameters_and_the_machine_are_told(trainee, batches):
    state = SimpleNamespace(log_history=[{"loss": 2.5, "step": 1}, {"eval_all": 2.0}, {"loss": 1.25, "step": 9}])
    held = {"eval_loss": 0.5, "eval_without_depth_loss": 0.75, "eval_count": 0.25}
    meter = metered(trainee, batches, [1.0] * 6)
    found = meter.finish(SimpleNamespace(global_step=9), held, state)
    assert (found["steps"], found["loss_first"], found["loss_last"]) == (9, 2.5, 1.25)
    assert found["heldout"] == held
    assert found["parameters"] == sum(p.numel() for p in trainee.model.parameters())
    assert found["memory_of"] == "process"
    assert 0.05 < found["peak_memory_gib"] < 200
    assert {"torch", "transformers", "python"} <= found["versions"].keys()
    for said in ("9 steps", "18 questions", "from 2.500 to 1.250", "0.500 with depth, 0.750 without"):
        assert said in found["text"]


def test_a_summary_reads_back_and_a_damaged_one_is_refused(trainee, batches, tmp_path):
    found = metered(trainee, batches, [1.0] * 6).finish()
    write_summary(tmp_path, found)
    read = read_summary(tmp_path)
    assert isinstance(read, RunSummary)
    assert read.to_dict() == json.loads((tmp_path / SUMMARY).read_text())
    (tmp_path / SUMMARY).write_text("{}")
    with pytest.raises(SdvlmError, match="is damaged"):
        read_summary(tmp_path)
    with pytest.raises(SdvlmError, match="no run of sdvlm train ended there"):
        read_summary(tmp_path / "other")
