"""What is not Azure's: a plain address on loopback to ask the emulator itself."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulator.arm.calls import Call, route
from emulator.arm.errors import ArmError
from emulator.ml import autoscale, monitor

if TYPE_CHECKING:
    from emulator.cloud import Cloud


def routes(cloud: Cloud) -> list[Route]:
    """Return the routes of the plain port: the ledger, the trace, the faults."""

    def ledger(call: Call) -> Response:
        return JSONResponse([asdict(entry) for entry in cloud.ledger.entries()])

    def faults(call: Call) -> Response:
        return JSONResponse(
            {"met": cloud.faults.met(), "pending": [asdict(f) for f in cloud.faults.pending()]}
        )

    def add_fault(call: Call) -> Response:
        try:
            cloud.faults.add(call.body["fault"])
        except (ValueError, KeyError) as error:
            raise ArmError(400, "BadFault", str(error)) from None
        return Response(status_code=204)

    def clear_faults(call: Call) -> Response:
        cloud.faults.clear()
        return Response(status_code=204)

    def measure(call: Call) -> Response:
        values = {str(name): float(value) for name, value in call.body["values"].items()}
        late = bool(call.body.get("late", False))
        autoscale.measure(cloud, str(call.body["resource"]), values, late=late)
        return Response(status_code=204)

    def arrive(call: Call) -> Response:
        autoscale.arrive(cloud)
        return Response(status_code=204)

    def age(call: Call) -> Response:
        monitor.age(cloud, timedelta(hours=float(call.body["hours"])))
        return Response(status_code=204)

    def calls(call: Call) -> Response:
        return JSONResponse({"calls": cloud.trace.calls(), "refused": cloud.trace.refused})

    def resources(call: Call) -> Response:
        return JSONResponse([one.shown() for one in cloud.resources])

    return [
        route("GET", "/emulator/ledger", ledger),
        route("GET", "/emulator/faults", faults),
        route("POST", "/emulator/faults", add_fault),
        route("DELETE", "/emulator/faults", clear_faults),
        route("POST", "/emulator/metrics", measure),
        route("POST", "/emulator/arrive", arrive),
        route("POST", "/emulator/age", age),
        route("GET", "/emulator/calls", calls),
        route("GET", "/emulator/resources", resources),
    ]
