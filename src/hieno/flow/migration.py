"""Turn a prompt flow of ours, generated or imported, into an agent project that answers alike."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # a node's inputs are YAML

from hieno.errors import UsageError
from hieno.flow import chat_project, dag, faults, scaffold
from hieno.flow.chat_project import Chat
from hieno.flow.dag import Dag
from hieno.flow.frameworks import AGENTS, PROMPTFLOW, entry
from hieno.flow.scaffold import GENERATED, Scaffold

_SETTINGS = ("system", "max_new_tokens", "temperature", "history_turns")
_OURS = {"question", "chat_history", *_SETTINGS}
_MAPPED = {"requirements.txt", "README.md", GENERATED}


@dataclass(frozen=True)
class Migration:
    """What was carried over into which files, and what a person has to look at."""

    chat: Chat
    scaffold: Scaffold
    unmapped: tuple[str, ...]


def migrate(folder: Path, target: Path, *, name: str) -> Migration:
    """Write an agent project into `target` that answers as the prompt flow in `folder` does.

    Raises `UsageError` for a flow without a chat node of ours.
    """
    framework, file = entry(folder)
    if framework is not PROMPTFLOW:
        raise UsageError(f"{folder} is an agent project already", hint="name the flow with --path")
    flow = dag.read(file)
    node = _chat_node(flow)
    chat = _chat(flow, node, folder, name)
    made = scaffold.write(target, chat_project.files(chat, AGENTS))
    return Migration(chat, made, tuple(_unmapped(flow, node, folder, chat)))


def _chat_node(flow: Dag) -> Mapping[str, Any]:
    for node in flow.nodes:
        inputs = node.get("inputs")
        if isinstance(inputs, Mapping) and inputs.get("question") == f"${{inputs.{flow.question}}}":
            return node
    raise UsageError(
        f"{flow.path} has no chat node of hieno's",
        hint=f"`hieno flow import {flow.path.parent}` makes one of a flow of the tutorial",
    )


def _chat(flow: Dag, node: Mapping[str, Any], folder: Path, name: str) -> Chat:
    inputs = node["inputs"]
    usual = Chat(name)
    code = faults.read_code(folder / str(node.get("source", {}).get("path", usual.file)))
    return Chat(
        name,
        question=flow.question or usual.question,
        answer=flow.answer or usual.answer,
        node=str(node["name"]),
        tool=faults.tool_name(code) or usual.tool,
        file=code.path.name,
        system=str(inputs.get("system") or ""),
        max_new_tokens=_number(flow, inputs, "max_new_tokens", usual.max_new_tokens, int),
        temperature=_number(flow, inputs, "temperature", usual.temperature, float),
        history_turns=_number(flow, inputs, "history_turns", usual.history_turns, int),
    )


def _number(flow: Dag, inputs: Mapping[str, Any], key: str, usual: Any, kind: type) -> Any:
    try:
        return kind(inputs.get(key, usual))
    except (TypeError, ValueError):
        raise UsageError(
            f"{flow.path}: the node's {key} is {inputs[key]!r}", hint="write a number there"
        ) from None


def _unmapped(flow: Dag, node: Mapping[str, Any], folder: Path, chat: Chat) -> Iterator[str]:
    expected = chat_project.files(chat, PROMPTFLOW)
    for other in flow.nodes:
        if other is not node:
            yield f"{flow.path.name}: the node '{other['name']}' ({other.get('type', '?')})"
    for key in flow.inputs:
        if key not in (flow.question, flow.history):
            yield f"{flow.path.name}: the input '{key}'"
    for key in flow.outputs:
        if key != flow.answer:
            yield f"{flow.path.name}: the output '{key}'"
    for key in node["inputs"]:
        if key not in _OURS:
            yield f"{flow.path.name}: the input '{key}' of the node '{node['name']}'"
    yield from _changed_code(folder / chat.file, expected[chat.file])
    for line in _added(folder / "requirements.txt", expected["requirements.txt"]):
        yield f"requirements.txt: {line}"
    known = {*expected, *_MAPPED, flow.path.name}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        hidden = any(part.startswith((".", "__pycache__")) for part in inside.parts)
        if path.is_file() and not hidden and inside.as_posix() not in known:
            yield f"the file {inside.as_posix()}"


def _changed_code(path: Path, expected: bytes) -> Iterator[str]:
    if not path.is_file():
        return
    there, ours = (text.splitlines() for text in (path.read_text("utf-8"), expected.decode()))
    for tag, _, _, start, end in difflib.SequenceMatcher(None, ours, there).get_opcodes():
        if tag in ("insert", "replace"):
            yield f"{path.name}:{start + 1}: your code, {end - start} lines"
        elif tag == "delete":
            yield f"{path.name}:{start + 1}: what you took out"


def _added(path: Path, expected: bytes) -> list[str]:
    there = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    ours = set(expected.decode().splitlines())
    return [line for line in there if line.strip() and line not in ours]
