"""Questions about anything as something to ask: what tells whether a model still can what it could before.

Any data that ``sdvlm train`` reads will do: LLaVA / ShareGPT JSON, Hugging Face messages. Every question is asked by
itself, without the turns before it, and scored by exact match (:mod:`sdvlm.eval.exact_match`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sdvlm.data.msmu_picture import decode_picture
from sdvlm.eval.exact_match import exact_form, is_long
from sdvlm.eval.run_source import Look, Row, drawn, fingerprint
from sdvlm.eval.scoring import General, Outcome
from sdvlm.train.config import DataSettings
from sdvlm.train.source_pictures import decode_raw_depth
from sdvlm.train.sources import Broken, RawImage, RawRow, open_source
from sdvlm.types import RgbdFrame, SdvlmError

__all__ = ["GeneralSource"]


class GeneralSource:
    """Questions of LLaVA JSON, of messages, or of any other data to train on.

    Rows without a picture, and those with several, are left out and counted.

    Args:
        path: file or folder.
        split: which, where the folder has several.
        limit: ask only so many questions, drawn evenly from all (the same ones each time).
        images: folder that relative picture paths are in; empty: beside the file.
        on_broken: what to do with a row that cannot be used.

    Raises:
        SdvlmError: there is no such data, a row is broken, or nothing is asked about a picture.
    """

    name = General.GENERAL.value
    scorer = "exact match"

    def __init__(
        self,
        path: str | Path,
        split: str = "test",
        limit: int | None = None,
        images: str = "",
        on_broken: Literal["refuse", "skip"] = "refuse",
    ) -> None:
        self._settings = DataSettings(str(path), split=split, images=images, turns="apart")
        self._limit, self.broken, self.left_out, self.has_depth = limit, list[Broken](), 0, False
        texts: list[tuple[Any, ...]] = []
        for row in open_source(self._settings):
            if isinstance(row, Broken):
                if on_broken == "refuse":
                    raise SdvlmError(f"{row}; --on-broken skip leaves such rows out")
                self.broken.append(row)
            elif len(row.images) != 1:
                self.left_out += 1
            else:
                self.has_depth |= row.depth[0] is not None
                texts += _texts(row)
        if not texts:
            raise SdvlmError(f"{path}: asks nothing about a single picture; {self.left_out} rows have none or several")
        self.rows = [Row(number, *texts[index]) for number, index in enumerate(drawn(len(texts), limit))]

    @property
    def facts(self) -> dict[str, Any]:
        """Path, split, limit, counts, how many references are too long for exact match, fingerprint."""
        where = {"data": self._settings.path, "split": self._settings.split, "limit": self._limit}
        counts = {"rows": len(self.rows), "pictures": len({row.image_id for row in self.rows})}
        counts |= {"broken": len(self.broken), "left_out": self.left_out}
        counts |= {"long_references": sum(is_long(row.reference) for row in self.rows)}
        return {"bench": self.name, **where, **counts, "fingerprint": fingerprint(self.rows)}

    def pictures(self) -> Iterator[tuple[str, Look]]:
        """Each picture once, with the depth and camera that came with it."""
        wanted = {row.image_id for row in self.rows}
        for row in open_source(self._settings):
            if isinstance(row, RawRow) and len(row.images) == 1 and row.images[0].digest in wanted:
                wanted.remove(row.images[0].digest)
                yield row.images[0].digest, _look_at(row)
            if not wanted:
                return

    def outcome(self, record: dict[str, Any]) -> Outcome:
        """Exact match with the reference; an empty answer counts as unread."""
        said = exact_form(record["answer"])
        return Outcome(General.GENERAL, said == exact_form(record["reference"]), bool(said))


def _texts(row: RawRow) -> Iterator[tuple[Any, ...]]:
    """All but the number of a ``Row``, for each question; what a system turn says is not asked."""
    for dialogue in row.dialogues:
        (_, question), (_, answer) = dialogue.turns[-2:]
        marked = f"<image>\n{question}"
        yield General.GENERAL, dialogue.family, row.images[0].digest, question, marked, answer, {"row": row.key}


def _look_at(row: RawRow) -> Look:
    def look() -> RgbdFrame:
        depth = None if row.depth[0] is None else decode_raw_depth(row.depth[0])
        return RgbdFrame(_pixels(row.images[0]), depth, row.cameras[0], name=row.key)

    return look


def _pixels(image: RawImage) -> np.ndarray[Any, np.dtype[np.uint8]]:
    data = image.data if image.data is not None else Path(str(image.file)).read_bytes()
    return decode_picture(data)
