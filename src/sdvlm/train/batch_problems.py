"""What is wrong with a batch in a way that training would not notice: it would run, and learn something else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from sdvlm.fusion.config import DRAWN_OR_WORDED
from sdvlm.fusion.depth_grid import CHANNELS, kind_code
from sdvlm.fusion.pixel_layout import is_packed
from sdvlm.models.families import position_axes
from sdvlm.models.processor import DepthProcessor
from sdvlm.train.packing import IGNORED, PADDING
from sdvlm.types import DepthKind, SdvlmError

__all__ = ["batch_problems", "check_batch"]

_QUESTION = "What is seen?"
_RAGGED = {"image_sizes", "image_position_ids"}
"""of families whose pictures are padded to one size"""
_LOOK_BACK = 48  # tokens before an answer that are compared with the generation prompt


def check_batch(batch: Mapping[str, Any], processor: DepthProcessor) -> None:
    """Refuse a batch that would be learned from wrongly.

    Args:
        batch: of ``train.encode``.
        processor: of the model that is trained.

    Raises:
        SdvlmError: the first of :func:`batch_problems`, and how many more there are.
    """
    found = batch_problems(batch, processor)
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise SdvlmError(found[0] + more)


def batch_problems(batch: Mapping[str, Any], processor: DepthProcessor) -> list[str]:
    """One line for each thing that is wrong; arguments as :func:`check_batch`."""
    checks = (_positions, _picture_tokens, _loss_mask, _learned_tokens, _depth_kind)
    return [line for check in checks for line in check(batch, processor)]


def _positions(batch: Mapping[str, Any], processor: DepthProcessor) -> Iterator[str]:
    """Three-axis positions are made from the image grid and the token types; without them they are wrong unsaid."""
    config: Any = processor.config.vlm_config
    if "pixel_values" not in batch or position_axes(config) == 1:
        return
    missing = [name for name in ("image_grid_thw", "mm_token_type_ids") if batch.get(name) is None]
    positions = batch.get("position_ids")
    if positions is not None and positions.ndim == 3 and len(positions) == position_axes(config):
        missing = [name for name in missing if name == "image_grid_thw"]  # positions are given; the tower needs this
    if missing:
        yield (
            f"the batch has pictures but no {' and no '.join(missing)}: the model's three-axis positions would be "
            "wrong without a word; pass on all the processor made"
        )


def _picture_tokens(batch: Mapping[str, Any], processor: DepthProcessor) -> Iterator[str]:
    """As many image tokens as the pictures have token boxes, and as many rows of depth."""
    found = int((batch["input_ids"] == processor.image_token_id).sum())
    slots = batch.get("depth_pictures")
    counts = _tokens_of_slots(batch, processor, slots)
    if counts is None:
        return
    wanted = sum(counts)
    if found != wanted:
        what = "were cut off, as by truncation" if found < wanted else "have no picture"
        yield (
            f"the batch has {found} image tokens but its {len(counts)} pictures have {wanted} token boxes: "
            f"{abs(wanted - found)} {what}; raise max_tokens, and never truncate prompts"
        )
    grid = batch.get("depth_grid")
    own = (
        wanted if slots is None else sum(n for n, is_depth in zip(counts, slots.tolist(), strict=True) if not is_depth)
    )
    if grid is not None and len(grid) != own:
        yield f"the depth grid has {len(grid)} rows but the pictures have {own} tokens; make both with one processor"


def _tokens_of_slots(batch: Mapping[str, Any], processor: DepthProcessor, slots: Tensor | None) -> list[int] | None:
    """Token boxes of each picture slot of the prompts; None where there is no telling."""
    pixels = batch.get("pixel_values")
    if pixels is None:
        return []
    config: Any = processor.config.vlm_config
    vision = config.vision_config
    if is_packed(vision):
        grids = batch.get("image_grid_thw")
        if grids is None:
            return None
        patch = vision.patch_size
        sizes = [(columns * patch, rows * patch) for _, rows, columns in grids.tolist()]
    elif pixels.ndim == 4 and not _RAGGED & batch.keys():
        sizes = [(pixels.shape[3], pixels.shape[2])] * (len(pixels) if slots is None else len(slots))
    else:
        return None
    return [len(processor.grid.layout(size)) for size in sizes]


def _loss_mask(batch: Mapping[str, Any], processor: DepthProcessor) -> Iterator[str]:
    """Every dialogue teaches something; a row that belongs to none, as a blank picture's, need not."""
    labels, segments = batch["labels"], _segments(batch)
    empty, counted = [], 0
    for row in range(len(labels)):
        numbers = [number for number in segments[row].unique().tolist() if number > 0] or [0]
        for number in numbers:
            counted += 1
            learned = labels[row][segments[row] == number] != IGNORED
            if not learned.any():
                empty.append((row, number))
    blank = counted - len(batch.get("families", ())) if "families" in batch else 0
    if blank > 0 and empty and empty[-1] == (len(labels) - 1, 0):
        empty = empty[:-1]  # the picture that distributed runs add
    if empty:
        row, number = empty[0]
        keys = batch.get("keys")
        where = f"row {row}" if keys is None else str(keys[row])
        what = f"dialogue {number} of {where}" if number else where
        yield (
            f"nothing of {what} is learned: its loss mask is empty ({len(empty)} such of {counted}); its answer is "
            "empty, was cut off, or the chat template does not mark answers"
        )


def _learned_tokens(batch: Mapping[str, Any], processor: DepthProcessor) -> Iterator[str]:
    """What is learned is what stands there, is no picture or padding, and begins where the assistant is to speak."""
    ids, labels, segments = batch["input_ids"], batch["labels"], _segments(batch)
    learned = labels != IGNORED
    if bool((learned & (labels != ids)).any()):
        yield "labels differ from the tokens they stand at; labels are not to be shifted, the loss does that"
    if bool((learned & (ids == processor.image_token_id)).any()):
        yield "image tokens are learned; only the assistant's answers may be"
    if bool((learned & (segments == PADDING)).any()):
        yield "padding is learned; only the assistant's answers may be"
    prompt = generation_prompt(processor)
    tokenizer = processor.tokenizer
    for row in range(len(ids)):
        for start in _starts(learned[row], segments[row]):
            own = (segments[row] == segments[row][start]) | (segments[row] == 0)
            before = ids[row][:start][own[:start]][-_LOOK_BACK:]
            said = tokenizer.decode(before.tolist(), skip_special_tokens=False).rstrip()
            if not said.endswith(prompt):
                tail = " ".join(said.split())[-40:]
                yield (
                    f"row {row} learns from token {start} on, behind '{tail}', where the assistant is not to speak "
                    f"(that is behind '{' '.join(prompt.split())}'): the chat template does not round-trip"
                )
                return


def generation_prompt(processor: DepthProcessor) -> str:
    """What a prompt ends with where the assistant is to speak, behind the user's words, white space at the end cut."""
    text = processor.question_prompt(_QUESTION)
    return text[text.rindex(_QUESTION) + len(_QUESTION) :].strip()


def _depth_kind(batch: Mapping[str, Any], processor: DepthProcessor) -> Iterator[str]:
    """Depth of a kind the fusion gives a meaning to."""
    grid, fusion = batch.get("depth_grid"), processor.fusion
    if grid is None:
        return
    if fusion is None or fusion.name in DRAWN_OR_WORDED:
        yield "the batch has a depth grid but the model has no fusion that takes one"
        return
    if grid.dtype != torch.float32:
        yield f"the depth grid is {grid.dtype} but must stay float32, or metres get lost; cast the model instead"
    present = set(grid[:, CHANNELS.index("kind")].unique().tolist())
    wrong = [kind for kind in DepthKind if kind not in fusion.kinds and float(kind_code(kind)) in present]
    if wrong:
        yield (
            f"the batch has {' and '.join(wrong)} depth but the fusion '{fusion.name}' takes "
            f"{' or '.join(sorted(fusion.kinds))} depth; leave that data out, or use the coordinate 'minmax'"
        )


def _segments(batch: Mapping[str, Any]) -> Tensor:
    """(B, L) of a packed batch; of others 0, and -1 at padding."""
    if "segments" in batch:
        segments: Tensor = batch["segments"]
        return segments
    return torch.where(batch["attention_mask"].bool(), 0, PADDING)


def _starts(learned: Tensor, segments: Tensor) -> list[int]:
    """Where runs of learned tokens of one dialogue begin."""
    begins = learned.clone()
    begins[1:] &= ~learned[:-1] | (segments[1:] != segments[:-1])
    return [int(index) for index in begins.nonzero()[:, 0]]
