"""Azurite, which stores blobs: fetched once for each user, started for each storage account."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

from emulator.ports import listens
from hieno import keeper

VERSION = "3.35.0"
_STARTS_WITHIN = 180.0  # seconds; 2 on a machine at rest
_LOG = "azurite.log"


class NoAzurite(Exception):
    """Azurite is not there and cannot be fetched."""


def start(
    account: str, key: str, port: int, certificate: tuple[Path, Path], folder: Path
) -> subprocess.Popen[bytes]:
    """Start the server of an account, which ends with this process; its log is in the folder.

    `certificate` is the chain and its key. Raises `NoAzurite`.
    """
    chain, secret = certificate
    command = [
        *("node", str(script()), "--blobHost", "127.0.0.1", "--blobPort", str(port)),
        *("--cert", str(chain), "--key", str(secret), "--oauth", "basic", "--silent"),
        *("--disableTelemetry", "--skipApiVersionCheck", "--inMemoryPersistence"),
    ]
    environment = {**os.environ, "AZURITE_ACCOUNTS": f"{account}:{key}"}
    log = folder / _LOG
    log.touch()
    return keeper.hold(command, environment=environment, folder=folder, log=log)


def wait(server: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    """Return when a server takes connections. Raises `NoAzurite` with what it said."""
    deadline = time.monotonic() + _STARTS_WITHIN
    while not listens(port):
        if server.poll() is not None or time.monotonic() > deadline:
            said = (folder / _LOG).read_text(encoding="utf-8", errors="replace")
            raise NoAzurite(f"Azurite did not start: {said.strip()[-500:]}")
        time.sleep(0.05)


def script() -> Path:
    """Return Azurite's script for blobs, which npm fetches once for each user.

    Raises `NoAzurite`.
    """
    import platformdirs

    folder = Path(platformdirs.user_cache_dir("hieno")) / "npm" / f"azurite-{VERSION}"
    found = folder / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
    if found.is_file():
        return found
    npm = shutil.which("npm")
    if npm is None:
        raise NoAzurite("storage accounts need Azurite: install Node.js, which has npm")
    folder.mkdir(parents=True, exist_ok=True)
    command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-save"]
    done = subprocess.run(
        [*command, "--prefix", str(folder), f"azurite@{VERSION}"],
        capture_output=True,
        check=False,
        timeout=600,
    )
    if done.returncode or not found.is_file():
        raise NoAzurite(f"npm cannot fetch azurite {VERSION}: {done.stderr.decode()[-300:]}")
    return found
