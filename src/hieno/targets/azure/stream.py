"""What a running job says, line by line: its stage's own reports, and the rest for the log.

Azure's client reads logs with a storage key, which a workspace without shared keys does not have,
and prints the storage's refusal as if it were the log. So the log's address is asked for here; it
carries its own permission, and where that is refused the caller's own sign-in reads it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any  # Any: JSON of the run history

from hieno import errors
from hieno.errors import HienoError
from hieno.reporting import Reporter
from hieno.stages import pass_on
from hieno.targets.azure.client import Workspace
from hieno.targets.azure.signin import SCOPE

LOG = "user_logs/std_log"  # of a job of one process; otherwise with the process's number
_TOLD = ("progress", "say", "error", "stage")


@dataclass(frozen=True)
class Details:
    """A run as the run history tells it; `logs` maps each file's name to its address."""

    status: str
    logs: Mapping[str, str]
    error: str
    started: str = ""
    ended: str = ""


class History:
    """The run history of a workspace; close it after use."""

    def __init__(self, workspace: Workspace) -> None:
        from azure.core import PipelineClient
        from azure.core.pipeline import policies

        credential = workspace.account.credential
        self._credential = credential
        self._id = workspace.id
        self._client = PipelineClient(
            "https://management.azure.com",
            policies=[
                policies.RetryPolicy(),
                policies.BearerTokenCredentialPolicy(credential, SCOPE),
            ],
        )
        self._plain = PipelineClient("", policies=[policies.RetryPolicy()])
        self._api = self._get(self._plain, workspace.discovery)["api"]

    def details(self, job: str) -> Details:
        """Return how a run stands."""
        address = f"{self._api}/history/v1.0{self._id}/runs/{job}/details"
        found = self._get(self._client, address)
        return Details(
            found["status"],
            found.get("logFiles") or {},
            _reason(found.get("error")),
            found.get("startTimeUtc") or "",
            found.get("endTimeUtc") or "",
        )

    def read(self, url: str, start: int) -> bytes:
        """Return what a log holds from a byte on."""
        from azure.core.rest import HttpRequest

        request = HttpRequest(
            "GET", url, headers={"range": f"bytes={start}-", "x-ms-version": "2023-11-03"}
        )
        answer = self._plain.send_request(request)
        if answer.status_code == 404:  # not begun
            return b""
        if answer.status_code == 416:  # nothing new, or a log that begins anew
            return b"" if _size(answer) >= start or not start else self.read(url, 0)
        if answer.status_code == 403:
            return self._read_as_caller(url, start)
        answer.raise_for_status()
        content = bytes(answer.content)
        return content if answer.status_code == 206 else content[start:]

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        self._plain.close()

    def _read_as_caller(self, url: str, start: int) -> bytes:
        from azure.core.exceptions import HttpResponseError
        from azure.storage.blob import BlobClient

        blob = BlobClient.from_blob_url(url.partition("?")[0], credential=self._credential)
        try:
            return bytes(blob.download_blob(offset=start).readall())
        except HttpResponseError as error:
            if error.status_code == 416:
                return b""
            raise

    def _get(self, client: Any, address: str) -> Any:
        from azure.core.exceptions import HttpResponseError
        from azure.core.rest import HttpRequest

        answer = client.send_request(HttpRequest("GET", address))
        if answer.status_code >= 400:
            raise HttpResponseError(response=answer)
        return answer.json()


class Listener:
    """Follows one job's log: reports go to the reporter, every line into a file."""

    def __init__(self, history: History, reporter: Reporter, log: IO[bytes]) -> None:
        self.failure: HienoError | None = None
        self._history, self._reporter, self._log = history, reporter, log
        self._read = 0
        self._begun = b""

    def hear(self, details: Details) -> None:
        """Read what is new."""
        name = next((name for name in sorted(details.logs) if name.startswith(LOG)), None)
        if name is None:
            return
        new = self._history.read(details.logs[name], self._read)
        self._read += len(new)
        *lines, self._begun = (self._begun + new).split(b"\n")
        for line in lines:
            self._take(line)

    def begin_anew(self) -> None:
        """Forget what went wrong: the job starts again on another machine."""
        self._begun, self.failure = b"", None

    def last_lines(self) -> list[str]:
        """Return what the log's last lines say that are not reports."""
        self._log.flush()
        with open(self._log.name, "rb") as log:
            text = log.read().decode("utf-8", "replace")
        return [line.strip() for line in text.splitlines() if line.strip()][-3:]

    def _take(self, line: bytes) -> None:
        message = _report(line)
        if message is None:
            self._log.write(line + b"\n")
        elif failure := pass_on([json.dumps(message)], self._reporter):
            self.failure = self.failure or failure


def _size(answer: Any) -> int:
    """Return the length of a file of which nothing was sent: `bytes */LENGTH`."""
    told = str(answer.headers.get("content-range", "")).rpartition("/")[2]
    return int(told) if told.isdigit() else 0


def _report(line: bytes) -> dict[str, Any] | None:
    if not line.startswith(b"{"):
        return None
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) and set(message) <= set(_TOLD) else None


def _reason(error: Any) -> str:
    """Return the innermost message of a run's error."""
    told = (error or {}).get("error") or {}
    return " ".join(str(told.get("message") or "").split())


def failed(job: str, details: Details, listener: Listener, log: str) -> HienoError:
    """Return why a job did not complete."""
    if listener.failure is not None:
        return listener.failure
    if details.status == "Canceled":
        return errors.Interrupted(
            f"{job} was cancelled", hint="the same command begins it again, from what was saved"
        )
    last = listener.last_lines()
    said = "".join(f"\n{line}" for line in last)
    return HienoError(
        f"{job} failed on Azure: {details.error or 'no reason was given'}{said}",
        hint=f"{log} holds all that it said; the same command goes on from what was saved",
    )
