"""Links to the chat page: one for its owner, or one for each guest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from hieno.endpoint.page import invitations
from hieno.endpoint.page.invitations import Allowance


@dataclass(frozen=True)
class Link:
    """An address that signs whoever opens it in, once."""

    page: str
    code: SecretStr

    def reveal(self) -> str:
        """Return the address with its code, which a browser sends to nobody."""
        return f"{self.page}#{self.code.get_secret_value()}"


def links(
    endpoint: Path, url: str, *, guests: int = 0, requests: int, tokens: int, hours: float
) -> Sequence[Link]:
    """Return a link for the owner of an endpoint, or one for each of so many guests.

    The owner's is good for five minutes. A guest's is good for `hours`, and so is what follows: at
    most `requests` questions and `tokens` tokens of answers.
    """
    page = f"{url}/chat/"
    if not guests:
        return [Link(page, code) for code in invitations.invite(endpoint)]
    codes = invitations.invite(
        endpoint,
        number=guests,
        seconds=hours * 3600,
        stay=hours * 3600,
        allowance=Allowance(requests, tokens),
    )
    return [Link(page, code) for code in codes]
