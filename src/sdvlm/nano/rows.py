"""Questions as rows of tokens, and what training knows of their tokens: names, numbers, and what each is about.

Notation: B pictures, Q questions a picture, L tokens of the longest question and answer, N image tokens, F facts.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sdvlm.data.schema import QuestionType
from sdvlm.nano.facts import BETWEEN, facts_between
from sdvlm.nano.numbers import VALUES

__all__ = ["EncodedQuestion", "QuestionRows", "Targets", "collate_rows", "names_asked"]

_COMPARING = (QuestionType.ABSOLUTE_DISTANCE, QuestionType.RELATIVE_POSITION, QuestionType.SCALE_COMPARE)
"""families whose answer depends on how the first two names differ"""


@dataclass(frozen=True)
class EncodedQuestion:
    """One question and answer as tokens.

    Args:
        ids: ``<user>question<assistant>answer<eos>``.
        answer_start: index of ``<assistant>``, the first token that is asked to predict.
        mentions: (token index, target index) pairs: which token names what; the target indexes the picture's
            grounding targets.
        family: index of the question's family, for separate losses.
        said: (token index, value, index of the number) of the tokens that predict a token of a number of the answer;
            the value in the order of ``numbers.VALUES``.
        copied: (token index, token index) pairs: which token of the question the next token of the answer repeats,
            where the answer is one of the names.
    """

    ids: list[int]
    answer_start: int
    mentions: list[tuple[int, int]]
    family: int
    said: list[tuple[int, tuple[float, ...], int]]
    copied: list[tuple[int, int]]


@dataclass(frozen=True)
class Targets:
    """What the names of one picture should find: for each of K named sets of objects, "nothing" first.

    Args:
        attention: (K, 5, 1 + N) from ``grounding_targets``.
        facts: (K, F) from ``object_facts``.
    """

    attention: Tensor
    facts: Tensor


@dataclass(frozen=True)
class QuestionRows:
    """B * Q encoded questions, right-padded, and where their names should look.

    Args:
        ids: (B * Q, L) long.
        labels: (B * Q, L) long, the next token wherever an answer is predicted, else -100.
        family: (B * Q,) long.
        rows, columns: (M,) long, the naming tokens.
        targets: (M, 5, 1 + N) grounding targets.
        facts: (M, F) facts of what is named, NaN where unknown.
        said_rows, said_columns: (V,) long, the tokens that predict a token of a number of the answer.
        said: (V, len(VALUES)) the number, see ``numbers.VALUES``.
        fetch_rows, fetch_columns: (W,) long, the tokens that begin an answer or say a number.
        fetch_of: (W, 3) long, columns of the names that the answer or number is about, see ``names_asked``.
        copy_rows, copy_columns: (C,) long, the tokens that predict a token of a name which the question holds.
        copy_of: (C, 1) long, column of the token that they repeat.
        between: (W, D) how the first two of the names differ, see ``facts.BETWEEN``; NaN where nothing depends on it.
    """

    ids: Tensor
    labels: Tensor
    family: Tensor
    rows: Tensor
    columns: Tensor
    targets: Tensor
    facts: Tensor
    said_rows: Tensor
    said_columns: Tensor
    said: Tensor
    fetch_rows: Tensor
    fetch_columns: Tensor
    fetch_of: Tensor
    copy_rows: Tensor
    copy_columns: Tensor
    copy_of: Tensor
    between: Tensor


def collate_rows(questions: list[EncodedQuestion], targets: list[Targets], pad_id: int) -> QuestionRows:
    """Stack questions. ``targets``: those of each question's picture."""
    length = max(len(question.ids) for question in questions)
    ids = torch.full((len(questions), length), pad_id)
    labels = torch.full((len(questions), length), -100)
    rows, columns, chosen, facts = [], [], [], []
    said_rows: list[int] = []
    said_columns: list[int] = []
    said: list[tuple[float, ...]] = []
    fetches: list[tuple[int, ...]] = []
    copies: list[tuple[int, int, int]] = []
    between: list[Tensor] = []
    for row, (question, of_picture) in enumerate(zip(questions, targets, strict=True)):
        tokens = torch.tensor(question.ids)
        ids[row, : len(tokens)] = tokens
        labels[row, question.answer_start : len(tokens) - 1] = tokens[question.answer_start + 1 :]
        for column, target in question.mentions:
            rows.append(row)
            columns.append(column)
            chosen.append(of_picture.attention[target])
            facts.append(of_picture.facts[target])
        copies += [(row, column, source) for column, source in question.copied]
        before = len(fetches)
        if not question.said and question.mentions:
            fetches.append((row, question.answer_start, *names_asked(question, 0, 0)))
        for column, value, number in question.said:
            said_rows.append(row)
            said_columns.append(column)
            said.append(value)
            fetches.append((row, column, *names_asked(question, number, 1 + question.said[-1][2])))
        between += [_between(question, of_picture)] * (len(fetches) - before)
    fetch = torch.tensor(fetches, dtype=torch.long).view(-1, 5)
    copy = torch.tensor(copies, dtype=torch.long).view(-1, 3)
    return QuestionRows(
        ids=ids,
        labels=labels,
        family=torch.tensor([question.family for question in questions]),
        rows=torch.tensor(rows),
        columns=torch.tensor(columns),
        targets=torch.stack(chosen),
        facts=torch.stack(facts),
        said_rows=torch.tensor(said_rows, dtype=torch.long),
        said_columns=torch.tensor(said_columns, dtype=torch.long),
        said=torch.tensor(said, dtype=torch.float32).view(-1, len(VALUES)),
        fetch_rows=fetch[:, 0],
        fetch_columns=fetch[:, 1],
        fetch_of=fetch[:, 2:],
        copy_rows=copy[:, 0],
        copy_columns=copy[:, 1],
        copy_of=copy[:, 2:],
        between=torch.stack(between) if between else torch.empty(0, len(BETWEEN)),
    )


def names_asked(question: EncodedQuestion, index: int, count: int) -> tuple[int, int, int]:
    """Columns of the names, up to three, that the answer's number ``index`` of ``count`` is about; the last repeated.

    Where one name more is given than numbers are asked, the first is the reference and each number has its own name;
    but a distance lies between both, as an answer without numbers (``count`` 0) is about all.
    """
    columns = [column for column, _ in question.mentions]
    if not columns:
        columns = [question.answer_start - 1]
    elif count and len(columns) == count + 1 and not _is_distance(question):
        columns = [columns[1 + index]]
    last = columns[-1]
    first, second, third = (*columns, last, last)[:3]
    return first, second, third


def _between(question: EncodedQuestion, targets: Targets) -> Tensor:
    """(D,) how the first two things named differ; NaN where the answer is about something else."""
    if len(question.mentions) < 2 or tuple(QuestionType)[question.family] not in _COMPARING:
        return torch.full((len(BETWEEN),), torch.nan)
    (_, first), (_, second) = question.mentions[:2]
    return facts_between(targets.facts[first], targets.facts[second])


def _is_distance(question: EncodedQuestion) -> bool:
    return tuple(QuestionType)[question.family] is QuestionType.ABSOLUTE_DISTANCE
