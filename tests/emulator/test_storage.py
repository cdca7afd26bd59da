"""Blobs through azure-storage-blob: a real Azurite behind a gate that knows keys and roles."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import ground
import psutil
import pytest
from ground import emulated

from emulator.arm.ids import ResourceId
from emulator.cloud import Cloud
from emulator.settings import Settings
from waiting import wait_until

if TYPE_CHECKING:
    from azure.storage.blob import BlobServiceClient

ROOT = Path(__file__).parents[2]
READER, CONTRIBUTOR = "Storage Blob Data Reader", "Storage Blob Data Contributor"


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud whose caller owns the subscription and has no role for data."""
    settings = Settings(caller_roles=("Owner",))
    with emulated(tmp_path_factory.mktemp("azure"), settings) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def workspace(azure: Cloud) -> ResourceId:
    return ground.make_workspace(azure, by_identity=True)


@pytest.fixture
def blobs(azure: Cloud, workspace: ResourceId) -> Iterator[BlobServiceClient]:
    from azure.identity import EnvironmentCredential
    from azure.storage.blob import BlobServiceClient

    url = f"https://{ground.STORAGE}.blob.core.windows.net"
    with BlobServiceClient(url, credential=EnvironmentCredential(), retry_total=0) as client:
        yield client


def storage(azure: Cloud) -> str:
    found = azure.storage.resource(ground.STORAGE)
    assert found is not None
    return found.id.text


def test_an_owner_needs_a_role_for_data_and_a_new_role_may_be_late(
    azure: Cloud, blobs: BlobServiceClient
) -> None:
    from azure.core.exceptions import HttpResponseError

    def refused() -> str | None:
        try:
            blobs.get_blob_client("azureml", "a/b.txt").upload_blob(b"words", overwrite=True)
        except HttpResponseError as error:
            return str(error.error_code)
        return None

    assert refused() == "AuthorizationPermissionMismatch"
    azure.roles.grant(azure.entra.application, READER, storage(azure))
    assert refused() == "AuthorizationPermissionMismatch"  # it reads, and does not write
    azure.faults.add(f"late-role at='{CONTRIBUTOR}' times=2")
    azure.roles.grant(azure.entra.application, CONTRIBUTOR, storage(azure))
    assert [refused() is None for _ in range(3)] == [False, False, True]
    assert blobs.get_blob_client("azureml", "a/b.txt").download_blob().readall() == b"words"


def test_keys_are_refused_where_the_account_does_not_allow_them(
    azure: Cloud, workspace: ResourceId
) -> None:
    from azure.core.exceptions import HttpResponseError
    from azure.storage.blob import (
        AccountSasPermissions,
        BlobServiceClient,
        ResourceTypes,
        generate_account_sas,
    )

    account = azure.storage.open(ground.STORAGE)
    signed = generate_account_sas(
        account.name,
        account.key,
        ResourceTypes(container=True),
        AccountSasPermissions(list=True),
        datetime.now(UTC) + timedelta(hours=1),
    )
    for credential in (account.key, signed):
        with (
            BlobServiceClient(account.url, credential=credential, retry_total=0) as client,
            pytest.raises(HttpResponseError, match="Key based authentication is not permitted"),
        ):
            list(client.get_container_client("azureml").list_blobs())


def test_what_the_service_signs_is_good_where_keys_are_not(
    azure: Cloud, workspace: ResourceId
) -> None:
    from azure.storage.blob import BlobClient, ContainerClient

    account = azure.storage.open(ground.STORAGE)
    with ContainerClient.from_container_url(account.signed("azureml")) as container:
        container.upload_blob("signed.txt", b"by the service")
    with BlobClient.from_blob_url(account.signed("azureml", "signed.txt")) as blob:
        assert blob.download_blob().readall() == b"by the service"


def test_an_account_without_a_resource_answers_nothing(azure: Cloud, workspace: ResourceId) -> None:
    from azure.core.exceptions import ResourceNotFoundError
    from azure.identity import EnvironmentCredential
    from azure.storage.blob import BlobServiceClient

    url = "https://nobody.blob.core.windows.net"
    with (
        BlobServiceClient(url, credential=EnvironmentCredential(), retry_total=0) as client,
        pytest.raises(ResourceNotFoundError),
    ):
        client.get_account_information()


@pytest.mark.parametrize("name", ["Upper", "ab", "with-dash", "a" * 25])
def test_a_name_that_azure_does_not_take_is_refused(
    azure: Cloud, workspace: ResourceId, name: str
) -> None:
    from emulator.arm.errors import ArmError

    group = f"{azure.subscription}/resourceGroups/{ground.GROUP}"
    with pytest.raises(ArmError, match="is not a valid storage account name"):
        ground.put(azure, f"{group}/providers/Microsoft.Storage/storageAccounts/{name}")


def test_a_large_blob_comes_back_as_it_was_sent(
    azure: Cloud, blobs: BlobServiceClient, tmp_path: Path
) -> None:
    import random

    azure.roles.grant(azure.entra.application, CONTRIBUTOR, storage(azure))
    content = random.Random(0).randbytes(9_000_000)  # noqa: S311 - several blocks of any bytes
    blob = blobs.get_blob_client("azureml", "a folder/große Datei.bin")
    blob.upload_blob(content, overwrite=True, max_concurrency=2)
    assert blob.download_blob(max_concurrency=2).readall() == content


@pytest.mark.usefixtures("azure")  # skipped where Azurite cannot be had
def test_azurite_ends_also_with_an_emulator_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import os, psutil, signal, sys, pathlib, emulator.server\n"
        "with emulator.server.running(pathlib.Path(sys.argv[1])) as cloud:\n"
        "    cloud.storage.open('books')\n"
        "    family = psutil.Process().children(recursive=True)\n"
        "    print(*(each.pid for each in family), flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, encoding="utf-8", check=False)
    family = [int(word) for word in ended.stdout.split()]
    assert ended.returncode == -signal.SIGKILL
    assert len(family) >= 2  # Azurite, and who keeps it
    wait_until(lambda: not any(map(psutil.pid_exists, family)), "Azurite ends", seconds=60)
