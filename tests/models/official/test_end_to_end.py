"""A checkpoint in the official layout, made here with random weights, from the folder to the answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import sdvlm
from sdvlm.answering import ask_prompts
from sdvlm.bench.random_official import SHAPES, write_random_official
from sdvlm.bench.released_loop import answer_as_released
from sdvlm.cli import main as cli
from sdvlm.models.official import import_official
from sdvlm.models.prefix import answer_questions
from sdvlm.models.vicuna import PICTURE, chunked_ids

MARK = "<image>"
QUESTIONS = ["How far is the red chair?", "Is the lamp nearer?", "What is the height of the white table?"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("official") / "any-name"
    write_random_official(SHAPES["toy"], place)
    return place


@pytest.fixture(scope="module")
def loaded(folder: Path) -> tuple[Any, Any]:
    return sdvlm.load_model(str(folder), device="cpu")


@pytest.fixture(scope="module")
def frame() -> sdvlm.RgbdFrame:
    rows, columns = np.mgrid[:60, :80]
    image = np.stack([rows * 4, columns * 3, (rows + columns) % 256], axis=-1).astype(np.uint8)
    return sdvlm.RgbdFrame(image)


def by_hand(model: Any, processor: Any, frame: sdvlm.RgbdFrame, prompt: str, new_tokens: int) -> list[int]:
    """Greedy decoding from embeddings put together here: words, and projected CLIP features plus the depth code.

    The code is the paper's, in a loop; the grid is min-max x 100 of the map pooled by torch over the whole picture.
    """
    vlm = model.vlm
    pixels = processor.processor.image_processor(frame.image, return_tensors="pt")["pixel_values"]
    hidden = vlm.model.vision_tower(pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
    tokens = vlm.model.multi_modal_projector(hidden)[0]
    raw = torch.from_numpy(processor.own_depth(frame).values.copy())
    grid = torch.nn.functional.adaptive_avg_pool2d(raw[None, None], 24).flatten()
    position = 100 * (grid - grid.min()) / (grid.max() - grid.min() + 1e-9)
    code = torch.zeros_like(tokens)
    half = tokens.shape[1] // 2
    for k in range(half):
        angle = position * 10_000 ** (-k / half)
        code[:, 2 * k], code[:, 2 * k + 1] = angle.sin(), angle.cos()
    ids = chunked_ids(processor.tokenizer, prompt, MARK)
    embed = vlm.get_input_embeddings()
    pieces = [tokens + code if one == PICTURE else embed(torch.tensor([one])) for one in ids]
    said: list[int] = []
    while len(said) < new_tokens and said[-1:] != [2]:
        whole = torch.cat([*pieces, *(embed(torch.tensor([one])) for one in said)])
        out = vlm.model.language_model(inputs_embeds=whole[None]).last_hidden_state
        said.append(int(vlm.lm_head(out[0, -1]).argmax()))
    return said


@torch.no_grad()
def test_answers_are_those_of_a_plain_loop_over_the_same_weights(loaded: Any, frame: sdvlm.RgbdFrame) -> None:
    model, processor = loaded
    prompts = [f"{MARK}\n{QUESTIONS[0]}", f"{MARK} {QUESTIONS[1]}", processor.question_prompt(QUESTIONS[2])]
    told = ask_prompts(model, processor, [frame], prompts, max_new_tokens=5)
    for prompt, one in zip(prompts, told, strict=True):
        assert list(one.token_ids) == by_hand(model, processor, frame, prompt, 5)
    blind = ask_prompts(model, processor, [frame], prompts, max_new_tokens=5, depth=[None])
    assert blind != told


def test_shared_answers_equal_the_released_procedure(loaded: Any, frame: sdvlm.RgbdFrame) -> None:
    model, processor = loaded
    depth = processor.own_depth(frame)
    shared = answer_questions(model, processor, frame, QUESTIONS, max_new_tokens=4, depth=depth)
    assert [one.token_ids for one in shared] == answer_as_released(model, processor, frame, QUESTIONS, 4)
    replies = sdvlm.ask(model, processor, frame, QUESTIONS, max_new_tokens=4)
    assert [one.token_ids for one in replies] == [one.token_ids for one in shared]
    assert replies[0].to_dict()["token_ids"] == list(shared[0].token_ids)


def test_both_doors_recognise_it_and_an_import_answers_alike(
    loaded: Any, folder: Path, frame: sdvlm.RgbdFrame, tmp_path: Path
) -> None:
    model, processor = loaded
    wanted = [one.token_ids for one in sdvlm.ask(model, processor, frame, QUESTIONS, max_new_tokens=4)]
    import_official(folder, tmp_path / "ours")
    saved = tmp_path / "saved"
    model.save_pretrained(saved)
    processor.save_pretrained(saved)
    assert (saved / "depth" / "config.json").is_file()
    for place in (folder, tmp_path / "ours", saved):
        again = sdvlm.DepthVLM.from_pretrained(place), sdvlm.DepthProcessor.from_pretrained(place)
        assert [one.token_ids for one in sdvlm.ask(*again, frame, QUESTIONS, max_new_tokens=4)] == wanted


@pytest.mark.parametrize("said", ["float16", "bfloat16"])
def test_half_precision_weights_run_in_float32_on_a_cpu(folder: Path, tmp_path: Path, said: str) -> None:
    half = tmp_path / "half"
    shutil.copytree(folder, half)
    config = json.loads((half / "config.json").read_text(encoding="utf-8"))
    (half / "config.json").write_text(json.dumps({**config, "torch_dtype": said}), encoding="utf-8")
    model, _ = sdvlm.load_model(str(half), device="cpu")
    assert model.dtype == torch.float32


@pytest.mark.parametrize(
    ("options", "pooling", "conversation"),
    [
        ({}, "unpadded", "vicuna_v1"),
        ({"mode": "aligned"}, "boxes", "vicuna_v1"),
        ({"mode": "official", "conversation": "none"}, "unpadded", "none"),
        ({"conversation": "chat"}, "unpadded", None),
    ],
)
def test_modes_and_conversations_are_chosen_on_loading(
    folder: Path, options: dict[str, str], pooling: str, conversation: str | None
) -> None:
    model, processor = sdvlm.load_model(str(folder), device="cpu", **options)
    assert (processor.fusion.pooling, processor.config.conversation) == (pooling, conversation)
    assert (model.config.fusion["pooling"], model.config.conversation) == (pooling, conversation)


def ask_cli(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        cli.main(["ask", *map(str, arguments), "--json"])
    out, err = capsys.readouterr()
    return int(left.value.code or 0), out, err


@pytest.fixture
def photo(frame: sdvlm.RgbdFrame, tmp_path: Path) -> Path:
    Image.fromarray(frame.image).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_the_command_line_sends_raw_prompts_as_they_stand(
    capsys: pytest.CaptureFixture[str], loaded: Any, folder: Path, frame: sdvlm.RgbdFrame, photo: Path
) -> None:
    prompts = [f"{MARK} {QUESTIONS[0]}", QUESTIONS[1]]
    raw = [word for prompt in prompts for word in ("--raw-prompt", prompt)]
    code, out, err = ask_cli(capsys, photo, *raw, "--max-new-tokens", 3, "--model", folder, "--device", "cpu")
    assert code == 0, err
    document = json.loads(out)
    wanted = ask_prompts(*loaded, [frame], prompts, max_new_tokens=3)
    assert [one["token_ids"] for one in document["answers"]] == [list(one.token_ids) for one in wanted]
    assert document["notes"] == [f"prompt 2 has no {MARK}: it was sent without the picture"]
    assert document["depth"]["kind"] == "disparity"


def test_a_picture_with_an_orientation_is_seen_as_stored_in_official_mode_only(
    capsys: pytest.CaptureFixture[str], folder: Path, frame: sdvlm.RgbdFrame, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(frame.image).save(tmp_path / "turned.png", exif=exif)
    asked = (tmp_path / "turned.png", QUESTIONS[0], "--max-new-tokens", 1, "--model", folder, "--device", "cpu")
    seen = [json.loads(ask_cli(capsys, *asked, "--mode", mode)[1])["image"] for mode in ("official", "aligned")]
    assert [(one["width"], one["height"]) for one in seen] == [(80, 60), (60, 80)]


def test_the_command_line_takes_measured_depth_of_another_size_in_official_mode_only(
    capsys: pytest.CaptureFixture[str], folder: Path, photo: Path, tmp_path: Path
) -> None:
    depth = tmp_path / "depth.png"
    Image.fromarray(np.linspace(1000, 3000, 35).reshape(5, 7).astype(np.uint16)).save(depth)
    asked = (photo, QUESTIONS[0], "--max-new-tokens", 1, "--model", folder, "--device", "cpu")
    code, out, err = ask_cli(capsys, *asked, "--depth", depth)
    assert (code, json.loads(out)["depth"]["kind"]) == (0, "metric"), err
    code, out, err = ask_cli(capsys, *asked, "--depth", depth, "--mode", "aligned")
    assert (code, out) == (2, "")
    assert "7x5" in err
    assert "--resize-depth" in err
    code, out, _ = ask_cli(capsys, *asked, "--depth", "none")
    assert (code, json.loads(out)["depth"]) == (0, None)


def test_what_does_not_go_together_is_refused_in_one_line(
    capsys: pytest.CaptureFixture[str], folder: Path, photo: Path
) -> None:
    model = ("--model", folder, "--device", "cpu")
    for arguments, said in (
        ((photo, *model), "no question"),
        ((photo, "How?", "--mode", "crooked", *model), "no mode 'crooked'"),
        ((photo, "How?", "--conversation", "v0", *model), "no conversation 'v0'"),
        ((photo, photo, "--raw-prompt", MARK, *model), "room for 1 pictures but 2 came"),
        ((photo, photo, "--raw-prompt", MARK * 2, "--fov", 60, *model), "are for one picture"),
        ((photo, "How?", "--mode", "aligned"), "the mode is for models with SD-VLM's depth code"),
    ):
        code, out, err = ask_cli(capsys, *arguments)
        assert (code, out) == (2, "")
        assert said in err
        assert err.strip().count("\n") == 0
