"""What several verbs do with their options: KEY=VALUE words, the shipped model's name, a folder to go on in."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

__all__ = ["PassingLine", "key_values", "model_folder", "naming_full_disk", "plain_value", "refuse_unless_resumed"]

_SELDOM_S = 10.0
"""between two lines of progress in a log"""


def key_values(words: Sequence[str] | None, flag: str, form: str = "KEY=VALUE") -> dict[str, str]:
    """The words of a repeated option by key.

    Raises:
        SdvlmError: one is not of that form.
    """
    from sdvlm.types import SdvlmError

    pairs = {}
    for word in words or ():
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise SdvlmError(f"{flag} wants {form}; got '{word}'")
        pairs[key.strip()] = value.strip()
    return pairs


def plain_value(text: str) -> Any:
    """A reader's option: a number, true, false or null as in JSON, else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def model_folder(name: str) -> str:
    """The folder of the shipped model for "nano"; anything else as it is."""
    from sdvlm.nano import NANO_FOLDER

    return str(NANO_FOLDER) if name == "nano" else name


def refuse_unless_resumed(out: Path, resume: bool) -> None:
    """Keep a run that is not to go on out of a folder that holds something.

    Raises:
        SdvlmError: it does.
    """
    from sdvlm.types import SdvlmError

    if not resume and out.is_dir() and any(out.iterdir()):
        raise SdvlmError(f"{out} is not empty; give another folder, or leave out --no-resume to go on in it")


@contextmanager
def naming_full_disk(out: Path) -> Iterator[None]:
    """Name the output folder in an error of the system that names no file: a full disk does not say which."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(out)
        raise


class PassingLine:
    """Progress on stderr: in a terminal one line that is written over, in a log a line every few seconds."""

    def __init__(self) -> None:
        self._open = False
        self._told: float | None = None

    def show(self, text: str, stays: bool = False) -> None:
        """Write it; one that ``stays`` is not written over, and never left out."""
        now = time.monotonic()
        if sys.stderr.isatty():
            typer.echo(f"\r{text}\x1b[K", err=True, nl=stays)
            self._open = not stays
        elif stays or self._told is None or now - self._told >= _SELDOM_S:
            typer.echo(text, err=True)
            self._told = now

    def __enter__(self) -> PassingLine:
        return self

    def __exit__(self, *_: object) -> None:
        """End the line before anything else is said."""
        if self._open:
            typer.echo("", err=True)
            self._open = False
