"""The management plane through the proxy and over TLS, as one caller sees it."""

from __future__ import annotations

from typing import Any, Self

import httpx

from emulator.cloud import Cloud
from emulator.entra import MANAGEMENT, Principal

VERSION = "2025-12-01"  # an API version, where it does not matter which

# one resource of each kind of behaviour: removed at once, with a state, with a soft delete
REGISTRY = "Microsoft.ContainerRegistry/registries/registry1"
VAULT = "Microsoft.KeyVault/vaults/vault-1"
IDENTITY = "Microsoft.ManagedIdentity/userAssignedIdentities/me"


class Plane:
    """A client of one cloud. Paths may be relative to the providers of its resource group."""

    def __init__(self, cloud: Cloud, caller: Principal | None = None) -> None:
        self.cloud = cloud
        self.group = f"{cloud.subscription}/resourceGroups/rg"
        token = cloud.entra.token(caller or cloud.entra.person, MANAGEMENT[0])
        self._http = httpx.Client(
            base_url="https://management.azure.com",
            proxy=f"http://127.0.0.1:{cloud.proxy_port}",
            verify=cloud.certificates.trust(),
            headers={"Authorization": f"Bearer {token}"},
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def id(self, path: str) -> str:
        """Return a whole path."""
        return path if path.startswith("/") else f"{self.group}/providers/{path}"

    def send(self, method: str, path: str, body: Any = None, **query: str) -> httpx.Response:
        """Send one call."""
        whole = {"api-version": VERSION, **query}
        return self._http.request(method, self.id(path), json=body, params=whole)

    def put(self, path: str, **body: Any) -> dict[str, Any]:
        """Make something, whatever time it takes; return what it is at the end."""
        answer = self.send("PUT", path, {"location": "eastus2", **body})
        assert answer.status_code in (200, 201), answer.text
        self.finish(answer)
        return self.get(path)

    def make_group(self) -> None:
        """Make the resource group."""
        self.put(self.group)

    def get(self, path: str) -> dict[str, Any]:
        """Return a resource."""
        answer = self.send("GET", path)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def names(self, collection: str, **query: str) -> list[str]:
        """Return the names in a list."""
        answer = self.send("GET", collection, **query)
        assert answer.status_code == 200, answer.text
        return sorted(one["name"] for one in answer.json()["value"])

    def finish(self, answer: httpx.Response) -> dict[str, Any]:
        """Poll a long operation to its end; return its last status."""
        address = answer.headers.get("azure-asyncoperation")
        while address:
            status = dict(self._http.get(address).json())
            if status["status"] != "InProgress":
                return status
        return {"status": "Succeeded"}

    def role(self, principal: str, definition: str, name: str, scope: str = "") -> httpx.Response:
        """Assign a role."""
        definitions = f"{self.cloud.subscription}/providers/Microsoft.Authorization/roleDefinitions"
        path = f"{scope or self.group}/providers/Microsoft.Authorization/roleAssignments/{name}"
        properties = {"principalId": principal, "roleDefinitionId": f"{definitions}/{definition}"}
        return self.send("PUT", path, {"properties": properties})


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """Return a refusal's status and code; the header says the same code."""
    code = answer.json()["error"]["code"]
    assert answer.headers["x-ms-error-code"] == code
    return answer.status_code, code
