"""Asking models behind an OpenAI-compatible endpoint: one client, its retries, its memory of replies."""

from sdvlm.endpoint.client import EndpointClient, EndpointRefusedError, EndpointUnreachableError
from sdvlm.endpoint.config import EndpointConfig

__all__ = ["EndpointClient", "EndpointConfig", "EndpointRefusedError", "EndpointUnreachableError"]
