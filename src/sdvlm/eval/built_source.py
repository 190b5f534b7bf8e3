"""Built data as something to ask: MSMU-Rooms, or the test split of anybody's own build.

Every row brings depth, camera and the true answer as values, so answers are scored strictly and no judge is needed.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sdvlm.data.built import iter_rows
from sdvlm.data.columns import BULKY, arrow_schema, sample_of
from sdvlm.data.columns import Row as BuiltRow
from sdvlm.data.encode import decode_depth
from sdvlm.data.manifest import read_manifest
from sdvlm.data.msmu_picture import decode_picture
from sdvlm.data.schema import AnswerKind, QuestionSample, QuestionType, TypedAnswer
from sdvlm.eval.answers import parse_answer
from sdvlm.eval.run_source import Look, Row, drawn, fingerprint
from sdvlm.eval.scoring import Outcome
from sdvlm.types import Camera, RgbdFrame, SdvlmError

__all__ = ["BuiltSource", "look_at"]


class BuiltSource:
    """Questions of one split of built data.

    Args:
        folder: of finished data.
        split: which.
        limit: ask only so many questions, drawn evenly from all (the same ones each time).
        name: of the benchmark, for reports.

    Raises:
        SdvlmError: the data is unfinished, has no such split, or asks nothing.
    """

    scorer = "rules"

    def __init__(self, folder: Path, split: str = "test", limit: int | None = None, name: str = "built") -> None:
        self.name, self._folder, self._split, self._limit = name, folder, split, limit
        self._settings = read_manifest(folder).settings
        self.broken: list[Any] = []
        text = [one for one in arrow_schema().names if one not in BULKY]
        rows = [row for built in iter_rows(folder, split, text) for row in _rows(built, self._samples(built))]
        if not rows:
            raise SdvlmError(f"{folder}: split {split!r} asks nothing")
        self.rows = [Row(number, *rows[index]) for number, index in enumerate(drawn(len(rows), limit))]

    @property
    def facts(self) -> dict[str, Any]:
        """What was built, split, limit, number of rows and pictures, fingerprint."""
        settings = self._settings
        built: dict[str, Any] = {key: settings[key] for key in ("benchmark", "version", "stamp") if key in settings}
        facts: dict[str, Any] = {"bench": self.name, **built, "split": self._split, "limit": self._limit}
        facts |= {"rows": len(self.rows), "pictures": len({row.image_id for row in self.rows}), "broken": 0}
        return facts | {"fingerprint": fingerprint(self.rows)}

    def pictures(self) -> Iterator[tuple[str, Look]]:
        """Each picture once, with its depth and camera."""
        wanted = {row.image_id for row in self.rows}
        for built in iter_rows(
            self._folder, self._split, ["image_id", "camera", "T_world_cam", "depth_source", *BULKY]
        ):
            if built["image_id"] in wanted:
                wanted.remove(built["image_id"])
                yield built["image_id"], self._look(built)

    def outcome(self, record: dict[str, Any]) -> Outcome:
        """The strict rule of the answer's kind."""
        family, truth = QuestionType(record["type"]), _typed(record["truth"])
        options = record["names"] if family is QuestionType.SCALE_COMPARE else ()
        read = parse_answer(record["answer"], family, question=record["question"], options=options, kind=truth.kind)
        return Outcome.of(family, read, truth)

    def _samples(self, built: BuiltRow) -> list[QuestionSample]:
        """The questions of a built row."""
        return [sample_of(one) for one in built["questions"]]

    def _look(self, built: BuiltRow) -> Look:
        """Its picture, as it is asked about."""
        return look_at(built)


def _rows(built: BuiltRow, samples: list[QuestionSample]) -> Iterator[tuple[Any, ...]]:
    """All but the number of a ``Row``, for each question of a built row."""
    for sample in samples:
        extra = {"truth": sample.answer_typed.to_dict(), "names": list(sample.names)}
        yield sample.type, sample.template, built["image_id"], sample.question, sample.question, sample.answer, extra


def look_at(built: BuiltRow) -> Look:
    """What gives the picture of a built row, with depth and camera."""

    def look() -> RgbdFrame:
        image = decode_picture(base64.b64decode(built["image_base64"]))
        depth = None if built["depth"] is None else decode_depth(built["depth"], built["depth_source"])
        pose = built["T_world_cam"]
        world = None if pose is None else np.array(pose).reshape(4, 4)
        return RgbdFrame(image, depth, Camera(**built["camera"]), world, built["image_id"])

    return look


def _typed(values: dict[str, Any]) -> TypedAnswer:
    return TypedAnswer(AnswerKind(values["kind"]), tuple(values["values"]), values["unit"], values["definition"])
