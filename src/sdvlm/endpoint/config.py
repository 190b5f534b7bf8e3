"""Whom to ask, and how patiently."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import ClassVar
from urllib.parse import urlsplit

from sdvlm.types import SdvlmError

__all__ = ["EndpointConfig"]


@dataclass(frozen=True)
class EndpointConfig:
    """A model behind an endpoint that speaks OpenAI's chat completions protocol.

    Args:
        model: as the endpoint calls it.
        base_url: of the endpoint, with its ``/v1``; None: ``$OPENAI_BASE_URL``, else that of OpenAI.
        api_key: None: ``$OPENAI_API_KEY``. Endpoints of one's own need none. Never printed.
        workers: questions asked at once.
        tries: of each question, the first included.
        timeout_s: seconds until a try is given up.
        first_wait_s: seconds before the second try; doubles for each further one, and gives way to ``Retry-After``.
        temperature: None leaves it out, for models that take none.

    Raises:
        SdvlmError: the address is no URL or holds a password, there is no model, or a number makes no sense.
    """

    model: str
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    workers: int = 8
    tries: int = 5
    timeout_s: float = 60.0
    first_wait_s: float = 1.0
    temperature: float | None = 0.0

    role: ClassVar[str] = "endpoint"
    """what messages call it"""
    model_option: ClassVar[str] = "model"
    """how a user gives the model"""
    url_option: ClassVar[str] = "base_url"
    """how a user gives the address"""

    def __post_init__(self) -> None:
        url = self.url
        if not url.startswith(("http://", "https://")):
            raise SdvlmError(
                f"{self.a_role} is an http:// or https:// URL such as http://localhost:8000/v1; got '{url}'"
            )
        if "@" in urlsplit(url).netloc:
            raise SdvlmError(f"the address of {self.a_role} holds a user or password; give a key in OPENAI_API_KEY")
        if not self.model:
            raise SdvlmError(f"{self.a_role} needs the name of its model ({self.model_option})")
        if self.workers < 1 or self.tries < 1 or not self.timeout_s > 0 or self.first_wait_s < 0:
            raise SdvlmError(f"{self.a_role} needs at least one worker and one try, and a positive time limit")

    @property
    def a_role(self) -> str:
        """The role with its article: "an endpoint"."""
        return f"{'an' if self.role[0] in 'aeiou' else 'a'} {self.role}"

    @property
    def url(self) -> str:
        """Base URL, without the path of the chat endpoint if that was given."""
        url = self.base_url or os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1"
        return url.rstrip("/").removesuffix("/chat/completions").rstrip("/")

    @property
    def key(self) -> str | None:
        """The key to send, if any."""
        return self.api_key or os.environ.get("OPENAI_API_KEY")
