"""One frame on the page: its picture with boxes, its depth, its questions with where each answer came from."""

from __future__ import annotations

from html import escape

from sdvlm.data.encode import decode_depth
from sdvlm.data.msmu_picture import decode_picture
from sdvlm.data.record import FrameRecord
from sdvlm.data.schema import DEFINITIONS, QuestionSample
from sdvlm.page.html import picture_uri
from sdvlm.viz import depth_figure, draw_boxes_3d

__all__ = ["sample_html"]

_WIDTH, _QUALITY = 720, 85


def sample_html(record: FrameRecord, split: str) -> str:
    """The frame as an HTML article; its questions carry their family in ``data-family``.

    Raises:
        SdvlmError: the picture or the depth is damaged.
    """
    width, height = record.size
    facts = (split, f"{width}x{height}", record.source, f"boxes {record.box_source}", f"depth: {record.depth_source}")
    head = f'<h3>{escape(record.image_id)} <span class="soft">{escape(" · ".join(facts))}</span></h3>'
    rows = "".join(_row(sample) for sample in record.samples)
    table = (
        '<div class="scroll" tabindex="0" role="region" aria-label="Questions"><table><thead><tr>'
        '<th scope="col">Question</th><th scope="col">Answer</th><th scope="col">What it is made of</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )
    return (
        f'<article class="sample">{head}<div class="figures">{_boxes(record)}{_depth(record)}</div>{table}</article>\n'
    )


def _boxes(record: FrameRecord) -> str:
    """Every object the filters kept; those without a name of their own by their category."""
    kept = [thing for thing in record.objects if thing.dropped is None]
    named = [(thing.name or f"({thing.category})", thing.box_cam) for thing in kept]
    drawn = draw_boxes_3d(decode_picture(record.picture), named, record.camera, _WIDTH)
    dropped: dict[str, int] = {}
    for thing in record.objects:
        if thing.dropped is not None:
            dropped[thing.dropped] = dropped.get(thing.dropped, 0) + 1
    left_out = ", ".join(f"{count} {reason}" for reason, count in sorted(dropped.items())) or "none"
    caption = f"{len(kept)} objects with their boxes. Not asked about: {left_out}."
    names = ", ".join(name for name, _ in named)
    return _figure(picture_uri(drawn, _QUALITY), drawn.shape, "Objects", caption, f"the picture with boxes of: {names}")


def _depth(record: FrameRecord) -> str:
    if record.depth_png is None:
        return ""
    depth = decode_depth(record.depth_png, record.depth_source)
    if not depth.valid.any():
        return "<figure><figcaption><strong>Depth.</strong> No pixel of the depth map is known.</figcaption></figure>"
    drawn = depth_figure(depth, _WIDTH)
    caption = f"Along the viewing direction; {depth.valid.mean():.0%} of the pixels are known."
    return _figure(picture_uri(drawn, _QUALITY), drawn.shape, "Depth", caption, "coloured depth map")


def _figure(uri: str, shape: tuple[int, ...], title: str, caption: str, alt: str) -> str:
    return (
        f'<figure><img loading="lazy" src="{uri}" width="{shape[1]}" height="{shape[0]}" alt="{escape(alt)}">'
        f"<figcaption><strong>{escape(title)}.</strong> {escape(caption)}</figcaption></figure>"
    )


def _row(sample: QuestionSample) -> str:
    typed = sample.answer_typed
    values = ", ".join(value if isinstance(value, str) else f"{value:g}" for value in typed.values)
    unit = f" {typed.unit}" if typed.unit else ""
    said = f", said in {sample.said_unit}" if typed.unit and sample.said_unit != typed.unit else ""
    meaning = DEFINITIONS.get(typed.definition or "", "")
    objects = f"objects {', '.join(map(str, sample.objects))}" if sample.objects else "no object"
    chain = (
        f"<details><summary>chain of thought</summary><p>{escape(sample.reasoning)}</p></details>"
        if sample.reasoning
        else ""
    )
    return (
        f'<tr data-family="{escape(sample.type.value)}"><th scope="row">{escape(sample.question)}'
        f'<span class="kind">{escape(sample.type.value)}</span></th><td>{escape(sample.answer)}{chain}</td>'
        f'<td class="typed">{escape(values + unit + said)}<br><span title="{escape(meaning)}">'
        f"{escape(typed.definition or 'no definition')}</span>; {escape(objects)}<br>"
        f"{escape(sample.template)}</td></tr>"
    )
