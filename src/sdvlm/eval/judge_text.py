"""The text of a judge as values, without running it.

The released scorer calls Python's ``eval`` on what the judge wrote (``evaluation/evaluate_final.py``). Here the text is
parsed to a syntax tree, and only literals and arithmetic on numbers are computed: the same outcome for every text that
is data, and none for a text that is a program.
"""

from __future__ import annotations

import ast
import json
import operator
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["JudgeTextError", "UnsafeTextError", "parse_as_released", "parse_leniently"]

_LONGEST = 20_000
_BIGGEST = 1e15
_OPERATORS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_SIGNS: Mapping[type[ast.unaryop], Callable[[Any], Any]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
_JSON_WORDS = {"null": None, "true": True, "false": False}
_FENCE = re.compile(r"```\w*\s*(.*?)```", re.DOTALL)


class JudgeTextError(ValueError):
    """The text holds no value; the message says why."""


class UnsafeTextError(JudgeTextError):
    """The text is a program, or computes with what could fill the memory: ``eval`` would run it, we do not."""


def parse_as_released(text: object) -> Any:
    """The value ``eval(text)`` gives, for texts of literals and arithmetic.

    Text around the value, a code fence, missing braces and JSON's ``null`` and ``true`` are errors, as they are there.

    Raises:
        UnsafeTextError: the text calls, looks up or loops.
        JudgeTextError: ``eval`` would raise, or the text is None (the judge call failed).
    """
    if not isinstance(text, str):
        raise JudgeTextError("the judge gave no text")
    return _value(_tree(text), {})


def parse_leniently(text: object) -> dict[str, Any]:
    """The judge's object, however it is wrapped: fenced, amid prose, without braces, in JSON or in Python.

    Raises:
        JudgeTextError: no object is found.
    """
    if isinstance(text, dict) and text:
        return text
    if not isinstance(text, str):
        raise JudgeTextError("the judge gave no text")
    braces = text[text.find("{") : text.rfind("}") + 1] if "{" in text else ""
    for candidate in (text, *_FENCE.findall(text), braces, f"{{{text.strip()}}}"):
        value = _json_or_literal(candidate.strip())
        if isinstance(value, dict) and value:
            return value
    raise JudgeTextError("the judge's text holds no object with keys and values")


def _json_or_literal(text: str) -> Any:
    if len(text) <= _LONGEST:
        for parse in (json.loads, lambda said: _value(_tree(said), _JSON_WORDS)):
            try:
                return parse(text)
            except (ValueError, RecursionError):
                continue
    return None


def _tree(text: str) -> ast.expr:
    """The expression as ``eval`` would compile it: blanks before it are dropped, line breaks are not."""
    if len(text) > _LONGEST:
        raise JudgeTextError(f"the judge's text has {len(text)} characters; at most {_LONGEST} are read")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a stray backslash is none of the reader's business
            return ast.parse(text.lstrip(" \t"), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise JudgeTextError(f"the judge's text is no expression: {error}") from error


def _value(node: ast.expr, words: Mapping[str, Any]) -> Any:
    try:
        return _compute(node, words)
    except (ArithmeticError, TypeError, RecursionError) as error:
        raise JudgeTextError(f"the judge's text cannot be computed: {error}") from error


def _compute(node: ast.expr, words: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Dict) and None not in node.keys:
        keys = [_compute(key, words) for key in node.keys if key is not None]
        return dict(zip(keys, (_compute(value, words) for value in node.values), strict=True))
    if isinstance(node, ast.List):
        return [_compute(item, words) for item in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_compute(item, words) for item in node.elts)
    if isinstance(node, ast.UnaryOp) and type(node.op) in _SIGNS:
        return _SIGNS[type(node.op)](_number(_compute(node.operand, words)))
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = (_number(_compute(side, words)) for side in (node.left, node.right))
        if isinstance(node.op, ast.Pow) and (abs(right) > 64 or abs(left) > 1e4):
            raise UnsafeTextError("the judge's text raises to a power that is no length")
        return _number(_OPERATORS[type(node.op)](left, right))
    if isinstance(node, ast.Name):
        if node.id in words:
            return words[node.id]
        raise JudgeTextError(f"the judge's text uses the name {node.id!r}, which has no value")
    raise UnsafeTextError(f"the judge's text is a program ({type(node).__name__}), which eval would run")


def _number(value: Any) -> Any:
    """Arithmetic is for numbers of a size that lengths can have; text and huge integers could fill the memory."""
    if not isinstance(value, int | float) or (isinstance(value, int) and abs(value) > _BIGGEST):
        raise UnsafeTextError("the judge's text computes with something other than numbers of a usual size")
    return value
