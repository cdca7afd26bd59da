"""What clouds there are: clients ask before they sign in."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

_PUBLIC = {
    "name": "AzureCloud",
    "portal": "https://portal.azure.com",
    "authentication": {
        "loginEndpoint": "https://login.microsoftonline.com",
        "audiences": ["https://management.core.windows.net/", "https://management.azure.com/"],
        "tenant": "common",
        "identityProvider": "AAD",
    },
    "resourceManager": "https://management.azure.com/",
    "graph": "https://graph.microsoft.com/",
    "graphAudience": "https://graph.microsoft.com/",
    "suffixes": {
        "storage": "core.windows.net",
        "keyVaultDns": "vault.azure.net",
        "acrLoginServer": "azurecr.io",
    },
}


def routes() -> list[Route]:
    """Return the route that lists the public cloud, and no other."""
    return [Route("/metadata/endpoints", _listed)]


def _listed(request: Request) -> Response:
    return JSONResponse([_PUBLIC])
