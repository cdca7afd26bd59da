"""YAML with the line of every key, and without YAML's dangerous parts.

Refused with a line number: tags (`!!python/object`), anchors and aliases (a few lines of them
can expand to gigabytes), nesting without end, duplicate keys, and anything that is not a mapping
at the top.
"""

from __future__ import annotations

from typing import Any  # what a YAML document holds is known only after validation

import yaml

from hieno.errors import ConfigError

DEEPEST = 50  # the reader calls itself once per level


def parse(text: str, *, name: str) -> tuple[dict[str, Any], dict[str, int]]:
    """Return the values of a YAML mapping and the line (from 1) of each dotted key.

    Raises `ConfigError` that names `name` and the line.
    """
    try:
        _refuse_dangers(text, name)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        raise _malformed(error, name) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: {error}", hint="correct the file, then try again") from None
    if node is None:
        return {}, {}
    lines: dict[str, int] = {}
    values = _build(node, "", lines, name)
    if not isinstance(values, dict):
        raise ConfigError(
            f"{name}:1: the file must hold keys and values",
            hint="start it with `name: my-model`; `hieno init` writes an example",
        )
    return values, lines


def scalar(text: str) -> Any:
    """Read one value as YAML reads it: `3` is a number, `true` a truth value, the rest is text."""
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):  # ValueError: the 13th month
        return text
    return text if isinstance(value, dict) else value


def _refuse_dangers(text: str, name: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ConfigError(
                f"{name}:{_line(event.start_mark)}: the values are nested too deep",
                hint="no key needs more than three levels",
            )
        anchored = getattr(event, "anchor", None)
        tagged = getattr(event, "tag", None)
        if anchored or (tagged and tagged != "!"):
            what = "anchors and aliases" if anchored else f"the tag {tagged}"
            raise ConfigError(
                f"{name}:{_line(event.start_mark)}: {what} cannot be used here",
                hint="write the value out in full",
            )


def _build(node: yaml.Node, prefix: str, lines: dict[str, int], name: str) -> Any:
    if isinstance(node, yaml.MappingNode):
        made: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            line = key_node.start_mark.line + 1
            if key in made:
                raise ConfigError(
                    f"{name}:{line}: the key '{prefix}{key}' stands here a second time",
                    hint="keep one of the two",
                )
            lines[prefix + key] = line
            try:
                made[key] = _build(value_node, f"{prefix}{key}.", lines, name)
            except ValueError as error:  # a number or a date that cannot be
                raise ConfigError(
                    f"{name}:{line}: '{prefix}{key}': {error}",
                    hint="put quotes around it if it is text",
                ) from None
        return made
    if isinstance(node, yaml.SequenceNode):
        return [_build(item, prefix, lines, name) for item in node.value]
    try:
        return yaml.SafeLoader("").construct_object(node)
    except yaml.constructor.ConstructorError:  # a lone `=` or `<<` is more than text to YAML
        return node.value


def _malformed(error: yaml.MarkedYAMLError, name: str) -> ConfigError:
    return ConfigError(
        f"{name}:{_line(error.problem_mark or error.context_mark)}: "
        f"{error.problem or error.context}",
        hint="indent with spaces, and write `key: value`",
    )


def _line(mark: Any) -> int:
    return 1 if mark is None else int(mark.line) + 1
