"""What Azure's libraries raise, as errors of ours with the next thing to type."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any  # an exception of a library that is imported late

from hieno.errors import AccessDenied, Busy, HienoError, MissingInput, Unreachable, UserError

SIGN_IN = "`az login` signs you in; `az login --use-device-code` does so without a browser"
SOFT_DELETED = (
    "`hieno azure down --purge` gives the name free, and what was removed is lost; or set "
    "azure.suffix to letters of your own"
)
LATER = "type the same command again: what is done already is found and kept"
JUST_GIVEN = "a role that was just given is known everywhere in some minutes"
TRANSIENT = ("InternalServerError", "ServiceUnavailable", "TooManyRequests", "Timeout")


@contextmanager
def explained(doing: str) -> Iterator[None]:
    """Raise our own error for whatever Azure's libraries raise while `doing` something."""
    from azure.core.exceptions import AzureError

    try:
        yield
    except AzureError as error:
        raise explain(error, doing) from error


def explain(error: Any, doing: str) -> HienoError:
    """Return the error that says what did not work, why, and what to do."""
    from azure.core.exceptions import ClientAuthenticationError

    status = getattr(error, "status_code", None)
    why = f"{doing}: {reason(error)}"
    if isinstance(error, ClientAuthenticationError) or status == 401:
        return AccessDenied(f"not signed in to Azure while {why}", hint=SIGN_IN)
    if status == 403:
        return AccessDenied(f"Azure refused {why}", hint=_role(str(error)))
    if status is None or status in (408, 429) or status >= 500 or _code(error) in TRANSIENT:
        return Unreachable(f"Azure did not manage {why}", hint=LATER)
    if "in progress" in why.lower():
        return Busy(f"Azure is busy while {why}", hint=LATER)
    if "soft-deleted" in why.lower():
        return UserError(f"Azure refused {why}", hint=SOFT_DELETED)
    if status == 404:
        return MissingInput(f"Azure knows no such thing while {why}", hint="`hieno azure up`")
    if "quota" in why.lower():
        return UserError(f"Azure refused {why}", hint="`hieno azure doctor` says what to ask for")
    return UserError(f"Azure refused {why}", hint="`hieno azure doctor` looks for the cause")


def reason(error: Any) -> str:
    """Return Azure's own words in one line: the innermost code and message there is."""
    from azure.core.exceptions import IncompleteReadError, ServiceResponseError

    if isinstance(error, IncompleteReadError | ServiceResponseError):
        return "the connection ended before the answer was whole"
    told = _innermost(error)
    if told is not None and getattr(told, "message", None):
        return f"{told.code}: {_line(told.message)}"
    return _line(getattr(error, "message", None) or str(error))


def _code(error: Any) -> str:
    """Return the code with which an operation failed that Azure had accepted, or nothing."""
    return str(getattr(_innermost(error), "code", ""))


def _innermost(error: Any) -> Any:
    told = getattr(error, "error", None)
    while told is not None and getattr(told, "details", None):
        told = told.details[0]
    return told


def _role(text: str) -> str:
    found = re.search(r"action '([^']+)' over scope '([^']+)'", text)
    if found is None:
        return f"`hieno azure doctor` names the role to ask for; {JUST_GIVEN}"
    asked = f"ask for a role with {found[1]} on {found[2]}; `hieno azure doctor` names it"
    return f"{asked}; {JUST_GIVEN}"


def _line(text: str) -> str:
    """Return a text in one line, without the addresses of Python's objects."""
    return " ".join(re.sub(r"<[\w.]+ object at 0x[0-9a-f]+>:? ?", "", text).split())[:400]
