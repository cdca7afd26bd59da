"""A certificate authority for one run, and certificates for Azure's names from it."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import trustme

AZURE = (
    "management.azure.com",
    "login.microsoftonline.com",
    "prices.azure.com",
    "ml.azure.com",
    "graph.microsoft.com",
    "*.api.azureml.ms",
    "*.eastus.inference.ml.azure.com",
    "*.eastus2.inference.ml.azure.com",
    "*.westus3.inference.ml.azure.com",
    "*.westeurope.inference.ml.azure.com",
    "*.swedencentral.inference.ml.azure.com",
    "*.vault.azure.net",
    "*.azurecr.io",
    "*.blob.core.windows.net",
    "*.dfs.core.windows.net",
    "localhost",
    "127.0.0.1",
)


class Certificates:
    """The authority's file, which clients are told to trust, and pairs of files for servers."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._authority = trustme.CA()
        self.authority = folder / "authority.pem"
        self._authority.cert_pem.write_to_path(self.authority)

    def issue(self, name: str, *hosts: str) -> tuple[Path, Path]:
        """Write a certificate for `hosts`; return its file and its key's."""
        pair = self._authority.issue_cert(*hosts)
        chain, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        chain.write_bytes(b"".join(blob.bytes() for blob in pair.cert_chain_pems))
        descriptor = os.open(key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(pair.private_key_pem.bytes())
        return chain, key

    def trust(self) -> ssl.SSLContext:
        """Return what a client in this process trusts: this run's authority alone."""
        return ssl.create_default_context(cafile=self.authority)
