"""Signing in: which way, as whom, in which subscription, and what to type where it fails."""

from __future__ import annotations

import subprocess
import sys

import pytest

from emulator.cloud import Cloud
from hieno.config import Azure
from hieno.errors import AccessDenied, UserError
from hieno.targets.azure import signin

SECRET = ("AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET")


def test_a_service_principal_of_the_environment_signs_in_by_itself(cloud: Cloud) -> None:
    account = signin.sign_in(Azure())
    assert account.tenant == cloud.settings.tenant
    assert account.subscription == cloud.settings.subscription
    assert account.principal == cloud.entra.application.id
    assert account.principal_type == "ServicePrincipal"


@pytest.mark.parametrize("way", ["auto", "cli", "device-code"])
def test_a_person_signs_in_with_the_azure_cli_or_a_code(
    cloud: Cloud, way: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in SECRET:
        monkeypatch.delenv(name)
    account = signin.sign_in(Azure(sign_in=way))
    assert account.principal == cloud.entra.person.id
    assert account.principal_type == "User"
    shown = "open https://microsoft.com/devicelogin and type the code EMULATED\n"
    assert capsys.readouterr().err == (shown if way == "device-code" else "")


def test_a_machine_of_azure_signs_in_as_its_identity(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in SECRET:
        monkeypatch.delenv(name)
    node = cloud.entra.identity_environment(cloud.entra.application, cloud.plain_port)
    for name, value in node.items():
        monkeypatch.setenv(name, value)
    assert signin.sign_in(Azure()).principal == cloud.entra.application.id


@pytest.mark.usefixtures("cloud")
def test_a_wrong_secret_is_one_line_with_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "wrong")
    with pytest.raises(AccessDenied) as caught:
        signin.sign_in(Azure())
    assert "AADSTS7000215" in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint == signin.SIGN_IN


@pytest.mark.usefixtures("cloud")
def test_without_the_azure_cli_the_hint_says_how_to_sign_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in SECRET:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(AccessDenied) as caught:
        signin.sign_in(Azure())
    assert caught.value.message.startswith("not signed in to Azure: Azure CLI not found")
    assert caught.value.hint == signin.SIGN_IN


def test_the_only_subscription_is_taken_and_a_named_one_wins(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AZURE_SUBSCRIPTION_ID")
    assert signin.sign_in(Azure()).subscription == cloud.settings.subscription
    other = "11111111-2222-3333-4444-555555555555"
    assert signin.sign_in(Azure(subscription=other)).subscription == other


@pytest.mark.usefixtures("cloud")
def test_of_several_subscriptions_one_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_SUBSCRIPTION_ID")
    two = [
        {"subscriptionId": f"{n}", "displayName": name, "state": "Enabled"}
        for n, name in enumerate(("Work", "Play"))
    ]
    monkeypatch.setattr(signin, "_subscriptions", lambda credential: two)
    with pytest.raises(UserError) as caught:
        signin.sign_in(Azure())
    assert caught.value.message == "which subscription? your account has 0 (Work), 1 (Play)"
    assert "azure.subscription=0" in caught.value.hint


def test_nothing_of_azure_is_loaded_before_it_is_needed() -> None:
    code = (
        "import sys, pkgutil, importlib, hieno, hieno.config, hieno.pipeline, hieno.cli as cli\n"
        "import hieno.targets.azure.plan, hieno.targets.azure.provisioning\n"
        "for one in pkgutil.iter_modules(cli.__path__, 'hieno.cli.'):\n"
        "    importlib.import_module(one.name)\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('azure', 'msal')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=True
    )
    assert done.stdout == "[]\n"
