"""Signing in, by every way that Azure's own library knows, and what refuses."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest
from plane import IDENTITY, Plane, refusal

from emulator.cloud import Cloud
from emulator.entra import MANAGEMENT, Principal

SCOPE = "https://management.azure.com/.default"


def _claims(token: str) -> dict[str, Any]:
    return dict(jwt.decode(token, options={"verify_signature": False}))


@pytest.mark.usefixtures("sdk")
def test_a_secret_signs_an_application_in(cloud: Cloud) -> None:
    from azure.identity import EnvironmentCredential

    with EnvironmentCredential() as credential:
        claims = _claims(credential.get_token(SCOPE).token)
    assert (claims["oid"], claims["idtyp"]) == (cloud.entra.application.id, "app")


@pytest.mark.usefixtures("sdk")
def test_a_wrong_secret_is_told_in_entras_words(cloud: Cloud) -> None:
    from azure.core.exceptions import ClientAuthenticationError
    from azure.identity import ClientSecretCredential

    settings = cloud.settings
    with (
        ClientSecretCredential(settings.tenant, settings.caller, "wrong") as credential,
        pytest.raises(ClientAuthenticationError, match="AADSTS7000215"),
    ):
        credential.get_token(SCOPE)


@pytest.mark.usefixtures("sdk")
def test_the_command_line_signs_a_person_in(cloud: Cloud) -> None:
    from azure.identity import AzureCliCredential

    with AzureCliCredential() as credential:
        claims = _claims(credential.get_token(SCOPE).token)
    assert (claims["oid"], claims["scp"]) == (cloud.entra.person.id, "user_impersonation")


@pytest.mark.usefixtures("sdk")
def test_a_device_code_signs_a_person_in(cloud: Cloud) -> None:
    from azure.identity import DeviceCodeCredential

    shown: list[str] = []
    with DeviceCodeCredential(
        tenant_id=cloud.settings.tenant, prompt_callback=lambda *told: shown.append(told[1])
    ) as credential:
        claims = _claims(credential.get_token(SCOPE).token)
    assert (shown, claims["oid"]) == (["EMULATED"], cloud.entra.person.id)


def test_a_compute_node_signs_in_as_its_identity(
    plane: Plane, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    from azure.core.exceptions import ClientAuthenticationError
    from azure.identity import ManagedIdentityCredential

    made = plane.put(IDENTITY)["properties"]
    principal = cloud.entra.find(made["principalId"])
    assert principal is not None
    given = cloud.entra.identity_environment(principal, cloud.plain_port)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with ManagedIdentityCredential(client_id=made["clientId"]) as credential:
        assert _claims(credential.get_token(SCOPE).token)["oid"] == made["principalId"]
    monkeypatch.setenv("MSI_SECRET", "guessed")
    with (
        ManagedIdentityCredential(client_id=made["clientId"]) as credential,
        pytest.raises(ClientAuthenticationError),
    ):
        credential.get_token(SCOPE)


def _token(cloud: Cloud, **claims: Any) -> str:
    return cloud.entra.token(cloud.entra.person, MANAGEMENT[0], **claims)


def test_a_token_is_checked(plane: Plane, cloud: Cloud) -> None:
    stranger = Principal("none", "none", "none")
    other = jwt.encode({"aud": MANAGEMENT[0], "oid": cloud.entra.person.id}, "k" * 32, "HS256")
    tokens = {
        "Basic x": "AuthenticationFailed",
        "Bearer x": "InvalidAuthenticationToken",
        f"Bearer {other}": "InvalidAuthenticationToken",
        f"Bearer {_token(cloud, exp=int(time.time()) - 1)}": "ExpiredAuthenticationToken",
        f"Bearer {_token(cloud, aud='https://storage.azure.com')}": (
            "InvalidAuthenticationTokenAudience"
        ),
        f"Bearer {cloud.entra.token(stranger, MANAGEMENT[0])}": "InvalidAuthenticationToken",
    }
    for header, code in tokens.items():
        plane._http.headers["Authorization"] = header
        assert refusal(plane.send("GET", plane.group)) == (401, code)
