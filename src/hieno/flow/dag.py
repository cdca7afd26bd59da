"""A `flow.dag.yaml` as it stands: its inputs, outputs and nodes, and which are the chat's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # YAML

from hieno.errors import ConfigError


@dataclass(frozen=True)
class Dag:
    """A flow as it was written; promptflow itself checks it further."""

    path: Path
    inputs: Mapping[str, Mapping[str, Any]]
    outputs: Mapping[str, Mapping[str, Any]]
    nodes: tuple[Mapping[str, Any], ...]

    @property
    def question(self) -> str | None:
        """Return the input that is the user's question, or None where none is marked."""
        return _marked(self.inputs, "is_chat_input")

    @property
    def history(self) -> str | None:
        """Return the input that is the conversation so far, or None."""
        return _marked(self.inputs, "is_chat_history")

    @property
    def answer(self) -> str | None:
        """Return the output that is the answer, or None where none is marked."""
        return _marked(self.outputs, "is_chat_output")


def read(path: Path) -> Dag:
    """Read a flow's YAML; raise `ConfigError` with the place where it cannot be one."""
    import yaml

    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ConfigError(f"{place}: {error.problem}", hint="mend the YAML there") from None
    except RecursionError:
        raise ConfigError(f"{path} is nested too deeply", hint="mend the file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {error}", hint="mend the file") from None
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{path} is not a mapping of YAML", hint="it begins with `inputs:`")
    return Dag(
        path,
        _section(path, raw, "inputs"),
        _section(path, raw, "outputs"),
        _nodes(path, raw.get("nodes")),
    )


def _marked(fields: Mapping[str, Mapping[str, Any]], mark: str) -> str | None:
    return next((name for name, field in fields.items() if field.get(mark) is True), None)


def _section(path: Path, raw: Mapping[str, Any], key: str) -> dict[str, Mapping[str, Any]]:
    section = raw.get(key) or {}
    if not isinstance(section, Mapping) or not all(
        isinstance(name, str) and isinstance(field, Mapping) for name, field in section.items()
    ):
        raise ConfigError(
            f"{path}: {key} is not a mapping of names", hint=f"write `{key}:` and `name: {{...}}`"
        )
    return dict(section)


def _nodes(path: Path, nodes: object) -> tuple[Mapping[str, Any], ...]:
    if not isinstance(nodes, list) or not all(
        isinstance(node, Mapping) and isinstance(node.get("name"), str) for node in nodes
    ):
        raise ConfigError(f"{path}: nodes is not a list of named nodes", hint="write `- name: ...`")
    return tuple(nodes)
