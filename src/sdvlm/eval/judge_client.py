"""One question to an OpenAI-compatible endpoint, with patience for what passes and none for what does not."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sdvlm.extras import require
from sdvlm.types import SdvlmError

__all__ = ["JudgeClient", "JudgeConfig", "JudgeRefusedError", "JudgeUnreachableError"]

_PASSING = (408, 409, 425, 429)
_LONGEST_WAIT_S = 60.0


class JudgeRefusedError(RuntimeError):
    """The endpoint answered, but with no reply to this question; others may fare better."""


class JudgeUnreachableError(RuntimeError):
    """The endpoint gave no answer in all tries; others will hardly fare better."""


@dataclass(frozen=True)
class JudgeConfig:
    """Whom to ask, and how.

    Args:
        model: as the endpoint calls it.
        base_url: of the endpoint, with its ``/v1``; None: ``$OPENAI_BASE_URL``, else that of OpenAI.
        api_key: None: ``$OPENAI_API_KEY``. Endpoints of one's own need none.
        workers: questions asked at once.
        tries: of each question, the first included.
        timeout_s: seconds until a try is given up.
        first_wait_s: seconds before the second try; doubles for each further one, and gives way to ``Retry-After``.
        temperature: None leaves it out, for models that take none.
    """

    model: str
    base_url: str | None = None
    api_key: str | None = None
    workers: int = 8
    tries: int = 5
    timeout_s: float = 60.0
    first_wait_s: float = 1.0
    temperature: float | None = 0.0

    def __post_init__(self) -> None:
        url = self.url
        if not url.startswith(("http://", "https://")):
            raise SdvlmError(f"a judge is an http:// or https:// URL such as http://localhost:8000/v1; got '{url}'")
        if not self.model:
            raise SdvlmError("a judge needs the name of its model (--judge-model)")
        if self.workers < 1 or self.tries < 1 or not self.timeout_s > 0 or self.first_wait_s < 0:
            raise SdvlmError("a judge needs at least one worker and one try, and a positive time limit")

    @property
    def url(self) -> str:
        """Base URL, without the path of the chat endpoint if that was given."""
        url = self.base_url or os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1"
        return url.rstrip("/").removesuffix("/chat/completions").rstrip("/")


class JudgeClient:
    """Asks; safe to be used by several threads.

    Args:
        config: whom and how.
        wait: sleeps for seconds; returns True where the run was stopped meanwhile.

    Raises:
        SdvlmError: ``openai`` is not installed, or OpenAI's own endpoint is asked without a key.
    """

    def __init__(self, config: JudgeConfig, wait: Callable[[float], bool]) -> None:
        self._openai = require("openai", "asking a judge")
        self._config, self._wait = config, wait
        key = config.api_key or os.environ.get("OPENAI_API_KEY")
        if not key and "api.openai.com" in config.url:
            raise SdvlmError("the judge at api.openai.com needs a key; set OPENAI_API_KEY")
        self._client = self._openai.OpenAI(
            base_url=config.url, api_key=key or "none", timeout=config.timeout_s, max_retries=0
        )

    def ask(self, prompt: str) -> str:
        """The judge's reply to one message.

        Raises:
            JudgeRefusedError: the endpoint refuses this message, or its reply has no text.
            JudgeUnreachableError: no answer in all tries, or the run was stopped.
            SdvlmError: it will refuse all messages: wrong key, model or address.
        """
        problem = "it was not asked"
        for attempt in range(self._config.tries):
            try:
                return self._once(prompt)
            except self._openai.APIStatusError as error:
                problem = f"HTTP {error.status_code}: {_short(error)}"
                self._give_up_on(error.status_code, problem)
                wait = _retry_after(error.response.headers.get("retry-after"))
            except self._openai.APIError as error:  # no connection, time limit
                problem, wait = _short(error), None
            if attempt + 1 < self._config.tries:
                pause = wait if wait is not None else self._config.first_wait_s * 2**attempt
                if self._wait(min(pause, _LONGEST_WAIT_S)):
                    raise JudgeUnreachableError("the run was stopped")
        raise JudgeUnreachableError(f"no answer in {self._config.tries} tries, the last: {problem}")

    def close(self) -> None:
        """Give connections back."""
        self._client.close()

    def _once(self, prompt: str) -> str:
        settings = {} if self._config.temperature is None else {"temperature": self._config.temperature}
        reply: Any = self._client.chat.completions.create(
            model=self._config.model, messages=[{"role": "user", "content": prompt}], **settings
        )
        choices = getattr(reply, "choices", None)
        if choices is None:
            raise SdvlmError(f"{self._config.url} does not speak the OpenAI protocol; does the address lack a /v1?")
        text = getattr(choices[0].message, "content", None) if choices else None
        if not isinstance(text, str) or not text.strip():
            raise JudgeRefusedError("the judge's reply has no text")
        return text

    def _give_up_on(self, status: int, problem: str) -> None:
        """Raise where asking again is of no use."""
        where = f"the judge at {self._config.url}"
        if status in (401, 403):
            raise SdvlmError(f"{where} refuses the key ({problem}); set OPENAI_API_KEY")
        if status == 404:
            raise SdvlmError(
                f"{where} has no model '{self._config.model}', or the address lacks its /v1 ({problem}); "
                "give --judge-model and --judge as the endpoint has them"
            )
        if status < 500 and status not in _PASSING:
            raise JudgeRefusedError(problem)


def _retry_after(header: str | None) -> float | None:
    try:
        return max(0.0, float(header)) if header is not None else None
    except ValueError:  # a date
        return None


def _short(error: Exception) -> str:
    said = " ".join(str(error).split()) or type(error).__name__
    return said if len(said) <= 160 else said[:157] + "..."
