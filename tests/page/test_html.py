import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
from PIL import Image

from sdvlm.page import Cell, Figure, Page, Row, Section, Table, write_page

PHOTO = np.random.default_rng(0).integers(0, 255, (40, 60, 3)).astype(np.uint8)
FLAT = np.full((40, 60, 3), (200, 30, 30), dtype=np.uint8)


TABLE = Table(
    ["Question", "Truth", "Answer"],
    [Row("How far?", "distance", (Cell("2 m"), Cell("3 m", False))), Row("Who?", "", (Cell("a"), Cell("a", True)))],
    ["2 questions", "", "1 right"],
)


def page(**changes):
    values = {
        "title": "Rooms & depth",
        "lead": "Look <here>",
        "figures": [Figure("Picture", PHOTO, "A caption", 'alt "text"'), Figure("Depth", FLAT, "Flat", "red")],
        "tables": [TABLE],
        "sections": [Section("Limits", ("May be wrong",), code="sdvlm ask", warning=True)],
    }
    return Page(**(values | changes))


class Reader(HTMLParser):
    """Every opened tag with its attributes, the text, and whether tags were closed in order."""

    VOID = ("meta", "link", "img", "br")

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.open, self.balanced = [], [], [], True
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        self.balanced = self.balanced and bool(self.open) and self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_is_well_formed_and_says_everything_once_decoded():
    read = Reader(page().to_html())
    assert read.balanced
    assert read.open == []
    text = " ".join(read.text)
    for said in (
        "Rooms & depth",
        "Look <here>",
        "A caption",
        "How far?",
        "3 m",
        "1 right",
        "May be wrong",
        "sdvlm ask",
    ):
        assert said in text


def test_nothing_is_fetched_and_nothing_runs():
    html = page().to_html()
    read = Reader(html)
    for tag, attributes in read.tags:
        assert tag not in ("script", "iframe", "object", "embed", "base")
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href"):
            assert attributes.get(name, "data:").startswith("data:")
    style = re.search(r"<style>(.*?)</style>", html, re.S).group(1)
    assert "url(" not in style
    assert "@import" not in style
    assert "http" not in html


def test_text_from_users_and_models_cannot_become_markup():
    evil = '</table><script>alert("x")</script><img src=x onerror=y>'
    table = Table([evil] * 3, [Row(evil, evil, (Cell(evil), Cell(evil, True)))], [evil] * 3, evil, evil)
    html = page(tables=[table], lead=evil, title=evil, footer=evil).to_html()
    assert "<script" not in html
    assert "<img src=x" not in html
    assert evil in "".join(Reader(html).text)


def test_every_picture_is_embedded_with_its_words_and_size():
    images = [attributes for tag, attributes in Reader(page().to_html()).tags if tag == "img"]
    assert [image["alt"] for image in images] == ['alt "text"', "red"]
    for image, expected in zip(images, (PHOTO, FLAT), strict=True):
        data = re.fullmatch(r"data:image/jpeg;base64,(.+)", image["src"])[1]
        decoded = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
        assert (image["width"], image["height"]) == ("60", "40")
        assert decoded.shape == expected.shape
        assert np.abs(decoded.astype(int) - expected).mean() < 8


def test_right_and_wrong_are_told_in_words_not_by_colour_alone():
    text = re.sub(r"\s+", " ", " ".join(Reader(page().to_html()).text))
    assert re.search(r"3 m ✗ wrong", text)
    assert re.search(r"a ✓ right", text)


def test_both_colour_schemes_keep_text_readable():
    # WCAG 2.1 contrast of at least 4.5 to 1 for every ink on paper and card
    html = page().to_html()
    light, dark = (
        dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root \{(.*?)\}", html, re.S)
    )

    def luminance(color):
        share = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]

    for scheme in (light, dark):
        for ink in ("ink", "soft", "right", "wrong"):
            for paper in ("paper", "card"):
                bright, dim = sorted((luminance(scheme[ink]), luminance(scheme[paper])), reverse=True)
                assert (bright + 0.05) / (dim + 0.05) >= 4.5, (ink, paper)


def test_every_table_stands_under_its_heading_in_order_and_one_without_rows_is_left_out():
    second = replace(TABLE, heading="Once more", lead="Only depth tells.")
    html = page(tables=[TABLE, second, Table(["Question"], [], heading="Nothing")]).to_html()
    assert re.findall(r"<h2>(.*?)</h2>", html) == ["Questions and answers", "Once more", "Limits"]
    assert html.count("<table>") == 2
    assert html.index("Once more</h2>") < html.index("Only depth tells.") < html.rindex("<table>")
    assert Reader(html).balanced


def test_writing_makes_the_folder_and_leaves_only_the_page(tmp_path):
    path = write_page(page(), tmp_path / "new" / "index.html")
    assert path.read_text(encoding="utf-8") == page().to_html()
    assert [found.name for found in path.parent.iterdir()] == ["index.html"]
