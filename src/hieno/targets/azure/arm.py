"""Azure's management API: its own clients where there is one, and plain requests for the rest."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self  # Any: JSON documents of Azure

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.mgmt.monitor import MonitorManagementClient
    from azure.mgmt.quota import QuotaMgmtClient
    from azure.mgmt.resource.deployments import DeploymentsMgmtClient
    from azure.mgmt.resource.deploymentstacks import DeploymentStacksClient
    from azure.mgmt.resource.resources import ResourceManagementClient

ENDPOINT = "https://management.azure.com"
NOBODY = "00000000-0000-0000-0000-000000000000"


@contextmanager
def _unheard() -> Iterator[None]:
    """Keep warnings about the source of Azure's clients (invalid escapes) from the user."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Arm:
    """The management API for one account and subscription; close it after use."""

    def __init__(self, credential: TokenCredential, subscription: str = NOBODY) -> None:
        self.subscription = subscription
        self._credential = credential
        self._open: list[Any] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for client in self._open:
            client.close()

    @cached_property
    def resources(self) -> ResourceManagementClient:
        with _unheard():
            from azure.mgmt.resource.resources import ResourceManagementClient

        return self._opened(ResourceManagementClient)

    @cached_property
    def deployments(self) -> DeploymentsMgmtClient:
        with _unheard():
            from azure.mgmt.resource.deployments import DeploymentsMgmtClient

        return self._opened(DeploymentsMgmtClient)

    @cached_property
    def stacks(self) -> DeploymentStacksClient:
        with _unheard():
            from azure.mgmt.resource.deploymentstacks import DeploymentStacksClient

        return self._opened(DeploymentStacksClient)

    @cached_property
    def monitor(self) -> MonitorManagementClient:
        with _unheard():
            from azure.mgmt.monitor import MonitorManagementClient

        return self._opened(MonitorManagementClient)

    @cached_property
    def quotas(self) -> QuotaMgmtClient:
        with _unheard():
            from azure.mgmt.quota import QuotaMgmtClient

        return self._opened(QuotaMgmtClient)

    def get(self, path: str, version: str, **query: str) -> dict[str, Any]:
        """Return one document; raises `ResourceNotFoundError` where there is none.

        Every `query` is one of OData's, such as filter, which are written with a dollar sign.
        """
        return self._send("GET", path, version, query)

    def find(self, path: str, version: str, **query: str) -> dict[str, Any] | None:
        """Return one document, or None where there is none."""
        from azure.core.exceptions import ResourceNotFoundError

        try:
            return self.get(path, version, **query)
        except ResourceNotFoundError:
            return None

    def list(self, path: str, version: str, **query: str) -> list[dict[str, Any]]:
        """Return all pages of a list."""
        page = self.get(path, version, **query)
        found = list(page["value"])
        while link := page.get("nextLink"):
            page = self._answer("GET", link)
            found += page["value"]
        return found

    def post(self, path: str, version: str, body: Any = None) -> dict[str, Any]:
        """Ask for an action and return what it answers."""
        return self._send("POST", path, version, {}, body)

    def put(self, path: str, version: str, body: Any) -> dict[str, Any]:
        """Make something that is there at once."""
        return self._send("PUT", path, version, {}, body)

    def remove(self, resource_id: str, version: str, **query: str) -> None:
        """Remove something and wait until it is gone; what is not there is no mistake."""
        from azure.core.exceptions import ResourceNotFoundError

        try:
            self.resources.resources.begin_delete_by_id(
                resource_id, api_version=version, params=query
            ).result()
        except ResourceNotFoundError:
            return

    def _opened(self, kind: Any) -> Any:
        client = kind(self._credential, self.subscription)
        self._open.append(client)
        return client

    def _send(
        self, method: str, path: str, version: str, query: dict[str, str], body: Any = None
    ) -> dict[str, Any]:
        asked = {"api-version": version, **{f"${key}": value for key, value in query.items()}}
        return self._answer(method, f"{ENDPOINT}{path}", params=asked, json=body)

    def _answer(self, method: str, url: str, **request: Any) -> dict[str, Any]:
        from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
        from azure.core.rest import HttpRequest

        answer = self.resources.send_request(HttpRequest(method, url, **request))
        if answer.status_code == 404:
            raise ResourceNotFoundError(response=answer)
        if answer.status_code >= 400:
            raise HttpResponseError(response=answer)
        return dict(answer.json()) if answer.content else {}
