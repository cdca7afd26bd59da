"""The calls of a run and the resources of its templates, each held against its type."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any  # Any: bodies are JSON

from emulator.arm.ids import ResourceId
from emulator.contract.allowed import ALLOWED
from emulator.contract.published import action_shape, resource_shape
from emulator.contract.shapes import Side, problems
from emulator.trace import Exchange

if TYPE_CHECKING:
    from emulator.cloud import Cloud

_ASIDE = (
    "/operationstatuses/",
    "/operationresults/",
    "/locations/",
    "/microsoft.resources/deployment",
)
_UNTYPED = ("/providers/microsoft.authorization/permissions", "/providers/microsoft.compute/")


@dataclass(frozen=True, order=True)
class Deviation:
    """One place in one kind of call where a body differs from what is published."""

    method: str
    type: str
    version: str
    side: str
    path: str
    problem: str

    def __str__(self) -> str:
        where = f"{self.method} {self.type}@{self.version}, {self.side}{self.path}"
        return f"{where} {self.problem}"


def deviations(cloud: Cloud) -> list[Deviation]:
    """Return every deviation once, without those that are allowed. Nothing where no types are."""
    found = {one for exchange in cloud.trace.read() for one in check_exchange(exchange)}
    for one in list(cloud.templated):
        sent = {**one.sent, "name": one.id.name}
        found |= set(_check("TEMPLATE", one.id.type, one.version, "request", sent))
        found |= set(_check("TEMPLATE", one.id.type, one.version, "answer", one.made))
    return sorted(one for one in found if not _allowed(one))


def checked(cloud: Cloud) -> int:
    """Return how many calls had a published type to be held against."""
    return sum(_is_typed(exchange) for exchange in cloud.trace.read())


def check_exchange(exchange: Exchange) -> Iterator[Deviation]:
    """Yield the deviations of one call."""
    if not _is_typed(exchange):
        return
    version = exchange.query.get("api-version", "")
    id = ResourceId(exchange.path)
    if exchange.method == "POST":
        yield from _check_action(exchange, version)
        return
    if exchange.method == "PUT":
        sent = {**(exchange.sent or {}), "name": id.name}
        yield from _check("PUT", id.type, version, "request", sent)
    answer = exchange.answered
    if not isinstance(answer, dict):
        return
    members = answer["value"] if _is_list(answer) else [answer]
    for one in members:
        yield from _check(exchange.method, id.type, version, "answer", one)


def _check_action(exchange: Exchange, version: str) -> Iterator[Deviation]:
    subject, _, action = exchange.path.rpartition("/")
    type = ResourceId(subject).type
    found = action_shape(type, action, version)
    if found is None:
        return
    shape, of = found
    sides: tuple[tuple[Side, str, Any], ...] = (
        ("request", "input", exchange.sent),
        ("answer", "output", exchange.answered),
    )
    for side, key, value in sides:
        if value is not None and shape.type.get(key):
            for path, problem in problems(shape.follow(shape.type[key]), value, side):
                yield Deviation("POST", f"{type}/{action}", of, side, path, problem)


def _check(method: str, type: str, version: str, side: Side, body: Any) -> Iterator[Deviation]:
    found = resource_shape(type, version)
    if found is None:
        return
    shape, of = found
    for path, problem in problems(shape, body, side):
        yield Deviation(method, type, of, side, path, problem)


def _is_typed(exchange: Exchange) -> bool:
    path = exchange.path.lower()
    if exchange.host != "management.azure.com" or not 200 <= exchange.status < 300:
        return False
    if exchange.fault or any(part in path for part in (*_ASIDE, *_UNTYPED)):
        return False
    return "/providers/" in path and exchange.method in ("GET", "PUT", "PATCH", "POST")


def _is_list(answer: dict[str, Any]) -> bool:
    return isinstance(answer.get("value"), list) and "properties" not in answer


def _allowed(deviation: Deviation) -> bool:
    return any(
        (one.type.lower(), one.side, one.path)
        == (deviation.type.lower(), deviation.side, deviation.path)
        for one in ALLOWED
    )
