"""Whether a name may be used that has to be unique in all of Azure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulator.arm import retention
from emulator.arm.calls import Call, route
from emulator.arm.ids import ResourceId

if TYPE_CHECKING:
    from emulator.cloud import Cloud

# type -> what a name looks like, and the word for a name that is taken
_RULES: Mapping[str, tuple[str, str]] = {
    "Microsoft.Storage/storageAccounts": (r"[a-z0-9]{3,24}", "AlreadyExists"),
    "Microsoft.ContainerRegistry/registries": (r"[A-Za-z0-9]{5,50}", "AlreadyExists"),
    "Microsoft.KeyVault/vaults": (r"[A-Za-z](?:-?[A-Za-z0-9]){2,23}", "AlreadyExists"),
}


def routes(cloud: Cloud) -> list[Route]:
    """Return the routes of `checkNameAvailability` of each service that has one."""

    def check(call: Call) -> Response:
        kind = next(one for one in _RULES if one.lower() == str(call.body.get("type")).lower())
        name = str(call.body.get("name"))
        pattern, word = _RULES[kind]
        if not re.fullmatch(pattern, name):
            return _answer("AccountNameInvalid", f"{name} is not a valid name for {kind}.")
        if _is_taken(cloud, kind, name):
            return _answer(word, f"The name {name} is already taken.")
        return JSONResponse({"nameAvailable": True})

    namespaces = {kind.split("/", 1)[0].lower() for kind in _RULES}
    return [
        route(
            "POST", f"/subscriptions/{{subscription}}/providers/{one}/checknameavailability", check
        )
        for one in sorted(namespaces)
    ]


def taken_elsewhere(cloud: Cloud, id: ResourceId) -> bool:
    """Tell whether somebody else in Azure holds a name that has to be unique."""
    return id.name.lower() in cloud.settings.taken_names


def _is_taken(cloud: Cloud, kind: str, name: str) -> bool:
    here = any(one.id.name.lower() == name.lower() for one in cloud.resources.of_type(kind))
    id = ResourceId(f"{cloud.subscription}/providers/{kind}/{name}")
    return here or taken_elsewhere(cloud, id) or retention.find(cloud, id) is not None


def _answer(reason: str, message: str) -> Response:
    return JSONResponse({"nameAvailable": False, "reason": reason, "message": message})
