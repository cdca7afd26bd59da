"""Role assignments, and whether somebody may do something.

Enforced: who may assign roles, who may write and read resources, and, for the services that ask
`permits`, who may pull images and read blobs. Not pretended: deny assignments, conditions, groups.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any  # Any: JSON

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulator.arm.builtin_roles import ROLES, Role, find_role
from emulator.arm.calls import Call, route
from emulator.arm.errors import ArmError, not_found
from emulator.arm.ids import ResourceId
from emulator.arm.kinds import Kind
from emulator.arm.resources import Resource, now
from emulator.entra import Principal, object_id

if TYPE_CHECKING:
    from emulator.cloud import Cloud

_AUTHORIZATION = "/providers/microsoft.authorization"


class Roles:
    """Who may do what. The assignments themselves are resources like any other."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def grant(self, principal: Principal, role: str, scope: str) -> None:
        """Assign a role by its name; what the run begins with."""
        definition = next(one for one in ROLES if one.name == role)
        name = object_id(f"{principal.id}:{role}:{scope}")
        id = ResourceId(f"{scope}/providers/Microsoft.Authorization/roleAssignments/{name}")
        properties = {
            "principalId": principal.id,
            "principalType": principal.type,
            "roleDefinitionId": self._definition_id(definition),
            "scope": scope,
        }
        body = {"id": id.text, "name": name, "type": id.type, "properties": properties}
        self._cloud.resources.put(Resource(id, body))

    def permits(self, principal_id: str, action: str, scope: str) -> bool:
        """Tell whether a principal may do `action` on `scope`.

        A planned `late-role` hides an assignment, as while it is not yet known everywhere: of
        whomever, or of one principal (at=PRINCIPAL/ROLE).
        """
        found = self._cloud.entra.find(principal_id)
        who = found.name if found else principal_id
        for assignment in self.assignments(scope):
            properties = assignment.properties
            role = find_role(properties["roleDefinitionId"])
            if properties["principalId"] != principal_id or role is None or not role.allows(action):
                continue
            if not self._cloud.faults.take("late-role", f"{who}/{role.name}"):
                return True
        return False

    def require(self, principal: Principal, action: str, scope: str) -> None:
        """Raise 403, as Azure words it, unless the principal may do this."""
        if not self.permits(principal.id, action, scope):
            raise ArmError(
                403,
                "AuthorizationFailed",
                f"The client '{principal.name}' with object id '{principal.id}' does not have"
                f" authorization to perform action '{action}' over scope '{scope}' or the scope is"
                " invalid. If access was recently granted, please refresh your credentials.",
            )

    def assignments(self, scope: str) -> list[Resource]:
        """Return the assignments that hold at a scope: those made on it and above it."""
        key = scope.lower().rstrip("/")
        return [
            one
            for one in self._cloud.resources.of_type(KIND.type)
            if f"{key}/".startswith(one.id.scope.lower() + "/")
        ]

    def routes(self) -> list[Route]:
        """Return the routes that list assignments, definitions and the caller's permissions."""
        listed = "GET"
        return [
            route(listed, f"/{{scope:path}}{_AUTHORIZATION}/roleassignments", self._list),
            route(listed, f"/{{scope:path}}{_AUTHORIZATION}/roledefinitions", self._definitions),
            route(
                listed, f"/{{scope:path}}{_AUTHORIZATION}/roledefinitions/{{id}}", self._definition
            ),
            route(listed, f"/{{scope:path}}{_AUTHORIZATION}/permissions", self._permissions),
        ]

    def _list(self, call: Call) -> Response:
        wanted = call.query.get("$filter", "")
        scope = call.path.lower().split(_AUTHORIZATION)[0]
        found = self.assignments(scope)
        if "atscope()" not in wanted.lower():
            inside = self._cloud.resources.within(scope)
            found += [one for one in inside if one.id.type == KIND.type and one not in found]
        principal = re.search(r"(?:principalId eq|assignedTo\()\s*'([^']+)'", wanted)
        if principal:
            found = [one for one in found if one.properties["principalId"] == principal[1]]
        return JSONResponse({"value": [one.shown() for one in found]})

    def _definitions(self, call: Call) -> Response:
        name = re.search(r"roleName eq '([^']+)'", call.query.get("$filter", ""))
        found = [one for one in ROLES if not name or one.name == name[1]]
        return JSONResponse({"value": [self._shown(one) for one in found]})

    def _definition(self, call: Call) -> Response:
        role = find_role(call.path)
        if role is None:
            raise not_found(call.names["id"])
        return JSONResponse(self._shown(role))

    def _permissions(self, call: Call) -> Response:
        scope = call.path.lower().split(_AUTHORIZATION)[0]
        caller = call.caller.id if call.caller else ""
        held = [one for one in self.assignments(scope) if one.properties["principalId"] == caller]
        roles = [role for one in held if (role := find_role(one.properties["roleDefinitionId"]))]
        return JSONResponse({"value": [role.permission() for role in roles]})

    def _shown(self, role: Role) -> dict[str, Any]:
        return {
            "id": self._definition_id(role),
            "name": role.id,
            "type": "Microsoft.Authorization/roleDefinitions",
            "properties": {
                "roleName": role.name,
                "type": "BuiltInRole",
                "description": "",
                "assignableScopes": ["/"],
                "permissions": [role.permission()],
            },
        }

    def _definition_id(self, role: Role) -> str:
        base = f"{self._cloud.subscription}/providers/Microsoft.Authorization"
        return f"{base}/roleDefinitions/{role.id}"


def _fill(cloud: Cloud, resource: Resource, old: Resource | None) -> None:
    wanted = resource.properties
    if cloud.entra.find(wanted.get("principalId", "")) is None:
        message = (
            f"Principal {wanted.get('principalId')} does not exist in the directory. If you are"
            " creating this principal and then immediately assigning a role, this error might be"
            " related to a replication delay. In this case, set the role assignment principalType"
            " property to a value, such as ServicePrincipal, User, or Group."
        )
        raise ArmError(400, "PrincipalNotFound", message)
    if find_role(wanted["roleDefinitionId"]) is None:
        raise ArmError(400, "RoleDefinitionDoesNotExist", "The role definition does not exist.")
    for other in cloud.resources.of_type(KIND.type):
        if other.id.scope.lower() != resource.id.scope.lower():
            continue
        same = all(_same(other, resource, key) for key in ("principalId", "roleDefinitionId"))
        if other.id.key != resource.id.key and same:
            raise ArmError(409, "RoleAssignmentExists", "The role assignment already exists.")
        if other.id.key == resource.id.key and not same:
            message = (
                "Tenant ID, application ID, principal ID, and scope are not allowed to be updated."
            )
            raise ArmError(400, "RoleAssignmentUpdateNotPermitted", message)
    moment = now()
    resource.properties.setdefault("principalType", "ServicePrincipal")
    resource.properties.update(
        scope=resource.id.scope,
        createdOn=moment,
        updatedOn=moment,
        createdBy="caller",
        updatedBy="caller",
    )


def _same(one: Resource, other: Resource, key: str) -> bool:
    mine, its = str(one.properties[key]), str(other.properties[key])
    return mine.lower().rsplit("/", 1)[-1] == its.lower().rsplit("/", 1)[-1]


KIND = Kind("Microsoft.Authorization/roleAssignments", fill=_fill, has_state=False, stamped=False)
