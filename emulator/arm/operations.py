"""Long-running operations: work in a thread, and the two addresses at which it is asked for."""

from __future__ import annotations

import threading
import time
import traceback
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any  # Any: results are JSON

from starlette.responses import JSONResponse, Response

from emulator.arm.calls import Call
from emulator.arm.errors import ArmError, not_found
from emulator.arm.resources import now
from emulator.faults import Faults

_RETRY = {"x-ms-retry-after-ms": "100", "Retry-After": "1"}
_LONGEST_WAIT = 3600.0


@dataclass
class Operation:
    """Work that goes on after the answer to the call that began it."""

    subject: str  # the resource that it works on
    address: str  # of its kind's operations, without an id
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    started: str = field(default_factory=now)
    ended: str = ""
    error: ArmError | None = None
    result: Any = None
    polls_left: int = 0  # a slow one is still at work for so many polls
    done: threading.Event = field(default_factory=threading.Event)

    def poll(self) -> bool:
        """Tell whether it works still, as far as its client can tell."""
        if not self.done.is_set():
            return True
        self.polls_left -= 1
        return self.polls_left >= 0

    def wait(self) -> None:
        """Wait for the end. Raises the `ArmError` that it failed with."""
        self.done.wait(_LONGEST_WAIT)
        if self.error:
            raise self.error

    def headers(self) -> dict[str, str]:
        """Return where a client may ask how far it is."""
        base = f"https://management.azure.com{self.address}"
        return {
            "Azure-AsyncOperation": f"{base}/operationStatuses/{self.id}?api-version=2025-01-01",
            "Location": f"{base}/operationResults/{self.id}?api-version=2025-01-01",
            **_RETRY,
        }


class Operations:
    """Every long-running operation of the run."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._by_id: dict[str, Operation] = {}
        self._threads: list[threading.Thread] = []

    def start(
        self,
        subject: str,
        address: str,
        work: Callable[[], Any],
        failed: Callable[[ArmError], None] = lambda _: None,
    ) -> Operation:
        """Begin work on `subject`; what it returns is the result, an `ArmError` its failure.

        `failed` is told of a failure, also of one that was planned and came before the work.
        """
        operation = Operation(subject, address)
        slow = self._faults.take("slow", subject)
        operation.polls_left = int(slow.details.get("polls", "3")) if slow else 0
        self._by_id[operation.id] = operation
        thread = threading.Thread(target=self._run, args=(operation, work, failed), daemon=True)
        self._threads.append(thread)
        thread.start()
        return operation

    def status(self, call: Call) -> Response:
        """Answer a poll of the address in `Azure-AsyncOperation`."""
        operation = self._polled(call)
        body: dict[str, Any] = {
            "id": call.path,
            "name": operation.id,
            "startTime": operation.started,
            "status": "InProgress",
        }
        if operation.poll():
            return JSONResponse(body, headers=_RETRY)
        body |= {"status": "Failed" if operation.error else "Succeeded", "endTime": operation.ended}
        if operation.error:
            body["error"] = operation.error.body()
        elif operation.result is not None:
            body["properties"] = operation.result
        return JSONResponse(body)

    def result(self, call: Call) -> Response:
        """Answer a poll of the address in `Location`."""
        operation = self._polled(call)
        if operation.poll():
            address = {"Location": operation.headers()["Location"]}
            return Response(status_code=202, headers={**_RETRY, **address})
        if operation.error:
            return operation.error.response()
        if operation.result is None:
            return Response(status_code=204)
        return JSONResponse(operation.result)

    def join(self) -> None:
        """Give the threads a moment to end."""
        deadline = time.monotonic() + 5
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _polled(self, call: Call) -> Operation:
        operation = self._by_id.get(call.path.rsplit("/", 1)[1])
        if operation is None or self._faults.take("lost-poll", operation.subject):
            raise not_found(call.path.rsplit("/", 1)[1])
        return operation

    def _run(
        self,
        operation: Operation,
        work: Callable[[], Any],
        failed: Callable[[ArmError], None],
    ) -> None:
        try:
            fault = self._faults.take("fail-operation", operation.subject)
            if fault:
                code = fault.details.get("code", "InternalServerError")
                raise ArmError(500, code, fault.details.get("message", "The operation failed."))
            operation.result = work()
        except ArmError as error:
            operation.error = error
        except Exception as error:  # an operation that never ends would hide it
            traceback.print_exc()
            operation.error = ArmError(500, "EmulatorFailed", f"The emulator failed: {error!r}")
        if operation.error is not None:
            failed(operation.error)
        operation.ended = now()
        operation.done.set()
