"""Links into the chat page: commands write them down, the gateway lets their bearers in once.

A code has 128 bits and is never stored, only its digest. Who signs in with it stays as long as
the key with which the link was made: to renew that key signs everybody out.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any  # JSON from the file

from pydantic import SecretStr

from hieno import files
from hieno.endpoint import credentials
from hieno.errors import BrokenArtifact, UsageError

FILE = "invitations.json"
CODE_BYTES = 16
OWNER_CODE = 300.0  # seconds in which the owner's link must be opened
OWNER_STAY = 7 * 86_400.0  # seconds for which the owner stays signed in
MOST = 500  # links that can be open at a time


@dataclass(frozen=True)
class Allowance:
    """What a guest may have: questions, and tokens of answers."""

    requests: int
    tokens: int


@dataclass(frozen=True)
class Invitation:
    """One link; `until` is when it stops working, `stay` for how long its bearer stays."""

    code: str  # SHA-256
    key: str  # fingerprint of the endpoint's key of that time
    until: float  # seconds since 1970
    stay: float
    allowance: Allowance | None = None


def invite(
    folder: Path,
    *,
    number: int = 1,
    seconds: float = OWNER_CODE,
    stay: float = OWNER_STAY,
    allowance: Allowance | None = None,
    now: float | None = None,
) -> list[SecretStr]:
    """Write down as many links and return their codes, each good for one sign-in.

    Raises `MissingInput` where nothing was deployed, `UsageError` where too many links are open.
    """
    from filelock import FileLock

    clock = time.time() if now is None else now
    key = credentials.fingerprint(credentials.read(folder).primary.get_secret_value().encode())
    made = [secrets.token_urlsafe(CODE_BYTES) for _ in range(number)]
    template = Invitation("", key, clock + seconds, stay, allowance)
    with FileLock(folder / f"{FILE}.lock", timeout=30):
        valid = [one for one in read(folder) if one.until > clock]
        new = [replace(template, code=digest(code)) for code in made]
        if len(valid) + number > MOST:
            raise UsageError(
                f"{len(valid)} links are open and {number} are asked for; {MOST} can be open",
                hint=f"wait until they are used or too old, or delete {folder / FILE}",
            )
        rows = [asdict(one) for one in (*valid, *new)]
        files.write_json(folder / FILE, rows, private=True)
    return [SecretStr(code) for code in made]


def read(folder: Path) -> list[Invitation]:
    """Return what is written down."""
    try:
        return [_invitation(row) for row in files.read_json(folder / FILE)]
    except FileNotFoundError:
        return []
    except (TypeError, KeyError, AttributeError):
        raise BrokenArtifact(
            f"{folder / FILE} does not hold invitations",
            hint=f"delete {folder / FILE}, then make new links with `hieno chat --web`",
        ) from None


def find(invitations: Sequence[Invitation], code: str, now: float) -> Invitation | None:
    """Return the invitation of a code that is still good; takes as long for a wrong one."""
    wanted = digest(code)
    found = [one for one in invitations if hmac.compare_digest(one.code, wanted)]
    return found[0] if found and found[0].until > now else None


def digest(secret: str) -> str:
    """Return what is kept of a code or of a session's token."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _invitation(row: dict[str, Any]) -> Invitation:
    allowance = row["allowance"] and Allowance(**row["allowance"])
    return Invitation(**{**row, "allowance": allowance})
