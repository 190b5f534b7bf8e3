"""``run.json``: what a run was made of, who worked on it when, and whether it may be continued."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from sdvlm.eval.run_facts import now, software
from sdvlm.eval.run_folder import read_json, write_json
from sdvlm.types import SdvlmError

__all__ = ["RunLog"]

_FORMAT = 1


class RunLog:
    """The log of one run folder.

    Everything under ``settings`` decides the answers: a folder is continued only where all of it is equal. Everything
    that may change between sessions (machine, versions, command line, batch size) is kept session by session. A folder
    that holds no answer yet is begun anew.

    Args:
        folder: of the run.
        settings: what decides the answers; nested plain JSON values.
        about: further facts: of data and model.

    Raises:
        SdvlmError: the folder holds a run with other settings, or answers without a log.
    """

    def __init__(self, folder: Path, settings: dict[str, Any], about: dict[str, Any]) -> None:
        self.path = folder / "run.json"
        answers = folder / "answers.jsonl"
        answered = answers.is_file() and answers.stat().st_size > 0
        begun: dict[str, Any] = {}
        if self.path.is_file() and answered:
            begun = read_json(self.path)
            _check_same(folder, begun, settings)
        elif answered:
            raise SdvlmError(f"'{folder}' holds answers but no run.json that says whose; give another --out")
        self.values: dict[str, Any] = {
            "format": _FORMAT,
            "status": "running",
            "started": begun.get("started", now()),
            "ended": None,
            "settings": settings,
            **about,
            "sessions": begun.get("sessions", []),
        }

    def begin(self, **facts: Any) -> None:
        """Start a session; with the command line, versions and machine."""
        session = {"started": now(), "ended": None, "command": _command(), **software(), **facts}
        self.values["sessions"] = [*self.values["sessions"], session]
        write_json(self.values, self.path)

    def end(self, **facts: Any) -> None:
        """The run is complete. ``facts`` are added to the session."""
        session = self.values["sessions"][-1]
        session |= {"ended": now(), **facts}
        self.values |= {"status": "complete", "ended": session["ended"]}
        write_json(self.values, self.path)


def _check_same(folder: Path, begun: dict[str, Any], settings: dict[str, Any]) -> None:
    if begun.get("format") != _FORMAT:
        raise SdvlmError(f"'{folder}' holds a run of format {begun.get('format')}; this version continues {_FORMAT}")
    old, new = _flat(begun.get("settings", {})), _flat(settings)
    differing = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    if differing:
        told = "; ".join(f"{key} was {_short(old.get(key))}, now {_short(new.get(key))}" for key in differing[:3])
        more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
        raise SdvlmError(
            f"'{folder}' holds a run with other settings: {told}{more}; go on with the same ones, or give another --out"
        )


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in values.items():
        out |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return out


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _command() -> list[str]:
    return [Path(sys.argv[0]).name, *sys.argv[1:]]
