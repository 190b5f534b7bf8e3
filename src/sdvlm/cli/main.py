"""The command line: one verb a file, and a verb's file is read only when that verb is called.

``sdvlm --help`` and ``sdvlm VERB --help`` import neither torch nor numpy: verbs import what is heavy inside their
function bodies.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import sdvlm
from sdvlm.cli.errors import describe

__all__ = ["VERBS", "app", "main"]

VERBS: dict[str, tuple[str, str]] = {
    "demo": ("sdvlm.cli.demo:demo", "Build a room, look at it, ask it things; writes a page with pictures."),
    "ask": ("sdvlm.cli.ask:ask", "Answer questions about a picture, with depth or without."),
    "depth": ("sdvlm.cli.depth:depth", "Estimate depth maps for pictures, cached."),
    "import": ("sdvlm.cli.import_:import_", "Write a released SD-VLM checkpoint in our own layout."),
    "rooms": ("sdvlm.cli.rooms:rooms", "Write procedural rooms in ScanNet's layout."),
    "build": ("sdvlm.cli.build:build", "Build MSMU-style questions from RGB-D scenes; resumable, any engine."),
    "pairs": ("sdvlm.cli.pairs:pairs", "Make RGB-D pairs of pictures, shards or frames; resumable, any engine."),
    "pretrain": (
        "sdvlm.cli.pretrain:pretrain",
        "Train a depth encoder on RGB-D pairs, aligned to an RGB tower; resumable.",
    ),
    "merge": ("sdvlm.cli.merge:merge", "Work a fine-tuning run's adapters into a plain model folder."),
    "train": ("sdvlm.cli.train:train", "Fine-tune a vision-language model with depth, packed; resumable."),
    "inspect": ("sdvlm.cli.inspect:inspect", "Write a page to look through built data."),
    "export": ("sdvlm.cli.export:export", "Write built data as LLaVA or ShareGPT JSON or as messages."),
    "ablate": ("sdvlm.cli.ablate:ablate", "Train nano under every way depth can enter, and compare; resumable."),
    "nano": ("sdvlm.cli.nano:nano", "Make the embedded model anew, and score it; resumable."),
    "doctor": ("sdvlm.cli.doctor:doctor", "Say what is installed, and what a depth file holds."),
    "eval": ("sdvlm.cli.eval:evaluate", "Ask a benchmark's questions, score the answers; resumable."),
    "score": ("sdvlm.cli.score:score", "Score judged answers or predictions: official, strict, rules, a judge."),
    "report": ("sdvlm.cli.report:report", "Compare runs with each other and with the published table."),
    "bench": ("sdvlm.cli.bench:bench", "Measure, side by side with a baseline in the same run."),
}
"""verb: (where its function is, the line that ``sdvlm --help`` shows)"""


class _LazyVerbs(TyperGroup):
    """Lists verbs by their one line; imports a verb's file when the verb itself is asked for."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] in VERBS:
            self.commands[args[0]] = _load(args[0])
        return super().resolve_command(ctx, args)


def _load(verb: str) -> Any:
    """The command behind a verb."""
    module, _, function = VERBS[verb][0].partition(":")
    found = getattr(importlib.import_module(module), function)
    if isinstance(found, typer.Typer):  # a verb with verbs of its own
        return typer.main.get_command(found)
    single = typer.Typer(add_completion=False, rich_markup_mode="rich")
    single.command(name=verb)(found)
    return typer.main.get_command(single)


app = typer.Typer(
    name="sdvlm",
    cls=_LazyVerbs,
    help="Depth for any Hugging Face vision-language model.",
    epilog="Exit codes: 0 done, 1 the work failed, 2 bad input. With --json, stdout holds one JSON document.",
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _placeholder(verb: str) -> Callable[[], None]:
    def listed_only() -> None:
        raise RuntimeError(f"the verb {verb} was listed but never loaded")

    return listed_only


for _verb, (_, _line) in VERBS.items():
    app.command(name=_verb, help=_line)(_placeholder(_verb))


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sdvlm {sdvlm.__version__}")
        raise typer.Exit()


@app.callback(invoke_without_command=True)
def _options(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say on stderr what is being done.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks (also SDVLM_DEBUG=1).")] = False,
) -> None:
    _show_log(logging.DEBUG if debug else logging.INFO if verbose else logging.WARNING)
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def _show_log(level: int) -> None:
    """Our own log on stderr; what other packages have to say they say themselves."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    ours = logging.getLogger("sdvlm")
    ours.handlers = [handler]
    ours.setLevel(level)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code.

    Args:
        argv: arguments without the program's name; ``sys.argv`` by default.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments or os.environ.get("SDVLM_DEBUG", "") not in ("", "0")
    if debug:  # accepted anywhere on the line
        arguments = ["--debug", *(word for word in arguments if word != "--debug")]
    for name in ("TRANSFORMERS_VERBOSITY", "HF_HUB_VERBOSITY"):  # stderr is for our own lines
        os.environ.setdefault(name, "error")
    try:
        code = typer.main.get_command(app).main(args=arguments, prog_name="sdvlm", standalone_mode=False)
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            traceback.print_exception(error)
        code, message = describe(error)
        typer.echo(f"error: {message}", err=True)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
