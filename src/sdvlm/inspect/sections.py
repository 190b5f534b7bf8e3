"""The numbers of the inspection page, a section each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from typing import Any

from sdvlm.data.manifest import Manifest, add_counts
from sdvlm.data.schema import DEFINITIONS, QuestionType
from sdvlm.inspect.charts import bars, card, columns, length_chart, point_chart
from sdvlm.inspect.histograms import LengthHistogram, PointHistogram
from sdvlm.inspect.statistics import Statistics

__all__ = ["lead", "statistics_html", "words"]


def words(name: str) -> str:
    """A name of ours as words: scale_estimation -> scale estimation."""
    return str(name).replace("_", " ")


def lead(found: Statistics) -> str:
    """Where it all comes from, in a sentence."""

    def said(name: str) -> str:
        return ", ".join(word for word, _ in found.sources[name].top(5)) if name in found.sources else "nothing"

    return f"Scenes from {said('source')}; boxes {said('box_source')}; depth: {said('depth_source')}."


def statistics_html(manifest: Manifest, found: Statistics) -> Iterator[str]:
    """All sections, from the totals to the settings."""
    yield _tiles(manifest, found)
    yield _section("Questions by family", f'<div class="twin">{"".join(_families(found))}</div>')
    yield _section("Answers", f'<div class="cards">{"".join(_answers(found))}</div>')
    yield _section("Objects that may be asked about", f'<div class="twin">{"".join(_objects(found))}</div>')
    yield _section("Left out, and why", _dropped(manifest, found))
    yield _section("How it was built", _definitions(found) + _settings(manifest))


def _section(heading: str, body: str) -> str:
    return f"<section><h2>{escape(heading)}</h2>\n{body}</section>\n"


def _tiles(manifest: Manifest, found: Statistics) -> str:
    total = add_counts(manifest.counts[split] for split in found.families)
    size = sum(shard.bytes for shard in manifest.files if shard.split in found.families)
    shown = [
        *((name, f"{total.get(name, 0):,}") for name in ("scenes", "pictures", "questions")),
        ("numbers in answers", f"{found.numbers:,}"),
        ("with a chain of thought", f"{found.reasoned:,}"),
        ("phrasings", f"{len(found.templates.counts):,}"),
        ("on disk", f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"),
    ]
    tiles = "".join(f'<div class="tile"><b>{value}</b><span>{escape(name)}</span></div>' for name, value in shown)
    return f'<div class="tiles">{tiles}</div>\n'


def _families(found: Statistics) -> Iterator[str]:
    """One chart a split, the families always in the same order."""
    for split, counts in found.families.items():
        yield card(split, f"{counts.total():,} questions", bars([(words(kind), counts[kind]) for kind in QuestionType]))


def _answers(found: Statistics) -> Iterator[str]:
    order = [kind.value for kind in QuestionType]
    for (family, kind), values in sorted(found.answers.items(), key=lambda item: (order.index(item[0][0]), item[0][1])):
        if isinstance(values, LengthHistogram):
            units = found.said_units[family]
            said = ", ".join(f"{unit} {count / units.total():.0%}" for unit, count in units.most_common())
            note = f"{values.total:,} lengths, {values.lowest:.2f} to {values.highest:.2f} m; said in {said}"
            chart = length_chart(values)
        elif isinstance(values, PointHistogram):
            note, chart = f"{values.to_dict()['count']:,} points, where in the picture", point_chart(values)
        else:
            note = f"{values.total:,} answers, {len(values.counts):,} different"
            chart = bars(values.top(8), values.total)
        yield card(f"{words(family)}: {words(kind)}", note, chart)


def _objects(found: Statistics) -> Iterator[str]:
    categories = found.categories
    note = f"{len(categories.counts):,} categories, {categories.total:,} objects, counted in each picture anew"
    yield card("Categories", note, bars(categories.top(20), categories.total))
    ticks = [(float(place), f"{10 * place} %") for place in (0, 5, 10)]
    seen = columns(found.visibility, ticks, "how much of the objects is seen")
    yield card("Visibility", "seen over would-be-seen pixels", seen)


def _dropped(manifest: Manifest, found: Statistics) -> str:
    """What the build left out and why, as its scenes reported it; "what: reason" goes to the card of that "what"."""
    counts = add_counts(manifest.counts[split].get("dropped", {}) for split in found.families)
    groups: dict[str, list[tuple[str, int]]] = {}
    for name, count in _flat(counts):
        what, _, reason = name.rpartition(": ")
        groups.setdefault(what, []).append((reason, count))
    if not groups:
        return '<p class="soft">The build reported nothing left out.</p>'
    cards = [
        card(
            what or "all", f"{sum(count for _, count in rows):,} left out", bars(sorted(rows, key=lambda row: -row[1]))
        )
        for what, rows in sorted(groups.items())
    ]
    return f'<div class="twin">{"".join(cards)}</div>'


def _flat(counts: dict[str, Any], before: str = "") -> Iterator[tuple[str, int]]:
    for name, value in counts.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}: ")
        else:
            yield f"{before}{name}", value


def _fields(tree: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values, as the command line sets them."""
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _fields(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _definitions(found: Statistics) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(DEFINITIONS.get(name, ""))}</td>'
        f'<td class="number">{count:,}</td></tr>'
        for name, count in found.definitions.most_common()
    )
    head = '<th scope="col">Definition</th><th scope="col">Meaning</th><th scope="col" class="number">Questions</th>'
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return _folded("What the answers mean", f'<div class="scroll">{table}</div>')


def _settings(manifest: Manifest) -> str:
    files = "\n".join(
        f"{shard.path}  {shard.rows:,} rows  {shard.bytes:,} bytes  sha256 {shard.sha256}" for shard in manifest.files
    )
    lines = _fields({"settings": manifest.settings, "versions": manifest.versions})
    text = "\n".join(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in lines)
    return _folded("Settings and versions", f"<pre><code>{escape(text)}</code></pre>") + _folded(
        "Files", f"<pre><code>{escape(files)}</code></pre>"
    )


def _folded(summary: str, body: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{body}</details>\n"
