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

from sdvlm.models.families import attends_both_ways, position_axes, position_offset
from sdvlm.models.processor import DepthBatch, DepthProcessor
from sdvlm.models.prompt_groups import alike
from sdvlm.models.shared_attention import SharedPrefixCache, can_share, sharing
from sdvlm.types import DepthMap, RgbdFrame, SdvlmError

__all__ = ["Answer", "answer_prompts", "answer_questions"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """What the model said: text without special tokens, and its tokens, the end token included if it came."""

    text: str
    token_ids: tuple[int, ...]


def answer_questions(
    model: Any,
    processor: DepthProcessor,
    frame: RgbdFrame,
    questions: Sequence[str],
    max_new_tokens: int = 32,
    share_prefix: bool = True,
    batch_size: int = 64,
    depth: DepthMap | None = None,
) -> list[Answer]:
    """Greedy answers to questions about one picture, in the order asked.

    Args:
        model: a ``DepthVLM``, or an adapter around one.
        processor: of that model.
        frame: the picture, with depth and camera where they are known.
        questions: each is a conversation of its own: the picture, then the question.
        max_new_tokens, share_prefix, batch_size: as :func:`answer_prompts`.
        depth: in place of the frame's; may have another size where the model pools over the un-padded picture, as what
            ``DepthProcessor.own_depth`` gives there.

    Raises:
        SdvlmError: as :func:`answer_prompts`.
    """
    prompts = [processor.question_prompt(question) for question in questions]
    depth = frame.depth if depth is None else depth
    limits = (max_new_tokens, share_prefix, batch_size)
    return answer_prompts(model, processor, prompts, [frame.image], [depth], [frame.camera], *limits)


@torch.inference_mode()
def answer_prompts(
    model: Any,
    processor: DepthProcessor,
    prompts: Sequence[str],
    images: Any = None,
    depth: Any = None,
    camera: Any = None,
    max_new_tokens: int = 32,
    share_prefix: bool = True,
    batch_size: int = 64,
) -> list[Answer]:
    """Greedy answers to prompts that are sent as they are, in their order.

    Args:
        model: a ``DepthVLM``, or an adapter around one.
        processor: of that model.
        prompts: each with one image mark (``<image>``) a picture, in the order of the pictures, or with none: then
            the pictures are left out of that prompt, as the released code does.
        images: the pictures, the same for all prompts.
        depth, camera: of the pictures, as a ``DepthProcessor`` takes them.
        max_new_tokens: longest answer.
        share_prefix: read what the prompts begin with once; else ask one by one with the model's own ``generate``.
        batch_size: prompts decoded together. The prefix's keys and values are shared, or copied for each where the
            model's attention is of a kind of its own.

    Raises:
        SdvlmError: a limit is not positive, or as :class:`DepthProcessor`.
    """
    if max_new_tokens < 1 or batch_size < 1:
        raise SdvlmError(f"max_new_tokens and batch_size must be positive; got {max_new_tokens} and {batch_size}")
    seeing = [index for index, prompt in enumerate(prompts) if processor.processor.image_token in prompt]
    blind = [index for index in range(len(prompts)) if index not in set(seeing)]
    answers: list[list[int]] = [[] for _ in prompts]
    with _evaluating(model):
        for chosen, pictures in ((seeing, (images, depth, camera)), (blind, ())):
            if chosen:
                first, ids = processor.encode_prompts([prompts[index] for index in chosen], *pictures)
                said = _answer(model, processor, first, ids, max_new_tokens, batch_size if share_prefix else None)
                for index, tokens in zip(chosen, said, strict=True):
                    answers[index] = tokens
    return [Answer(processor.decode(tokens), tuple(tokens)) for tokens in answers]


def _answer(
    model: Any,
    processor: DepthProcessor,
    first: DepthBatch,
    prompts: list[list[int]],
    max_new_tokens: int,
    batch_size: int | None,
) -> list[list[int]]:
    """Answers to prompts about the pictures of ``first``; ``batch_size`` None asks one by one."""
    groups = alike(prompts, processor.image_token_id)
    if batch_size is not None and len(groups) == len(prompts) > 1:
        _LOG.warning("the prompts differ before their picture ends, so nothing can be shared: asking one by one")
    answers: list[list[int]] = [[] for _ in prompts]
    if attends_both_ways(model.vlm.config) or not _takes(model, "past_key_values"):
        batch_size = None
    for group in groups:
        asked = [prompts[index] for index in group.chosen]
        if batch_size is not None and group.shared and len(groups) < max(2, len(prompts)):
            own = processor.with_prompt(first, asked[0])
            told = _answer_shared(model, processor, own, asked, group.shared, max_new_tokens, batch_size)
        else:
            told = [_answer_alone(model, processor, first, prompt, max_new_tokens) for prompt in asked]
        for index, tokens in zip(group.chosen, told, strict=True):
            answers[index] = tokens
    return answers


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
    some = {"logits_to_keep": 1} if _takes(model, "logits_to_keep") else {}
    cache = model(**prefix, use_cache=True, **some).past_key_values
    if not all(hasattr(layer, "batch_repeat_interleave") for layer in cache.layers):
        _LOG.warning("the model's cache cannot be given to several prompts: asking one by one")
        return [_answer_alone(model, processor, first, prompt, max_new_tokens) for prompt in prompts]
    if any(getattr(layer, "is_sliding", False) for layer in cache.layers):
        batch_size = 1  # padding between prefix and prompt would take places of the window
    decoder = _Decoder(model, shared, position_offset(model.vlm, prefix), _end_tokens(model, processor), max_new_tokens)
    suffixes = [prompt[shared:] for prompt in prompts]
    order = sorted(range(len(prompts)), key=lambda index: len(suffixes[index]))  # like lengths together: little padding
    answers: list[list[int]] = [[] for _ in prompts]
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        with _rows_behind(model.vlm, cache, len(chosen)) as rows:
            for index, tokens in zip(chosen, decoder.decode(rows, [suffixes[i] for i in chosen]), strict=True):
                answers[index] = tokens
    return answers


@contextmanager
def _rows_behind(vlm: Any, prefix: Any, count: int) -> Iterator[Any]:
    """A cache for ``count`` rows behind a prefix of one: sharing it where the model allows, else repeating it."""
    if can_share(vlm, prefix):
        shared = SharedPrefixCache(prefix)
        with sharing(vlm, shared):
            yield shared
    else:
        repeated = copy.deepcopy(prefix)
        repeated.batch_repeat_interleave(count)
        yield repeated


@dataclass(frozen=True)
class _Decoder:
    """Greedy decoding of a batch of suffixes behind one prefix."""

    model: Any
    prefix_length: int
    position_offset: int
    end_tokens: Tensor
    max_new_tokens: int

    def decode(self, cache: Any, suffixes: list[list[int]]) -> list[list[int]]:
        """Answers to (B,) suffixes; ``cache`` stands for B rows behind the prefix and is used up."""
        device = self.model.device
        lengths = torch.tensor([len(suffix) for suffix in suffixes], device=device)
        width = int(lengths.max())
        gap = width - lengths[:, None]  # [B, 1]: suffixes are left-padded in the cache
        column = torch.arange(width, device=device)[None]
        seen = torch.ones(len(suffixes), self.prefix_length, dtype=torch.long, device=device)
        mask = torch.cat([seen, (column >= gap).long()], dim=1)
        position = self.prefix_length + self.position_offset + (column - gap).clamp(min=0)  # [B, S]
        if isinstance(cache, SharedPrefixCache):
            logits = self._packed(cache, suffixes, position[column >= gap][None], lengths)
        else:
            padded = [[0] * (width - len(suffix)) + suffix for suffix in suffixes]
            logits = self._step(torch.tensor(padded, device=device), mask, position, cache)[:, -1]
        answers: list[list[int]] = [[] for _ in suffixes]
        alive, position = torch.arange(len(suffixes), device=device), position[:, -1:]
        while True:
            tokens = logits.argmax(dim=-1)
            for index, token in zip(alive.tolist(), tokens.tolist(), strict=True):
                if index >= 0:
                    answers[index].append(token)
            alive = torch.where(torch.isin(tokens, self.end_tokens), -1, alive)
            keep = torch.nonzero(alive >= 0)[:, 0]
            if len(keep) == 0 or max(len(answer) for answer in answers) == self.max_new_tokens:
                return answers
            if 2 * len(keep) <= len(alive):  # copying the rest once is cheaper than carrying finished rows along
                cache.batch_select_indices(keep)
                alive, tokens, mask, position = alive[keep], tokens[keep], mask[keep], position[keep]
            mask, position = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1), position + 1
            logits = self._step(tokens[:, None], mask, position, cache)[:, -1]

    def _packed(self, cache: SharedPrefixCache, suffixes: list[list[int]], position: Tensor, lengths: Tensor) -> Tensor:
        """(B, V) logits after each suffix, all suffixes in one row without padding."""
        tokens = torch.tensor([[token for suffix in suffixes for token in suffix]], device=lengths.device)
        mask = tokens.new_ones(1, self.prefix_length + tokens.shape[1])
        cache.packing(lengths)
        logits = self._step(tokens, mask, position, cache, lengths.cumsum(0) - 1)[0]
        cache.unpack(lengths)
        return logits

    def _step(self, tokens: Tensor, mask: Tensor, position: Tensor, cache: Any, wanted: Tensor | None = None) -> Tensor:
        """(B, 1 or wanted, V) logits of one pass: of the last token of each row, or of the tokens ``wanted``."""
        axes = position_axes(self.model.vlm.config)
        some = {} if not _takes(self.model, "logits_to_keep") else {"logits_to_keep": 1 if wanted is None else wanted}
        out = self.model(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=position if axes == 1 else position[None].expand(axes, -1, -1),
            past_key_values=cache,
            use_cache=True,
            **some,
        )
        logits: Tensor = out.logits
        return logits if some or wanted is None else logits[:, wanted]


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


def _takes(model: Any, name: str) -> bool:
    return name in inspect.signature(model.vlm.forward).parameters


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """Dropout off, and back as it was."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
