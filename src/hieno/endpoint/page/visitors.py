"""Who is signed in to the chat page, and what is left of what each may ask.

The gateway alone writes the file, so sessions outlive it. Tokens are kept as digests only.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from hieno import files
from hieno.endpoint.credentials import KeyFile
from hieno.endpoint.page import invitations
from hieno.endpoint.page.invitations import digest
from hieno.errors import HienoError

FILE = "visitors.json"


@dataclass
class Visitor:
    """Somebody who has signed in; None is left of nothing where there is no limit."""

    token: str  # SHA-256
    code: str  # SHA-256 of the link's code, which is used up by this
    key: str  # fingerprint of the endpoint's key that the link was made with
    until: float  # seconds since 1970
    requests: int | None = None
    tokens: int | None = None


class Visitors:
    """The sessions of one endpoint."""

    def __init__(
        self, folder: Path, keys: KeyFile, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._folder = folder
        self._keys = keys
        self._clock = clock
        self._writing = asyncio.Lock()
        self._all = self._read()

    async def admit(self, code: str) -> tuple[str, float] | None:
        """Exchange a code for a token and its seconds; None where it is wrong, late or used."""
        now = self._clock()
        try:
            known = await asyncio.to_thread(invitations.read, self._folder)
        except HienoError:
            return None  # the next `hieno chat --web` says what is wrong with the file
        found = invitations.find(known, code, now)
        # from here to the next await nobody else can use the same code
        if found is None or found.key not in self._keys.fingerprints():
            return None
        if any(one.code == found.code for one in self._all):
            return None
        token = secrets.token_urlsafe(32)
        allowance = found.allowance
        visitor = Visitor(
            token=digest(token),
            code=found.code,
            key=found.key,
            until=now + found.stay,
            requests=allowance.requests if allowance else None,
            tokens=allowance.tokens if allowance else None,
        )
        self._all = [*(one for one in self._all if one.until > now), visitor]
        await self.save()
        return token, found.stay

    def recognise(self, token: str) -> Visitor | None:
        """Return whose token this is, unless the session or its key has ended."""
        wanted = digest(token)
        found = [one for one in self._all if hmac.compare_digest(one.token, wanted)]
        if not found or found[0].until <= self._clock():
            return None
        return found[0] if found[0].key in self._keys.fingerprints() else None

    async def save(self) -> None:
        """Write down what is now."""
        async with self._writing:
            rows = [asdict(one) for one in self._all]
            path = self._folder / FILE
            await asyncio.to_thread(files.write_json, path, rows, private=True)

    def _read(self) -> list[Visitor]:
        try:
            return [Visitor(**row) for row in files.read_json(self._folder / FILE)]
        except (FileNotFoundError, HienoError, TypeError):
            return []  # everybody signs in again
