"""Blobs: one real Azurite for each storage account, under the account's real name.

The gate in `blob_access.py` stands before it for clients; the emulator's own services go straight
to it. It keeps everything in memory: what a run stored is gone when the run ends.
"""

from __future__ import annotations

import base64
import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from emulator.arm.errors import ArmError
from emulator.arm.kinds import Kind
from emulator.arm.resources import Resource
from emulator.ports import listens
from hieno import keeper
from hieno.ports import free_port

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken
    from azure.storage.blob import BlobServiceClient, UserDelegationKey

    from emulator.cloud import Cloud

AZURITE = "3.35.0"
SUFFIX = "blob.core.windows.net"
TYPE = "Microsoft.Storage/storageAccounts"
_NAME = re.compile(r"[a-z0-9]{3,24}")
_AUDIENCE = "https://storage.azure.com"
_STARTS_WITHIN = 180.0  # seconds; 2 on a machine at rest
_SAS_HOURS = 4


class NoAzurite(Exception):
    """Azurite is not there and cannot be fetched."""


@dataclass(frozen=True)
class Account:
    """A storage account whose blobs can be read and written now."""

    name: str
    port: int
    key: str = field(repr=False)
    authority: Path
    token: Callable[[], str] = field(repr=False)  # of whoever signs for the service

    @property
    def url(self) -> str:
        """What clients call it."""
        return f"https://{self.name}.{SUFFIX}"

    def client(self) -> BlobServiceClient:
        """Return a client that goes straight to Azurite, with the account's key."""
        from azure.storage.blob import BlobServiceClient

        return BlobServiceClient(
            f"https://127.0.0.1:{self.port}/{self.name}",
            credential={"account_name": self.name, "account_key": self.key},
            connection_verify=str(self.authority),
            retry_total=2,
        )

    def ensure(self, container: str) -> None:
        """Make a container where it is not there yet."""
        from azure.core.exceptions import ResourceExistsError

        with self.client() as client, suppress(ResourceExistsError):
            client.create_container(container)

    def names(self, container: str, prefix: str = "") -> list[str]:
        """List the blobs whose names begin so."""
        with self.client() as client:
            found = client.get_container_client(container).list_blobs(name_starts_with=prefix)
            return [blob.name for blob in found]

    def write(self, container: str, name: str, content: bytes) -> None:
        """Write one blob, over an earlier one."""
        with self.client() as client:
            client.get_blob_client(container, name).upload_blob(content, overwrite=True)

    def upload(self, folder: Path, container: str, prefix: str) -> None:
        """Write every file below a folder under a prefix."""
        with self.client() as client:
            target = client.get_container_client(container)
            for path in _files(folder):
                name = _joined(prefix, path.relative_to(folder).as_posix())
                with path.open("rb") as content:
                    target.upload_blob(name, content, overwrite=True)

    def download(self, container: str, prefix: str, folder: Path) -> Path:
        """Read a blob, or all blobs below a prefix, into a folder; return the file or the folder.

        Raises `FileNotFoundError` where there is nothing.
        """
        prefix = prefix.strip("/")
        with self.client() as client:
            source = client.get_container_client(container)
            found = [blob.name for blob in source.list_blobs(name_starts_with=prefix)]
            below = [name for name in found if not prefix or name.startswith(prefix + "/")]
            if not below and prefix not in found:
                raise FileNotFoundError(f"{self.url}/{container}/{prefix}")
            for name in below or [prefix]:
                place = folder / (name[len(prefix) :].strip("/") if below else Path(name).name)
                place.parent.mkdir(parents=True, exist_ok=True)
                with place.open("wb") as content:
                    source.download_blob(name).readinto(content)
        return folder if below else folder / Path(prefix).name

    def signed(self, container: str, name: str = "", *, write: bool = False) -> str:
        """Return an address of a container or of a blob that needs no other credential.

        It is signed as the service signs it: for the workspace's identity, not with the key.
        """
        from azure.storage.blob import (
            BlobSasPermissions,
            ContainerSasPermissions,
            generate_blob_sas,
            generate_container_sas,
        )

        expiry, signer = datetime.now(UTC) + timedelta(hours=_SAS_HOURS), self._delegation
        if not name:
            allowed = ContainerSasPermissions(
                read=True, write=True, list=True, create=True, add=True
            )
            token = generate_container_sas(
                self.name,
                container,
                user_delegation_key=signer,
                permission=allowed,
                expiry=expiry,
            )
            return f"{self.url}/{container}?{token}"
        rights = BlobSasPermissions(read=True, write=write, create=write, add=write)
        token = generate_blob_sas(
            self.name,
            container,
            name,
            user_delegation_key=signer,
            permission=rights,
            expiry=expiry,
        )
        return f"{self.url}/{container}/{quote(name)}?{token}"

    @cached_property
    def _delegation(self) -> UserDelegationKey:
        from azure.storage.blob import BlobServiceClient

        now = datetime.now(UTC)
        with BlobServiceClient(
            f"https://127.0.0.1:{self.port}/{self.name}",
            credential=_Token(self.token),
            connection_verify=str(self.authority),
        ) as client:
            return client.get_user_delegation_key(now - timedelta(hours=1), now + timedelta(days=2))


@dataclass(frozen=True)
class _Token:
    """A credential as azure-core wants it."""

    make: Callable[[], str]

    def get_token(self, *scopes: str, **options: object) -> AccessToken:
        from azure.core.credentials import AccessToken

        return AccessToken(self.make(), int(time.time()) + 3600)


class Storage:
    """The storage accounts of one run; their servers end with this process however it ends."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._accounts: dict[str, Account] = {}
        self._servers: dict[str, subprocess.Popen[bytes]] = {}

    def open(self, name: str) -> Account:
        """Return an account; its server is started where it does not run yet."""
        if name not in self._accounts:
            self._accounts[name] = self._start(name)
        return self._accounts[name]

    def find(self, name: str) -> Account | None:
        """Return an account that is there."""
        return self._accounts.get(name)

    def resource(self, name: str) -> Resource | None:
        """Return the resource of an account."""
        known = self._cloud.resources.of_type(TYPE)
        return next((one for one in known if one.id.name == name), None)

    def close(self, name: str) -> None:
        """End an account's server; its blobs are gone."""
        self._accounts.pop(name, None)
        server = self._servers.pop(name, None)
        if server is not None:
            keeper.release(server)

    def _start(self, name: str) -> Account:
        folder = self._cloud.folder / "storage" / name
        folder.mkdir(parents=True, exist_ok=True)
        chain, secret = self._cloud.certificates.issue(f"azurite-{name}", "127.0.0.1", "localhost")
        authority = self._cloud.certificates.authority
        account = Account(
            name,
            free_port(),
            base64.b64encode(secrets.token_bytes(64)).decode(),
            authority,
            lambda: self._cloud.entra.token(self._cloud.entra.application, _AUDIENCE),
        )
        command = [
            *("node", str(azurite()), "--blobHost", "127.0.0.1", "--blobPort", str(account.port)),
            *("--cert", str(chain), "--key", str(secret), "--oauth", "basic", "--silent"),
            *("--disableTelemetry", "--skipApiVersionCheck", "--inMemoryPersistence"),
        ]
        environment = {
            **os.environ,
            "AZURITE_ACCOUNTS": f"{name}:{account.key}",
        }
        log = folder / "azurite.log"
        log.touch()
        server = keeper.hold(command, environment=environment, folder=folder, log=log)
        self._servers[name] = server
        self._cloud.closing.callback(self.close, name)
        deadline = time.monotonic() + _STARTS_WITHIN
        while not listens(account.port):
            if server.poll() is not None or time.monotonic() > deadline:
                said = log.read_text(encoding="utf-8", errors="replace")
                raise NoAzurite(f"Azurite did not start: {said.strip()[-500:]}")
            time.sleep(0.05)
        return account


def register(cloud: Cloud) -> None:
    """Register storage accounts, and the gate before their blobs."""
    from emulator.blob_access import Gate

    cloud.kinds.add(Kind(TYPE, fill=_fill, build=_build, remove=_remove))
    cloud.hosts.mount(f"*.{SUFFIX}", Gate(cloud))


def _fill(cloud: Cloud, account: Resource, old: Resource | None) -> None:
    name = account.id.name
    if not _NAME.fullmatch(name):
        message = f"{name} is not a valid storage account name: 3 to 24 small letters and digits."
        raise ArmError(400, "AccountNameInvalid", message)
    taken = cloud.storage.resource(name)
    if taken is not None and taken.id.key != account.id.key:
        message = f"The storage account named {name} is already taken."
        raise ArmError(409, "StorageAccountAlreadyTaken", message)
    account.properties.update(
        primaryEndpoints={"blob": f"https://{name}.{SUFFIX}/"},
        primaryLocation=account.region,
        statusOfPrimary="available",
    )


def _build(cloud: Cloud, account: Resource) -> None:
    try:
        cloud.storage.open(account.id.name)
    except NoAzurite as error:
        raise ArmError(500, "EmulatorFailed", str(error)) from None
    cloud.ledger.begin(account.id.text, "Hot LRS Data Stored", by_the_hour=False)


def _remove(cloud: Cloud, account: Resource) -> None:
    cloud.storage.close(account.id.name)


def azurite() -> Path:
    """Return Azurite's script for blobs, which npm fetches once for each user.

    Raises `NoAzurite`.
    """
    import platformdirs

    folder = Path(platformdirs.user_cache_dir("hieno")) / "npm" / f"azurite-{AZURITE}"
    script = folder / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
    if script.is_file():
        return script
    npm = shutil.which("npm")
    if npm is None:
        raise NoAzurite("storage accounts need Azurite: install Node.js, which has npm")
    folder.mkdir(parents=True, exist_ok=True)
    command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-save"]
    done = subprocess.run(
        [*command, "--prefix", str(folder), f"azurite@{AZURITE}"],
        capture_output=True,
        check=False,
        timeout=600,
    )
    if done.returncode or not script.is_file():
        raise NoAzurite(f"npm cannot fetch azurite {AZURITE}: {done.stderr.decode()[-300:]}")
    return script


def _files(folder: Path) -> Iterator[Path]:
    yield from (path for path in sorted(folder.rglob("*")) if path.is_file())


def _joined(prefix: str, name: str) -> str:
    return f"{prefix.strip('/')}/{name}" if prefix.strip("/") else name
