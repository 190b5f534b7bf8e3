"""The inspection page: numbers first, then pictures. Written piece by piece, so its memory is that of one picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import sdvlm
from sdvlm.data.built import iter_records
from sdvlm.data.manifest import Manifest, read_manifest
from sdvlm.data.schema import QuestionType
from sdvlm.depth.atomic import atomic_file
from sdvlm.inspect.samples import sample_html
from sdvlm.inspect.sections import lead, statistics_html, words
from sdvlm.inspect.statistics import Statistics, gather
from sdvlm.inspect.style import SCRIPT, STYLE_MORE
from sdvlm.page.style import STYLE
from sdvlm.types import SdvlmError

__all__ = ["Inspection", "write_inspection"]

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


@dataclass(frozen=True)
class Inspection:
    """What was looked at.

    Args:
        manifest: of the data.
        statistics: of the splits asked for.
        page: the written page.
    """

    manifest: Manifest
    statistics: Statistics
    page: Path

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        counts, settings = self.manifest.counts, self.manifest.settings
        return {"page": str(self.page), "counts": counts, "settings": settings} | self.statistics.to_dict()


def write_inspection(
    out: Path, page: Path, *, splits: Sequence[str] | None = None, limit: int = 24, seed: int = 0
) -> Inspection:
    """Write one HTML page that needs nothing beside it and fetches nothing.

    Args:
        out: folder of finished data.
        page: file to write, whole or not at all.
        splits: which; all by default.
        limit: how many pictures to show.
        seed: of their random draw.

    Raises:
        SdvlmError: the data is unfinished or damaged, has no such split, or ``limit`` is negative.
    """
    if limit < 0:
        raise SdvlmError(f"the number of pictures to show must not be negative; got {limit}")
    manifest = read_manifest(out)
    statistics = gather(out, splits, samples=limit, seed=seed, manifest=manifest)
    with atomic_file(page) as stream:
        for piece in _page(out, manifest, statistics):
            stream.write(piece.encode())
    return Inspection(manifest, statistics, page)


def _page(out: Path, manifest: Manifest, found: Statistics) -> Iterator[str]:
    title = escape(f"Built data: {out.resolve().name}")
    yield (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"<title>{title}</title>\n<style>{STYLE}{STYLE_MORE}</style>\n</head>\n<body>\n<main>\n<header><h1>{title}</h1>\n"
        f'<p class="lead">{escape(lead(found))}</p></header>\n'
    )
    yield from statistics_html(manifest, found)
    yield from _samples(out, found)
    yield f"<footer>Made by sdvlm {escape(sdvlm.__version__)} with sdvlm inspect.</footer>\n</main>\n"
    yield f"<script>{SCRIPT}</script>\n</body>\n</html>\n" if found.chosen else "</body>\n</html>\n"


def _samples(out: Path, found: Statistics) -> Iterator[str]:
    if not found.chosen:
        return
    many = "1 picture" if len(found.chosen) == 1 else f"{len(found.chosen)} pictures"
    yield f'<section><h2>{many}, drawn at random</h2>\n<div class="filters">'
    yield '<button type="button" data-family="" aria-pressed="true">all</button>'
    for kind in QuestionType:
        if any(counts[kind] for counts in found.families.values()):
            yield f'<button type="button" data-family="{kind}" aria-pressed="false">{words(kind)}</button>'
    yield '<span class="soft" id="shown" role="status"></span></div>\n'
    for split in found.families:
        images = {image for where, image in found.chosen if where == split}
        if images:
            for record in iter_records(out, split, images):
                yield sample_html(record, split)
    yield "</section>\n"
