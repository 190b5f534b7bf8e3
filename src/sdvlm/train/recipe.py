"""Recipes: a training configuration as a small YAML file, and changes to it from the command line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from sdvlm.extras import require
from sdvlm.fusion.config import PLACES, FusionConfig
from sdvlm.train.config import DataSettings, TrainConfig
from sdvlm.types import SdvlmError

__all__ = ["RECIPES", "config_from", "mixture_part", "read_recipe", "recipe_names", "to_yaml", "with_settings"]

_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", dict: "a group of settings"}
RECIPES = Path(__file__).with_name("recipes")


def recipe_names() -> list[str]:
    """The recipes that come along."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def read_recipe(name: str | Path) -> TrainConfig:
    """A recipe by name, or a YAML file of one's own.

    Raises:
        SdvlmError: there is none of that name, or it holds something that is no setting.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        path = RECIPES / f"{name}.yaml"
    if not path.is_file():
        raise SdvlmError(f"no recipe '{name}'; there are {', '.join(recipe_names())}, or give a YAML file")
    yaml = require("yaml", "reading recipes")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SdvlmError(f"{path}: is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise SdvlmError(f"{path}: must hold settings, one 'name: value' a line; got {type(values).__name__}")
    return config_from(values, str(path))


def to_yaml(config: TrainConfig) -> str:
    """The configuration as a recipe."""
    text: str = require("yaml", "writing recipes").safe_dump(_plain(asdict(config)), sort_keys=False)
    return text


def config_from(values: Mapping[str, Any], where: str = "settings") -> TrainConfig:
    """From plain values.

    Raises:
        SdvlmError: an unknown setting, or a value of another kind; says where.
    """
    made: TrainConfig = _made(TrainConfig, values, where, "")
    return made


def with_settings(config: TrainConfig, given: Mapping[str, str]) -> TrainConfig:
    """The same with settings by their dotted names, as ``lr.fusion=1e-3`` or ``arguments.max_steps=100``.

    Values are read as YAML. ``data.broken=stop`` is for every part of the mixture,
    ``data.0.broken=stop`` for the first.

    Raises:
        SdvlmError: no such setting, or a value of another kind.
    """
    yaml = require("yaml", "reading settings")
    values = _plain(asdict(config))
    for name, text in given.items():
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise SdvlmError(f"--set {name}: '{text}' is no YAML value") from error
        places, last = _places(values, name)
        if not places:
            raise SdvlmError(f"no setting '{name}'; there are {', '.join(_names(TrainConfig))}")
        for place in places:
            place[last] = value if isinstance(value, str | dict | list | None) else _Said(value, text)
    return config_from(values, "--set")


def _places(values: dict[str, Any], name: str) -> tuple[list[dict[str, Any]], str]:
    """The groups that a dotted name is in: one, of ``data`` each part of the mixture or one; none if there is none."""
    *groups, last = name.split(".")
    free = groups[:1] in (["arguments"], ["fusion"], ["lora"])  # their keys need not be there yet
    places: list[Any] = [values]
    for group in groups:
        inner: list[Any] = []
        for place in places:
            if isinstance(place, list) and group.isdecimal():
                inner += place[int(group) : int(group) + 1]
                continue
            for one in place if isinstance(place, list) else [place]:
                if not isinstance(one, dict) or not (group in one or free):
                    return [], last
                if one.get(group) is None:
                    one[group] = {}  # a group that was switched off, such as lora
                if groups == ["fusion"] and one[group] in PLACES:
                    one[group] = FusionConfig.preset(one[group]).to_dict()
                inner.append(one[group])
        places = inner
    places = [one for place in places for one in (place if isinstance(place, list) else [place])]
    fit = all(isinstance(place, dict) and (free or last in place) for place in places)
    return places if fit else [], last


def mixture_part(text: str) -> DataSettings:
    """A part of the mixture from ``PATH,KEY=VALUE,...``, as ``chat.json,weight=0.2,images=pictures``.

    Raises:
        SdvlmError: no such key, or a value of another kind.
    """
    path, *pairs = text.split(",")
    values: dict[str, Any] = {"path": path}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise SdvlmError(f"a part of the mixture is PATH,KEY=VALUE,...; got '{pair}' in '{text}'")
        values[key] = value
    made: DataSettings = _made(DataSettings, values, f"--mix {text}", "")
    return made


def _made(kind: Any, values: Any, where: str, prefix: str) -> Any:
    """A dataclass from plain values, checked."""
    if not isinstance(values, Mapping):
        name = prefix.rstrip(".") or "settings"
        raise SdvlmError(f"{where}: {name} must be a group of settings; got {_unsaid(values)!r}")
    hints = get_type_hints(kind)
    known = {field.name for field in fields(kind)}
    for name in values:
        if name not in known:
            raise SdvlmError(f"{where}: no setting '{prefix}{name}'; there are {', '.join(sorted(known))}")
    return kind(**{name: _value(hints[name], value, where, prefix + name) for name, value in values.items()})


def _value(hint: Any, value: Any, where: str, name: str) -> Any:
    options = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if value is None and type(None) in options:
        return None
    for option in options:
        if is_dataclass(option):
            return _made(option, value, where, f"{name}.")
        if get_origin(option) is tuple:
            parts = value if isinstance(value, list | tuple) else [value]
            return tuple(_made(get_args(option)[0], part, where, f"{name}.") for part in parts)
    kinds = tuple(get_origin(option) or option for option in options if option is not type(None))
    plain = tuple(kind for kind in kinds if isinstance(kind, type))
    if isinstance(value, _Said):
        value = value.text if not plain or str in plain else value.value
    if isinstance(value, dict):
        value = _unsaid(value)
    if not plain:  # a Literal: the dataclass checks it
        return value
    if isinstance(value, str) and str not in plain:
        value = _read(value, plain)
    if float in plain and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, plain) or (isinstance(value, bool) and bool not in plain):
        wanted = " or ".join(_KINDS.get(kind, str(kind)) for kind in kinds)
        raise SdvlmError(f"{where}: {name} must be {wanted}; got {value!r}")
    return value


@dataclass(frozen=True)
class _Said:
    """A value of the command line beside its text, which is what is meant where text is wanted: a folder called 7."""

    value: Any
    text: str


def _unsaid(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _unsaid(one) for key, one in value.items()}
    return value.value if isinstance(value, _Said) else value


def _read(text: str, kinds: tuple[type, ...]) -> Any:
    """Text as a number or truth value: YAML 1.1 takes 1e-4 for text, and ``--mix`` has nothing else."""
    truth = {"true": True, "false": False}
    if bool in kinds and text.lower() in truth:
        return truth[text.lower()]
    for kind in (int, float):
        if kind in kinds:
            try:
                number = kind(text)
            except ValueError:
                continue
            return number if math.isfinite(number) else text
    return text


def _names(kind: Any, prefix: str = "") -> list[str]:
    """Dotted names of all settings."""
    out = []
    for field in fields(kind):
        hint = get_type_hints(kind)[field.name]
        inner = next((one for one in (hint, *get_args(hint)) if is_dataclass(one)), None)
        out += _names(inner, f"{prefix}{field.name}.") if inner else [prefix + field.name]
    return out


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def named(config: TrainConfig, **changes: Any) -> TrainConfig:
    """The same with the given top-level settings, those that are None left as they are."""
    return replace(config, **{name: value for name, value in changes.items() if value is not None})
