"""Storage accounts: one real Azurite for each, under the account's real name.

The gate in `blob_access.py` stands before it for clients; the emulator's own services go straight
to it. It keeps everything in memory: what a run stored is gone when the run ends.
"""

from __future__ import annotations

import base64
import re
import secrets
import subprocess
from typing import TYPE_CHECKING

from emulator import azurite
from emulator.arm.errors import ArmError
from emulator.arm.kinds import Kind
from emulator.arm.resources import Resource
from emulator.azurite import NoAzurite
from emulator.storage_account import AUDIENCE, SUFFIX, Account
from hieno import keeper
from hieno.ports import free_port

if TYPE_CHECKING:
    from emulator.cloud import Cloud

TYPE = "Microsoft.Storage/storageAccounts"
_NAME = re.compile(r"[a-z0-9]{3,24}")


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
        certificate = self._cloud.certificates.issue(f"azurite-{name}", "127.0.0.1", "localhost")
        account = Account(
            name,
            free_port(),
            base64.b64encode(secrets.token_bytes(64)).decode(),
            self._cloud.certificates.authority,
            lambda: self._cloud.entra.token(self._cloud.entra.application, AUDIENCE),
        )
        server = azurite.start(name, account.key, account.port, certificate, folder)
        self._servers[name] = server
        self._cloud.closing.callback(self.close, name)
        azurite.wait(server, account.port, folder)
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
