"""Replies kept in one append-only JSONL file, found again by what was asked of whom.

A line is written with one call, so a killed run leaves at most its last line cut short, and that line is skipped.
Several processes may share the file: what others added is read when something is not found.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any

__all__ = ["ReplyLog", "request_key"]


def request_key(request: dict[str, Any]) -> str:
    """SHA-256 of a request's canonical JSON, in hex."""
    content = json.dumps(request, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()


class ReplyLog:
    """What was replied, by key. Safe to be used by several threads and processes.

    Args:
        path: of the file; it is made with the first reply. None keeps replies in memory only.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._replies: dict[str, str] = {}
        self._read = 0
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[ReplyLog], tuple[Path | None]]:
        return ReplyLog, (self.path,)

    def get(self, key: str) -> str | None:
        """The reply kept under a key, None where there is none."""
        with self._lock:
            if key not in self._replies:
                self._refresh()
            return self._replies.get(key)

    def put(self, key: str, reply: str, note: dict[str, Any] | None = None) -> None:
        """Keep a reply. The first one under a key stays.

        Args:
            key: from :func:`request_key`.
            reply: what the model wrote.
            note: what a person wants to see beside it (what was asked, of whom); plain JSON.
        """
        line = json.dumps({"key": key, "reply": reply, **(note or {})}, ensure_ascii=True) + "\n"
        with self._lock:
            if key in self._replies:
                return
            self._replies[key] = reply
            if self.path is None:
                return
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                data = self._mend(descriptor) + line.encode()
                if os.write(descriptor, data) != len(data):
                    raise OSError(f"{self.path}: a reply could not be written whole; is the disk full?")
            finally:
                os.close(descriptor)

    @staticmethod
    def _mend(descriptor: int) -> bytes:
        """A line break where the last line was cut short."""
        size = os.fstat(descriptor).st_size
        return b"\n" if size and os.pread(descriptor, 1, size - 1) != b"\n" else b""

    def _refresh(self) -> None:
        """Read whole lines that came since the last time."""
        if self.path is None:
            return
        try:
            with self.path.open("rb") as stream:
                stream.seek(self._read)
                for line in stream:
                    if not line.endswith(b"\n"):
                        break
                    self._read += len(line)
                    self._take(line)
        except FileNotFoundError:
            return

    def _take(self, line: bytes) -> None:
        try:
            kept = json.loads(line)
        except ValueError:  # cut short, and mended
            return
        if isinstance(kept, dict) and isinstance(kept.get("key"), str) and isinstance(kept.get("reply"), str):
            self._replies.setdefault(kept["key"], kept["reply"])
