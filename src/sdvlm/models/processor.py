"""Pictures, messages, depth and cameras to a batch that ``DepthVLM`` takes."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import BatchFeature

from sdvlm.fusion.depth_grid import DepthGrid
from sdvlm.fusion.pool import pool_depth
from sdvlm.models import checkpoint
from sdvlm.models.conversation import Conversation, Prompt, as_batch, pictures_in, prompt_of, training_prompt
from sdvlm.models.families import load_processor
from sdvlm.models.grid import TokenGrid
from sdvlm.models.pictures import flat, merge_pictures, per_picture, picture_of
from sdvlm.models.wrapper import DepthVLM, DepthVLMConfig
from sdvlm.types import Camera, DepthMap, RgbdFrame, SdvlmError

__all__ = ["DepthBatch", "DepthProcessor"]

_IGNORED = -100
_NO_LIMIT = 10**9  # tokenizers without a limit state an astronomical one


class DepthBatch(BatchFeature):
    """Model inputs. ``to(device, dtype)`` casts pixels but leaves metres in float32."""

    def to(self, *args: Any, **kwargs: Any) -> DepthBatch:
        depth = self.get("depth_grid")
        super().to(*args, **kwargs)
        if depth is not None:
            self["depth_grid"] = depth.to(device=self["input_ids"].device)
        return self


class DepthProcessor:
    """A Hugging Face processor that also takes depth and cameras. It holds no weights and may live in a worker.

    Args:
        processor: of the wrapped model.
        config: of the ``DepthVLM``.
    """

    def __init__(self, processor: Any, config: DepthVLMConfig) -> None:
        self.processor, self.config = processor, config
        self.fusion = config.fusion_settings
        self._vlm_config: Any = config.vlm_config
        self._grid: TokenGrid | None = None

    @classmethod
    def for_model(cls, model: DepthVLM, processor: Any) -> DepthProcessor:
        """Around the wrapped model's own processor."""
        config: Any = model.config
        return cls(processor, config)

    @property
    def tokenizer(self) -> Any:
        """The tokenizer, under the name trainers look for."""
        return self.processor.tokenizer

    @property
    def grid(self) -> TokenGrid:
        """Which pixels each image token looks at; made when depth first asks for it."""
        if self._grid is None:
            self._grid = TokenGrid(self._vlm_config, self.processor.image_processor)
        return self._grid

    def __call__(
        self,
        messages: Conversation | list[Conversation] | None = None,
        images: Any = None,
        depth: Any = None,
        camera: Any = None,
        *,
        text: str | list[str] | None = None,
        labels: bool = False,
        padding_side: str | None = None,
        max_length: int | None = None,
    ) -> DepthBatch:
        """A padded batch of tensors.

        Args:
            messages: one conversation or several, in chat format (``conversation``). Without ``labels`` the prompt
                ends where the assistant is to speak.
            images: one picture or a (nested) list of them, in the order of the image parts, (H, W, 3) uint8 RGB or
                PIL; or None where the parts carry their pictures.
            depth: None, or for each picture a ``DepthMap`` of its size or None. ``depth_grid`` is in the batch only
                where at least one picture has depth.
            camera: None, or for each picture a ``Camera`` of its size or None.
            text: prompts with image marks, in place of ``messages``.
            labels: add ``labels``: the tokens of the assistant's answers, -100 elsewhere.
            padding_side: left to generate, right to train, unless said.
            max_length: in tokens; the tokenizer's own limit if None. Longer inputs are refused, never cut.

        Raises:
            SdvlmError: counts or sizes disagree, depth is of a kind the fusion does not take, a prompt is too long.
        """
        if (messages is None) == (text is None):
            raise SdvlmError("give either messages or text")
        if messages is not None:
            conversations = as_batch(messages)
            carried = [picture for conversation in conversations for picture in pictures_in(conversation)]
            images = merge_pictures(carried, images)
            prompts = [
                training_prompt(self.processor, c) if labels else Prompt(prompt_of(self.processor, c, ask=True))
                for c in conversations
            ]
        else:
            if labels:
                raise SdvlmError("labels need messages, which say who speaks; got text")
            prompts = [Prompt(one) for one in ([text] if isinstance(text, str) else text or [])]
        pictures = [picture_of(image) for image in flat(images)]
        marks = sum(prompt.text.count(self.processor.image_token) for prompt in prompts)
        if marks != len(pictures):
            raise SdvlmError(f"the prompts have room for {marks} pictures but {len(pictures)} came")
        batch, _ = self._encode(prompts, pictures, padding_side or ("right" if labels else "left"), labels)
        self._check_length(int(batch["attention_mask"].sum(dim=1).max()), max_length)
        packed = self.depth_grid([picture.size for picture in pictures], depth, camera)
        if packed is not None:
            self._check_count(batch, len(packed))
            batch["depth_grid"] = packed
        return batch

    def depth_grid(self, sizes: Sequence[tuple[int, int]], depth: Any, camera: Any = None) -> Tensor | None:
        """(T, C) packed depth of the tokens of pictures of the given (width, height); None where none has depth.

        Raises:
            SdvlmError: counts or sizes disagree, or depth is of a kind the fusion does not take.
        """
        maps = per_picture(depth, len(sizes), "depth maps", DepthMap)
        cameras = per_picture(camera, len(sizes), "cameras", Camera)
        for index, (size, one, seen_by) in enumerate(zip(sizes, maps, cameras, strict=True)):
            for what, part in (("depth", one), ("camera", seen_by)):
                if part is not None and part.size != size:
                    (w, h), (want_w, want_h) = part.size, size
                    raise SdvlmError(
                        f"{what} of picture {index} is for {w}x{h} pixels, the picture is {want_w}x{want_h}"
                    )
            self._check_kind(index, one)
        if all(one is None for one in maps):
            return None
        grids = [
            pool_depth(one, self.grid.boxes(size), size, seen_by)
            for size, one, seen_by in zip(sizes, maps, cameras, strict=True)
        ]
        return DepthGrid.concatenate(grids).pack()

    def encode_questions(self, frame: RgbdFrame, questions: Sequence[str]) -> tuple[DepthBatch, list[list[int]]]:
        """Prompts about one picture: inputs for the first, picture and depth included, and the token ids of each.

        Every prompt is tokenised whole, as if it were alone; only the picture is processed once.
        """
        asked = [[{"type": "image"}, {"type": "text", "text": question}] for question in questions]
        texts = [prompt_of(self.processor, [{"role": "user", "content": content}], ask=True) for content in asked]
        batch, moved = self._encode([Prompt(texts[0])], [picture_of(frame.image)], "left", False)
        packed = self.depth_grid([frame.size], frame.depth, frame.camera)
        if packed is not None:
            self._check_count(batch, len(packed))
            batch["depth_grid"] = packed
        expanded = [text.replace(self.processor.image_token, moved[0][0]["replacement"]) for text in texts]
        token_ids: list[list[int]] = self.tokenizer(expanded, **self._special(texts[0]))["input_ids"]
        if token_ids[0] != batch["input_ids"][0].tolist():
            raise SdvlmError(
                f"{type(self.processor).__name__} tokenises prompts its own way; ask one question at a time"
            )
        self._check_length(max(len(ids) for ids in token_ids), None)
        return batch, token_ids

    def with_prompt(self, batch: DepthBatch, token_ids: list[int]) -> DepthBatch:
        """The inputs of another prompt about the pictures of ``batch``, a batch of one."""
        ids = torch.tensor([token_ids])
        out = DepthBatch({**batch, "input_ids": ids, "attention_mask": torch.ones_like(ids)})
        if "mm_token_type_ids" in batch:
            out["mm_token_type_ids"] = torch.tensor(self.processor.create_mm_token_type_ids([token_ids]))
        return out

    def decode(self, token_ids: Any) -> str:
        """Text of generated tokens, special tokens left out."""
        return str(self.tokenizer.decode(token_ids, skip_special_tokens=True)).strip()

    def save_pretrained(self, folder: str | PathLike[str]) -> None:
        """Beside the model: the wrapped model's processor files, and the config where the folder has none yet."""
        self.processor.save_pretrained(folder)
        if not (Path(folder) / "config.json").exists():
            self.config.save_pretrained(folder)

    @classmethod
    def from_pretrained(cls, folder_or_id: str | PathLike[str]) -> DepthProcessor:
        """Load what :meth:`save_pretrained` wrote.

        Raises:
            SdvlmError: the place has no ``DepthVLM`` config or no processor files.
        """
        checkpoint.check_kind(folder_or_id, DepthVLMConfig.model_type)
        config = DepthVLMConfig.from_pretrained(folder_or_id)
        return cls(load_processor(folder_or_id), config)

    def _encode(
        self, prompts: list[Prompt], pictures: list[Image.Image], side: str, labels: bool
    ) -> tuple[DepthBatch, list[list[dict[str, Any]]]]:
        """The batch without depth, and for each prompt what its image marks became."""
        texts = [prompt.text for prompt in prompts]
        arguments: dict[str, Any] = {"return_tensors": "pt", "padding": True, "padding_side": side}
        arguments |= self._special(texts[0]) | {"return_text_replacement_offsets": True}
        if labels:
            if not self.tokenizer.is_fast:
                raise SdvlmError("labels need a fast tokenizer, which tells where its tokens lie in the text")
            arguments["return_offsets_mapping"] = True
        made = self.processor(text=texts, images=pictures or None, **arguments)
        offsets = made.pop("offset_mapping", None)
        moved = made.pop("text_replacement_offsets", None) or [[] for _ in prompts]
        batch = DepthBatch(dict(made))
        if labels:
            rows = zip(prompts, np.asarray(offsets), moved, strict=True)
            spoken = np.stack([_spoken(prompt, where, replaced) for prompt, where, replaced in rows])
            batch["labels"] = torch.where(torch.from_numpy(spoken), batch["input_ids"], _IGNORED)
        return batch, moved

    def _special(self, text: str) -> dict[str, Any]:
        """Whether the tokenizer is to add its special tokens: not where the template wrote them."""
        bos = self.tokenizer.bos_token
        return {"add_special_tokens": False} if bos and text.startswith(bos) else {}

    def _check_length(self, longest: int, max_length: int | None) -> None:
        limit = max_length or self.tokenizer.model_max_length
        if limit < _NO_LIMIT and longest > limit:
            raise SdvlmError(
                f"a prompt of {longest} tokens exceeds the limit of {limit}; it is not cut, as that would cut image "
                "tokens: shorten it, use smaller pictures or raise max_length"
            )

    def _check_count(self, batch: DepthBatch, depth_tokens: int) -> None:
        found = int((batch["input_ids"] == self.processor.image_token_id).sum())
        if found != depth_tokens:
            raise SdvlmError(
                f"the processor placed {found} image tokens but the pictures have {depth_tokens} token boxes; "
                "processor and model config do not belong together (patch size, select strategy)"
            )

    def _check_kind(self, index: int, depth: DepthMap | None) -> None:
        if depth is None:
            return
        if self.fusion is None:
            raise SdvlmError(
                "got depth, but this model has no fusion; make one with DepthVLM.from_vlm(..., fusion=...)"
            )
        if depth.kind not in self.fusion.kinds:
            wanted = " or ".join(sorted(self.fusion.kinds))
            raise SdvlmError(
                f"depth of picture {index} is {depth.kind} but the fusion '{self.fusion.name}' needs {wanted} depth; "
                "use a metric estimator or sensor, or a fusion with the coordinate 'minmax'"
            )


def _spoken(prompt: Prompt, offsets: np.ndarray, replaced: list[dict[str, Any]]) -> np.ndarray:
    """(S,) bool: tokens that overlap an answer, given (S, 2) character offsets into the text with expanded marks."""
    out = np.zeros(len(offsets), dtype=bool)
    for span in prompt.answers:
        start, end = (
            position + sum(len(r["replacement"]) - len(r["text"]) for r in replaced if r["span"][1] <= position)
            for position in span
        )
        out |= (offsets[:, 0] < end) & (offsets[:, 1] > start) & (offsets[:, 1] > offsets[:, 0])
    return out
