"""A storage account as the emulator's own services use it: straight to its Azurite."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken
    from azure.storage.blob import BlobServiceClient, UserDelegationKey

SUFFIX = "blob.core.windows.net"
AUDIENCE = "https://storage.azure.com"
_SAS_HOURS = 4


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


def _files(folder: Path) -> Iterator[Path]:
    yield from (path for path in sorted(folder.rglob("*")) if path.is_file())


def _joined(prefix: str, name: str) -> str:
    return f"{prefix.strip('/')}/{name}" if prefix.strip("/") else name
