"""Recipes: a training configuration as a small YAML file, and changes to it from the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from sdvlm.extras import require
from sdvlm.train.config import DataSettings, TrainConfig
from sdvlm.types import SdvlmError

__all__ = ["RECIPES", "config_from", "mixture_part", "read_recipe", "recipe_names", "to_yaml", "with_settings"]

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

    Values are read as YAML.

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
        *groups, last = name.split(".")
        place: Any = values
        for group in groups:
            if isinstance(place, dict) and place.get(group) is None and group in place:
                place[group] = {}  # a group that was switched off, such as lora
            place = place.get(group) if isinstance(place, dict) else None
        free = groups[:1] in (["arguments"], ["fusion"], ["lora"])  # their keys need not be there yet
        if not isinstance(place, dict) or (last not in place and not free):
            raise SdvlmError(f"no setting '{name}'; there are {', '.join(_names(TrainConfig))}")
        place[last] = _number(value)
    return config_from(values, "--set")


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
        values[key] = _number(value)
    made: DataSettings = _made(DataSettings, values, f"--mix {text}", "")
    return made


def _made(kind: Any, values: Mapping[str, Any], where: str, prefix: str) -> Any:
    """A dataclass from plain values, checked."""
    if not isinstance(values, Mapping):
        raise SdvlmError(f"{where}: {prefix.rstrip('.') or 'settings'} must be a group of settings; got {values!r}")
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
    value = _number(value)
    kinds = tuple(get_origin(option) or option for option in options if option is not type(None))
    if float in kinds and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not any(isinstance(kind, type) for kind in kinds):  # a Literal: the dataclass checks it
        return value
    right = isinstance(value, tuple(kind for kind in kinds if isinstance(kind, type)))
    if not right or (isinstance(value, bool) and bool not in kinds):
        wanted = " or ".join(getattr(kind, "__name__", str(kind)) for kind in kinds)
        raise SdvlmError(f"{where}: {name} must be a {wanted}; got {value!r}")
    return value


def _number(value: Any) -> Any:
    """YAML 1.1 reads 1e-4 as text: a number all the same."""
    if isinstance(value, str):
        for kind in (int, float):
            try:
                return kind(value)
            except ValueError:
                continue
    return value


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
