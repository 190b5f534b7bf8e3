"""What built data holds, counted in one pass over its text; pictures and depth stay on disk."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sdvlm.data.built import iter_pictures
from sdvlm.data.columns import BULKY, arrow_schema
from sdvlm.data.manifest import Manifest, read_manifest
from sdvlm.data.schema import AnswerKind
from sdvlm.inspect.histograms import LengthHistogram, PointHistogram, WordCounts

__all__ = ["Statistics", "gather"]

Answers = LengthHistogram | PointHistogram | WordCounts


@dataclass
class Statistics:
    """Counts over all splits that were looked at.

    Args:
        families: questions by split and family.
        answers: values by family and kind of answer.
        said_units: by family, in which unit lengths are said.
        definitions: what the answers mean (:data:`sdvlm.data.schema.DEFINITIONS`).
        templates: which phrasings were used.
        categories: of objects that may be asked about, once a picture each.
        visibility: of those objects, tenths.
        numbers: how many numbers all answers hold.
        reasoned: questions with a chain of thought.
        sources: where scenes, boxes and depth come from.
        chosen: pictures to show, (split, image_id): a random draw that depends on the seed and the data alone.
    """

    families: dict[str, Counter[str]] = field(default_factory=dict)
    answers: dict[tuple[str, str], Answers] = field(default_factory=dict)
    said_units: dict[str, Counter[str]] = field(default_factory=dict)
    definitions: Counter[str] = field(default_factory=Counter)
    templates: WordCounts = field(default_factory=WordCounts)
    categories: WordCounts = field(default_factory=WordCounts)
    visibility: list[int] = field(default_factory=lambda: [0] * 10)
    numbers: int = 0
    reasoned: int = 0
    sources: dict[str, WordCounts] = field(default_factory=dict)
    chosen: list[tuple[str, str]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "families": {split: dict(sorted(counts.items())) for split, counts in self.families.items()},
            "answers": [
                {"family": family, "kind": kind, "values": values.to_dict()}
                for (family, kind), values in sorted(self.answers.items())
            ],
            "said_units": {family: dict(sorted(units.items())) for family, units in sorted(self.said_units.items())},
            "definitions": dict(sorted(self.definitions.items())),
            "templates": len(self.templates.counts),
            "categories": self.categories.to_dict(),
            "visibility_tenths": self.visibility,
            "numbers": self.numbers,
            "reasoned": self.reasoned,
            "sources": {name: counts.to_dict() for name, counts in self.sources.items()},
        }


def gather(
    out: Path, splits: Sequence[str] | None = None, *, samples: int = 0, seed: int = 0, manifest: Manifest | None = None
) -> Statistics:
    """Count what is there, and draw pictures to show.

    Args:
        out: folder of finished data.
        splits: which; all by default.
        samples: how many pictures to draw.
        seed: of the draw.
        manifest: as read from ``out``, if it was.

    Raises:
        SdvlmError: the data is unfinished or damaged, or has no such split.
    """
    manifest = manifest or read_manifest(out)
    text = [name for name in arrow_schema().names if name not in (*BULKY, "conversations")]
    found = Statistics()
    drawn: list[tuple[int, str, str]] = []
    for split in splits or manifest.splits:
        families = found.families.setdefault(split, Counter())
        for picture in iter_pictures(out, split, text):
            rank = -int.from_bytes(hashlib.sha256(f"{seed}/{picture['image_id']}".encode()).digest()[:8], "big")
            heapq.heappush(drawn, (rank, split, picture["image_id"]))
            if len(drawn) > samples:
                heapq.heappop(drawn)
            for question in picture["questions"]:
                families[question["type"]] += 1
                _count_answer(found, question)
            for thing in picture["objects"]:
                if thing["dropped"] is None:
                    found.categories.add(thing["category"])
                    found.visibility[min(9, int(10 * thing["visibility"]))] += 1
            for name in ("source", "box_source", "depth_source"):
                found.sources.setdefault(name, WordCounts()).add(picture[name])
    found.chosen = [(split, image) for _, split, image in sorted(drawn, reverse=True)]
    return found


def _count_answer(found: Statistics, question: Mapping[str, Any]) -> None:
    answer, family = question["answer"], question["type"]
    kind = answer["kind"]
    found.numbers += len(answer["numbers"])
    found.reasoned += question["reasoning"] is not None
    found.definitions[answer["definition"] or "not said"] += 1
    found.templates.add(question["template"])
    if kind in (AnswerKind.LENGTH, AnswerKind.LENGTHS):
        lengths = found.answers.setdefault((family, "length"), LengthHistogram())
        assert isinstance(lengths, LengthHistogram)
        for value in answer["numbers"]:
            lengths.add(value)
        found.said_units.setdefault(family, Counter())[answer["said_unit"] or "m"] += 1
    elif kind == AnswerKind.POINT:
        points = found.answers.setdefault((family, kind), PointHistogram())
        assert isinstance(points, PointHistogram)
        points.add(*answer["numbers"])
    else:
        words = found.answers.setdefault((family, kind), WordCounts())
        assert isinstance(words, WordCounts)
        for value in answer["words"] or [f"{number:g}" for number in answer["numbers"]]:
            words.add(value)
