"""The error that every service answers with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any  # Any: JSON

from starlette.responses import JSONResponse, Response


class ArmError(Exception):
    """A refusal: an HTTP status, one of Azure's codes, and words."""

    def __init__(
        self, status: int, code: str, message: str, *, details: list[dict[str, Any]] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = details or []

    def body(self) -> dict[str, Any]:
        """Return it as JSON, as it stands under `error`."""
        body: dict[str, Any] = {"code": self.code, "message": self.message}
        return {**body, "details": self.details} if self.details else body

    def response(self, headers: Mapping[str, str] | None = None) -> Response:
        """Return it as an answer."""
        return JSONResponse(
            {"error": self.body()},
            self.status,
            headers={"x-ms-error-code": self.code, **(headers or {})},
        )


def not_found(what: str) -> ArmError:
    """Say that a resource is not there."""
    return ArmError(404, "ResourceNotFound", f"The Resource '{what}' was not found.")
