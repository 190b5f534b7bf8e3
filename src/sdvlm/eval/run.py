"""A run: every question asked once, whatever happens in between, with its controls if wanted.

Controls ask the same questions again, without depth and with the depth of another picture, into sub-folders of their
own. A model that reads depth must fall in both.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdvlm.eval.run_asker import Asker
from sdvlm.eval.run_facts import model_facts
from sdvlm.eval.run_folder import CONTROLS, MAIN, OFF, SHUFFLED, RunFolder, writing_alone
from sdvlm.eval.run_log import RunLog
from sdvlm.eval.run_scores import write_predictions, write_scores
from sdvlm.eval.run_source import Look, MsmuSource, Row, Source
from sdvlm.eval.scoring import Scoreboard
from sdvlm.types import DepthMap, RgbdFrame, SdvlmError

if TYPE_CHECKING:
    from sdvlm.data.msmu import MsmuRow

__all__ = ["RunSummary", "run", "run_msmu"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunSummary:
    """A finished run.

    Args:
        out: its folder.
        rows, pictures: how many were asked about.
        broken: rows left out because they could not be read.
        answered: questions answered now; the others were there already.
        seconds: how long that took.
        scores: by rules; ``""`` is the run itself, the others are its controls.
    """

    out: Path
    rows: int
    pictures: int
    broken: int
    answered: int
    seconds: float
    scores: dict[str, Scoreboard]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        counts = {"rows": self.rows, "pictures": self.pictures, "broken": self.broken, "answered": self.answered}
        scores = {name or "main": board.to_dict() for name, board in self.scores.items()}
        return {"out": str(self.out), **counts, "seconds": round(self.seconds, 2), "scores": scores}


def run_msmu(
    rows: Iterable[MsmuRow] | MsmuSource, asker: Asker, out: Path, name: str = "model", controls: bool = False
) -> RunSummary:
    """Ask MSMU rows; see :func:`run`. ``rows`` that are not a source are gone through twice, so no bare iterator."""
    source = rows if isinstance(rows, MsmuSource) else MsmuSource(lambda: rows)
    return run(source, asker, out, name, controls)


def run(
    source: Source,
    asker: Asker,
    out: Path,
    name: str = "model",
    controls: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> RunSummary:
    """Ask every row of a source, or those that an earlier, interrupted call with the same arguments left.

    Args:
        source: rows and pictures.
        asker: the model and how it is asked.
        out: the run folder. Afterwards: ``run.json``, ``answers.jsonl`` in the order of the data, ``scores.json``,
            ``preds.json``, and the same in a sub-folder for each control.
        name: of the model, as given: nano, folder or hub id.
        controls: also ask with depth withheld and with another picture's depth.
        progress: called after each picture with the number of answers there are, and of all wanted.

    Raises:
        SdvlmError: the folder is in use or holds a run with other settings; controls without depth or with one picture.
    """
    groups = _by_picture(source.rows)
    if controls and (asker.depth.name == "none" or len(groups) < 2):
        why = "this run has no depth" if asker.depth.name == "none" else "there is only one picture"
        raise SdvlmError(f"controls take depth away or from another picture, but {why}; leave --controls out")
    arms = (MAIN, *CONTROLS) if controls else (MAIN,)
    start = time.monotonic()
    with writing_alone(out):
        model = model_facts(name, asker.model)
        settings = _deciding(source, asker, model)
        about = {"data": source.facts, "model": model}
        logs = {arm: RunLog(out / arm, {**settings, "control": arm or None}, about) for arm in arms}
        folders = {arm: RunFolder(out / arm) for arm in arms}
        begun = {arm: len(folder.done) for arm, folder in folders.items()}
        for log in logs.values():
            log.begin(batch_size=asker.batch_size)
        wanted = len(source.rows) * len(arms)
        for _ in _ask_all(source, groups, asker, folders):
            if progress is not None:
                progress(sum(len(folder.done) for folder in folders.values()), wanted)
        scores = {arm: _finish(source, folders[arm], name, arm) for arm in arms}
        seconds = time.monotonic() - start
        for arm, log in logs.items():
            log.end(answered=len(source.rows) - begun[arm], seconds=round(seconds, 2))
    answered = wanted - sum(begun.values())
    return RunSummary(out, len(source.rows), len(groups), len(source.broken), answered, seconds, scores)


def _by_picture(rows: Iterable[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.image_id, []).append(row)
    return groups


def _deciding(source: Source, asker: Asker, model: dict[str, Any]) -> dict[str, Any]:
    """All that decides the answers; paths, machine and batch size do not."""
    config = asker.processor.config
    return {
        "bench": source.name,
        "rows": len(source.rows),
        "data_fingerprint": source.facts["fingerprint"],
        "weights_digest": model["weights_digest"],
        "dtype": model["dtype"],
        "fusion": config.fusion,
        "conversation": config.conversation or "chat",
        "first_prompt": asker.prompt(source.rows[0]),
        "depth": asker.depth.facts,
        "max_new_tokens": asker.max_new_tokens,
        "decoding": "greedy",
        "seed": None,
    }


class _Picture:
    """A picture that is decoded, and its depth estimated, at most once and only if something asks for it."""

    def __init__(self, look: Look, asker: Asker) -> None:
        self._look, self._asker = look, asker

    @cached_property
    def frame(self) -> RgbdFrame:
        return self._look()

    @cached_property
    def depth(self) -> DepthMap | None:
        return self._asker.depth_of(self.frame)


def _ask_all(
    source: Source, groups: dict[str, list[Row]], asker: Asker, folders: dict[str, RunFolder]
) -> Iterator[None]:
    """Ask what is not answered yet; yields after each picture. The other depth is that of the picture before."""
    if all(len(folder.done) == len(source.rows) for folder in folders.values()):
        return
    first: tuple[str, _Picture] | None = None
    before: _Picture | None = None
    for image_id, look in source.pictures():
        picture = _Picture(look, asker)
        for arm, folder in folders.items():
            if arm == SHUFFLED and before is None:
                first = image_id, picture
                continue
            other = before if arm == SHUFFLED else None
            _ask_picture(asker, arm, folder, picture, other, groups[image_id])
        if SHUFFLED in folders:
            before = picture
        yield
    if first is not None:
        image_id, picture = first
        _ask_picture(asker, SHUFFLED, folders[SHUFFLED], picture, before, groups[image_id])
        yield


def _ask_picture(
    asker: Asker, arm: str, folder: RunFolder, picture: _Picture, other: _Picture | None, rows: list[Row]
) -> None:
    """Ask the rows of one picture that the folder has no answer to, and put the answers there."""
    left = [row for row in rows if row.number not in folder.done]
    if not left:
        return
    start = time.monotonic()
    frame = picture.frame
    depth = None if arm == OFF else picture.depth if other is None else asker.fitted(other.depth, frame)
    said = asker.ask(frame, depth, left)
    seconds = round((time.monotonic() - start) / len(left), 4)
    folder.append(
        [
            row.to_dict()
            | {"prompt": prompt, "answer": answer.text, "token_ids": list(answer.token_ids), "seconds": seconds}
            for row, (prompt, answer) in zip(left, said, strict=True)
        ]
    )
    _log.info(
        "%s%d questions of picture %s: %.2f s each", f"{arm}: " if arm else "", len(left), left[0].image_id, seconds
    )


def _finish(source: Source, folder: RunFolder, name: str, arm: str) -> Scoreboard:
    folder.sort()
    write_predictions(folder.records(), name, folder.path / "preds.json")
    about = {"bench": source.name, "model": name, "control": arm or None, "broken": len(source.broken)}
    return write_scores(source, folder, about)
