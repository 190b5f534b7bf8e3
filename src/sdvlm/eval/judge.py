"""Predictions to judged answers: a judge asked about each, many at once, nothing asked twice.

Every reply is kept on disk at once, so a run that is interrupted or fails goes on where it stopped when it is started
again. A row that could not be judged is reported, never scored.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sdvlm.depth.atomic import atomic_file
from sdvlm.endpoint.ask_each import ask_each
from sdvlm.endpoint.client import EndpointClient, EndpointRefusedError
from sdvlm.eval.judge_cache import JudgeCache
from sdvlm.eval.judge_client import JudgeConfig
from sdvlm.eval.judge_prompts import PROMPT_VERSION, judge_prompt, verdict_text
from sdvlm.eval.judge_text import JudgeTextError
from sdvlm.eval.judged import JudgedAnswer, Prediction

__all__ = ["FailedRow", "JudgeConfig", "JudgedRows", "judge_predictions", "write_judged"]

_PARSE_TRIES = 2
"""a reply that is not what was asked for is asked for once more"""


@dataclass(frozen=True)
class FailedRow:
    """A row that could not be judged."""

    number: int
    reason: str


@dataclass(frozen=True)
class JudgedRows:
    """What a judge made of predictions.

    Args:
        predictions: those that were judged, in their order.
        answers: the judged answer of each.
        failed: rows that could not be judged, in their order.
        asked, cached: rows that the judge was asked about now, and that were known.
    """

    predictions: tuple[Prediction, ...]
    answers: tuple[JudgedAnswer, ...]
    failed: tuple[FailedRow, ...]
    asked: int
    cached: int


@dataclass
class _Progress:
    verdicts: dict[int, str] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)


def judge_predictions(
    predictions: Sequence[Prediction],
    config: JudgeConfig,
    cache: JudgeCache | None = None,
    told: Callable[[int, int], None] | None = None,
) -> JudgedRows:
    """Have predictions judged.

    Where the endpoint stays silent, the run ends early and the rows that are left count as failed.

    Args:
        predictions: from :func:`~sdvlm.eval.judged.read_scorable`.
        config: whom to ask.
        cache: where replies are kept.
        told: called with (judged, all) as rows come in, in this thread.

    Raises:
        SdvlmError: no endpoint of the protocol, key or model; ``openai`` is missing.
    """
    cache = cache or JudgeCache()
    progress = _Progress()
    requests = [_request(one, config) for one in predictions]
    waiting = []
    for index, (one, request) in enumerate(zip(predictions, requests, strict=True)):
        verdict = _read(one, cache.get(request))
        if verdict is None:
            waiting.append(index)
        else:
            progress.verdicts[index] = verdict
    if waiting:
        _ask_all(waiting, predictions, requests, config, cache, progress, told or (lambda judged, of: None))
    done = [index for index in range(len(predictions)) if index in progress.verdicts]
    return JudgedRows(
        tuple(predictions[index] for index in done),
        tuple(JudgedAnswer(predictions[at].number, predictions[at].type, progress.verdicts[at]) for at in done),
        tuple(FailedRow(predictions[index].number, progress.failed[index]) for index in sorted(progress.failed)),
        asked=len(waiting),
        cached=len(predictions) - len(waiting),
    )


def write_judged(rows: JudgedRows, header: dict[str, Any], path: Path) -> None:
    """Write judged answers as the released code lays them out, so that its scorer and ours take them.

    A JSON list: the header line as a string, then ``{input, answer, type}``, with ``row``, the number in the file of
    predictions, beside them.
    """
    listed: list[Any] = [json.dumps(header, ensure_ascii=False) + "\n"]
    for one, answer in zip(rows.predictions, rows.answers, strict=True):
        prompt = judge_prompt(one.type, one.question, one.reference, one.reply)
        listed.append({"input": prompt, "answer": answer.text, "type": one.type.value, "row": one.number})
    with atomic_file(path) as stream:
        stream.write((json.dumps(listed, indent=1, ensure_ascii=False) + "\n").encode())


def _request(one: Prediction, config: JudgeConfig) -> dict[str, Any]:
    """What a reply depends on: it is the reply's name in the cache."""
    return {
        "url": config.url,
        "model": config.model,
        "temperature": config.temperature,
        "version": PROMPT_VERSION,
        "prompt": judge_prompt(one.type, one.question, one.reference, one.reply),
    }


def _read(one: Prediction, reply: str | None) -> str | None:
    try:
        return None if reply is None else verdict_text(one.type, reply)
    except JudgeTextError:
        return None


def _ask_all(
    waiting: Sequence[int],
    predictions: Sequence[Prediction],
    requests: Sequence[dict[str, Any]],
    config: JudgeConfig,
    cache: JudgeCache,
    progress: _Progress,
    told: Callable[[int, int], None],
) -> None:
    """Ask about rows, ``config.workers`` at a time."""

    def ask(client: EndpointClient, index: int) -> str:
        return _ask_one(client, predictions[index], requests[index], cache)

    for at, outcome in ask_each(waiting, ask, config):
        if isinstance(outcome, str):
            progress.verdicts[waiting[at]] = outcome
        else:
            progress.failed[waiting[at]] = str(outcome)
        told(len(progress.verdicts), len(predictions))


def _ask_one(client: EndpointClient, one: Prediction, request: dict[str, Any], cache: JudgeCache) -> str:
    """Ask about one row until the reply is what was asked for; it is kept before anything else happens."""
    for attempt in range(_PARSE_TRIES):
        reply = client.ask(request["prompt"])
        try:
            verdict = verdict_text(one.type, reply)
        except JudgeTextError as error:
            if attempt + 1 == _PARSE_TRIES:
                raise EndpointRefusedError(f"{error}; the judge wrote {reply!r:.80}") from error
            continue
        cache.put(request, reply)
        return verdict
    raise AssertionError("there is at least one try")
