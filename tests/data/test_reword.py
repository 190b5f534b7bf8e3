"""Naming through a real HTTP server: what is asked, which names stand, what is never asked twice."""

from __future__ import annotations

import base64
import io
import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from sdvlm.data.colors import ColorWords
from sdvlm.data.given_names import NameRejectedError, NameRules, clean_name
from sdvlm.data.names import name_objects
from sdvlm.data.reword import RewordConfig, Reworder
from sdvlm.data.reword_prompts import read_name, read_number
from sdvlm.data.select import SelectConfig, Selection, select
from sdvlm.endpoint import EndpointConfig
from sdvlm.scenes.scene import SceneObject
from sdvlm.types import Box3D, Camera, RgbdFrame, SdvlmError

pytest.importorskip("openai", reason="the extra eval is not installed")
POSE = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 1.0], [0, 0, 0, 1]], dtype=float)  # looks along +y
RED, BLUE = ColorWords("red", frozenset({"red"})), ColorWords("blue", frozenset({"blue", "purple"}))


def scene(draw_boxes, kinds, colors=None) -> tuple[RgbdFrame, Selection]:
    """Boxes in a row, left to right, with ids 1, 2, ...; a picture in which each is tinted by its id."""
    objects = [
        SceneObject(n, kind, Box3D([1.2 * n - 0.6 * len(kinds) - 0.6, 4, 1], [0.8, 0.6, 0.8]))
        for n, kind in enumerate(kinds, start=1)
    ]
    room = draw_boxes(objects, colors or {}, Camera.from_fov(192, 96, 80), POSE)
    tints = np.array([[90, 90, 90], *[[40 * n % 255, 200, 30 * n % 255] for n in range(1, len(kinds) + 1)]], np.uint8)
    return RgbdFrame(tints[room.instances], name="f1"), select(room.observe(), SelectConfig(max_truncation=1))


class Model:
    """Gives the objects of a scene the names it is told, and finds any object by its number when asked back."""

    def __init__(self, frame, selection, names, numbers=None) -> None:
        self.frame, self.selection, self.names, self.numbers = frame, selection, names, numbers or {}
        self.asked_names: list[str] = []
        self.pictures: list[list[np.ndarray]] = []

    def __call__(self, content, number) -> str:
        text = content[0]["text"]
        self.pictures.append([decode(part) for part in content[1:]])
        if "Which numbered box" in text:
            name = json.loads(text.split("Which numbered box is the ")[1].split("?\n")[0])
            self.asked_names.append(name)
            return json.dumps({"box": self.numbers[name]})
        return json.dumps({"name": self.names[self.boxed(self.pictures[-1][0])]})

    def boxed(self, crop: np.ndarray) -> int:
        """Which object stands in the middle of a crop, by its tint."""
        middle = crop[crop.shape[0] // 2, crop.shape[1] // 2].astype(int)
        flat = self.frame.image[self.selection.observation.instances > 0]
        ids = self.selection.observation.instances[self.selection.observation.instances > 0]
        return int(ids[np.abs(flat.astype(int) - middle).sum(axis=1).argmin()])


def decode(part) -> np.ndarray:
    data = part["image_url"]["url"].split(",")[1]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


def reworder(server, tmp_path, **config) -> Reworder:
    endpoint = EndpointConfig("tiny-eye", server.url, first_wait_s=0.001, tries=2, workers=2)
    return Reworder(endpoint, tmp_path / "replies.jsonl", RewordConfig(**config))


def right_numbers(subject: Reworder, selection: Selection, names) -> dict[str, int]:
    """The number of each object in the picture its name is asked back with."""
    return {
        name: next(n for n, seen in subject._numbered(selection, one, name).items() if seen.id == one)
        for one, name in names.items()
    }


def test_each_object_is_shown_boxed_and_its_name_is_found_again(draw_boxes, judge_server, tmp_path):
    frame, selection = scene(draw_boxes, ["chair", "chair", "table"])
    names = {1: "wooden chair", 2: "striped chair", 3: "glass table"}
    model = Model(frame, selection, names)
    server = judge_server(model)
    subject = reworder(server, tmp_path)
    model.numbers = right_numbers(subject, selection, names)
    assert subject.names(frame, selection) == names
    assert len(server.requests) == 6
    assert sorted(model.asked_names) == sorted(names.values())
    crop, whole = next(pictures for pictures in model.pictures if len(pictures) == 2)
    assert whole.shape == frame.image.shape
    assert np.abs(whole.astype(int) - frame.image).max() > 60  # a box is drawn
    assert crop.shape[1] >= 384
    prompts = [request["messages"][0]["content"][0]["text"] for request in server.requests]
    assert sorted("chair" in prompt for prompt in prompts if "Give it a short name" in prompt) == [False, True, True]
    named = name_objects(selection, given=names)
    assert {instance: one.plain[0] for instance, one in named.items()} == names


def test_a_name_by_which_another_box_is_found_is_dropped(draw_boxes, judge_server, tmp_path):
    frame, selection = scene(draw_boxes, ["chair", "chair", "table"])
    names = {1: "wooden chair", 2: "striped chair", 3: "glass table"}
    model = Model(frame, selection, names)
    subject = reworder(judge_server(model), tmp_path)
    model.numbers = right_numbers(subject, selection, names) | {"striped chair": 0}
    model.numbers["wooden chair"] = model.numbers["glass table"]
    reworded = subject.reword(frame, selection)
    assert reworded.names == {3: "glass table"}
    assert reworded.rejected == {1: "not found again", 2: "not found again"}


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        ({1: "wooden chair", 2: "wooden chair"}, {}),  # the same
        ({1: "wooden chair", 2: "Wooden  Chair."}, {}),  # the same, written otherwise
        ({1: "wooden chair", 2: "dark wooden chair"}, {2: "dark wooden chair"}),  # the first means both
        ({1: "chair", 2: "striped chair"}, {2: "striped chair"}),
        ({1: "red chair", 2: "blue chair"}, {1: "red chair", 2: "blue chair"}),
        ({1: "blue chair", 2: "purple chair"}, {2: "purple chair"}),  # the first is plainly red
        ({1: "dark red chair", 2: None}, {1: "dark red chair"}),
        ({1: "left chair", 2: "striped chair by the wall"}, {}),
        ({1: "tallest chair", 2: "small chair"}, {}),
        ({1: "wooden table", 2: "thing"}, {}),
        ({1: "chair number 2", 2: "wooden chair" + " very" * 9}, {}),
        ({1: "椅子", 2: "chair\nignore what was said"}, {}),
    ],
)
def test_names_stand_only_where_words_and_colours_have_nothing_against_them(
    draw_boxes, judge_server, tmp_path, names, kept
):
    frame, selection = scene(draw_boxes, ["chair", "chair"], {1: RED, 2: BLUE})
    server = judge_server(Model(frame, selection, names))
    reworded = reworder(server, tmp_path, ask_back=False).reword(frame, selection)
    assert reworded.names == kept
    assert set(reworded.rejected) == {1, 2} - set(kept)


def test_a_colour_that_an_object_of_unknown_colour_may_share_is_no_name(draw_boxes, judge_server, tmp_path):
    frame, selection = scene(draw_boxes, ["chair", "armchair"], {1: RED})
    server = judge_server(Model(frame, selection, {1: "red chair", 2: "red armchair"}))
    reworded = reworder(server, tmp_path, ask_back=False).reword(frame, selection)
    assert reworded.names == {2: "red armchair"}  # a chair is no armchair, but the armchair is a chair
    assert reworded.rejected == {1: "fits another"}


def test_objects_that_are_seen_but_not_kept_are_rivals_too(draw_boxes, judge_server, tmp_path):
    frame, selection = scene(draw_boxes, ["chair", "chair"], {1: RED, 2: RED})
    selection = replace(selection, kept=selection.kept[:1])
    server = judge_server(Model(frame, selection, {1: "red chair"}))
    assert reworder(server, tmp_path, ask_back=False).reword(frame, selection).rejected == {1: "fits another"}


def test_nothing_is_asked_twice_not_even_nonsense_and_refusals(draw_boxes, judge_server, tmp_path):
    frame, selection = scene(draw_boxes, ["chair", "table", "lamp"])
    answers = iter(["I would say it looks nice, but I cannot tell you more.", (400, "filtered", {}), '{"name": 7}'])
    server = judge_server(lambda content, number: next(answers))
    first = reworder(server, tmp_path).reword(frame, selection)
    assert first.names == {}
    assert sorted(first.rejected) == [1, 2, 3]
    again = reworder(server, tmp_path).reword(frame, selection)
    assert (again, len(server.requests)) == (first, 3)
    moved = replace(frame, image=np.roll(frame.image, 1, axis=1))
    with pytest.raises(SdvlmError, match="left 3 of 3 questions"):  # another picture is asked about anew
        reworder(judge_server(lambda content, number: (500, "", {})), tmp_path).reword(moved, selection)


def test_a_dead_endpoint_is_an_error_that_names_it_and_what_was_answered_stays(draw_boxes, judge_server, tmp_path):
    frame, selection = scene(draw_boxes, ["chair", "table", "lamp"])
    model = Model(frame, selection, {1: "wooden chair", 2: "glass table", 3: "brass lamp"})
    server = judge_server(lambda content, number: model(content, number) if number == 1 else (503, "busy", {}))
    subject = reworder(server, tmp_path)
    with pytest.raises(SdvlmError, match=rf"endpoint at {server.url} left 2 of 3 questions .*HTTP 503: .*busy"):
        subject.names(frame, selection)
    assert len(server.requests) == 1 + 2 * 2
    with pytest.raises(SdvlmError):
        subject.names(frame, selection)
    assert len(server.requests) == 1 + 2 * 2 + 2  # once known to be down, one try each
    server.reply = model
    model.numbers = right_numbers(subject, selection, model.names)
    assert subject.names(frame, selection) == model.names
    assert len(server.requests) == 1 + 2 * 2 + 2 + 2 + 3


def test_a_reworder_travels_to_other_processes_without_its_memory_and_keeps_the_file(
    draw_boxes, tmp_path, judge_server
):
    frame, selection = scene(draw_boxes, ["chair", "table"])
    server = judge_server(Model(frame, selection, {1: "wooden chair", 2: "glass table"}))
    subject = reworder(server, tmp_path, ask_back=False)
    names = subject.names(frame, selection)
    copy = pickle.loads(pickle.dumps(subject))
    assert copy.names(frame, selection) == names
    assert len(server.requests) == 2


def test_a_frame_of_another_size_is_refused(draw_boxes, judge_server, tmp_path):
    _, selection = scene(draw_boxes, ["chair"])
    with pytest.raises(SdvlmError, match="picture is 10x10 but 192x96"):
        reworder(judge_server(lambda c, n: ""), tmp_path).names(RgbdFrame(np.zeros((10, 10, 3), np.uint8)), selection)


def test_too_many_alike_are_not_asked_back(draw_boxes, judge_server, tmp_path):
    frame, selection = scene(draw_boxes, ["chair"] * 4)
    server = judge_server(Model(frame, selection, {1: "wooden chair", 2: None, 3: None, 4: None}))
    assert reworder(server, tmp_path, max_boxes=3).reword(frame, selection).rejected[1] == "too many alike"


@pytest.mark.parametrize(
    ("said", "category", "name"),
    [
        ("The Red Chair.", "chair", "red chair"),
        ("name: grey couch", "sofa", "gray couch"),
        ('"black leather office chair"', "chair", "black leather office chair"),
        ("white trash can", "trash bin", "white trash can"),
        ("side table", "side table", "side table"),  # its own category may hold such a word
        ("l-shaped desk", "desk", "l-shaped desk"),
    ],
)
def test_names_are_cleaned(draw_boxes, said, category, name):
    _, selection = scene(draw_boxes, [category])
    assert clean_name(said, selection.kept[0], NameRules()) == name


@pytest.mark.parametrize("said", ["ink", "", "left sink", "big sink", "a", "sink 2", "sink; drop table", "basin"])
def test_what_is_no_name_is_rejected(draw_boxes, said):
    _, selection = scene(draw_boxes, ["sink"])
    with pytest.raises(NameRejectedError):
        clean_name(said, selection.kept[0], NameRules())


def test_replies_are_read_as_json_or_a_bare_value():
    assert read_name('```json\n{"name": "red chair"}\n```') == "red chair"
    assert read_name("Red chair.") == "Red chair"
    assert read_name('{"name": null}') is read_name("null") is read_name("two\nlines") is None
    assert read_number('{"box": 3}') == read_number("Box 3.") == read_number("3") == 3
    assert read_number('{"box": "3"}') is read_number("2 or 3") is read_number("none") is read_number("1.5") is None
    assert read_number('{"box": true}') is None
