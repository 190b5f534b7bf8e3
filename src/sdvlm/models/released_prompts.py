"""Prompts as LLaVA's released code writes and tokenises them, for models that were trained so (``vicuna``).

The same four things that ``template_prompts`` does by a processor's chat template: word a conversation, word it for
training, make a batch, and give the token ids of many prompts about the same pictures.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from sdvlm.models.conversation import Conversation, Prompt, Tokens, parts, pictures_in
from sdvlm.models.llama_tokens import slow_llama_text
from sdvlm.models.vicuna import IGNORED, PICTURE, SYSTEM, chunked_ids, picture_first, released_labels, vicuna_prompt
from sdvlm.types import SdvlmError

__all__ = ["ReleasedPrompts"]


class ReleasedPrompts:
    """``vicuna_v1``, the template SD-VLM was trained with, or ``none``, the bare question its inference script sends.

    Args:
        processor: of the wrapped model; gives pixels, the image mark, and how many tokens a picture takes.
        style: a key of ``config.CONVERSATIONS``.
    """

    takes_video = False
    """of which the released code knows nothing"""

    def __init__(self, processor: Any, style: str) -> None:
        self.processor, self.style = processor, style

    def asking(self, conversation: Conversation) -> str:
        """The prompt that ends where the assistant is to speak.

        Raises:
            SdvlmError: the conversation does not fit the style, or text holds image marks of its own.
        """
        if self.style == "vicuna_v1":
            return self._vicuna(conversation, ask=True)
        if len(conversation) != 1 or conversation[0]["role"] != "user":
            roles = ", ".join(message["role"] for message in conversation)
            raise SdvlmError(f"without a template a prompt is one turn of the user; got turns of {roles}")
        mark = self.processor.image_token
        return self._checked(conversation, _joined("\n", conversation[0], mark))

    def training(self, conversation: Conversation) -> Prompt:
        """The whole conversation, whose answers :meth:`batch` labels.

        Raises:
            SdvlmError: as :meth:`asking`, there is no answer, or the style has no training form.
        """
        if self.style != "vicuna_v1":
            raise SdvlmError("labels need a template that says who speaks; set the conversation to vicuna_v1")
        if all(message["role"] != "assistant" for message in conversation):
            raise SdvlmError("there is nothing to learn from: the conversation has no assistant message")
        return Prompt(self._vicuna(conversation, ask=False))

    def batch(
        self, prompts: Sequence[Prompt], pictures: list[Image.Image], side: str, labels: bool
    ) -> dict[str, Tensor]:
        """Padded inputs. Labels follow the released mask, not the prompts' own spans."""
        seen, runs = self._see(pictures)
        rows: list[Tokens] = []
        taken = 0
        for prompt in prompts:
            mine = runs[taken : (taken := taken + prompt.text.count(self.processor.image_token))]
            rows.append(self._tokens(prompt, mine, labels))
        pad = self.tokenizer.pad_token_id
        batch = {
            "input_ids": _padded([list(row.ids) for row in rows], 0 if pad is None else pad, side),
            "attention_mask": _padded([[1] * len(row.ids) for row in rows], 0, side),
        }
        if labels:
            learned = [[i if said else IGNORED for i, said in zip(one.ids, one.learned, strict=True)] for one in rows]
            batch["labels"] = _padded(learned, IGNORED, side)
        return batch | seen

    def many(
        self, prompts: Sequence[Prompt], pictures: list[Image.Image], labels: bool = False
    ) -> tuple[dict[str, Tensor], list[Tokens]]:
        """Prompts about the same pictures: inputs of the first, pictures included, and the tokens of each."""
        seen, runs = self._see(pictures)
        rows = [self._tokens(prompt, runs, labels) for prompt in prompts]
        ids = torch.tensor([rows[0].ids])
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), **seen}, rows

    def decode(self, token_ids: Iterable[int]) -> str:
        """Text of generated tokens, special tokens left out."""
        return slow_llama_text(self.tokenizer, token_ids)

    def _tokens(self, prompt: Prompt, runs: list[int], labels: bool) -> Tokens:
        """A prompt whose pictures take ``runs`` tokens each."""
        mark = self.processor.image_token
        short = chunked_ids(self.tokenizer, prompt.text, mark)
        ids = _expanded(short, short, runs, self.processor.image_token_id)
        if not labels:
            return Tokens(tuple(ids))
        spoken = _expanded(released_labels(self.tokenizer, prompt.text, short, mark), short, runs, IGNORED)
        return Tokens(tuple(ids), tuple(label != IGNORED for label in spoken))

    @property
    def tokenizer(self) -> Any:
        """The processor's."""
        return self.processor.tokenizer

    def _vicuna(self, conversation: Conversation, ask: bool) -> str:
        mark = self.processor.image_token
        system = SYSTEM
        turns = conversation
        if conversation and conversation[0]["role"] == "system":
            system, turns = _joined("", conversation[0], mark), conversation[1:]
        said = [(m["role"], picture_first(_joined("", m, mark), mark)) for m in turns]
        return self._checked(conversation, vicuna_prompt(said, ask, system))

    def _checked(self, conversation: Conversation, text: str) -> str:
        mark = self.processor.image_token
        wanted = len(pictures_in(conversation))
        if text.count(mark) != wanted:
            raise SdvlmError(f"the prompt has {text.count(mark)} image marks '{mark}' for {wanted} image parts")
        return text

    def _see(self, pictures: list[Image.Image]) -> tuple[dict[str, Tensor], list[int]]:
        """Pixel inputs, and how many tokens each picture takes: what the processor makes of bare image marks."""
        if not pictures:
            return {}, []
        mark = self.processor.image_token
        made = self.processor(
            text=[mark * len(pictures)], images=pictures, return_tensors="pt", return_text_replacement_offsets=True
        )
        moved = made.pop("text_replacement_offsets")[0]
        seen = {k: v for k, v in made.items() if k not in ("input_ids", "attention_mask", "token_type_ids")}
        return seen, [one["replacement"].count(mark) for one in moved]


def _joined(between: str, message: dict[str, Any], mark: str) -> str:
    """The parts of a message as one text, a mark for each picture."""
    return between.join(mark if part["type"] == "image" else str(part["text"]) for part in parts(message))


def _expanded(values: list[int], ids: list[int], runs: list[int], filler: int) -> list[int]:
    """``values`` with each picture among ``ids`` replaced by its run of ``filler``."""
    out: list[int] = []
    left = iter(runs)
    for value, token in zip(values, ids, strict=True):
        out += [filler] * next(left) if token == PICTURE else [value]
    return out


def _padded(rows: list[list[int]], filler: int, side: str) -> Tensor:
    width = max(len(row) for row in rows)
    fill = [[filler] * (width - len(row)) for row in rows]
    return torch.tensor([f + r if side == "left" else r + f for f, r in zip(fill, rows, strict=True)])
