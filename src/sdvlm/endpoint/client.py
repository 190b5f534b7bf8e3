"""One question to an OpenAI-compatible endpoint, with patience for what passes and none for what does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sdvlm.endpoint.config import EndpointConfig
from sdvlm.endpoint.content import Part
from sdvlm.extras import require
from sdvlm.types import SdvlmError

__all__ = ["EndpointClient", "EndpointRefusedError", "EndpointUnreachableError"]

_PASSING = (408, 409, 425, 429)
_LONGEST_WAIT_S = 60.0


class EndpointRefusedError(RuntimeError):
    """The endpoint answered, but with no reply to this question; others may fare better."""


class EndpointUnreachableError(RuntimeError):
    """The endpoint gave no answer in all tries; others will hardly fare better."""


class EndpointClient:
    """Asks; safe to be used by several threads.

    Args:
        config: whom and how.
        wait: sleeps for seconds; returns True where the run was stopped meanwhile.

    Raises:
        SdvlmError: ``openai`` is not installed, or OpenAI's own endpoint is asked without a key.
    """

    def __init__(self, config: EndpointConfig, wait: Callable[[float], bool]) -> None:
        self._openai = require("openai", f"asking {config.a_role}")
        self._config, self._wait = config, wait
        key = config.key
        if not key and "api.openai.com" in config.url:
            raise SdvlmError(f"the {config.role} at api.openai.com needs a key; set OPENAI_API_KEY")
        self._key = key
        self._client = self._openai.OpenAI(
            base_url=config.url, api_key=key or "none", timeout=config.timeout_s, max_retries=0
        )

    def ask(self, content: str | Sequence[Part], tries: int | None = None) -> str:
        """The model's reply to one message.

        Args:
            content: text, or parts of text and pictures (:mod:`sdvlm.endpoint.content`).
            tries: instead of the config's.

        Raises:
            EndpointRefusedError: the endpoint refuses this message, or its reply has no text.
            EndpointUnreachableError: no answer in all tries, or the run was stopped.
            SdvlmError: it will refuse all messages: wrong key, model or address.
        """
        tries = self._config.tries if tries is None else tries
        problem = "it was not asked"
        for attempt in range(tries):
            try:
                return self._once(content)
            except SdvlmError:
                raise
            except self._openai.APIStatusError as error:
                problem = f"HTTP {error.status_code}: {self._short(error)}"
                self._give_up_on(error.status_code, problem)
                wait = _retry_after(error.response.headers.get("retry-after"))
            except self._openai.APIError as error:  # no connection, time limit
                problem, wait = self._short(error), None
            except ValueError as error:  # a reply that claims to be JSON and is not
                problem, wait = f"the reply cannot be read: {self._short(error)}", None
            if attempt + 1 < tries:
                pause = wait if wait is not None else self._config.first_wait_s * 2**attempt
                if self._wait(min(pause, _LONGEST_WAIT_S)):
                    raise EndpointUnreachableError("the run was stopped")
        raise EndpointUnreachableError(f"no answer in {tries} tries, the last: {problem}")

    def close(self) -> None:
        """Give connections back."""
        self._client.close()

    def _once(self, content: str | Sequence[Part]) -> str:
        settings = {} if self._config.temperature is None else {"temperature": self._config.temperature}
        told = content if isinstance(content, str) else [dict(part) for part in content]
        reply: Any = self._client.chat.completions.create(
            model=self._config.model, messages=[{"role": "user", "content": told}], **settings
        )
        choices = getattr(reply, "choices", None)
        if choices is None:
            raise SdvlmError(f"{self._config.url} does not speak the OpenAI protocol; does the address lack a /v1?")
        message = getattr(choices[0], "message", None) if choices else None
        text = getattr(message, "content", None)
        if not isinstance(text, str) or not text.strip():
            raise EndpointRefusedError(f"the {self._config.role}'s reply has no text")
        return text

    def _give_up_on(self, status: int, problem: str) -> None:
        """Raise where asking again is of no use."""
        config = self._config
        where = f"the {config.role} at {config.url}"
        if status in (401, 403):
            raise SdvlmError(f"{where} refuses the key ({problem}); set OPENAI_API_KEY")
        if status == 404:
            raise SdvlmError(
                f"{where} has no model '{config.model}', or the address lacks its /v1 ({problem}); "
                f"give {config.model_option} and {config.url_option} as the endpoint has them"
            )
        if status < 500 and status not in _PASSING:
            raise EndpointRefusedError(problem)

    def _short(self, error: Exception) -> str:
        """One line; the key is left out even where the endpoint repeats it."""
        said = " ".join(str(error).split()) or type(error).__name__
        said = said.replace(self._key, "***") if self._key else said
        return said if len(said) <= 160 else said[:157] + "..."


def _retry_after(header: str | None) -> float | None:
    try:
        return max(0.0, float(header)) if header is not None else None
    except ValueError:  # a date
        return None
