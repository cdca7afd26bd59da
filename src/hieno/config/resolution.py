"""Where each value comes from: a flag, the environment, the file, a preset or the default."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # YAML values before they are validated

from pydantic import ValidationError

from hieno import yamlfile
from hieno.config import presets
from hieno.config.problems import explain
from hieno.config.sections import Config
from hieno.config.tree import keys
from hieno.errors import ConfigError, MissingInput


@dataclass(frozen=True)
class Origin:
    """A value of the configuration and where it came from (`default`, `file:line`, ...)."""

    key: str
    value: Any
    source: str


@dataclass(frozen=True)
class Resolved:
    """A valid configuration with the origin of each of its values."""

    config: Config
    origins: tuple[Origin, ...]


def load(
    path: Path | None,
    *,
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Resolved:
    """Resolve the configuration from flags, the environment and a file.

    `path` may be None (no project); `flags` maps dotted keys to values. Strings of flags and
    variables are read as YAML scalars, except for keys that hold text. Raises `ConfigError` with
    every problem at once, each with its place.
    """
    values: dict[str, Any] = {}
    places: dict[str, str] = {}
    if path is not None:
        values, lines = _read_file(path)
        places = {key: f"{path.name}:{line}" for key, line in lines.items()}
    for key, variable, text in _from_environment(
        os.environ if environment is None else environment
    ):
        _set(values, key, _read_text(key, text))
        places[key] = variable
    for key, value in (flags or {}).items():
        _set(values, key, _read_text(key, value) if isinstance(value, str) else value)
        places[key] = "command line"
    for key, value in presets.chosen(values):
        if key not in places:
            _set(values, key, value)
            places[key] = "preset"
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        raise explain(error, places, path) from None
    return Resolved(config, tuple(_origins(config, places)))


def _read_file(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise MissingInput(
            f"there is no {path}", hint="`hieno init` makes a project here"
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path} is not UTF-8 text (byte {error.start})", hint="save it as UTF-8"
        ) from None
    return yamlfile.parse(text, name=path.name)


def _from_environment(environment: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    for key in keys():
        variable = "HIENO_" + key.upper().replace(".", "_")
        if variable in environment:
            yield key, variable, environment[variable]


def _read_text(key: str, text: str) -> Any:
    field = keys().get(key)
    if field is None or field.annotation not in (str, str | None):
        return yamlfile.scalar(text)
    optional = field.annotation is not str
    return None if optional and text in ("", "null") else text


def _set(values: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    for section in sections:
        inner = values.get(section)
        if not isinstance(inner, dict):
            inner = values[section] = {}
        values = inner
    values[last] = value


def _origins(config: Config, places: Mapping[str, str]) -> Iterator[Origin]:
    for key in keys():
        value: Any = config
        for part in key.split("."):
            value = getattr(value, part)
        yield Origin(key, value, places.get(key, "default"))
