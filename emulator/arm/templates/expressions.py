"""Expressions in brackets: `[format('{0}-{1}', parameters('name'), variables('suffix'))]`.

node = parse("concat('a', variables('b'))")
evaluate(node, call)       # call(name, arguments); arguments are computed when they are asked for
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any  # Any: values are JSON

from emulator.arm.errors import ArmError

Lazy = Callable[[], Any]
Caller = Callable[[str, Sequence[Lazy]], Any]

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>-?\d+)|(?P<name>[A-Za-z_]\w*)|(?P<sign>\.\?|[().,\[\]]))"
)


@dataclass(frozen=True)
class Literal:
    """A text or a number."""

    value: str | int


@dataclass(frozen=True)
class Invocation:
    """A function and its arguments."""

    name: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True)
class Access:
    """A member of an object or an element of an array; `safe` makes null of what is not there."""

    target: Node
    key: Node
    safe: bool = False


Node = Literal | Invocation | Access


def invalid(message: str) -> ArmError:
    """Say that a template cannot be understood."""
    return ArmError(400, "InvalidTemplate", f"Deployment template validation failed: {message}")


def is_expression(value: object) -> bool:
    """Tell whether a text is an expression; `[[` begins a text that merely looks like one."""
    return (
        isinstance(value, str) and value.startswith("[") and value.endswith("]") and value[1] != "["
    )


def parse(text: str) -> Node:
    """Read an expression, without its outer brackets. Raises 400."""
    parser = _Parser(text)
    node = parser.node()
    parser.end()
    return node


def evaluate(node: Node, call: Caller) -> Any:
    """Return an expression's value."""
    if isinstance(node, Literal):
        return node.value
    if isinstance(node, Invocation):
        return call(node.name.lower(), [_later(one, call) for one in node.arguments])
    target, key = evaluate(node.target, call), evaluate(node.key, call)
    return member(target, key, safe=node.safe)


def member(target: Any, key: Any, *, safe: bool = False) -> Any:
    """Return a member, its name compared without case. Raises 400 where there is none."""
    if isinstance(target, dict):
        for name, value in target.items():
            if name.lower() == str(key).lower():
                return value
    elif isinstance(target, (list, str)) and isinstance(key, int) and 0 <= key < len(target):
        return target[key]
    if safe:
        return None
    raise invalid(f"The language expression property '{key}' doesn't exist.")


def invocations(node: Node) -> Iterator[Invocation]:
    """Yield every function call in an expression."""
    if isinstance(node, Invocation):
        yield node
        for argument in node.arguments:
            yield from invocations(argument)
    elif isinstance(node, Access):
        yield from invocations(node.target)
        yield from invocations(node.key)


def _later(node: Node, call: Caller) -> Lazy:
    return lambda: evaluate(node, call)


class _Parser:
    """Recursive descent over the tokens."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(_tokens(text))
        self._at = 0

    def node(self) -> Node:
        kind, value = self._next()
        node: Node
        if kind == "text":
            node = Literal(value[1:-1].replace("''", "'"))
        elif kind == "number":
            node = Literal(int(value))
        elif kind == "name":
            node = Invocation(value, self._arguments())
        else:
            raise invalid(f"'{value}' is not expected in '{self._text}'.")
        return self._accesses(node)

    def end(self) -> None:
        if self._at < len(self._tokens):
            raise invalid(f"'{self._tokens[self._at][1]}' is not expected in '{self._text}'.")

    def _arguments(self) -> tuple[Node, ...]:
        self._expect("(")
        arguments: list[Node] = [] if self._peek() == ")" else [self.node()]
        while self._peek() == ",":
            self._at += 1
            arguments.append(self.node())
        self._expect(")")
        return tuple(arguments)

    def _accesses(self, node: Node) -> Node:
        while (sign := self._peek()) in (".", ".?", "["):
            self._at += 1
            if sign == "[":
                node = Access(node, self.node())
                self._expect("]")
            else:
                node = Access(node, Literal(self._next()[1]), safe=sign == ".?")
        return node

    def _peek(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def _next(self) -> tuple[str, str]:
        if self._at >= len(self._tokens):
            raise invalid(f"The expression '{self._text}' ends too early.")
        self._at += 1
        return self._tokens[self._at - 1]

    def _expect(self, sign: str) -> None:
        if self._peek() != sign:
            raise invalid(f"'{sign}' is expected in '{self._text}'.")
        self._at += 1


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    position = 0
    while position < len(text.rstrip()):
        found = _TOKEN.match(text, position)
        if found is None or found.lastgroup is None:
            raise invalid(f"'{text[position:]}' cannot be read in '{text}'.")
        yield found.lastgroup, found[found.lastgroup]
        position = found.end()
