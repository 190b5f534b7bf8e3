"""Replies of judges on disk, one file each, found by what was asked of whom."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sdvlm.depth.atomic import atomic_file
from sdvlm.depth.cache import default_cache_folder
from sdvlm.endpoint.reply_log import request_key

__all__ = ["JudgeCache", "default_judge_cache"]


def default_judge_cache() -> Path:
    """``$SDVLM_CACHE/judge``, else ``~/.cache/sdvlm/judge``."""
    return default_cache_folder().parent / "judge"


class JudgeCache:
    """A folder of replies. A file appears whole or not at all, so a killed run leaves a sound cache.

    Args:
        folder: made when first written to; default :func:`default_judge_cache`.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = default_judge_cache() if folder is None else folder

    def path(self, request: dict[str, Any]) -> Path:
        """Where the reply to a request is kept: by the SHA-256 of the request's canonical JSON."""
        name = request_key(request)
        return self.folder / name[:2] / f"{name}.json"

    def get(self, request: dict[str, Any]) -> str | None:
        """The reply kept for a request; None where there is none, or its file is damaged."""
        try:
            kept = json.loads(self.path(request).read_bytes())
        except (OSError, ValueError):
            return None
        reply = kept.get("reply") if isinstance(kept, dict) and kept.get("request") == request else None
        return reply if isinstance(reply, str) else None

    def put(self, request: dict[str, Any], reply: str) -> None:
        """Keep a reply, together with the request it answers."""
        with atomic_file(self.path(request)) as stream:
            stream.write(json.dumps({"request": request, "reply": reply}, ensure_ascii=False, indent=1).encode())
