"""What is wrong in a flow that was made by hand, found by reading and never by running."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any  # literals of the user's code

import yaml

from hieno.flow.dag import Dag

LARGEST = 1_000_000  # bytes of a file that is read


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong: where, what comes of it, and what the repaired flow does."""

    place: str  # file:line
    problem: str
    repair: str


@dataclass(frozen=True)
class Code:
    """What a Python file says, read from its syntax tree."""

    path: Path
    tree: ast.Module | None
    problem: str = ""
    line: int = 1
    texts: Mapping[str, tuple[str, int]] = field(default_factory=dict)  # constants: value, line

    def place(self, line: int) -> str:
        return f"{self.path.name}:{line}"


def read_code(path: Path) -> Code:
    """Parse a Python file; nothing of it is executed."""
    try:
        if path.stat().st_size > LARGEST:
            return Code(path, None, f"it is longer than {LARGEST:,} bytes")
        tree = ast.parse(path.read_bytes())
    except SyntaxError as error:
        return Code(path, None, f"it is no Python: {error.msg}", error.lineno or 1)
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        return Code(path, None, f"it cannot be read: {type(error).__name__}")
    return Code(path, tree, texts=dict(_texts(tree)))


def in_dag(dag: Dag) -> Iterator[Fault]:
    """Yield the faults of a flow's YAML."""
    lines, name = _Lines(dag.path), dag.path.name
    for key, given in dag.inputs.items():
        if isinstance(given.get("default"), str) and given["default"].strip():
            yield Fault(
                f"{name}:{lines.of('inputs', key, 'default')}",
                f"the input '{key}' has the default {given['default'][:60]!r}: a request without a "
                "question, or with a misspelt one, is answered as if it had asked that",
                "a question is required; its absence is an error",
            )
    if dag.question is None or dag.history is None or dag.answer is None:
        yield Fault(
            f"{name}:{lines.of('inputs')}",
            "no input or output is marked as the chat's (is_chat_input, is_chat_history, "
            "is_chat_output): there is no history, and every question stands alone",
            "the marks are there, and the last 8 turns are sent along",
        )


def in_node(code: Code) -> list[Fault]:
    """Return the faults of the code of a flow's node, in the order of its lines."""
    if code.tree is None:
        return [Fault(code.place(code.line), code.problem, "the node is written anew")]
    return sorted(_in_tree(code, code.tree), key=lambda fault: int(fault.place.rpartition(":")[2]))


def number(code: Code, key: str, kind: type) -> Any | None:
    """Return a number that a dictionary of the code holds under a key, or None."""
    for node in ast.walk(code.tree) if code.tree else ():
        if isinstance(node, ast.Dict):
            for name, value in zip(node.keys, node.values, strict=True):
                if isinstance(name, ast.Constant) and name.value == key:
                    found = value.value if isinstance(value, ast.Constant) else None
                    if isinstance(found, int | float) and not isinstance(found, bool):
                        return kind(found)
    return None


def imported(code: Code) -> Iterator[tuple[str, str, int]]:
    """Yield (module, name, line) of what the code imports by name from other modules."""
    for node in ast.walk(code.tree) if code.tree else ():
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for alias in node.names:
                yield node.module, alias.name, node.lineno


def bearers(code: Code) -> Iterator[tuple[str, int]]:
    """Yield (key, line) of every whole `Bearer KEY` in the code."""
    for node in ast.walk(code.tree) if code.tree else ():
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            kind, _, key = node.value.partition(" ")
            if kind == "Bearer" and len(key) >= 8 and " " not in key:
                yield key, node.lineno


def tool_name(code: Code) -> str | None:
    """Return the name of the function that is marked `@tool`."""
    for node in ast.walk(code.tree) if code.tree else ():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            marks = [
                mark.func if isinstance(mark, ast.Call) else mark for mark in node.decorator_list
            ]
            if any(isinstance(mark, ast.Name) and mark.id == "tool" for mark in marks):
                return node.name
    return None


def _in_tree(code: Code, tree: ast.Module) -> Iterator[Fault]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from _in_call(code, node)
        elif isinstance(node, ast.Dict):
            yield from _in_dict(code, node)
        elif isinstance(node, ast.Subscript) and _is_first_of_json(node):
            yield Fault(
                code.place(node.lineno),
                "the first element of the reply is taken unseen: an error ends as KeyError: 0",
                "a reply that is not a list with one text is an error that says so",
            )
        elif isinstance(node, ast.arg) and _is_plain_list(node):
            yield Fault(
                code.place(node.lineno),
                f"'{node.arg}' is declared a list and given a text, which goes on as it is: "
                "without roles the model's chat template is never applied",
                "the endpoint gets messages with roles",
            )
    if _posts(tree) and not _mentions(tree, "text/event-stream"):
        yield Fault(
            code.place(1), "the answer comes whole, after its last word", "the answer is streamed"
        )


def _in_call(code: Code, call: ast.Call) -> Iterator[Fault]:
    called = ast.unparse(call.func)
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    if called.startswith(("requests.", "httpx.")) and called.endswith((".post", ".get")):
        if "timeout" not in given:
            yield Fault(
                code.place(call.lineno),
                f"{called} has no timeout: an endpoint that hangs hangs the flow",
                "5 seconds to connect, 180 for the next piece of the answer",
            )
        yield Fault(
            code.place(call.lineno),
            "a busy or starting endpoint (429, 503) fails the flow at once",
            "it is asked again for up to a minute, and never once an answer has begun",
        )
    if called == "logging.basicConfig" and "DEBUG" in ast.unparse(given.get("level") or ast.Pass()):
        yield Fault(
            code.place(call.lineno),
            "every library logs at DEBUG, with a line for each request",
            "the node logs nothing; promptflow logs errors",
        )
    if called.endswith("set_event_loop_policy"):
        yield Fault(
            code.place(call.lineno),
            "an event loop policy is set, and the node uses no event loop",
            "it is gone",
        )


def _in_dict(code: Code, node: ast.Dict) -> Iterator[Fault]:
    for name, value in zip(node.keys, node.values, strict=True):
        is_key = isinstance(name, ast.Constant) and name.value == "return_full_text"
        if is_key and isinstance(value, ast.Constant) and value.value is True:
            yield Fault(
                code.place(value.lineno),
                "return_full_text is True: every answer begins with the question",
                "the answer alone is returned",
            )


def _is_first_of_json(node: ast.Subscript) -> bool:
    value, index = node.value, node.slice
    return (
        isinstance(index, ast.Constant)
        and index.value == 0
        and isinstance(value, ast.Call)
        and isinstance(value.func, ast.Attribute)
        and value.func.attr == "json"
    )


def _is_plain_list(node: ast.arg) -> bool:
    return isinstance(node.annotation, ast.Name) and node.annotation.id in ("list", "List")


def _posts(tree: ast.Module) -> bool:
    return any(
        isinstance(node, ast.Attribute) and node.attr in ("post", "urlopen")
        for node in ast.walk(tree)
    )


def _mentions(tree: ast.Module, text: str) -> bool:
    return any(
        isinstance(node, ast.Constant) and isinstance(node.value, str) and text in node.value
        for node in ast.walk(tree)
    )


def _texts(tree: ast.Module) -> Iterator[tuple[str, tuple[str, int]]]:
    for node in tree.body:
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets = [node.target]
        value = getattr(node, "value", None)
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            for target in targets:
                if isinstance(target, ast.Name):
                    yield target.id, (value.value, node.lineno)


class _Lines:
    """On which line a key of a YAML file stands."""

    def __init__(self, path: Path) -> None:
        self._root = yaml.compose(path.read_text(encoding="utf-8-sig"), yaml.SafeLoader)

    def of(self, *keys: str) -> int:
        node, line = self._root, 1
        for key in keys:
            pairs = node.value if isinstance(node, yaml.MappingNode) else []
            found = next((pair for pair in pairs if pair[0].value == key), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        return line
