"""Prompts by the chat template of a model's own processor, which tokenises them too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sdvlm.models.conversation import Conversation, Prompt, Tokens, prompt_of, training_prompt
from sdvlm.models.families import adds_special_tokens, pictures_of_prompts, processed
from sdvlm.models.videos import Video
from sdvlm.types import SdvlmError

__all__ = ["TemplatePrompts"]

_IGNORED = -100


class TemplatePrompts:
    """Whatever the processor does of itself.

    Args:
        processor: of the wrapped model.
    """

    takes_video = True
    """where the processor does"""

    def __init__(self, processor: Any) -> None:
        self.processor = processor

    def asking(self, conversation: Conversation) -> str:
        """The prompt that ends where the assistant is to speak. Raises as ``conversation.prompt_of``."""
        return prompt_of(self.processor, conversation, ask=True)

    def training(self, conversation: Conversation) -> Prompt:
        """The whole conversation with the spans of its answers. Raises as ``conversation.training_prompt``."""
        return training_prompt(self.processor, conversation)

    def batch(
        self,
        prompts: Sequence[Prompt],
        pictures: list[Image.Image],
        side: str,
        labels: bool,
        videos: Sequence[Video] = (),
    ) -> dict[str, Tensor]:
        """Padded inputs; labels are the tokens that overlap an answer.

        Raises:
            SdvlmError: labels are wanted of a slow tokenizer, or the processor refuses the videos.
        """
        return self._encode(prompts, pictures, side, labels, videos)[0]

    def many(
        self, prompts: Sequence[Prompt], pictures: list[Image.Image], labels: bool = False
    ) -> tuple[dict[str, Tensor], list[Tokens]]:
        """Prompts about the same pictures: inputs of the first, pictures included, and the tokens of each.

        Every prompt is tokenised whole; only the pictures are processed once, unless the processor words prompts its
        own way (PaliGemma's), which it then does for each.

        Raises:
            SdvlmError: labels are wanted of a slow tokenizer, or where the processor words prompts its own way.
        """
        batch, moved = self._encode(prompts[:1], pictures, "left", False)
        mark = self.processor.image_token
        runs = [one["replacement"] for one in moved[0]]
        told = len(runs) == prompts[0].text.count(mark)
        expanded = [_with_runs(prompt.text, mark, runs) if told else prompt.text for prompt in prompts]
        arguments = self._special(prompts[0].text) | self._offsets(labels)
        made = self.processor.tokenizer(expanded, **arguments)
        rows: list[list[int]] = made["input_ids"]
        if rows[0] != batch["input_ids"][0].tolist():
            if labels:
                raise SdvlmError(_own_words(self.processor))
            each = (self._encode([prompt], pictures, "left", False)[0] for prompt in prompts[1:])
            rows = [one["input_ids"][0].tolist() for one in (batch, *each)]
        if not labels:
            return batch, [Tokens(tuple(ids)) for ids in rows]
        learned = [
            _spoken(prompt, np.asarray(where).reshape(-1, 2), _marks(prompt.text, mark, runs))
            for prompt, where in zip(prompts, made["offset_mapping"], strict=True)
        ]
        return batch, [Tokens(tuple(ids), tuple(said.tolist())) for ids, said in zip(rows, learned, strict=True)]

    def decode(self, token_ids: Any) -> str:
        """Text of generated tokens, special tokens left out."""
        return str(self.processor.tokenizer.decode(token_ids, skip_special_tokens=True)).strip()

    def _encode(
        self,
        prompts: Sequence[Prompt],
        pictures: list[Image.Image],
        side: str,
        labels: bool,
        videos: Sequence[Video] = (),
    ) -> tuple[dict[str, Tensor], list[list[dict[str, Any]]]]:
        """The batch, and for each prompt what its marks became."""
        texts = [prompt.text for prompt in prompts]
        arguments: dict[str, Any] = {"return_tensors": "pt", "padding": True, "padding_side": side}
        arguments |= self._special(texts[0]) | {"return_text_replacement_offsets": True}
        arguments |= self._offsets(labels)
        counts = [text.count(self.processor.image_token) for text in texts]
        shown = pictures_of_prompts(self.processor, pictures, counts) if pictures else None
        if videos:
            arguments |= {"do_sample_frames": False, "video_metadata": [video.metadata for video in videos]}
            arguments |= {"videos": [video.frames for video in videos]}
        made = processed(self.processor, text=texts, images=shown, **arguments)
        offsets = made.pop("offset_mapping", None)
        moved = made.pop("text_replacement_offsets", None) or [[] for _ in prompts]
        batch = dict(made)
        batch.pop("labels", None)  # some processors make their own, of what they take for an answer
        if labels:
            self._check_own_words(prompts[0], moved[0], batch)
            rows = zip(prompts, np.asarray(offsets), moved, strict=True)
            spoken = np.stack([_spoken(prompt, where, replaced) for prompt, where, replaced in rows])
            batch["labels"] = torch.where(torch.from_numpy(spoken), batch["input_ids"], _IGNORED)
        return batch, moved

    def _check_own_words(self, prompt: Prompt, moved: list[dict[str, Any]], batch: dict[str, Tensor]) -> None:
        """That the processor tokenised the prompt as it stands, its marks expanded, so that spans of answers hold.

        Raises:
            SdvlmError: it put words of its own in.
        """
        text, end = "", 0
        for one in moved:
            text, end = text + prompt.text[end : one["span"][0]] + one["replacement"], one["span"][1]
        text += prompt.text[end:]
        ids = self.processor.tokenizer(text, **self._special(prompt.text))["input_ids"]
        if batch["input_ids"][0][batch["attention_mask"][0].bool()].tolist() != ids:
            raise SdvlmError(_own_words(self.processor))

    def _offsets(self, labels: bool) -> dict[str, Any]:
        """What makes the tokenizer tell where its tokens lie in the text, if labels are wanted."""
        if labels and not self.processor.tokenizer.is_fast:
            raise SdvlmError("labels need a fast tokenizer, which tells where its tokens lie in the text")
        return {"return_offsets_mapping": True} if labels else {}

    def _special(self, text: str) -> dict[str, Any]:
        """Whether the tokenizer is to add its special tokens: not where the template wrote them or the processor adds
        none."""
        bos = self.processor.tokenizer.bos_token
        written = bos and text.startswith(bos)
        return {"add_special_tokens": False} if written or not adds_special_tokens(self.processor) else {}


def _own_words(processor: Any) -> str:
    return (
        f"{type(processor).__name__} words prompts its own way, so where their answers lie is not known; "
        "give labels of your own"
    )


def _with_runs(text: str, mark: str, runs: list[str]) -> str:
    """The text with its image marks, in order, replaced by what they expand to."""
    pieces = text.split(mark)
    return pieces[0] + "".join(run + piece for run, piece in zip(runs, pieces[1:], strict=True))


def _marks(text: str, mark: str, runs: list[str]) -> list[dict[str, Any]]:
    """Where the image marks lie in a text and what they become, as processors tell it."""
    out, end = [], 0
    for run in runs:
        start = text.index(mark, end)
        end = start + len(mark)
        out.append({"text": mark, "span": (start, end), "replacement": run})
    return out


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
