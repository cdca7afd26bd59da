"""Sign in to Azure, and say who is signed in and to which subscription."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any  # Any: the claims of a token, and JSON of Azure

from hieno.config import Azure
from hieno.errors import AccessDenied, MissingInput, UserError
from hieno.targets.azure.failures import SIGN_IN, explained, reason

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

SCOPE = "https://management.azure.com/.default"
SECONDS = 60  # `az` starts slowly on a busy machine


@dataclass(frozen=True)
class Account:
    """Somebody who is signed in, and the subscription in which they work."""

    credential: TokenCredential
    subscription: str
    tenant: str
    principal: str  # object id: what roles are given to
    name: str
    is_person: bool

    @property
    def principal_type(self) -> str:
        return "User" if self.is_person else "ServicePrincipal"


def sign_in(settings: Azure) -> Account:
    """Sign in as the settings say; raises `AccessDenied` with the next thing to type."""
    if importlib.util.find_spec("azure.identity") is None:
        raise MissingInput("Azure's libraries are not installed", hint="pip install 'hieno[azure]'")
    credential = _credential(settings.sign_in)
    claims = _claims(_token(credential))
    person = claims.get("idtyp") != "app" and "scp" in claims
    return Account(
        credential=credential,
        subscription=_subscription(settings, credential),
        tenant=str(claims.get("tid", "")),
        principal=str(claims.get("oid", "")),
        name=str(claims.get("upn") or claims.get("unique_name") or claims.get("appid") or "?"),
        is_person=person,
    )


def _credential(way: str) -> TokenCredential:
    from azure import identity

    if way == "auto":
        way = _found()
    if way == "environment":
        return identity.EnvironmentCredential()
    if way == "managed-identity":
        return identity.ManagedIdentityCredential(client_id=os.environ.get("AZURE_CLIENT_ID"))
    if way == "device-code":
        return identity.DeviceCodeCredential(
            tenant_id=os.environ.get("AZURE_TENANT_ID"), prompt_callback=_show
        )
    return identity.AzureCliCredential(
        tenant_id=os.environ.get("AZURE_TENANT_ID", ""), process_timeout=SECONDS
    )


def _found() -> str:
    """Choose without asking around: a probe of a metadata server takes seconds elsewhere."""
    here = os.environ
    if "AZURE_CLIENT_ID" in here and any(
        name in here for name in ("AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH")
    ):
        return "environment"
    managed = ("IDENTITY_ENDPOINT", "MSI_ENDPOINT", "AZURE_FEDERATED_TOKEN_FILE")
    return "managed-identity" if any(name in here for name in managed) else "cli"


def _show(address: str, code: str, _until: object) -> None:
    sys.stderr.write(f"open {address} and type the code {code}\n")
    sys.stderr.flush()


def _token(credential: TokenCredential) -> str:
    from azure.core.exceptions import AzureError, ClientAuthenticationError

    try:
        return str(credential.get_token(SCOPE).token)
    except ClientAuthenticationError as error:
        raise AccessDenied(f"not signed in to Azure: {reason(error)}", hint=SIGN_IN) from None
    except AzureError as error:
        with explained("signing in"):
            raise error


def _claims(token: str) -> Mapping[str, Any]:
    """Read who a token is for; whether it is genuine is Azure's business."""
    try:
        body = token.split(".")[1]
        return dict(json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))))
    except (IndexError, ValueError):
        return {}


def _subscription(settings: Azure, credential: TokenCredential) -> str:
    brought = settings.bring.workspace
    named = settings.subscription or (brought.split("/")[2] if brought else None)
    if found := named or os.environ.get("AZURE_SUBSCRIPTION_ID"):
        return found.lower()
    enabled = [entry for entry in _subscriptions(credential) if entry.get("state") == "Enabled"]
    if len(enabled) == 1:
        return str(enabled[0]["subscriptionId"]).lower()
    if not enabled:
        raise UserError(
            "your account has no subscription that can be used",
            hint="set azure.subscription in hieno.yaml, or ask its owner for the role Reader on it",
        )
    listed = ", ".join(f"{entry['subscriptionId']} ({entry['displayName']})" for entry in enabled)
    raise UserError(
        f"which subscription? your account has {listed}",
        hint=f"`hieno azure plan --set azure.subscription={enabled[0]['subscriptionId']}`, or "
        "write azure.subscription into hieno.yaml",
    )


def _subscriptions(credential: TokenCredential) -> list[dict[str, Any]]:
    from hieno.targets.azure.arm import Arm

    with explained("looking for your subscriptions"), Arm(credential) as arm:
        return arm.list("/subscriptions", "2022-12-01")
