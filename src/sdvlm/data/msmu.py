"""MSMU as published, row by row.

Every shape it comes in: Arrow folders, parquet, JSON; pictures as base64 or as an image feature; conversations as a
list, a dict of lists or a string; published or official type names. Rows stream, so memory stays that of a few rows,
however large the files.
"""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sdvlm.data.msmu_conversation import Turns, first_exchange, read_turns, without_image_marks
from sdvlm.data.msmu_files import count_rows, find_files, read_rows
from sdvlm.data.msmu_picture import decode_picture, picture_bytes
from sdvlm.data.msmu_types import official_type
from sdvlm.data.schema import QuestionType
from sdvlm.types import SdvlmError

__all__ = ["BrokenRow", "MsmuRow", "count_msmu", "read_msmu"]

_log = logging.getLogger(__name__)
_REMEMBERED = 64
"""pictures known to decode; rows of one picture stand together, so each is decoded once to check it"""


@dataclass(frozen=True)
class MsmuRow:
    """One published row: a picture and a question with its answer.

    Args:
        number: row number over all files of the split, from 0; broken rows count.
        picture: the encoded picture; :meth:`image` decodes it.
        question: of the first exchange, without ``<image>`` marks.
        answer: the reference, verbatim.
        type: official type name; None where the data has no ``type`` column and none was wanted.
        image_id: content hash of the picture, so that rows of one picture can be told.
        raw_question: the question with its ``<image>`` marks, verbatim.
        raw_type: the type name as published.
        turns: (from, value) of all turns, verbatim.
    """

    number: int
    picture: bytes = field(repr=False)
    question: str
    answer: str
    type: QuestionType | None
    image_id: str
    raw_question: str
    raw_type: str | None
    turns: Turns = field(repr=False)

    def image(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB.

        Raises:
            SdvlmError: the picture is damaged; names the row.
        """
        try:
            return decode_picture(self.picture)
        except SdvlmError as error:
            raise SdvlmError(f"row {self.number}: {error}") from error


@dataclass(frozen=True)
class BrokenRow:
    """A row that could not be used.

    Args:
        number: its row number, counted as in :class:`MsmuRow`.
        reason: why, in one line.
        file: where it stands.
    """

    number: int
    reason: str
    file: Path


def read_msmu(
    path: str | Path,
    split: str = "test",
    on_broken: Literal["refuse", "skip"] = "refuse",
    broken: list[BrokenRow] | None = None,
    *,
    need_type: bool = True,
    check_pictures: bool = True,
) -> Iterator[MsmuRow]:
    """Stream the rows of a published split.

    Args:
        path: folder or file, see :mod:`sdvlm.data.msmu_files`.
        split: which split of a folder.
        on_broken: ``refuse`` stops at the first broken row; ``skip`` leaves it out with a warning.
        broken: skipped rows are added to this list.
        need_type: whether a row without a type is broken; the published training rows have none.
        check_pictures: decode each distinct picture once, so that a damaged one is found here and not at its use.

    Returns:
        an iterator of rows in file order. Paths are checked before the first row is asked for.

    Raises:
        SdvlmError: nothing readable at ``path``; pyarrow is missing; a broken row where they are refused.
    """
    if on_broken not in ("refuse", "skip"):
        raise SdvlmError(f"on_broken is 'refuse' or 'skip'; got {on_broken!r}")
    files = find_files(Path(path), split)
    return _stream(files, on_broken == "skip", [] if broken is None else broken, need_type, check_pictures)


def count_msmu(path: str | Path, split: str = "test") -> int:
    """Number of rows of a split, broken ones included; pictures are not read.

    Raises:
        SdvlmError: as :func:`read_msmu`.
    """
    return sum(count_rows(file) for file in find_files(Path(path), split))


def _stream(
    files: list[Path], skip: bool, broken: list[BrokenRow], need_type: bool, check_pictures: bool
) -> Iterator[MsmuRow]:
    sound: OrderedDict[str, None] = OrderedDict()
    numbers = count()
    for file in files:
        for cells in read_rows(file):
            number = next(numbers)
            try:
                row = _read(cells, number, file.parent, need_type)
                if check_pictures and row.image_id not in sound:
                    decode_picture(row.picture)
                    sound[row.image_id] = None
                    if len(sound) > _REMEMBERED:
                        sound.popitem(last=False)
            except SdvlmError as error:
                if not skip:
                    raise SdvlmError(
                        f"{file}: row {number}: {error}; skip such rows with on_broken='skip' (--on-broken skip)"
                    ) from error
                broken.append(BrokenRow(number, str(error), file))
                _log.warning("%s: row %d skipped: %s", file.name, number, error)
                continue
            yield row


def _read(cells: dict[str, Any] | SdvlmError, number: int, folder: Path, need_type: bool) -> MsmuRow:
    if isinstance(cells, SdvlmError):
        raise cells
    raw_type = cells.get("type")
    if raw_type is None and need_type:
        raise SdvlmError("has no type; for data without types pass need_type=False")
    turns = read_turns(cells.get("conversations"))
    question, answer = first_exchange(turns)
    picture = picture_bytes(cells, folder)
    return MsmuRow(
        number=number,
        picture=picture,
        question=without_image_marks(question),
        answer=answer,
        type=None if raw_type is None else official_type(raw_type),
        image_id=hashlib.sha256(picture).hexdigest()[:32],
        raw_question=question,
        raw_type=raw_type,
        turns=turns,
    )
