"""End to end against numbers recorded from the released SD-VLM code, at the tolerances that its README gives.

``../shared/golden/sd_vlm_official``: a tiny checkpoint in the official layout, and what the released code made of it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sdvlm
from sdvlm.depth.frame import load_image
from sdvlm.depth.io import read_depth
from sdvlm.fusion.coordinate import sdvlm_compat
from sdvlm.fusion.depth_grid import CHANNELS, DepthGrid
from sdvlm.fusion.pool import pool_depth
from sdvlm.models.grid import token_boxes
from sdvlm.models.prefix import answer_prompts
from sdvlm.models.vicuna import IGNORED, PICTURE

GOLDEN = Path(__file__).parents[4] / "shared" / "golden" / "sd_vlm_official"
CHECKPOINT = GOLDEN / "checkpoint"
FACTS = json.loads((GOLDEN / "cases.json").read_text(encoding="utf-8")) if GOLDEN.is_dir() else {}
CASES = [pytest.param(case, id=case["name"]) for case in FACTS.get("cases", [])]
TRAINED = [pytest.param(case, id=f"train{case['index']}") for case in FACTS.get("train_cases", [])]
MEASURED = [pytest.param(case, id=case["depth_file"]) for case in FACTS.get("gt_depth_cases", [])]
MARK = "<image>"
PIXELS, PROJECTED, RAW, GRID, LOGITS, LOSS = 1e-6, 2e-4, 5e-3, 2e-3, 5e-3, 1e-3

pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"the recorded outputs are not here: {GOLDEN}")


class Released:
    """The checkpoint, loaded once through the public door, and what it sees in each picture."""

    def __init__(self) -> None:
        self.model, self.processor = sdvlm.load_model(str(CHECKPOINT), device="cpu")
        self._seen: dict[str, Any] = {}

    def look(self, file: str) -> tuple[np.ndarray, sdvlm.DepthMap]:
        """Picture, and raw depth by the model's own network."""
        if file not in self._seen:
            image = load_image(GOLDEN / file)
            self._seen[file] = image, self.processor.own_depth(sdvlm.RgbdFrame(image))
        return self._seen[file]

    def inputs(self, case: dict[str, Any], depth: Any = "own") -> dict[str, Any]:
        """Processor arguments of a case; without a mark the pictures are dropped, as the released code does."""
        if MARK not in case["prompt"]:
            return {"text": case["prompt"]}
        pictures, maps = zip(*(self.look(file) for file in case["image_files"]), strict=True)
        return {"text": case["prompt"], "images": list(pictures), "depth": list(maps) if depth == "own" else depth}

    @torch.no_grad()
    def logits(self, **inputs: Any) -> np.ndarray:
        """(S, vocabulary) of one prompt, image tokens expanded."""
        out: np.ndarray = self.model(**self.processor(**inputs)).logits[0].numpy()
        return out


@pytest.fixture(scope="module")
def released() -> Released:
    return Released()


@pytest.fixture(scope="module")
def recorded() -> Iterator[Any]:
    with np.load(GOLDEN / "cases.npz") as arrays:
        yield arrays


def collapsed(ids: list[int], image_token: int) -> list[int]:
    """Runs of 576 image tokens as the released code marks them, by one -200 each."""
    out: list[int] = []
    at = 0
    while at < len(ids):
        if ids[at] == image_token:
            assert set(ids[at : at + 576]) == {image_token}
            out.append(PICTURE)
            at += 576
        else:
            out.append(ids[at])
            at += 1
    return out


@pytest.mark.parametrize("index", range(5))
def test_pixels_projection_raw_depth_grid_and_fused_tokens_are_the_released_ones(
    released: Released, recorded: Any, index: int
) -> None:
    image, depth = released.look(FACTS["images"][index]["file"])
    assert list(depth.values.shape) == FACTS["images"][index]["depth_raw_hw"]
    np.testing.assert_allclose(depth.values[::6, ::6], recorded[f"image{index}/depth_raw_sub"], atol=RAW, rtol=0)
    batch = released.processor(text=MARK, images=image, depth=depth)
    np.testing.assert_allclose(
        batch["pixel_values"][0].numpy(), recorded[f"image{index}/clip_pixel_values"], atol=PIXELS, rtol=0
    )
    grid = DepthGrid.unpack(batch["depth_grid"], torch.zeros(576, dtype=torch.long))
    np.testing.assert_allclose(
        sdvlm_compat(grid).view(24, 24).numpy(), recorded[f"image{index}/depth_grid"], atol=GRID, rtol=0
    )
    with torch.no_grad():
        features = released.model.vlm.get_image_features(batch["pixel_values"], return_dict=True)
        fused = released.model.fuse(features, batch["depth_grid"])
    np.testing.assert_allclose(
        features.pooler_output[0].numpy(), recorded[f"image{index}/projected"], atol=PROJECTED, rtol=0
    )
    np.testing.assert_allclose(fused.pooler_output[0].numpy(), recorded[f"image{index}/fused"], atol=GRID, rtol=0)


@pytest.mark.parametrize("case", CASES)
def test_a_raw_prompt_has_the_released_tokens_and_logits_with_depth_and_without(
    released: Released, recorded: Any, case: dict[str, Any]
) -> None:
    of = f"case{case['index']}"
    inputs = released.inputs(case)
    ids = released.processor(**inputs)["input_ids"][0].tolist()
    assert len(ids) == case["sequence_length"]
    assert collapsed(ids, released.processor.processor.image_token_id) == case["input_ids"]
    logits = released.logits(**inputs)
    places = recorded[f"{of}/text_positions"]
    np.testing.assert_allclose(logits[places], recorded[f"{of}/logits_text"], atol=LOGITS, rtol=0)
    np.testing.assert_allclose(logits[-1], recorded[f"{of}/logits_last"], atol=LOGITS, rtol=0)
    if f"{of}/image_positions_sub" in recorded:
        places = recorded[f"{of}/image_positions_sub"]
        np.testing.assert_allclose(logits[places], recorded[f"{of}/logits_image_sub"], atol=LOGITS, rtol=0)
    blind = released.logits(**released.inputs(case, depth=None))
    np.testing.assert_allclose(blind[-1], recorded[f"{of}/logits_last_no_depth"], atol=LOGITS, rtol=0)


@pytest.mark.parametrize("case", CASES)
def test_greedy_answers_are_the_released_ones_token_for_token(released: Released, case: dict[str, Any]) -> None:
    pictures, maps = zip(*(released.look(file) for file in case["image_files"]), strict=True)
    (said,) = answer_prompts(
        released.model, released.processor, [case["prompt"]], list(pictures), list(maps), max_new_tokens=16
    )
    assert list(said.token_ids) == case["generated_ids"]
    assert said.text == case["generated_text"].strip()


def test_prompts_about_one_picture_share_it_and_still_give_the_released_answers(released: Released) -> None:
    by_picture: dict[str, list[dict[str, Any]]] = {}
    for case in FACTS["cases"]:
        if len(case["images"]) == 1:
            by_picture.setdefault(case["image_files"][0], []).append(case)
    assert max(len(cases) for cases in by_picture.values()) >= 2
    for file, cases in by_picture.items():
        image, depth = released.look(file)
        prompts = [case["prompt"] for case in cases] * 2
        told = answer_prompts(released.model, released.processor, prompts, [image], [depth], max_new_tokens=16)
        assert [list(one.token_ids) for one in told] == [case["generated_ids"] for case in cases] * 2


@pytest.mark.parametrize("case", MEASURED)
def test_measured_depth_goes_the_released_ground_truth_path(
    released: Released, recorded: Any, case: dict[str, Any]
) -> None:
    asked = FACTS["cases"][case["case"]]
    measured = read_depth(GOLDEN / case["depth_file"])
    inputs = released.inputs(asked, depth=[measured])
    last = recorded[f"gtcase{case['case']}/logits_last"]
    np.testing.assert_allclose(released.logits(**inputs)[-1], last, atol=LOGITS, rtol=0)
    (said,) = answer_prompts(
        released.model, released.processor, [asked["prompt"]], inputs["images"], [measured], max_new_tokens=16
    )
    assert list(said.token_ids) == case["generated_ids"]


def messages(conversation: list[dict[str, str]]) -> list[dict[str, Any]]:
    """The published turns as chat messages: a picture where its mark stands."""
    out = []
    for turn in conversation:
        first, *rest = turn["value"].split(MARK)
        content: list[dict[str, Any]] = [{"type": "text", "text": first}]
        for text in rest:
            content += [{"type": "image"}, {"type": "text", "text": text}]
        out.append({"role": {"human": "user", "gpt": "assistant"}[turn["from"]], "content": content})
    return out


@pytest.mark.parametrize("case", TRAINED)
def test_training_tokens_labels_and_loss_are_the_released_ones(released: Released, case: dict[str, Any]) -> None:
    seen: dict[str, Any] = {}
    if case["image"] is not None:
        image, depth = released.look(FACTS["images"][case["image"]]["file"])
        seen = {"images": [image], "depth": [depth]}
    batch = released.processor(messages(case["conversation"]), **seen, labels=True)
    ids, labels = batch["input_ids"][0].tolist(), batch["labels"][0].tolist()
    image_token = released.processor.processor.image_token_id
    assert collapsed(ids, image_token) == case["input_ids"]
    kept = [label for token, label in zip(ids, labels, strict=True) if token != image_token]
    wanted = [label for token, label in zip(case["input_ids"], case["labels"], strict=True) if token != PICTURE]
    assert kept == wanted
    assert {label for token, label in zip(ids, labels, strict=True) if token == image_token} <= {IGNORED}
    with torch.no_grad():
        assert float(released.model(**batch).loss) == pytest.approx(case["loss"], abs=LOSS)


def test_aligned_pools_over_what_each_token_sees_which_is_not_what_official_does(released: Released) -> None:
    file = FACTS["images"][0]["file"]
    image, raw = released.look(file)
    frame = sdvlm.RgbdFrame(image)
    assert frame.size == (640, 480)
    model, aligned = sdvlm.load_model(str(CHECKPOINT), device="cpu", mode="aligned")
    fitting = aligned.own_depth(frame)
    assert fitting.size == frame.size
    batch = aligned(text=MARK, images=image, depth=fitting)
    boxes = token_boxes(model, aligned.processor, frame.size)
    pooled = pool_depth(fitting, boxes, frame.size, None).pack()
    torch.testing.assert_close(batch["depth_grid"], pooled, equal_nan=True)
    z = CHANNELS.index("z")
    official = released.processor(text=MARK, images=image, depth=raw)["depth_grid"][:, z].view(24, 24)
    seen = batch["depth_grid"][:, z].view(24, 24)
    assert seen[:3].isnan().all()  # padding, which official gives depth too
    assert seen[21:].isnan().all()
    assert official.isfinite().all()
    assert (seen[3:21] - official[3:21]).abs().max() > 0.1 * (official.max() - official.min())


def run_cli(*arguments: object) -> dict[str, Any]:
    start = [sys.executable, "-c", "from sdvlm.cli.main import main; main()"]
    command = [*start, "ask", *map(str, arguments), "--model", str(CHECKPOINT), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_command_line_prints_the_released_token_ids() -> None:
    case = next(case for case in FACTS["cases"] if case["name"] == "two_images")
    files = [GOLDEN / file for file in case["image_files"]]
    document = run_cli(*files, "--raw-prompt", case["prompt"], "--max-new-tokens", 16)
    assert [one["token_ids"] for one in document["answers"]] == [case["generated_ids"]]
    assert [one["path"] for one in document["images"]] == [str(file) for file in files]
    assert [one["kind"] for one in document["depths"]] == ["disparity", "disparity"]
