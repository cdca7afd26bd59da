"""How a principal signs in: with a secret, a device code, a refresh token, or as a compute node."""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any  # Any: claims are JSON
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulator.entra import LIFETIME, MANAGEMENT, Principal

if TYPE_CHECKING:
    from emulator.cloud import Cloud

HOST = "login.microsoftonline.com"

_ABOUT_USER = ("openid", "profile", "offline_access")
_PAGE = "https://microsoft.com/devicelogin"
_MESSAGE = f"To sign in, open {_PAGE} and enter the code EMULATED to authenticate."


def routes(cloud: Cloud) -> list[Route]:
    """Return the routes of the sign-in service."""
    base = f"https://{HOST}/{cloud.settings.tenant}"
    codes: set[str] = set()

    def instance(request: Request) -> Response:
        names = {"preferred_network": HOST, "preferred_cache": "login.windows.net"}
        known = [{**names, "aliases": [HOST, "login.windows.net"]}]
        discovery = f"{base}/v2.0/.well-known/openid-configuration"
        return JSONResponse({"tenant_discovery_endpoint": discovery, "metadata": known})

    def configuration(request: Request) -> Response:
        return JSONResponse(
            {
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
                "issuer": f"{base}/v2.0",
                "jwks_uri": f"{base}/discovery/v2.0/keys",
                "tenant_region_scope": "NA",
                "cloud_instance_name": "microsoftonline.com",
            }
        )

    def keys(request: Request) -> Response:
        return JSONResponse({"keys": []})

    def device_code(request: Request) -> Response:
        code = secrets.token_hex(16)
        codes.add(code)
        answer = {"device_code": code, "user_code": "EMULATED", "message": _MESSAGE}
        return JSONResponse({**answer, "verification_uri": _PAGE, "expires_in": 900, "interval": 1})

    async def token(request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        if form.get("grant_type") == "client_credentials":
            return _for_secret(cloud, form)
        if form.get("device_code") in codes or form.get("refresh_token"):
            codes.discard(form.get("device_code", ""))
            return JSONResponse(_for_user(cloud, form, f"{base}/v2.0"))
        return _refused("invalid_grant", "AADSTS70008: The code is expired or unknown.", 400)

    return [
        Route("/common/discovery/instance", instance),
        Route("/{tenant}/v2.0/.well-known/openid-configuration", configuration),
        Route("/{tenant}/discovery/v2.0/keys", keys),
        Route("/{tenant}/oauth2/v2.0/devicecode", device_code, methods=["POST"]),
        Route("/{tenant}/oauth2/v2.0/token", token, methods=["POST"]),
    ]


def node_routes(cloud: Cloud) -> list[Route]:
    """Return the route at which a compute node asks for its managed identity's token."""

    def token(request: Request) -> Response:
        principal = cloud.entra.node_principal(request.headers.get("secret", ""))
        wanted = request.query_params.get("clientid")
        if principal is None or wanted not in (None, principal.client):
            return JSONResponse({"error": "invalid_request"}, 400)
        audience = request.query_params.get("resource", MANAGEMENT[0])
        granted = cloud.entra.token(principal, audience)
        expires = str(int(time.time()) + LIFETIME)
        return JSONResponse({"access_token": granted, "expires_on": expires})

    return [Route("/msi/token", token)]


def _for_secret(cloud: Cloud, form: Mapping[str, str]) -> Response:
    client = form.get("client_id", "")
    principal = cloud.entra.find(client)
    if principal is None:
        message = f"AADSTS700016: Application with identifier '{client}' was not found."
        return _refused("unauthorized_client", message, 400)
    if form.get("client_secret") != cloud.settings.secret:
        message = "AADSTS7000215: Invalid client secret provided."
        return _refused("invalid_client", message, 401)
    return JSONResponse(_bearer(cloud, principal, form))


def _for_user(cloud: Cloud, form: Mapping[str, str], issuer: str) -> dict[str, Any]:
    person, now = cloud.entra.person, int(time.time())
    about = {
        "aud": form.get("client_id", ""),
        "iss": issuer,
        "iat": now,
        "exp": now + LIFETIME,
        "sub": person.id,
        "oid": person.id,
        "tid": cloud.settings.tenant,
        "preferred_username": "person@emulated.example",
    }
    info = json.dumps({"uid": person.id, "utid": cloud.settings.tenant}).encode()
    return {
        **_bearer(cloud, person, form),
        "scope": form.get("scope", ""),
        "refresh_token": secrets.token_hex(16),
        "id_token": cloud.entra.sign(about),
        "client_info": base64.urlsafe_b64encode(info).decode().rstrip("="),
    }


def _bearer(cloud: Cloud, principal: Principal, form: Mapping[str, str]) -> dict[str, Any]:
    scopes = [one for one in form.get("scope", "").split() if one not in _ABOUT_USER]
    audience = scopes[0].rsplit("/", 1)[0] if scopes else MANAGEMENT[0]
    return {
        "token_type": "Bearer",
        "expires_in": LIFETIME,
        "ext_expires_in": LIFETIME,
        "access_token": cloud.entra.token(principal, audience),
    }


def _refused(error: str, description: str, status: int) -> Response:
    return JSONResponse({"error": error, "error_description": description}, status)
