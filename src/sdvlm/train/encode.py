"""Examples to batches: rows of tokens, and the pictures and depth they are about."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from sdvlm.geometry.transform import resize
from sdvlm.models.conversation import Conversation, Tokens
from sdvlm.models.processor import DepthProcessor
from sdvlm.train.config import TrainConfig, VarySettings
from sdvlm.train.example import Dialogue, Example
from sdvlm.train.packing import IGNORED, Row, pack, plain_row, stack_rows
from sdvlm.types import Camera, DepthMap, SdvlmError

__all__ = ["EncodedRow", "ExampleEncoder"]

_LOG = logging.getLogger(__name__)
_TEXT = ("input_ids", "attention_mask", "mm_token_type_ids", "token_type_ids")


@dataclass(frozen=True, eq=False)
class EncodedRow:
    """A row of tokens and the inputs of its own pictures.

    Args:
        row: tokens.
        inputs: pixels and depth, as a ``DepthProcessor`` makes them for these pictures alone.
        families: question type of each dialogue in the row.
        key: of the example.
    """

    row: Row
    inputs: dict[str, Tensor] = field(repr=False)
    families: tuple[str, ...]
    key: str


class ExampleEncoder:
    """Makes rows of an example and batches of rows. Picklable: it lives in the loader's workers.

    Args:
        processor: of the model that is trained.
        config: of the run.
        pack: put all dialogues about a picture into one row.
        side: where rows are padded.
        always_vision: give every batch a picture with depth, a blank one that nothing is learned of if need be, so
            that all processes of a distributed run take the same path through the model.
    """

    def __init__(
        self,
        processor: DepthProcessor,
        config: TrainConfig,
        pack: bool = True,
        side: str = "right",
        always_vision: bool = False,
    ) -> None:
        self.processor, self.config, self.pack, self.side = processor, config, pack, side
        self.always_vision = always_vision

    def __call__(self, examples: Sequence[Example | None]) -> dict[str, Any]:
        """A batch of all the rows of some examples (``stack``); of a blank one where none is left. None has no row."""
        rows = [row for example in examples if example is not None for row in self.rows(example)]
        return self.stack(rows or [self._blank()])

    def unvaried(self, pack: bool | None = None) -> ExampleEncoder:
        """One that shows pictures as they are, for evaluation and comparisons; packing as here unless given."""
        config = replace(self.config, vary=VarySettings())
        return ExampleEncoder(
            self.processor, config, self.pack if pack is None else pack, self.side, self.always_vision
        )

    def rows(self, example: Example) -> list[EncodedRow]:
        """The rows of an example; dialogues beyond ``max_tokens`` are told and left out, or end the run.

        Raises:
            SdvlmError: a picture cannot be processed, or a dialogue is too long and the config says ``stop``.
        """
        inputs, tokens = self._encoded(example)
        kept = self._fitting(example, tokens)
        if not kept:
            return []
        image_token = self.processor.image_token_id
        chosen = [tokens[index] for index in kept]
        rows = (
            pack(chosen, self.config.max_tokens, image_token)
            if self.pack
            else [plain_row(one, index) for index, one in enumerate(chosen)]
        )
        families = [example.dialogues[index].family for index in kept]
        return [EncodedRow(row, inputs, tuple(families[one] for one in row.dialogues), example.key) for row in rows]

    def _encoded(self, example: Example) -> tuple[dict[str, Tensor], list[Tokens]]:
        """Pictures and depth as the model takes them, and the tokens of each dialogue."""
        pictures = [self._smaller(Image.fromarray(image)) for image in example.images]
        depth, cameras = self._resized(example, pictures)
        prompts = [self.processor.prompts.training(_conversation(one, len(pictures))) for one in example.dialogues]
        takes_depth = self.processor.fusion is not None
        inputs, tokens = self.processor.encode_alike(
            prompts, pictures, depth if takes_depth else None, cameras, labels=True, always_depth=True
        )
        seen = {name: value for name, value in inputs.items() if name not in _TEXT}
        if "mm_token_type_ids" in inputs:
            seen["mm_token_type_ids"] = inputs["mm_token_type_ids"]
        return seen, list(tokens)

    def stack(self, rows: Sequence[EncodedRow]) -> dict[str, Any]:
        """A batch: text padded to one length, pictures one after another; a dialogue's family for each."""
        if self.always_vision and not any("pixel_values" in row.inputs for row in rows):
            rows = [*rows, self._blank()]
        tokenizer = self.processor.tokenizer
        batch: dict[str, Any] = stack_rows([row.row for row in rows], tokenizer.pad_token_id or 0, self.side)
        seen = [row.inputs for row in rows if row.inputs]
        for name in dict.fromkeys(name for one in seen for name in one if name != "mm_token_type_ids"):
            batch[name] = _joined([one[name] for one in seen if name in one])
        if any("mm_token_type_ids" in one for one in seen):
            kinds = self.processor.processor.create_mm_token_type_ids(batch["input_ids"].tolist())
            batch["mm_token_type_ids"] = torch.tensor(kinds)
        self._mask_pictures(batch)
        batch["families"] = [family for row in rows for family in row.families]
        return batch

    def _fitting(self, example: Example, tokens: Sequence[Tokens]) -> list[int]:
        limit = self.config.max_tokens
        kept = []
        for index, one in enumerate(tokens):
            if not any(one.learned):
                raise SdvlmError(
                    f"{example.key}: nothing of dialogue {index} would be learned; its answer is empty, or the "
                    "chat template does not mark answers"
                )
            if len(one.ids) <= limit:
                kept.append(index)
                continue
            told = f"{example.key}: dialogue {index} has {len(one.ids)} tokens, more than max_tokens {limit}"
            if self.config.too_long == "stop":
                raise SdvlmError(f"{told}; raise max_tokens, lower max_pixels, or set too_long to skip")
            _LOG.warning("%s; left out", told)
        return kept

    def _smaller(self, picture: Image.Image) -> Image.Image:
        most = self.config.max_pixels
        pixels = picture.width * picture.height
        if most is None or pixels <= most:
            return picture
        scale = (most / pixels) ** 0.5
        size = (max(1, int(picture.width * scale)), max(1, int(picture.height * scale)))
        return picture.resize(size, Image.Resampling.BICUBIC)

    def _resized(self, example: Example, pictures: Sequence[Image.Image]) -> tuple[list[Any], list[Any]]:
        """Depth and cameras for the pictures as they are shown."""
        depth: list[Any] = list(example.depth)
        cameras: list[Any] = list(example.cameras)
        for index, (image, picture) in enumerate(zip(example.images, pictures, strict=True)):
            size = (image.shape[1], image.shape[0])
            if picture.size == size:
                continue
            steps = resize(size, picture.size)
            depth[index] = None if depth[index] is None else steps.depth(depth[index])
            cameras[index] = None if cameras[index] is None else steps.camera(cameras[index])
        return depth, cameras

    def _mask_pictures(self, batch: dict[str, Any]) -> None:
        """Take the picture's content from a share of the image tokens with depth, by a rule of the batch alone."""
        share = self.config.vary.rgb_masking
        grid = batch.get("depth_grid")
        if not share or grid is None:
            return
        rng = np.random.default_rng([int(batch["input_ids"].sum()), len(grid)])
        hidden = torch.from_numpy(rng.random(len(grid)) < share) & ~grid[:, 0].isnan()
        batch["image_keep"] = ~hidden

    def _blank(self) -> EncodedRow:
        """A picture with depth and no learned token."""
        side = 56
        blank = Example(
            "blank",
            "blank",
            (Dialogue((("user", "?"), ("assistant", "."))),),
            (np.zeros((side, side, 3), np.uint8),),
            (DepthMap(np.ones((side, side), np.float32)) if self.processor.fusion is not None else None,),
            (Camera.from_fov(side, side, 60.0),),
        )
        inputs, (tokens,) = self._encoded(blank)
        length = len(tokens.ids)
        return EncodedRow(Row(tokens.ids, (IGNORED,) * length, (0,) * length, ()), inputs, (), blank.key)


def _conversation(dialogue: Dialogue, pictures: int) -> Conversation:
    """Chat messages with the pictures before the first user text."""
    out: Conversation = []
    left = pictures
    for role, text in dialogue.turns:
        content: list[dict[str, Any]] = [{"type": "text", "text": text}]
        if role == "user" and left:
            content = [{"type": "image"}] * left + content
            left = 0
        out.append({"role": role, "content": content})
    return out


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """Rows of several pictures one after another; a second axis of tiles is filled up to the longest."""
    if parts[0].ndim == 5:
        most = max(part.shape[1] for part in parts)
        parts = [F.pad(part, (0, 0, 0, 0, 0, 0, 0, most - part.shape[1])) for part in parts]
    return torch.cat(list(parts))
