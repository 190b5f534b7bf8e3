"""A row of a batch as a person reads it: what the model sees, and which of it it learns to say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from sdvlm.train.packing import IGNORED

__all__ = ["decoded_sample", "marked"]

Run = tuple[str, bool]


def decoded_sample(batch: Mapping[str, Any], tokenizer: Any, row: int = 0) -> list[Run]:
    """Runs of text of one row, each learned or not; padding is left out.

    Args:
        batch: of ``train.encode``.
        tokenizer: of the model.
        row: which.

    Returns:
        (text, learned). The tokens of a picture are one run ``<image x 576>``. In a packed row the dialogues follow
        the prefix one after another, each behind a run that numbers it.
    """
    ids, labels = batch["input_ids"][row].tolist(), batch["labels"][row].tolist()
    shown = batch["attention_mask"][row].tolist()
    segments = batch["segments"][row].tolist() if "segments" in batch else [0] * len(ids)
    pieces = set(tokenizer.get_added_vocab().values())
    tokens = [
        (token, label != IGNORED, segment)
        for token, label, segment, seen in zip(ids, labels, segments, shown, strict=True)
        if seen
    ]
    out: list[Run] = []
    for segment, members in groupby(tokens, key=lambda one: one[2]):
        if segment > 0:
            out.append((f"\n-- dialogue {segment} --\n", False))
        out += _runs([(token, learned) for token, learned, _ in members], tokenizer, pieces)
    return out


def marked(runs: Sequence[Run], start: str = "[[", end: str = "]]") -> str:
    """The runs as one text, what is learned between two marks."""
    return "".join(f"{start}{text}{end}" if learned else text for text, learned in runs)


def _runs(tokens: Sequence[tuple[int, bool]], tokenizer: Any, pieces: set[int]) -> Iterator[Run]:
    before: list[int] = []
    for (single, learned), members in groupby(_with_repeats(tokens, pieces), key=lambda one: (one[1], one[2])):
        group = [one[0] for one in members]
        if single:
            yield f"<image x {len(group)}>", learned
            before = []
        else:
            yield _text(tokenizer, before, group), learned
            before += group


def _with_repeats(tokens: Sequence[tuple[int, bool]], pieces: set[int]) -> Iterator[tuple[int, bool, bool]]:
    """(token, whether it stands in a run of one added token, as those of pictures do, learned)."""
    for token, members in groupby(tokens, key=lambda one: one[0]):
        group = list(members)
        repeats = token in pieces and len(group) > 1
        for _, learned in group:
            yield token, repeats, learned


def _text(tokenizer: Any, before: list[int], tokens: list[int]) -> str:
    """What tokens add to the text of those before them; alone, they may lose the space before their first word."""
    lead = tokenizer.decode(before, skip_special_tokens=False)
    whole = tokenizer.decode([*before, *tokens], skip_special_tokens=False)
    return str(whole[len(lead) :] if whole.startswith(lead) else tokenizer.decode(tokens, skip_special_tokens=False))
