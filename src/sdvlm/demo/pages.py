"""What goes on the two pages: the demonstration's, and the one of ``sdvlm ask --page``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

import sdvlm
from sdvlm.answering import NANO, Reply
from sdvlm.demo import OTHER_SCALE
from sdvlm.demo.room import DemoView
from sdvlm.demo.run import Asked, Judged, count_right
from sdvlm.demo.words import ABOUT_NANO, ASK_YOUR_OWN, KIND_NAMES, OF_ANOTHER_SIZE, ROOM_NAMES
from sdvlm.geometry.transform import resize
from sdvlm.page import Cell, Figure, Page, Row, Section, Table
from sdvlm.types import DepthKind, DepthMap, RgbdFrame
from sdvlm.viz import depth_figure, draw_boxes_3d, draw_token_boxes

__all__ = ["ask_page", "demo_overview", "demo_page"]

Picture = NDArray[np.uint8]
_WIDTH = 960


def demo_page(
    view: DemoView,
    asked: Sequence[Asked],
    rescaled: Sequence[Asked],
    token_boxes: NDArray[np.float64],
    seed: int,
    model: str = NANO,
) -> Page:
    """The demonstration's page.

    Args:
        view: the room's picture.
        asked: questions and answers, in the order of the table.
        rescaled: those about the same picture of a room of another size (``demo.OTHER_SCALE``).
        token_boxes: (N, 4) where each image token looks, pixels of the picture, NaN rows for tokens that look nowhere.
        seed: that made the room.
        model: that answered.
    """
    return Page(
        title="A room, its depth, and questions answered in metres",
        lead=(
            f"A program built this {ROOM_NAMES[view.room.kind]} with {len(view.room.objects)} objects in it and took "
            f"its picture. {_who(model)} looked at the picture twice, once with the depth map and once without, "
            "and answered. The truth is computed from the geometry of the room."
        ),
        figures=_demo_figures(view, token_boxes),
        tables=(
            _table(asked, "Questions and answers", ""),
            _table(rescaled, f"The same picture of a room {OTHER_SCALE:g} times as large", OF_ANOTHER_SIZE),
        ),
        sections=(ABOUT_NANO, ASK_YOUR_OWN) if model == NANO else (ASK_YOUR_OWN,),
        footer=f"Made by sdvlm {sdvlm.__version__} with `sdvlm demo --seed {seed}`. {_RULE}",
    )


def _table(asked: Sequence[Asked], heading: str, lead: str) -> Table:
    with_depth, without_depth = count_right(asked)
    rows = [
        Row(
            one.sample.question,
            KIND_NAMES[one.sample.type],
            (Cell(one.sample.answer), _cell(one.with_depth), _cell(one.without_depth)),
        )
        for one in asked
    ]
    totals = f"{len(asked)} questions", "", f"{with_depth} right", f"{without_depth} right"
    return Table(("Question", "Truth", "With depth", "Without depth"), rows, totals, heading, lead)


_RULE = (
    "A length counts as right when it is less than 1.25 times off (each of them, where several are asked), a point "
    "when it is off by at most a tenth of the picture; everything else must match."
)


def _who(model: str) -> str:
    return "A small vision-language model, nano," if model == NANO else f"The model {model}"


def _cell(judged: Judged) -> Cell:
    return Cell(judged.text or "(nothing)", judged.right)


def _demo_figures(view: DemoView, token_boxes: NDArray[np.float64]) -> list[Figure]:
    frame = view.frame
    assert frame.depth is not None
    names = ", ".join(view.names.values())
    return [
        Figure("Picture", _enlarged(frame.image), "What the model sees.", f"a drawn room with {names}"),
        Figure("Objects", _boxed(view), "The true 3D boxes the answers are computed from.", f"3D boxes of: {names}"),
        _depth_panel(frame.depth),
        Figure(
            "Depth as the model sees it",
            draw_token_boxes(frame.image, token_boxes, _mean_depth(frame.depth, token_boxes), _WIDTH),
            f"Each of the {int(np.isfinite(token_boxes).all(axis=1).sum())} image tokens looks at one box and is told "
            "the depth inside it: light is near, dark is far.",
            "the picture under a grid of boxes, tinted by depth",
        ),
    ]


def _depth_panel(depth: DepthMap) -> Figure:
    known = depth.values[depth.valid]
    what = "Distance along the viewing direction" if depth.kind is DepthKind.METRIC else f"A map of kind {depth.kind}"
    unit = " m" if depth.kind is DepthKind.METRIC else ""
    span = f"from {known.min():.2f} to {known.max():.2f}{unit}"
    return Figure("Depth map", depth_figure(depth, _WIDTH), f"{what}, {span}.", f"coloured depth map, {span}")


def _mean_depth(depth: DepthMap, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) mean known depth in each box; NaN where there is none."""
    from sdvlm.fusion.pool import pool_depth

    return np.asarray(pool_depth(depth, boxes, depth.size).z.numpy(), dtype=np.float64)


def _boxed(view: DemoView) -> Picture:
    named = [one for one in view.selection.kept if one.id in view.names]
    assert view.frame.camera is not None
    return draw_boxes_3d(
        view.frame.image, [(view.names[one.id], one.box_cam) for one in named], view.frame.camera, _WIDTH
    )


def _enlarged(image: Picture, width: int = _WIDTH) -> Picture:
    size = (image.shape[1], image.shape[0])
    return resize(size, (width, max(1, round(width * size[1] / size[0])))).image(image)


def demo_overview(view: DemoView) -> Picture:
    """Objects and depth side by side, for a README: (H, 1280, 3) uint8."""
    assert view.frame.depth is not None
    left, right = _boxed(view), depth_figure(view.frame.depth, _WIDTH)
    paper = tuple(right[-1, -1].tolist())
    canvas = Image.new("RGB", (2 * _WIDTH, len(right)), paper)
    canvas.paste(Image.fromarray(left), (0, 0))
    canvas.paste(Image.fromarray(right), (_WIDTH, 0))
    said = f"a drawn {ROOM_NAMES[view.room.kind]} and the true 3D boxes of its objects"
    font = ImageFont.load_default(size=30)
    ImageDraw.Draw(canvas).text((30, (len(left) + len(right)) / 2), said, (244, 244, 245), font, anchor="lm")
    return np.asarray(canvas.resize((1280, round(1280 * canvas.height / canvas.width)), Image.Resampling.LANCZOS))


def ask_page(
    frame: RgbdFrame, replies: Sequence[Reply], model: str, notes: Sequence[str], depth: DepthMap | None = None
) -> Page:
    """The page of ``sdvlm ask --page``: picture, depth where there is one, answers, what to know about them.

    ``depth`` is what the model was given, in place of the frame's own.
    """
    depth = frame.depth if depth is None else depth
    figures = [Figure("Picture", _fitted(frame.image), frame.name, f"the picture {frame.name}")]
    if depth is not None:
        figures.append(_depth_panel(depth))
    rows = [Row(reply.question, "", (Cell(reply.answer or "(nothing)"), Cell(_value(reply)))) for reply in replies]
    sections = [Section("What to know about these answers", tuple(f"{note}." for note in notes))] if notes else []
    return Page(
        title=f"Questions about {frame.name}",
        lead=f"Answered by {model}, {'with' if depth is not None else 'without'} a depth map.",
        figures=figures,
        tables=(Table(("Question", "Answer", "Read as"), rows),),
        sections=[*sections, ABOUT_NANO] if model == NANO else sections,
        footer=f"Made by sdvlm {sdvlm.__version__}.",
    )


def _fitted(image: Picture) -> Picture:
    """No wider than the page can use: photographs of many megapixels would make a page of many megabytes."""
    return image if image.shape[1] <= 1600 else _enlarged(image, 1600)


def _value(reply: Reply) -> str:
    if reply.typed is None:
        return "—"
    unit = f" {reply.typed.unit}" if reply.typed.unit else ""
    return ", ".join(f"{value:g}{unit}" if isinstance(value, float | int) else value for value in reply.typed.values)
