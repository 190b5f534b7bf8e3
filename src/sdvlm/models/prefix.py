"""Many questions of one picture: the picture is read once.

Everything before the first token in which the questions differ, the picture included, is one prefix. Its keys and
values are computed once; each question then costs its own few tokens, and all answers are decoded as one batch. The
answers are those of asking one by one, token for token (greedy; up to rounding where two tokens tie).
"""

from __future__ import annotations

import copy
import inspect
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sdvlm.models.families import position_axes, position_offset
from sdvlm.models.processor import DepthBatch, DepthProcessor
from sdvlm.types import RgbdFrame, SdvlmError

__all__ = ["Answer", "answer_questions"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """What the model said: text without special tokens, and its tokens, the end token included if it came."""

    text: str
    token_ids: tuple[int, ...]


@torch.inference_mode()
def answer_questions(
    model: Any,
    processor: DepthProcessor,
    frame: RgbdFrame,
    questions: Sequence[str],
    max_new_tokens: int = 32,
    share_prefix: bool = True,
    batch_size: int = 32,
) -> list[Answer]:
    """Greedy answers to questions about one picture, in the order asked.

    Args:
        model: a ``DepthVLM``, or an adapter around one.
        processor: of that model.
        frame: the picture, with depth and camera where they are known.
        questions: each is a conversation of its own: the picture, then the question.
        max_new_tokens: longest answer.
        share_prefix: read the picture once; else ask one by one with the model's own ``generate``.
        batch_size: questions decoded together. Each takes a copy of the prefix's keys and values.

    Raises:
        SdvlmError: a limit is not positive, or as :class:`DepthProcessor`.
    """
    if max_new_tokens < 1 or batch_size < 1:
        raise SdvlmError(f"max_new_tokens and batch_size must be positive; got {max_new_tokens} and {batch_size}")
    if not questions:
        return []
    first, prompts = processor.encode_questions(frame, questions)
    shared = _shared_length(prompts, processor.processor.image_token_id)
    with _evaluating(model):
        if share_prefix and shared is not None:
            answers = _answer_shared(model, processor, first, prompts, shared, max_new_tokens, batch_size)
        else:
            if share_prefix:
                _LOG.warning(
                    "the prompts differ before their picture ends, so nothing can be shared: asking one by one"
                )
            answers = [_answer_alone(model, processor, first, prompt, max_new_tokens) for prompt in prompts]
    return [Answer(processor.decode(tokens), tuple(tokens)) for tokens in answers]


def _shared_length(prompts: list[list[int]], image_token_id: int) -> int | None:
    """Tokens all prompts begin with, at least one left over for each; None if a picture reaches beyond them."""
    length = min(len(prompt) for prompt in prompts) - 1
    for prompt in prompts[1:]:
        length = next((i for i in range(length) if prompt[i] != prompts[0][i]), length)
    return None if image_token_id in prompts[0][length:] else length


def _answer_shared(
    model: Any,
    processor: DepthProcessor,
    first: DepthBatch,
    prompts: list[list[int]],
    shared: int,
    max_new_tokens: int,
    batch_size: int,
) -> list[list[int]]:
    prefix = _columns(first, slice(shared)).to(model.device)
    cache = model(**prefix, use_cache=True, **_last_logits_only(model)).past_key_values
    decoder = _Decoder(model, shared, position_offset(model.vlm), _end_tokens(model, processor), max_new_tokens)
    suffixes = [prompt[shared:] for prompt in prompts]
    order = sorted(range(len(prompts)), key=lambda index: len(suffixes[index]))  # like lengths together: little padding
    answers: list[list[int]] = [[] for _ in prompts]
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        last = start + batch_size >= len(order)
        own = cache if last else copy.deepcopy(cache)
        own.batch_repeat_interleave(len(chosen))
        for index, tokens in zip(chosen, decoder.decode(own, [suffixes[i] for i in chosen]), strict=True):
            answers[index] = tokens
    return answers


@dataclass(frozen=True)
class _Decoder:
    """Greedy decoding of a batch of suffixes behind one prefix."""

    model: Any
    prefix_length: int
    position_offset: int
    end_tokens: Tensor
    max_new_tokens: int

    def decode(self, cache: Any, suffixes: list[list[int]]) -> list[list[int]]:
        """Answers to (B,) suffixes; ``cache`` holds the prefix B times and is used up."""
        device = self.model.device
        width = max(len(suffix) for suffix in suffixes)
        tokens = torch.tensor([[0] * (width - len(s)) + s for s in suffixes], device=device)  # [B, S], left-padded
        gap = torch.tensor([[width - len(s)] for s in suffixes], device=device)  # [B, 1]
        column = torch.arange(width, device=device)[None]
        mask = torch.cat(
            [torch.ones(len(suffixes), self.prefix_length, dtype=torch.long, device=device), (column >= gap).long()],
            dim=1,
        )
        position = self.prefix_length + self.position_offset + (column - gap).clamp(min=0)  # [B, S]
        answers: list[list[int]] = [[] for _ in suffixes]
        alive = torch.arange(len(suffixes), device=device)
        for _ in range(self.max_new_tokens):
            logits = self._step(tokens, mask, position, cache)
            tokens = logits[:, -1].argmax(dim=-1, keepdim=True)
            for index, token in zip(alive.tolist(), tokens[:, 0].tolist(), strict=True):
                if index >= 0:
                    answers[index].append(token)
            alive = torch.where(torch.isin(tokens[:, 0], self.end_tokens), -1, alive)
            keep = torch.nonzero(alive >= 0)[:, 0]
            if len(keep) == 0:
                break
            if 2 * len(keep) <= len(alive):  # copying the cache once is cheaper than carrying finished rows along
                cache.batch_select_indices(keep)
                alive, tokens, mask, position = alive[keep], tokens[keep], mask[keep], position[keep]
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
            position = position[:, -1:] + 1
        return answers

    def _step(self, tokens: Tensor, mask: Tensor, position: Tensor, cache: Any) -> Tensor:
        axes = position_axes(self.model.vlm.config)
        placed = position if axes == 1 else position[None].expand(axes, -1, -1)
        out = self.model(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=placed,
            past_key_values=cache,
            use_cache=True,
            **_last_logits_only(self.model),
        )
        logits: Tensor = out.logits
        return logits


def _answer_alone(
    model: Any, processor: DepthProcessor, first: DepthBatch, prompt: list[int], max_new_tokens: int
) -> list[int]:
    """One question with the model's own ``generate``."""
    inputs = processor.with_prompt(first, prompt).to(model.device)
    ends = _end_tokens(model, processor).tolist()
    out = model.generate(
        **inputs,
        max_new_tokens=max_new_tokens,
        do_sample=False,
        num_beams=1,
        repetition_penalty=1.0,
        temperature=None,
        top_p=None,
        top_k=None,
        eos_token_id=ends or None,
        pad_token_id=ends[0] if ends else None,
    )
    tokens: list[int] = out[0, len(prompt) :].tolist()
    return tokens


def _columns(batch: DepthBatch, which: slice) -> DepthBatch:
    """The batch with its per-token inputs cut to some columns; pictures and depth stay."""
    shape = batch["input_ids"].shape
    return DepthBatch({k: v[:, which] if v.shape[:2] == shape else v for k, v in batch.items()})


def _end_tokens(model: Any, processor: DepthProcessor) -> Tensor:
    ends = model.vlm.generation_config.eos_token_id
    ends = processor.tokenizer.eos_token_id if ends is None else ends
    found = [] if ends is None else list(ends) if isinstance(ends, list | tuple) else [ends]
    return torch.tensor(found, dtype=torch.long, device=model.device)


def _last_logits_only(model: Any) -> dict[str, int]:
    return {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(model.vlm.forward).parameters else {}


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """Dropout off, and back as it was."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
