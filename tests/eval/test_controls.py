"""Each control passes an answerer that uses depth rightly and fails one that is wrong in the way it looks for."""

import math

import numpy as np
import pytest

from sdvlm.data.schema import AnswerKind, TypedAnswer
from sdvlm.eval import controls
from sdvlm.eval.controls import ControlSample, scaled_sample, share_right
from sdvlm.types import DepthKind, DepthMap, RgbdFrame, SdvlmError

SIZE = 16
NEARER, FAR_AWAY = "Is the top left corner nearer than the top right one?", "How far is the top left corner?"


def _yes(value):
    return TypedAnswer(AnswerKind.YES_NO, ("yes" if value else "no",))


def _metres(value):
    return TypedAnswer(AnswerKind.LENGTH, (float(value),), "m")


def _truth(question, values):
    return _metres(values[0, 0]) if question == FAR_AWAY else _yes(values[0, 0] < values[0, -1])


def _samples(question, count=64, seed=0):
    rng = np.random.default_rng(seed)
    samples = []
    for _ in range(count):
        cells = np.exp(rng.uniform(math.log(0.3), math.log(30), (2, 2)))
        values = np.kron(cells, np.ones((8, 8)))
        frame = RgbdFrame(np.full((SIZE, SIZE, 3), 90, np.uint8), DepthMap(values))
        samples.append(ControlSample(frame, question, _truth(question, values)))
    return samples


def _guess(frame, questions):
    return [_metres(2.0) if question == FAR_AWAY else _yes(True) for question in questions]


def reads_metres(frame, questions):
    """Right whenever there is metric depth; turns disparity round; guesses without depth."""
    if frame.depth is None:
        return _guess(frame, questions)
    turned = frame.depth.kind is DepthKind.DISPARITY
    return [_truth(question, -frame.depth.values if turned else frame.depth.values) for question in questions]


def reads_min_max(frame, questions):
    """Per-image min-max: right about order, cannot know metres."""
    if frame.depth is None:
        return _guess(frame, questions)
    values = frame.depth.values
    spread = (values - values.min()) / (values.max() - values.min() + 1e-9)
    return [_truth(question, 0.5 + 5 * spread) for question in questions]


def reads_values_not_places(frame, questions):
    """Knows which depths there are but not where: what it says, no shuffling changes."""
    if frame.depth is None:
        return _guess(frame, questions)
    return [_yes(np.floor(100 * frame.depth.values.sum()) % 2 == 0) for _ in questions]


def blind(frame, questions):
    return _guess(frame, questions)


def _swapped(samples):
    """Every picture with the depth, and the truth, of the next one."""
    others = [*samples[1:], samples[0]]
    pairs = zip(samples, others, strict=True)
    return [ControlSample(RgbdFrame(a.frame.image, b.frame.depth), a.question, b.truth) for a, b in pairs]


@pytest.mark.parametrize("question", [NEARER, FAR_AWAY])
def test_swap_passes_who_reads_depth_and_fails_the_blind(question):
    samples = _samples(question)
    assert controls.swap(reads_metres, samples, _swapped(samples)).passed
    assert not controls.swap(blind, samples, _swapped(samples)).passed


def test_swap_fails_who_changes_the_answer_but_not_to_the_right_one():
    samples = _samples(NEARER)

    def contrary(frame, questions):
        return [_yes(answer.values[0] == "no") for answer in reads_metres(frame, questions)]

    result = controls.swap(contrary, samples, _swapped(samples))
    assert (result.passed, result.value) == (False, 0.0)


def test_swap_counts_only_pairs_whose_truths_differ():
    samples = _samples(NEARER, 4)
    with pytest.raises(SdvlmError, match="truths differ"):
        controls.swap(reads_metres, samples, samples)


def test_scale_finds_slope_one_for_metres_and_zero_for_min_max():
    samples = _samples(FAR_AWAY)
    metric, flat = controls.scale(reads_metres, samples), controls.scale(reads_min_max, samples)
    assert (metric.passed, metric.value) == (True, pytest.approx(1.0, abs=1e-5))
    assert (flat.passed, flat.value) == (False, pytest.approx(0.0, abs=1e-5))
    assert controls.scale(reads_min_max, samples, expected=0.0).passed


@pytest.mark.parametrize("power", [0.5, 1.7, -1.0])
def test_scale_measures_the_power_by_which_answers_grow(power):
    def grows(frame, questions):
        return [_metres(3 * frame.depth.values[0, 0] ** power) for _ in questions]

    result = controls.scale(grows, _samples(FAR_AWAY, 8), factors=(0.5, 1.0, 3.0))
    assert result.value == pytest.approx(power, abs=1e-4)
    assert not result.passed


def test_scale_fails_who_answers_too_few_questions_with_a_length():
    def mumbles(frame, questions):
        answers = reads_metres(frame, questions)
        return [None if frame.depth.values[0, 0] > 1 else answer for answer in answers]

    result = controls.scale(mumbles, _samples(FAR_AWAY))
    assert result.value == pytest.approx(1.0, abs=1e-5)
    assert not result.passed


def test_shuffle_passes_who_uses_places_and_fails_who_uses_values_only_or_nothing():
    samples = _samples(NEARER, 200)
    used = controls.shuffle(reads_metres, samples, np.random.default_rng(0))
    assert used.passed
    by_values = [ControlSample(s.frame, s.question, reads_values_not_places(s.frame, [s.question])[0]) for s in samples]
    assert share_right(reads_values_not_places, by_values) == 1.0
    assert not controls.shuffle(reads_values_not_places, by_values, np.random.default_rng(0)).passed
    assert not controls.shuffle(blind, samples, np.random.default_rng(0)).passed


def test_constant_and_noise_depth_bring_no_gain_to_who_reads_depth():
    samples = _samples(NEARER, 200)
    baseline = share_right(blind, samples)
    assert controls.constant(reads_metres, samples, baseline).passed
    assert controls.noise(reads_metres, samples, baseline, np.random.default_rng(0)).passed


def test_constant_and_noise_depth_unmask_who_knows_the_answer_otherwise():
    samples = _samples(NEARER, 200)
    known = {id(sample.frame.image): sample.truth for sample in samples}

    def leaks(frame, questions):  # the added parts answer from the picture as soon as there is any depth
        return [known[id(frame.image)] if frame.depth is not None else _yes(True) for _ in questions]

    baseline = share_right(leaks, samples, lambda frame: RgbdFrame(frame.image))
    assert not controls.constant(leaks, samples, baseline).passed
    assert not controls.noise(leaks, samples, baseline, np.random.default_rng(0)).passed


def test_missing_passes_who_still_guesses_and_fails_who_falls_silent():
    samples = _samples(NEARER, 200)
    baseline = share_right(blind, samples)

    def silent(frame, questions):
        return reads_metres(frame, questions) if frame.depth is not None else [None] * len(questions)

    assert controls.missing(reads_metres, samples, baseline).passed
    assert not controls.missing(silent, samples, baseline).passed


def test_sign_passes_who_turns_disparity_round_and_fails_who_does_not():
    samples = _samples(NEARER)
    assert controls.sign(reads_metres, samples).passed
    result = controls.sign(reads_min_max, samples)
    assert (result.passed, result.value) == (False, 0.0)


def test_sign_does_not_apply_to_who_refuses_disparity():
    def strict(frame, questions):
        if frame.depth.kind is not DepthKind.METRIC:
            raise SdvlmError("needs metric depth")
        return reads_metres(frame, questions)

    result = controls.sign(strict, _samples(NEARER, 4))
    assert result.passed is None
    assert "needs metric depth" in result.why
    assert result.to_dict()["value"] is None


def test_a_scaled_sample_has_scaled_lengths_and_nothing_else_changes():
    sample = _samples(FAR_AWAY, 1)[0]
    larger = scaled_sample(sample, 3.0)
    assert larger.truth.numbers[0] == pytest.approx(3 * sample.truth.numbers[0])
    assert larger.frame.image is sample.frame.image
    assert share_right(reads_metres, [larger]) == 1.0
    yes_no = _samples(NEARER, 1)[0]
    assert scaled_sample(yes_no, 3.0).truth == yes_no.truth


def test_questions_of_one_frame_are_asked_together_and_answers_come_back_in_order():
    frames = [sample.frame for sample in _samples(NEARER, 2)]
    order = [(0, NEARER), (1, FAR_AWAY), (0, FAR_AWAY), (1, NEARER)]
    samples = [ControlSample(frames[i], q, _truth(q, frames[i].depth.values)) for i, q in order]
    asked = []

    def listens(frame, questions):
        asked.append(list(questions))
        return reads_metres(frame, questions)

    assert share_right(listens, samples) == 1.0
    assert asked == [[NEARER, FAR_AWAY], [FAR_AWAY, NEARER]]


def test_a_control_without_samples_is_refused():
    with pytest.raises(SdvlmError, match="at least one sample"):
        share_right(blind, [])
