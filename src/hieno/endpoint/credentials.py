"""The two keys of an endpoint: both are valid, either can be replaced while the other serves."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import SecretStr

from hieno import files
from hieno.errors import BrokenArtifact, MissingInput

FILE = "keys.json"
Which = Literal["primary", "secondary"]


@dataclass(frozen=True)
class Keys:
    """Both keys; neither shows in `repr`."""

    primary: SecretStr
    secondary: SecretStr

    def accepts(self, candidate: bytes) -> bool:
        """Compare with both keys in constant time, whatever the candidate's length."""
        given = hashlib.sha256(candidate).digest()
        verdicts = [
            hmac.compare_digest(hashlib.sha256(key.get_secret_value().encode()).digest(), given)
            for key in (self.primary, self.secondary)
        ]
        return any(verdicts)


def create(folder: Path) -> Keys:
    """Return the keys of the endpoint in a folder, making them if there are none."""
    if not (folder / FILE).exists():
        _write(folder, Keys(_new(), _new()))
    return read(folder)


def read(folder: Path) -> Keys:
    """Return the keys; `MissingInput` where nothing was deployed."""
    try:
        raw = files.read_json(folder / FILE)
    except FileNotFoundError:
        raise MissingInput(
            f"there is no endpoint in {folder}", hint="`hieno deploy` makes one, with its keys"
        ) from None
    try:
        return Keys(SecretStr(raw["primary"]), SecretStr(raw["secondary"]))
    except (KeyError, TypeError, ValueError):
        raise BrokenArtifact(
            f"{folder / FILE} does not hold two keys",
            hint=f"delete {folder / FILE}, then deploy again to get new ones",
        ) from None


def regenerate(folder: Path, which: Which) -> Keys:
    """Replace one key; the old one is refused from the next request on."""
    old = read(folder)
    new = Keys(_new(), old.secondary) if which == "primary" else Keys(old.primary, _new())
    _write(folder, new)
    return new


class KeyFile:
    """The keys as they are on the disk now: a changed file counts from the next request on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: tuple[int, int, int] | None = None
        self._keys: Keys | None = None

    def accepts(self, candidate: bytes) -> bool:
        """Tell whether this is one of the keys; without a readable file, nothing is."""
        keys = self._now()
        return keys is not None and keys.accepts(candidate)

    def fingerprints(self) -> frozenset[str]:
        """Return what the chat page's sessions remember of the keys that are valid now."""
        keys = self._now()
        both = (keys.primary, keys.secondary) if keys else ()
        return frozenset(fingerprint(key.get_secret_value().encode()) for key in both)

    def _now(self) -> Keys | None:
        try:
            stat = (self._folder / FILE).stat()
            seen = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
            if seen != self._seen:
                self._keys, self._seen = read(self._folder), seen
        except (OSError, BrokenArtifact, MissingInput):
            self._keys = self._seen = None
        return self._keys


def fingerprint(key: bytes) -> str:
    """Return what is kept of a key to know it again, and from which nobody can make it."""
    return hashlib.sha256(b"chat page:" + key).hexdigest()


def _new() -> SecretStr:
    return SecretStr(secrets.token_hex(32))


def _write(folder: Path, keys: Keys) -> None:
    content = {
        "primary": keys.primary.get_secret_value(),
        "secondary": keys.secondary.get_secret_value(),
    }
    files.write_json(folder / FILE, content, private=True)
