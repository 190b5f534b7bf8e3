"""Everything a build depends on besides its scenes: one tree of plain, documented fields."""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from sdvlm.data.names import NameConfig
from sdvlm.data.question_config import QuestionConfig
from sdvlm.data.select import SelectConfig
from sdvlm.data.view import VisibilityConfig
from sdvlm.types import SdvlmError

__all__ = ["BuildConfig"]


@dataclass(frozen=True)
class BuildConfig:
    """Settings of a build. Which workers do it is no setting: the result is the same."""

    seed: int = 0
    """decides every random choice, together with a scene's and a frame's id"""
    frames_per_scene: int | None = 12
    """pictures asked about of each scene, spread over it; MSMU has about 12; None: all"""
    min_questions: int = 4
    """a picture that gives fewer questions is left out"""
    min_scenes: int = 1
    """uncommon: categories found in fewer scenes than this are not asked about; above 1, labels are read once before"""
    test_share: float = 0.1
    """share of the scenes held out as the test split; rescans of a room stay together"""
    reasoning_share: float = 0.02
    """share of the questions that get a chain of thought; MSMU has 10 K among 700 K"""
    visibility: VisibilityConfig = field(default_factory=VisibilityConfig)
    """when a pixel counts as seen"""
    select: SelectConfig = field(default_factory=SelectConfig)
    """which objects are fit to be asked about"""
    names: NameConfig = field(default_factory=lambda: NameConfig(sizes=True, loose_labels=True))
    """when a name is distinguishing"""
    questions: QuestionConfig = field(default_factory=lambda: QuestionConfig(phrasing="all"))
    """what is asked, how often, and how sure one has to be"""

    def __post_init__(self) -> None:
        if self.seed < 0 or self.min_questions < 1 or self.min_scenes < 1:
            raise SdvlmError(
                f"a build needs seed >= 0, min_questions >= 1, min_scenes >= 1; "
                f"got {self.seed}, {self.min_questions}, {self.min_scenes}"
            )
        if self.frames_per_scene is not None and self.frames_per_scene < 1:
            raise SdvlmError(f"frames_per_scene must be at least 1, or none for all; got {self.frames_per_scene}")
        for name in ("test_share", "reasoning_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise SdvlmError(f"{name} is a share between 0 and 1; got {getattr(self, name)}")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, for the manifest."""
        plain: dict[str, Any] = _plain(self)
        return plain

    def with_settings(self, settings: Mapping[str, str]) -> BuildConfig:
        """The same with some fields replaced.

        Args:
            settings: dotted field ("select.min_visibility") -> value as JSON, or as bare text ("both", "m,cm").

        Raises:
            SdvlmError: no such field, or a value that it does not take; names the field.
        """
        changed: Any = self
        for path, text in settings.items():
            changed = _replaced(changed, path.split("."), text, path)
        return typing.cast(BuildConfig, changed)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(_plain(one) for one in value)
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value


def _replaced(config: Any, path: list[str], text: str, whole: str) -> Any:
    known = [one.name for one in fields(config)]
    name, *rest = path
    if name not in known:
        raise SdvlmError(f"no setting '{whole}'; there are {', '.join(known)}")
    current = getattr(config, name)
    if is_dataclass(current) != bool(rest):
        wanted = ", ".join(f"{whole}.{one.name}" for one in fields(current)) if is_dataclass(current) else name
        raise SdvlmError(f"'{whole}' is no single setting; set {wanted}")
    try:
        value = _replaced(current, rest, text, whole) if rest else _parsed(current, text)
        return dataclasses.replace(config, **{name: value})
    except (TypeError, ValueError, AttributeError) as error:
        if isinstance(error, SdvlmError):
            raise
        raise SdvlmError(f"setting '{whole}' does not take {text!r}: {error}") from error


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no setting")


def _parsed(current: Any, text: str) -> Any:
    """The value a text means for a field that holds ``current`` now."""
    try:
        value = json.loads(text, parse_constant=_no_number)
    except ValueError:
        value = text
    if isinstance(current, Mapping):
        if not isinstance(value, dict):
            raise ValueError(f"wanted a JSON object such as {json.dumps(_plain(current))}")
        return value
    if isinstance(current, frozenset | set | tuple) or (current is None and isinstance(value, list | str)):
        items = value if isinstance(value, list) else str(value).split(",")
        return tuple(items) if isinstance(current, tuple) else frozenset(items)
    if isinstance(current, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if current is not None and value is not None and type(value) is not type(current):
        raise ValueError(f"wanted a value such as {current!r}")
    return value
