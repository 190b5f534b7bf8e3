"""What the command line says, and which code it exits with, when something goes wrong.

0 done, 1 the work failed, 2 bad input, 130 interrupted. Always one line on stderr: what was seen, what is wanted, the
fix.
"""

from __future__ import annotations

import typer

__all__ = ["BAD_INPUT", "INTERRUPTED", "WORK_FAILED", "CommandLineError", "describe"]

WORK_FAILED = 1
BAD_INPUT = 2
INTERRUPTED = 130

CommandLineError: type[Exception] = typer.BadParameter.__mro__[2]
"""What typer raises for a command line it cannot read. typer keeps click inside since 0.2x and does not export it."""


def describe(error: BaseException) -> tuple[int, str]:
    """Exit code and the one line to print for an error.

    Args:
        error: whatever a verb raised.

    Returns:
        exit code; message without line breaks, empty where nothing is to be said.
    """
    from sdvlm.types import SdvlmError  # brings NumPy, which a plain --help must not wait for

    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, "interrupted"
    if isinstance(error, SdvlmError):
        return BAD_INPUT, _one_line(str(error))
    if isinstance(error, CommandLineError):
        return BAD_INPUT, _one_line(f"{_usage_message(error)}{_where_help_is(error)}")
    if isinstance(error, OSError):
        return WORK_FAILED, _one_line(f"{error.filename}: {error.strerror}" if error.strerror else str(error))
    said = f"{type(error).__name__}: {error}"
    return WORK_FAILED, _one_line(f"{said}; this is not your input's fault, --debug shows where it happened")


def _usage_message(error: Exception) -> str:
    message: str = error.format_message()  # type: ignore[attr-defined]
    return message.rstrip(".")


def _where_help_is(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    return "" if context is None else f"; see {context.command_path} --help"


def _one_line(message: str) -> str:
    return " ".join(message.split())
