"""What a run asks: rows about pictures, each picture handed over once however its rows are scattered.

A source is read twice. The first pass keeps the text of every row (about a kilobyte each) and no picture: it groups
rows by picture, counts what is broken, and takes the fingerprint that a resumed run is checked against, all before the
first answer. The second pass hands over each picture at its first row, with all its questions. Memory then holds the
texts and one picture. A window over the rows would read the data once, but have the model read those pictures again
whose rows lie far apart, and would know neither the total nor the broken rows before it ends.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from sdvlm.data.schema import QuestionType
from sdvlm.eval.scoring import Family, Outcome
from sdvlm.types import RgbdFrame, SdvlmError

if TYPE_CHECKING:
    from sdvlm.data.msmu import MsmuRow

__all__ = ["Look", "MsmuSource", "Row", "Source", "drawn", "fingerprint"]


@dataclass(frozen=True)
class Row:
    """One question about one picture, without the picture.

    Args:
        number: its place in the data, from 0.
        type: family.
        raw_type: family as the data spells it.
        image_id: which picture.
        question: as asked, without image marks.
        raw_question: as published, image marks included.
        reference: answer of the data.
        extra: what scoring needs besides; plain JSON values.
    """

    number: int
    type: Family
    raw_type: str
    image_id: str
    question: str
    raw_question: str
    reference: str
    extra: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: the beginning of a line of ``answers.jsonl``."""
        return {
            "number": self.number,
            "type": self.type.value,
            "raw_type": self.raw_type,
            "image_id": self.image_id,
            "question": self.question,
            "raw_question": self.raw_question,
            "reference": self.reference,
            **self.extra,
        }


Look = Callable[[], RgbdFrame]
"""Decodes a picture when it is wanted."""


class Source(Protocol):
    """Rows, their pictures, and how to tell a right answer."""

    name: str
    scorer: str

    @property
    def rows(self) -> Sequence[Row]:
        """All that is asked, without pictures."""

    @property
    def broken(self) -> Sequence[Any]:
        """Rows left out because they could not be read."""

    @property
    def facts(self) -> dict[str, Any]:
        """Where the rows came from: for ``run.json``, and equal when a run is resumed."""

    def pictures(self) -> Iterator[tuple[str, Look]]:
        """Each picture of :attr:`rows` once, in order of its first row: its ``image_id`` and how to see it."""

    def outcome(self, record: dict[str, Any]) -> Outcome:
        """Score a line of ``answers.jsonl``."""


def fingerprint(rows: Iterable[Row]) -> str:
    """Digest of what is asked: numbers, pictures, questions, references, families."""
    digest = hashlib.blake2b(digest_size=16)
    for row in rows:
        digest.update(json.dumps(row.to_dict(), sort_keys=True).encode())
    return digest.hexdigest()


def drawn(total: int, count: int | None) -> list[int]:
    """``count`` numbers below ``total``, evenly drawn and in order, the same ones each time; all for None."""
    if count is None or count >= total:
        return list(range(total))
    chosen: list[int] = sorted(np.random.default_rng(0).permutation(total)[:count].tolist())
    return chosen


class MsmuSource:
    """MSMU rows.

    Args:
        read: starts reading the rows from the beginning; called twice.
        where: path and split, for ``run.json``.
        limit: ask only the first so many rows.
        broken: the list that the first ``read`` fills with rows it had to skip.

    Raises:
        SdvlmError: there are no rows, or as ``read``.
    """

    name = "msmu"
    scorer = "rules"

    def __init__(
        self,
        read: Callable[[], Iterable[MsmuRow]],
        where: dict[str, Any] | None = None,
        limit: int | None = None,
        broken: list[Any] | None = None,
    ) -> None:
        self._read, self._limit, self._where = read, limit, where or {}
        self.rows = [_text_of(row) for row in islice(read(), limit)]
        self.broken = list(broken or ())
        if not self.rows:
            raise SdvlmError("there is no row to ask; check --data, --split and --limit")

    @classmethod
    def open(
        cls,
        path: str | Path,
        split: str = "test",
        limit: int | None = None,
        on_broken: Literal["refuse", "skip"] = "refuse",
    ) -> MsmuSource:
        """The rows of published files; see :func:`~sdvlm.data.msmu.read_msmu`."""
        from sdvlm.data.msmu import BrokenRow, read_msmu

        broken: list[BrokenRow] = []
        where = {"data": str(path), "split": split, "on_broken": on_broken}
        return cls(lambda: read_msmu(path, split, on_broken, broken), where, limit, broken)

    @property
    def facts(self) -> dict[str, Any]:
        """Path, split, limit, number of rows and pictures, broken rows, fingerprint."""
        counts = {"rows": len(self.rows), "pictures": len({row.image_id for row in self.rows})}
        return (
            {"bench": self.name, **self._where, "limit": self._limit, **counts}
            | {"broken": len(self.broken)}
            | {"fingerprint": fingerprint(self.rows)}
        )

    def pictures(self) -> Iterator[tuple[str, Look]]:
        """Each picture once, decoded when looked at."""
        wanted = {row.image_id for row in self.rows}
        for row in self._read():
            if row.image_id in wanted:
                wanted.remove(row.image_id)
                yield row.image_id, _look_at(row)
            if not wanted:
                return

    def outcome(self, record: dict[str, Any]) -> Outcome:
        """The rules of :func:`~sdvlm.eval.rule_score.rule_score`; no judge is asked."""
        from sdvlm.eval.rule_score import rule_score

        family = QuestionType(record["type"])
        scored = rule_score(family, record["question"], record["reference"], record["answer"])
        return Outcome(family, scored.right, scored.parsed)


def _text_of(row: MsmuRow) -> Row:
    if row.type is None:
        raise SdvlmError(f"row {row.number} has no type, so its answer cannot be scored; give data with types")
    return Row(row.number, row.type, row.raw_type or row.type, row.image_id, row.question, row.raw_question, row.answer)


def _look_at(row: MsmuRow) -> Look:
    return lambda: RgbdFrame(row.image(), name=f"picture of row {row.number}")
