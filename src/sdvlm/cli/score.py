"""``sdvlm score``: judged answers as released and as corrected; predictions by rules or by a judge."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdvlm.cli.errors import WORK_FAILED

if TYPE_CHECKING:
    from sdvlm.eval.judge import JudgedRows
    from sdvlm.eval.judged import Scorable
    from sdvlm.eval.score import ScoreReport
    from sdvlm.eval.text_similarity import TextSimilarity

__all__ = ["score"]


def score(
    file: Annotated[
        Path,
        typer.Argument(help="Judged answers, predictions (preds.json, answers.jsonl) or a run folder."),
    ],
    scorer: Annotated[
        str | None,
        typer.Option(
            help="official or strict for judged answers (default: both), rules for predictions.", show_default=False
        ),
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(help="Have predictions judged by this OpenAI-compatible URL, or by 'openai'.", metavar="URL"),
    ] = None,
    judge_model: Annotated[
        str | None, typer.Option(help="The judge's model, as the endpoint calls it.", envvar="SDVLM_JUDGE_MODEL")
    ] = None,
    judge_out: Annotated[
        Path | None, typer.Option(help="Where judged answers go; default: FILE's name with _judged.json.")
    ] = None,
    judge_cache: Annotated[
        Path | None, typer.Option(help="Folder of the judge's replies; default: ~/.cache/sdvlm/judge.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Questions the judge is asked at once.")] = 8,
    no_temperature: Annotated[
        bool, typer.Option("--no-temperature", help="Send no temperature (else 0), for judges that take none.")
    ] = False,
    leave_out_failed: Annotated[
        bool, typer.Option("--leave-out-failed", help="Score without the rows that could not be judged.")
    ] = False,
    text_similarity: Annotated[
        str,
        typer.Option(
            help="official: what compares positions in words: minilm, a folder or hub id, or 'words' (a stand-in)."
        ),
    ] = "minilm",
    seed: Annotated[int, typer.Option(help="Of the bootstrap intervals.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Score answers by family, with macro and micro averages and 95 % bootstrap intervals."""
    from sdvlm.eval.judged import read_scorable

    scorable = read_scorable(file)
    document: dict[str, Any] = {"file": str(scorable.path), "model": scorable.model}
    judged = scorable.judged
    if judge is not None:
        rows, document["judge"] = _judge(
            scorable, judge, judge_model, judge_out, judge_cache, workers, None if no_temperature else 0.0
        )
        _tell_failed(rows, leave_out_failed)
        judged = list(rows.answers)
        document["agreement"] = _agreement(rows)
    if judged:
        reports = _score_judged(judged, scorer, text_similarity, seed)
    else:
        reports = [_score_predictions(scorable, scorer, seed)]
    for note in [f"{report.scorer}: {note}" for report in reports for note in report.notes]:
        typer.echo(f"note: {note}", err=True)
    if as_json:
        document |= reports[0].to_dict() | {report.scorer: report.to_dict() for report in reports[1:]}
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    _print_scores(reports)
    _print_agreement(document.get("agreement"))


def _score_judged(judged: list[Any], scorer: str | None, text_similarity: str, seed: int) -> list[ScoreReport]:
    """The reports asked for; the first is the one that ``--json`` puts at the top."""
    from sdvlm.eval.score import JUDGED_SCORERS, score_judged
    from sdvlm.types import SdvlmError

    if scorer == "rules":
        raise SdvlmError("rules read a model's own words, and this file holds a judge's; give the predictions")
    wanted = JUDGED_SCORERS if scorer is None else (scorer,)
    return [score_judged(judged, one, _Later(text_similarity), seed) for one in wanted]


def _score_predictions(scorable: Scorable, scorer: str | None, seed: int) -> ScoreReport:
    from sdvlm.eval.score import score_predictions
    from sdvlm.types import SdvlmError

    if scorer not in (None, "rules"):
        raise SdvlmError(
            f"{scorable.path}: holds predictions, which {scorer!r} cannot score; "
            "have them judged (--judge URL --judge-model NAME) or take --scorer rules"
        )
    return score_predictions(scorable.predictions, seed)


class _Later:
    """A text similarity that is loaded when the first pair has to be compared; without a progress bar."""

    def __init__(self, wanted: str) -> None:
        self.name = wanted
        self._loaded: TextSimilarity | None = None

    def __call__(self, pairs: Any) -> list[float]:
        from sdvlm.eval.text_similarity import load_similarity

        if self._loaded is None:
            if self.name != "words":
                from transformers.utils.logging import disable_progress_bar

                disable_progress_bar()
            self._loaded = load_similarity(self.name)
            self.name = self._loaded.name
        return self._loaded(pairs)


def _judge(
    scorable: Scorable,
    url: str,
    model: str | None,
    out: Path | None,
    cache: Path | None,
    workers: int,
    temperature: float | None,
) -> tuple[JudgedRows, dict[str, Any]]:
    """Predictions judged and written down; the facts of it for the document."""
    from sdvlm.eval.judge import JudgeConfig, judge_predictions, write_judged
    from sdvlm.eval.judge_cache import JudgeCache
    from sdvlm.eval.judge_prompts import PROMPT_VERSION
    from sdvlm.types import SdvlmError

    if not scorable.predictions:
        raise SdvlmError(f"{scorable.path}: is judged already; leave out --judge, or give the predictions")
    config = JudgeConfig(model or "", None if url == "openai" else url, workers=workers, temperature=temperature)
    every = max(1, len(scorable.predictions) // 10)

    def tell(judged: int, of: int) -> None:
        if judged % every == 0 and judged:
            typer.echo(f"judged {judged} of {of}", err=True)

    rows = judge_predictions(scorable.predictions, config, JudgeCache(cache), tell)
    facts: dict[str, Any] = {"url": config.url, "model": config.model, "prompt_version": PROMPT_VERSION}
    out = out or scorable.path.with_name(f"{scorable.path.stem}_judged.json")
    if rows.answers:
        write_judged(rows, {"model": scorable.model, "judge": facts}, out)
        typer.echo(f"judged answers: {out}", err=True)
    failed = [{"row": one.number, "reason": one.reason} for one in rows.failed]
    return rows, {**facts, "asked": rows.asked, "cached": rows.cached, "failed": failed, "file": str(out)}


def _tell_failed(rows: JudgedRows, leave_out: bool) -> None:
    """Name the rows that could not be judged; without leave to score the others, end here."""
    for one in rows.failed[:10]:
        typer.echo(f"not judged: row {one.number}: {one.reason}", err=True)
    if rows.failed and (not leave_out or not rows.answers):
        count, known = len(rows.failed), len(rows.answers)
        typer.echo(
            f"error: {count} of {count + known} rows could not be judged; run the same again to ask only these"
            + (", or add --leave-out-failed to score the others" if known else ""),
            err=True,
        )
        raise typer.Exit(WORK_FAILED)


def _agreement(rows: JudgedRows) -> dict[str, Any]:
    from sdvlm.eval.agreement import rules_and_judge

    overall, families = rules_and_judge(rows.predictions, rows.answers)
    return {**overall.to_dict(), "families": {kind.value: one.to_dict() for kind, one in families.items()}}


def _print_scores(reports: list[ScoreReport]) -> None:
    """A row a family; for each scorer the rate in percent with its interval, and right answers of all."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table("family", box=SIMPLE_HEAD)
    for report in reports:
        table.add_column(f"{report.scorer} % [95 %]", justify="right", no_wrap=True)
        table.add_column("correct", justify="right", no_wrap=True)
    for kind in reports[0].families:
        families = [report.families[kind] for report in reports]
        table.add_row(kind.value, *_cells((one.rate, one.interval, f"{one.correct}/{one.count}") for one in families))
    table.add_section()
    table.add_row("average", *_cells((one.average, one.intervals["average"], "") for one in reports))
    table.add_row("macro: mean of families", *_cells((one.macro, one.intervals["macro"], "") for one in reports))
    everything = ((one.micro, one.intervals["micro"], f"{one.correct}/{one.count}") for one in reports)
    table.add_row("micro: all questions", *_cells(everything))
    console = Console()
    console.width = max(console.width, 32 + 36 * len(reports))
    console.print(table)


def _cells(shown: Iterable[tuple[float, tuple[float, float], str]]) -> list[str]:
    return [
        text
        for rate, (low, high), correct in shown
        for text in (rf"{100 * rate:.2f} \[{100 * low:.1f}, {100 * high:.1f}]", correct)
    ]


def _print_agreement(agreement: dict[str, Any] | None) -> None:
    if agreement is None:
        return
    typer.echo("rules and judge, share of answers they agree on and Cohen's kappa:")
    for name, one in [("all", agreement), *agreement["families"].items()]:
        kappa = "-" if one["kappa"] is None else f"{one['kappa']:.2f}"
        typer.echo(f"  {name}: {100 * one['share']:.1f} % of {one['count']}, kappa {kappa}")
