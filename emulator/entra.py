"""Who calls: identities, and the tokens that prove them.

The tokens are signed with a secret of the run and are checked on every call, audience included. Not
proven here: real signatures, conditional access, consent, more than one tenant.
"""

from __future__ import annotations

import secrets
import time
import uuid
from dataclasses import dataclass, field
from typing import Any  # Any: claims are JSON

import jwt

from emulator.arm.errors import ArmError
from emulator.settings import Settings

MANAGEMENT = ("https://management.azure.com", "https://management.core.windows.net")
MACHINE_LEARNING = (*MANAGEMENT, "https://ml.azure.com")

LIFETIME = 3600

_AZURE_CLI = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"  # the public client that people sign in with


@dataclass(frozen=True)
class Principal:
    """Somebody who can be given roles."""

    id: str  # the object id, which role assignments name
    client: str  # the application's or managed identity's client id
    name: str
    type: str = "ServicePrincipal"


@dataclass
class Entra:
    """The tenant: its principals, and the key that signs its tokens."""

    settings: Settings
    _principals: dict[str, Principal] = field(default_factory=dict)
    _key: str = field(default_factory=lambda: secrets.token_hex(32))
    _nodes: dict[str, str] = field(default_factory=dict)  # a compute node's secret -> object id

    def __post_init__(self) -> None:
        self.person = Principal(object_id("person"), _AZURE_CLI, "person", "User")
        self.application = Principal(object_id("application"), self.settings.caller, "application")
        for principal in self.callers:
            self.add(principal)

    @property
    def callers(self) -> tuple[Principal, Principal]:
        """Who is there from the beginning: a person (CLI, device code), and what has a secret."""
        return self.person, self.application

    def add(self, principal: Principal) -> None:
        """Make a principal known; it can ask for tokens from now on."""
        self._principals[principal.id] = principal

    def remove(self, id: str) -> None:
        """Forget a principal; its tokens are no longer valid."""
        self._principals.pop(id, None)

    def find(self, id: str) -> Principal | None:
        """Return a principal by its object id or its client id."""
        by_client = (one for one in self._principals.values() if one.client == id)
        return self._principals.get(id) or next(by_client, None)

    def token(self, principal: Principal, audience: str, **claims: Any) -> str:
        """Return an access token that is valid for an hour."""
        now = int(time.time())
        return self.sign(
            {
                "aud": audience.rstrip("/"),
                "iss": f"https://sts.windows.net/{self.settings.tenant}/",
                "iat": now,
                "nbf": now - 60,
                "exp": now + LIFETIME,
                "tid": self.settings.tenant,
                "oid": principal.id,
                "sub": principal.id,
                "appid": principal.client,
                **_kind(principal),
                **claims,
            }
        )

    def verify(self, authorization: str, audiences: tuple[str, ...]) -> Principal:
        """Return whose token an Authorization header holds. Raises 401."""
        claims = self.claims(authorization, audiences)
        principal = self._principals.get(claims["oid"])
        if principal is None:
            raise _unauthorized("InvalidAuthenticationToken", "The principal does not exist.")
        return principal

    def claims(self, authorization: str, audiences: tuple[str, ...]) -> dict[str, Any]:
        """Return what the token of an Authorization header says. Raises 401."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise _unauthorized("AuthenticationFailed", "The 'Authorization' header is missing.")
        try:
            claims: dict[str, Any] = jwt.decode(
                token, self._key, ["HS256"], audience=list(audiences)
            )
        except jwt.ExpiredSignatureError:
            raise _unauthorized("ExpiredAuthenticationToken", "The token has expired.") from None
        except jwt.InvalidAudienceError:
            message = f"The access token is not for this audience; wanted is {audiences[0]}."
            raise _unauthorized("InvalidAuthenticationTokenAudience", message) from None
        except jwt.InvalidTokenError:
            raise _unauthorized("InvalidAuthenticationToken", "The token is invalid.") from None
        return claims

    def identity_environment(self, principal: Principal, plain_port: int) -> dict[str, str]:
        """Return what lets a process sign in as a managed identity, as on a compute node."""
        secret = secrets.token_hex(16)
        self._nodes[secret] = principal.id
        return {
            "MSI_ENDPOINT": f"http://127.0.0.1:{plain_port}/msi/token",
            "MSI_SECRET": secret,
            "DEFAULT_IDENTITY_CLIENT_ID": principal.client,
        }

    def node_principal(self, secret: str) -> Principal | None:
        """Return the managed identity of the compute node that knows this secret."""
        return self._principals.get(self._nodes.get(secret, ""))

    def sign(self, claims: dict[str, Any]) -> str:
        """Return signed claims."""
        return jwt.encode(claims, self._key, "HS256")


def object_id(seed: str) -> str:
    """Return the same made-up id for the same words."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"emulated:{seed.lower()}"))


def _kind(principal: Principal) -> dict[str, str]:
    person = {"idtyp": "user", "scp": "user_impersonation", "name": principal.name}
    return person if principal.type == "User" else {"idtyp": "app"}


def _unauthorized(code: str, message: str) -> ArmError:
    return ArmError(401, code, f"Authentication failed. {message}")
