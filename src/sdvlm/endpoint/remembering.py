"""An endpoint that is never asked the same thing twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sdvlm.depth.cache import default_cache_folder
from sdvlm.endpoint.ask_each import ask_each
from sdvlm.endpoint.client import EndpointClient, EndpointUnreachableError
from sdvlm.endpoint.config import EndpointConfig
from sdvlm.endpoint.content import Part
from sdvlm.endpoint.reply_log import ReplyLog, request_key
from sdvlm.types import SdvlmError

__all__ = ["Question", "RememberingEndpoint", "default_reply_log"]

_LONGEST_REPLY = 20_000


def default_reply_log(purpose: str) -> Path:
    """``$SDVLM_CACHE/PURPOSE/replies.jsonl``, else under ``~/.cache/sdvlm``."""
    return default_cache_folder().parent / purpose / "replies.jsonl"


@dataclass(frozen=True)
class Question:
    """One question to a model.

    Args:
        request: plain JSON that says what the reply depends on (prompt version, picture's hash, ...); model and
            temperature are added. It is hashed to the reply's key.
        content: makes the message; called only where the reply is not known.
        note: plain JSON kept beside the reply for a person to read.
    """

    request: dict[str, Any]
    content: Callable[[], Sequence[Part]]
    note: dict[str, Any] = field(default_factory=dict)


class RememberingEndpoint:
    """Asks many questions at once and keeps each reply. Picklable; each process keeps its own connections.

    Args:
        config: whom to ask.
        log: where replies are kept.
    """

    def __init__(self, config: EndpointConfig, log: ReplyLog) -> None:
        self.config, self.log = config, log
        self.asked = self.known = 0
        self._down = False

    def replies(self, questions: Sequence[Question]) -> list[str | None]:
        """The reply to each question; None where the endpoint refuses to give one (kept too, so not asked again).

        Raises:
            SdvlmError: the endpoint gave no answer to some question, names it and the reason; what it did answer is
                kept. From then on questions get one try each until one succeeds, so that a dead endpoint does not cost
                every scene its full patience.
        """
        keys = [self._key(question) for question in questions]
        found = {key: self.log.get(key) for key in dict.fromkeys(keys)}
        missing = {key: question for key, question in zip(keys, questions, strict=True) if found[key] is None}
        self.known += len(found) - len(missing)
        if missing:
            self._ask(missing, found)
        return [found[key] or None for key in keys]

    def _ask(self, missing: dict[str, Question], found: dict[str, str | None]) -> None:
        keys, tries = list(missing), 1 if self._down else None

        def ask(client: EndpointClient, key: str) -> str:
            reply = client.ask(missing[key].content(), tries)[:_LONGEST_REPLY]
            self._keep(key, reply, missing[key])  # at once: a killed run has paid for it
            return reply

        problems = []
        for index, outcome in ask_each(keys, ask, self.config):
            key = keys[index]
            self.asked += 1
            if isinstance(outcome, EndpointUnreachableError):
                problems.append(str(outcome))
            elif isinstance(outcome, str):
                found[key] = outcome
                self._down = False
            else:
                self._keep(key, "", missing[key], refused=str(outcome))
                found[key] = ""
                self._down = False
        if problems:
            self._down = True
            raise SdvlmError(
                f"the {self.config.role} at {self.config.url} left {len(problems)} of {len(keys)} questions without an "
                f"answer ({problems[0]}); what it answered is kept, run again to go on"
            )

    def _keep(self, key: str, reply: str, question: Question, **more: str) -> None:
        self.log.put(key, reply, {"model": self.config.model, **question.note, **more})

    def _key(self, question: Question) -> str:
        """The model counts, its address does not: a server that comes up on another port is the same model."""
        asked = {"model": self.config.model, "temperature": self.config.temperature}
        return request_key({**asked, **question.request})
