"""Figures that can be read: nothing overlaps, nothing leaves the page, every row looks different."""

import json

import pytest
from PIL import Image

from sdvlm.eval.published import COLUMNS
from sdvlm.eval.report import make_report

pytest.importorskip("matplotlib")

from sdvlm.eval.figures import bar_figure, draw, radar_figure


@pytest.fixture(params=[1, 3, 8])
def report(request, tmp_path):
    """That many runs, some with long names."""
    folders = []
    for index in range(request.param):
        folder = tmp_path / f"run-{index}"
        folder.mkdir()
        families = {f.value: {"asked": 40, "right": (7 * index + 5 * i) % 41} for i, f in enumerate(COLUMNS)}
        name = f"organisation-{index}/a-model-with-a-name-of-some-length-{'x' * 20 * (index % 3)}"
        (folder / "scores.json").write_text(json.dumps({"model": name, "bench": "msmu", "families": families}))
        folders.append(folder)
    return make_report(folders)


def boxes_of_texts(figure):
    figure.canvas.draw()
    (axes,) = figure.axes
    texts = [*axes.get_xticklabels(), *axes.texts, *figure.texts, *axes.get_yticklabels(), axes.yaxis.label]
    texts += [text for legend in figure.legends for text in legend.get_texts()]
    return {text.get_text(): text.get_window_extent() for text in texts if text.get_text()}


@pytest.mark.parametrize("make", [bar_figure, radar_figure])
def test_no_label_overlaps_another_or_leaves_the_picture(report, make):
    figure = make(report)
    boxes = boxes_of_texts(figure)
    width, height = figure.canvas.get_width_height()
    for name, box in boxes.items():
        assert box.x0 >= 0, name
        assert box.y0 >= 0, name
        assert box.x1 <= width, name
        assert box.y1 <= height, name
        for other, there in boxes.items():
            assert name == other or not box.overlaps(there), (name, other)


@pytest.mark.parametrize("make", [bar_figure, radar_figure])
def test_the_legend_is_off_the_drawing_and_the_caveat_is_on_the_page(report, make):
    figure = make(report)
    figure.canvas.draw()
    (legend,), (axes,) = figure.legends, figure.axes
    assert not legend.get_window_extent().overlaps(axes.get_window_extent())
    assert any("not the same measure" in text.get_text() for text in figure.texts)
    assert all("scored by" in t.get_text() or "(published)" in t.get_text() for t in legend.get_texts())


def test_bars_are_as_high_as_the_rates_and_whiskers_span_the_intervals(report):
    (axes,) = bar_figure(report).axes
    row = report.runs[0]
    heights = [bar.get_height() for bar in axes.containers[0]][:8]
    assert heights == pytest.approx([row.rates[family] for family in COLUMNS])
    assert axes.containers[0][8].get_height() == pytest.approx(row.mean)


def test_every_row_looks_different(report):
    (bars,) = bar_figure(report).axes
    drawn = [c for c in bars.containers if hasattr(c, "patches")]
    looks = [(group.patches[0].get_facecolor(), group.patches[0].get_hatch()) for group in drawn]
    assert len(set(looks)) == len(looks)
    (radar,) = radar_figure(report).axes
    lines = [(line.get_marker(), str(line._dash_pattern), line.get_color()) for line in radar.lines]
    assert len(set(lines)) == len(lines)


@pytest.mark.parametrize("report", [3], indirect=True)
def test_files_are_pictures_and_the_same_report_gives_the_same_bytes(report, tmp_path):
    paths = draw(report, tmp_path / "a")
    again = draw(report, tmp_path / "b")
    assert [path.name for path in paths] == ["bars.png", "bars.svg", "radar.png", "radar.svg"]
    assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in again]
    for path in paths[::2]:
        with Image.open(path) as picture:
            assert min(picture.size) > 700
    for path in paths[1::2]:
        assert path.read_text().startswith("<?xml")
