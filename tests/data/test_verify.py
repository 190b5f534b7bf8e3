"""The checker finds what is wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sdvlm.data.names import name_objects
from sdvlm.data.questions import ask_all
from sdvlm.data.schema import AnswerKind, QuestionType, TypedAnswer
from sdvlm.data.select import select
from sdvlm.data.verify import denoted_ids, find_faults, recompute
from sdvlm.types import SdvlmError


def _spoilt(answer: TypedAnswer) -> TypedAnswer:
    if answer.kind in (AnswerKind.LENGTH, AnswerKind.LENGTHS, AnswerKind.POINT):
        return replace(answer, values=(answer.numbers[0] + 0.02, *answer.numbers[1:]))
    if answer.kind is AnswerKind.COUNT:
        return replace(answer, values=(answer.numbers[0] + 1,))
    other = {"yes": "no", "no": "yes", "left": "right", "right": "left"}
    return replace(answer, values=(other.get(str(answer.values[0]), "unicorn"),))


@pytest.mark.parametrize("seed", range(15))
def test_every_spoilt_answer_is_found(make_room, seed):
    observation = make_room(seed).observe()
    for sample in ask_all(select(observation), np.random.default_rng(seed)):
        assert find_faults(sample, observation) == []
        assert find_faults(replace(sample, answer_typed=_spoilt(sample.answer_typed)), observation) != []


def test_a_name_of_another_object_is_found(make_room):
    observation = make_room(0).observe()
    found = 0
    for sample in ask_all(select(observation), np.random.default_rng(0)):
        if sample.type is QuestionType.ABSOLUTE_DISTANCE and len(sample.objects) == 2:
            swapped = replace(sample, objects=sample.objects[::-1])  # the distance stays right
            assert len(find_faults(swapped, observation)) == 2
            found += 1
    assert found > 0


def test_a_name_that_the_text_does_not_hold_is_found(make_room):
    observation = make_room(0).observe()
    sample = next(s for s in ask_all(select(observation), np.random.default_rng(0)) if len(s.objects) == 1)
    assert any(
        "not in the text" in fault for fault in find_faults(replace(sample, question="?", answer="!"), observation)
    )


def test_an_answer_without_definition_cannot_be_checked(make_room):
    observation = make_room(0).observe()
    sample = ask_all(select(observation), np.random.default_rng(0))[0]
    with pytest.raises(SdvlmError, match="definition"):
        recompute(replace(sample, answer_typed=replace(sample.answer_typed, definition=None)), observation)


def test_an_unknown_definition_is_refused():
    with pytest.raises(SdvlmError, match="definition"):
        TypedAnswer(AnswerKind.LENGTH, (1.0,), "m", "as the crow flies")


def test_a_given_name_means_whom_it_was_given_to_and_whomever_its_words_fit(make_room):
    observation = make_room(0).observe()
    selection = select(observation)
    instance = next(iter(name_objects(selection)))
    other = next(seen.id for seen in observation.objects if seen.id != instance)
    given = {instance: "thing with a story"}
    samples = ask_all(selection, np.random.default_rng(0), given_names=given)
    called = [sample for sample in samples if "thing with a story" in sample.names]
    assert called
    for sample in called:
        assert find_faults(sample, observation, given) == []
        assert find_faults(sample, observation) != []
        assert find_faults(sample, observation, given | {other: "thing with a story"}) != []
    assert denoted_ids("chair", observation, {instance: "chair"}) == {instance} | denoted_ids("chair", observation)
