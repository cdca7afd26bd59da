"""Where expressions are evaluated: parameters, variables, and what exists already."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any  # Any: values are JSON

from emulator.arm.templates.expressions import (
    Lazy,
    evaluate,
    invalid,
    is_expression,
    member,
    parse,
)
from emulator.arm.templates.functions import apply_function


class Unresolved(Exception):
    """A reference to a resource that does not exist yet, as happens in a what-if."""


@dataclass(frozen=True)
class Scope:
    """What an expression can see."""

    group: str  # the id of the resource group
    tenant: str
    region: str
    parameters: Mapping[str, Any]
    variables: Mapping[str, Any]
    look_up: Callable[[str], dict[str, Any] | None]  # a resource's body by its id
    symbols: dict[str, str] = field(default_factory=dict)  # symbolic name -> resource id
    loops: Mapping[str, int] = field(default_factory=dict)  # copy loop -> the turn it is in

    def value(self, raw: Any) -> Any:
        """Return a value with every expression in it evaluated."""
        if isinstance(raw, str):
            if is_expression(raw):
                return evaluate(parse(raw[1:-1]), self.call)
            return raw[1:] if raw.startswith("[[") else raw
        if isinstance(raw, list):
            return [self.value(one) for one in raw]
        if isinstance(raw, dict):
            return {str(self.value(key)): self.value(one) for key, one in raw.items()}
        return raw

    def value_or_text(self, raw: Any) -> Any:
        """Return a value; an expression that cannot be known yet stays as it is written."""
        if isinstance(raw, dict):
            return {self.value_or_text(key): self.value_or_text(one) for key, one in raw.items()}
        if isinstance(raw, list):
            return [self.value_or_text(one) for one in raw]
        try:
            return self.value(raw)
        except Unresolved:
            return raw

    def in_loop(self, name: str, turn: int) -> Scope:
        """Return this scope in one turn of a copy loop."""
        return replace(self, loops={**self.loops, name.lower(): turn, "": turn})

    def call(self, name: str, arguments: Sequence[Lazy]) -> Any:
        """Return a function's value."""
        if name == "if":
            return arguments[1]() if arguments[0]() else arguments[2]()
        if name == "and":
            return all(one() for one in arguments)
        if name == "or":
            return any(one() for one in arguments)
        values = [one() for one in arguments]
        if name == "coalesce":
            return next((one for one in values if one is not None), None)
        own = getattr(self, f"_call_{name}", None)
        return own(*values) if own else apply_function(name, values)

    def _call_parameters(self, name: str) -> Any:
        return self.value(member(self.parameters, name))

    def _call_variables(self, name: str) -> Any:
        return self.value(member(self.variables, name))

    def _call_copyindex(self, *given: Any) -> int:
        name = next((one for one in given if isinstance(one, str)), "")
        offset = next((one for one in given if isinstance(one, int)), 0)
        if name.lower() not in self.loops:
            raise invalid("'copyIndex' is used outside of a copy loop.")
        return self.loops[name.lower()] + offset

    def _call_subscription(self) -> dict[str, str]:
        id = "/".join(self.group.split("/")[:3])
        return {"id": id, "subscriptionId": id.rsplit("/", 1)[1], "tenantId": self.tenant}

    def _call_resourcegroup(self) -> dict[str, str]:
        return {"id": self.group, "name": self.group.split("/")[4], "location": self.region}

    def _call_tenant(self) -> dict[str, str]:
        return {"tenantId": self.tenant}

    def _call_newguid(self) -> str:
        return str(uuid.uuid4())

    def _call_resourceid(self, *words: str) -> str:
        at = next((index for index, word in enumerate(words) if "/" in word), -1)
        if at < 0:
            raise invalid("'resourceId' needs a resource type.")
        subscription, group = self.group.split("/")[2], self.group.split("/")[4]
        if at == 1:
            (group,) = words[:1]
        elif at == 2:
            subscription, group = words[:2]
        scope = f"/subscriptions/{subscription}/resourceGroups/{group}"
        return scope + typed(words[at], words[at + 1 :])

    def _call_subscriptionresourceid(self, *words: str) -> str:
        at = 0 if "/" in words[0] else 1
        subscription = words[0] if at else self.group.split("/")[2]
        return f"/subscriptions/{subscription}{typed(words[at], words[at + 1 :])}"

    def _call_extensionresourceid(self, scope: str, type: str, *names: str) -> str:
        return scope + typed(type, names)

    def _call_tenantresourceid(self, type: str, *names: str) -> str:
        return typed(type, names)

    def _call_reference(self, target: str, version: str = "", full: str = "") -> Any:
        id = self.symbols.get(target.lower(), target)
        if not id.startswith("/"):
            raise invalid(f"The template resource '{target}' is not found.")
        found = self.look_up(id)
        if found is None:
            raise Unresolved(id)
        return found if "full" in (version.lower(), full.lower()) else found.get("properties", {})


def typed(type: str, names: Sequence[str]) -> str:
    """Return `/providers/Namespace/type/name/type/name`. Raises 400 where the counts differ."""
    namespace, *types = type.split("/")
    if len(types) != len(names):
        raise invalid(f"'{type}' has {len(types)} parts, but {len(names)} names are given.")
    pairs = (f"/{kind}/{name}" for kind, name in zip(types, names, strict=True))
    return f"/providers/{namespace}{''.join(pairs)}"
