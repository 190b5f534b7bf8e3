"""A folder of files that may not outgrow a limit: the least recently used ones go. Several processes may share it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from sdvlm.types import SdvlmError

__all__ = ["BoundedFolder"]


class BoundedFolder:
    """Files named by the digest of what they hold, in folders of the first two digits.

    It writes nothing itself: whoever writes a file does so whole or not at all (``depth.atomic``) and says so.

    Args:
        folder: made when first written to.
        suffix: of the files, with its dot.
        max_bytes: most they may take together; None: no limit.
        slack: share of ``max_bytes`` that is freed beyond need, so that a full folder is not counted anew at each
            file, and that processes may add between two counts.

    Raises:
        SdvlmError: a negative limit.
    """

    def __init__(self, folder: Path, suffix: str, max_bytes: int | None = None, slack: float = 0.0) -> None:
        if max_bytes is not None and max_bytes < 0:
            raise SdvlmError(f"max_bytes must not be negative; got {max_bytes}")
        self.folder, self.suffix, self.max_bytes, self.slack = folder, suffix, max_bytes, slack
        self._bytes: int | None = None  # at the last count, and what was added here since
        self._added = 0

    def path(self, key: str) -> Path:
        """Where a file lies, whether or not it exists."""
        return self.folder / key[:2] / f"{key}{self.suffix}"

    def used(self, path: Path) -> None:
        """Say that a file was read: it is the last to go now."""
        with suppress(FileNotFoundError):  # removed by another process
            os.utime(path)

    def written(self, path: Path) -> None:
        """Say that a file was added: the least recently used ones go until all fit."""
        if self.max_bytes is None:
            return
        try:
            added = path.stat().st_size
        except FileNotFoundError:
            return
        self._added += added
        often_enough = self.slack == 0 or self._added <= self.slack * self.max_bytes
        if self._bytes is not None and often_enough and self._bytes + added <= self.max_bytes:
            self._bytes += added
            return
        self._bytes, self._added = self._shrunk(), 0

    def _shrunk(self) -> int:
        """Bytes of all files after those beyond the limit are removed."""
        limit = self.max_bytes or 0
        entries = []
        for path in self.folder.glob(f"*/*{self.suffix}"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            entries.append((status.st_mtime_ns, status.st_size, path))
        total = sum(size for _, size, _ in entries)
        if total <= limit:
            return total
        for _, size, path in sorted(entries, key=lambda entry: entry[0]):
            if total <= (1 - self.slack) * limit:
                break
            path.unlink(missing_ok=True)
            total -= size
        return total
