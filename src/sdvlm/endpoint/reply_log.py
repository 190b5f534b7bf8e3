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
        self._begun = False
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
            self._append(self.path, line.encode())

    def _append(self, path: Path, line: bytes) -> None:
        """One call of the system, so that lines of several processes do not mix."""
        if not self._begun:
            path.parent.mkdir(parents=True, exist_ok=True)
            line = self._mend(path) + line
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            self._begun = os.write(descriptor, line) == len(line)
        finally:
            os.close(descriptor)
        if not self._begun:
            raise OSError(f"{path}: a reply could not be written whole; is the disk full?")

    @staticmethod
    def _mend(path: Path) -> bytes:
        """A line break where the last line was cut short (or is being written: an empty line does no harm)."""
        try:
            with path.open("rb") as stream:
                stream.seek(-1, os.SEEK_END)
                return b"" if stream.read(1) == b"\n" else b"\n"
        except OSError:  # no file yet, or an empty one
            return b""

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
