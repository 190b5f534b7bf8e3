"""Chains from models over real HTTP: what they are told, which chains are kept, why the others are not."""

from __future__ import annotations

import json
import pickle
import re
from dataclasses import replace

import numpy as np
import pytest

from sdvlm.data.names import name_objects
from sdvlm.data.question_config import QuestionConfig
from sdvlm.data.questions import ask_all
from sdvlm.data.reasoning_endpoint import ReasoningConfig, ReasoningWriter, count_reasoned
from sdvlm.data.reasoning_prompts import read_grade, scene_facts, split_reply
from sdvlm.data.schema import AnswerKind, QuestionSample, QuestionType
from sdvlm.data.select import select
from sdvlm.endpoint import EndpointConfig
from sdvlm.eval.answers import parse_answer
from sdvlm.types import RgbdFrame, SdvlmError

pytest.importorskip("openai", reason="the extra eval is not installed")
CHAIN = "The bed is a good reference.\nComparing both in the picture leads to the answer."


class Models:
    """A writer and a grader in one: answers by the question, grades by rule."""

    def __init__(self, samples, answers=None, grade="agree") -> None:
        self.answers = {sample.question: sample.answer for sample in samples} | (answers or {})
        self.grade = grade
        self.written: list[str] = []
        self.graded: list[str] = []

    def __call__(self, content, number) -> str:
        text = content[0]["text"]
        question = json.loads(re.findall(r"^question: (.*)$", text, re.MULTILINE)[-1])
        if text.startswith("You check"):
            assert len(content) == 1
            self.graded.append(text)
            return json.dumps({"verdict": self.grade}) if self.grade in ("agree", "disagree") else self.grade
        assert content[1]["image_url"]["url"].startswith("data:image/jpeg;base64,")
        self.written.append(text)
        reply = self.answers[question]
        return reply if "\n" in reply or not reply else f"{CHAIN}\n**Answer:** {reply}"


@pytest.fixture(scope="module")
def picture(make_room):
    """(frame, observation, names, samples) of one room, all units."""
    observation = make_room(3, 200, 150).observe()
    frame = RgbdFrame(np.random.default_rng(0).integers(0, 255, (150, 200, 3)).astype(np.uint8), name="f")
    selection = select(observation)
    samples = ask_all(selection, np.random.default_rng(5), QuestionConfig(units=("m", "ft")))
    return frame, observation, name_objects(selection), samples


def writer(server, tmp_path, **config) -> ReasoningWriter:
    endpoints = [EndpointConfig(m, server.url, first_wait_s=0.001, tries=2, workers=4) for m in ("pen", "red-pen")]
    return ReasoningWriter(*endpoints, parse_answer, tmp_path / "replies.jsonl", ReasoningConfig(**config))


def run(subject: ReasoningWriter, picture, samples=None):
    frame, observation, names, all_samples = picture
    return subject.reason(frame, observation, samples or all_samples, names, np.random.default_rng(1))


def first(samples, kind: AnswerKind) -> QuestionSample:
    return next(one for one in samples if one.answer_typed.kind is kind)


def test_right_chains_of_all_families_are_kept_without_their_answer_line(picture, judge_server, tmp_path):
    samples = picture[-1]
    assert len({sample.type for sample in samples}) == 8
    models = Models(samples)
    server = judge_server(models)
    results = run(writer(server, tmp_path), picture)
    assert count_reasoned(results) == {"kept": len(samples)}
    assert {one.reasoning for one in results} == {CHAIN.replace("\n", " ")}
    assert (len(models.written), len(models.graded)) == (len(samples), len(samples))
    assert {request["model"] for request in server.requests} == {"pen", "red-pen"}
    assert all(sample.answer in text or json.dumps(sample.answer)[1:-1] in text for sample in samples for text in models.graded if json.dumps(sample.question) in text)  # fmt: skip  # noqa: E501


def test_the_writer_is_told_of_true_references_and_not_of_the_answer(picture):
    _, observation, names, samples = picture
    told = 0
    for sample in samples:
        reference = next(one for one in names if one not in sample.objects)
        facts = scene_facts(sample, observation, names, (reference,))
        (known,) = facts["reference_objects"]
        height = observation.object(reference).object.box.size[2] / (0.3048 if sample.said_unit == "ft" else 1)
        assert float(known["height"].split()[0]) == pytest.approx(height, abs=0.00501)
        assert known["height"].endswith(f" {sample.said_unit}")
        rest = json.dumps(facts["objects_asked_about"])
        if sample.answer_typed.definition in ("object_at_point", "visible"):
            assert sample.names[0] not in rest
        if sample.answer_typed.kind is AnswerKind.LENGTH and sample.type is not QuestionType.ABSOLUTE_DISTANCE:
            assert re.findall(r"[\d.]+", sample.answer)[-1] not in re.findall(r"[\d.]+", rest)
        told += "seen_depths" in rest
    assert told > 5


def test_a_chain_that_leads_elsewhere_is_dropped_and_never_graded(picture, judge_server, tmp_path):
    samples = picture[-1]
    wrong = {
        AnswerKind.LENGTH: "97 m",
        AnswerKind.LENGTHS: "1 m, 2 m, 99 m",
        AnswerKind.COUNT: "44",
        AnswerKind.POINT: "(0.01,0.99)",
        AnswerKind.NAME: "unicorn",
    }
    chosen = [one for one in samples if one.answer_typed.kind in wrong]
    models = Models(samples, {one.question: wrong[one.answer_typed.kind] for one in chosen})
    results = run(writer(judge_server(models), tmp_path), picture, chosen)
    assert {one.reasoning for one in results} == {None}
    assert set(count_reasoned(results)) <= {"another answer", "answer not read"}
    assert models.graded == []


@pytest.mark.parametrize(("factor", "kept"), [(1.0, True), (1.015, True), (1.05, False), (0.95, False)])
def test_a_length_agrees_within_two_percent(picture, judge_server, tmp_path, factor, kept):
    sample = first(picture[-1], AnswerKind.LENGTH)
    sample = replace(sample, answer_typed=replace(sample.answer_typed, values=(10.0,)))
    models = Models([sample], {sample.question: f"{10 * factor:.3f} m"})
    (result,) = run(writer(judge_server(models), tmp_path), picture, [sample])
    assert result.outcome == ("kept" if kept else "another answer")


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        ("I cannot help with that.", "no answer line"),
        ("Answer: 2 m", "no answer line"),  # nothing before it
        ("Well.\nAnswer: somewhere between the two\nBye", "no answer line"),
        ("Well.\nAnswer: I cannot determine that", "answer not read"),
        ("word " * 400 + "\nAnswer: 2 m", "too long or not text"),
        ("a\u0000b\nAnswer: 2 m", "too long or not text"),
    ],
)
def test_nonsense_is_dropped_with_its_reason(picture, judge_server, tmp_path, reply, outcome):
    sample = first(picture[-1], AnswerKind.LENGTH)
    models = Models([sample], {sample.question: reply + ("\n" if "\n" not in reply else "")})
    (result,) = run(writer(judge_server(models), tmp_path), picture, [sample])
    assert (result.reasoning, result.outcome) == (None, outcome)


@pytest.mark.parametrize(("grade", "outcome"), [("disagree", "grader disagrees"), ("I like it!", "no grade")])
def test_only_what_the_grader_agrees_with_is_kept(picture, judge_server, tmp_path, grade, outcome):
    samples = picture[-1][:4]
    results = run(writer(judge_server(Models(samples, grade=grade)), tmp_path), picture, samples)
    assert count_reasoned(results) == {outcome: 4}


def test_nothing_is_asked_twice_and_an_interrupted_run_goes_on(picture, judge_server, tmp_path):
    samples = picture[-1][:6]
    models = Models(samples)
    server = judge_server(lambda content, number: models(content, number) if number <= 3 else (500, "down", {}))
    with pytest.raises(SdvlmError, match=r"endpoint at http.* left 3 of 6 questions without an answer"):
        run(writer(server, tmp_path), picture, samples)
    server.reply = models
    before = len(server.requests)
    results = run(writer(server, tmp_path), picture, samples)
    assert len(server.requests) - before == 3 + 6
    assert run(writer(server, tmp_path), picture, samples) == results
    assert len(server.requests) - before == 3 + 6


def test_one_question_at_a_time_as_a_build_asks_it_also_from_another_process(picture, judge_server, tmp_path):
    frame, observation, _, samples = picture
    models = Models(samples, {samples[1].question: "I cannot tell."})
    subject = pickle.loads(pickle.dumps(writer(judge_server(models), tmp_path)))
    chains = [subject.explain(frame, sample, observation, np.random.default_rng(0)) for sample in samples[:3]]
    assert [chain is not None for chain in chains] == [True, False, True]
    assert subject.outcomes["kept"] == 2
    assert subject.outcomes.total() == 3


def test_replies_are_split_at_their_last_line():
    assert split_reply("a\n\nb\n  answer : 2 m ") == ("a b", "2 m")
    assert split_reply("a\nAnswer: 1\nAnswer: 2") == ("a Answer: 1", "2")
    assert split_reply("") is split_reply("Answer: 2") is split_reply("a\nb") is None
    assert read_grade('{"verdict": "Agree"}') is read_grade("agree") is True
    assert read_grade('```json\n{"verdict": "disagree"}\n```') is False
    assert read_grade("I agree to disagree") is read_grade('{"verdict": 1}') is None
