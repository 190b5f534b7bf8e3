"""LLaVA's released prompts: the ``vicuna_v1`` template, tokens in chunks around pictures, and its label mask.

Facts of ``llava/conversation.py`` (``conv_vicuna_v1``), ``llava/mm_utils.py`` (``tokenizer_image_token``) and
``llava/train/train.py`` (``preprocess_multimodal``, ``preprocess_v1``) as SD-VLM released them. A model that was
trained so has to be asked so: one token more or less before the answer changes it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from sdvlm.models.llama_tokens import begin_ids, is_legacy, slow_llama_ids
from sdvlm.types import SdvlmError

__all__ = ["END", "IGNORED", "PICTURE", "SYSTEM", "chunked_ids", "picture_first", "released_labels", "vicuna_prompt"]

SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
ROLES = ("USER", "ASSISTANT")
END = "</s>"
PICTURE = -200
"""id that stands for a whole picture, before it becomes its run of image tokens"""
IGNORED = -100

_SEPARATORS = (" ", END)
_log = logging.getLogger(__name__)


def picture_first(value: str, mark: str) -> str:
    """A turn with its picture in front: ``<image>``, newline, the rest without white space around it.

    The released code keeps one mark a turn; here each keeps its own. A turn without a mark stays as it is.
    """
    count = value.count(mark)
    return ((mark + "\n") * count + value.replace(mark, "").strip()).strip() if count else value


def vicuna_prompt(turns: Sequence[tuple[str, str]], ask: bool, system: str = SYSTEM) -> str:
    """The conversation as the template writes it.

    Args:
        turns: (role, text), ``user`` and ``assistant`` in turns, a user first; texts as :func:`picture_first` gives.
        ask: end where the assistant is to speak, at ``ASSISTANT:``.
        system: text before the first turn.

    Raises:
        SdvlmError: roles do not take turns, or the assistant is asked while it spoke last.
    """
    for index, (role, _) in enumerate(turns):
        wanted = ("user", "assistant")[index % 2]
        if role != wanted:
            raise SdvlmError(
                f"turn {index} is the {role}'s, the vicuna_v1 template wants the {wanted}'s: user and assistant take "
                "turns, after at most one system message"
            )
    if ask and len(turns) % 2 == 0:
        raise SdvlmError("the conversation has to end with what the user says; it is the assistant that is asked")
    text = system + _SEPARATORS[0]
    for index, (_, said) in enumerate(turns):
        speaker = ROLES[index % 2]
        text += f"{speaker}: {said}{_SEPARATORS[index % 2]}" if said else f"{speaker}:"
    return text + f"{ROLES[1]}:" if ask else text


def chunked_ids(tokenizer: Any, text: str, mark: str) -> list[int]:
    """Token ids of a prompt whose chunks between pictures are tokenised each as a text of its own.

    Args:
        tokenizer: see :func:`~sdvlm.models.llama_tokens.slow_llama_ids`.
        text: with one ``mark`` a picture.
        mark: the image mark.

    Returns:
        BOS once, if the tokenizer puts one; the chunks' ids; ``PICTURE`` between them.
    """
    out = begin_ids(tokenizer)
    for index, chunk in enumerate(text.split(mark)):
        out += ([PICTURE] if index else []) + slow_llama_ids(tokenizer, chunk)
    return out


def released_labels(tokenizer: Any, text: str, ids: Sequence[int], mark: str) -> list[int]:
    """Labels of a ``vicuna_v1`` conversation: answers with their ``</s>``, ``IGNORED`` elsewhere (``preprocess_v1``).

    Each round between ``</s>`` is measured by tokenising it anew: its instruction, ``ASSISTANT: `` included, is masked
    up to two tokens before its measured end (BOS, and the piece of the space), and one earlier from the second round
    on, where standing alone adds a "▁". Where the rounds do not add up to the whole, nothing is learned from the
    sample, and a warning says so; so it is with a text that holds the template's own words.

    Args:
        tokenizer: of :func:`chunked_ids`.
        text: the rendered conversation, not ending in a question.
        ids: what :func:`chunked_ids` gave for it.
        mark: the image mark.
    """
    labels = list(ids)
    opening = f"{_SEPARATORS[0]}{ROLES[1]}: "
    reached = 1
    labels[:reached] = [IGNORED] * len(labels[:reached])
    for index, one_round in enumerate(text.split(END)):
        parts = one_round.split(opening)
        if not one_round or len(parts) != 2:
            break
        alone = 1 if index and not is_legacy(tokenizer) else 0
        instruction = len(chunked_ids(tokenizer, parts[0] + opening, mark)) - 2 - alone
        masked = slice(reached, max(reached, reached + instruction))
        labels[masked] = [IGNORED] * len(labels[masked])
        reached += len(chunked_ids(tokenizer, one_round, mark)) - alone
    labels[reached:] = [IGNORED] * len(labels[reached:])
    whole = sum(one != tokenizer.pad_token_id for one in ids)
    if reached != whole and reached < tokenizer.model_max_length:
        _log.warning(
            "the rounds of a conversation have %d tokens, the whole %d: nothing is learned of it", reached, whole
        )
        return [IGNORED] * len(labels)
    return labels
