"""``sdvlm demo``: a room, its depth, questions with and without depth, and a page that shows all of it."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdvlm.demo import DEFAULT_SEED, OTHER_SCALE

if TYPE_CHECKING:
    from sdvlm.demo.room import DemoView
    from sdvlm.demo.run import Asked, Judged


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the page and the picture.")] = Path("demo"),
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another room.")] = DEFAULT_SEED,
    questions: Annotated[int, typer.Option(min=8, max=64, help="How many questions, all eight kinds.")] = 12,
    model: Annotated[str, typer.Option(help="'nano', a model folder or a hub id.")] = "nano",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Build a room, look at it, ask it things with and without depth; writes a page with pictures."""
    started = time.perf_counter()
    from sdvlm.cli.load import load_quietly
    from sdvlm.demo.room import make_demo_view
    from sdvlm.demo.run import ask_both_ways

    typer.echo("building a room ...", err=True)
    view = make_demo_view(seed, questions)
    vlm, processor = load_quietly(model)
    typer.echo(f"asking {len(view.questions)} questions, with depth and without ...", err=True)
    asked = ask_both_ways(vlm, processor, view)
    rescaled = ask_both_ways(vlm, processor, view.at_scale(OTHER_SCALE))
    answered = time.perf_counter() - started
    page, picture = _write(out, view, asked, rescaled, processor, seed, model)
    if as_json:
        document = _document(view, asked, rescaled, seed, model)
        typer.echo(
            json.dumps(document | {"page": str(page), "picture": str(picture), "seconds": round(answered, 2)}, indent=2)
        )
        return
    _print_table(asked)
    typer.echo(f"\nThe same picture of a room {OTHER_SCALE:g} times as large, which only depth tells:\n")
    _print_table(rescaled)
    _print_notes(model)
    typer.echo(f"answered {answered:.1f} s after the start")
    typer.echo(f"page: {page.resolve().as_uri()}")


def _write(
    out: Path,
    view: DemoView,
    asked: Sequence[Asked],
    rescaled: Sequence[Asked],
    processor: Any,
    seed: int,
    model: str,
) -> tuple[Path, Path]:
    from PIL import Image

    from sdvlm.demo.pages import demo_overview, demo_page
    from sdvlm.depth.atomic import atomic_file
    from sdvlm.page import write_page

    boxes = processor.grid.boxes(view.frame.size)
    page = write_page(demo_page(view, asked, rescaled, boxes, seed, model), out / "index.html")
    picture = out / "demo.png"
    with atomic_file(picture) as stream:
        Image.fromarray(demo_overview(view)).save(stream, "png")
    return page, picture


def _right(asked: Sequence[Asked]) -> dict[str, int]:
    from sdvlm.demo.run import count_right

    with_depth, without_depth = count_right(asked)
    return {"with_depth": with_depth, "without_depth": without_depth, "of": len(asked)}


def _document(
    view: DemoView, asked: Sequence[Asked], rescaled: Sequence[Asked], seed: int, model: str
) -> dict[str, Any]:
    from sdvlm.answering import NANO, NANO_NOTE

    return {
        "seed": seed,
        "room": {"kind": view.room.kind, "objects": len(view.room.objects)},
        "model": model,
        "answers": _answers(asked),
        "right": _right(asked),
        "another_scale": {"factor": OTHER_SCALE, "answers": _answers(rescaled), "right": _right(rescaled)},
        "notes": [NANO_NOTE] if model == NANO else [],
    }


def _answers(asked: Sequence[Asked]) -> list[dict[str, Any]]:
    def answer(judged: Judged) -> dict[str, Any]:
        return {"answer": judged.text, "right": judged.right}

    return [
        {
            "question": one.sample.question,
            "type": one.sample.type.value,
            "truth": one.sample.answer,
            "truth_typed": one.sample.answer_typed.to_dict(),
            "with_depth": answer(one.with_depth),
            "without_depth": answer(one.without_depth),
        }
        for one in asked
    ]


def _print_table(asked: Sequence[Asked]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    def cell(judged: Judged) -> Text:
        sign, style = ("✓", "green") if judged.right else ("✗", "red")
        return Text.assemble((f"{sign} ", style), judged.text)

    right = _right(asked)
    table = Table(footer_style="bold", show_footer=True, pad_edge=False, box=None, header_style="bold", expand=True)
    table.add_column("Question", f"{right['of']} questions", ratio=5)
    table.add_column("Truth", ratio=2)
    table.add_column("With depth", f"{right['with_depth']} right", ratio=2)
    table.add_column("Without depth", f"{right['without_depth']} right", ratio=2)
    for one in asked:
        table.add_row(Text(one.sample.question), Text(one.sample.answer), cell(one.with_depth), cell(one.without_depth))
    Console().print(table)


def _print_notes(model: str) -> None:
    from sdvlm.answering import NANO, NANO_NOTE

    if model == NANO:
        typer.echo(f"\n{NANO_NOTE}.")
