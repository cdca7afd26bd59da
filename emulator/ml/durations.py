"""Durations as Azure writes them: `PT1M40S`."""

from __future__ import annotations

import re

from emulator.arm.errors import ArmError

_FORM = re.compile(
    r"P(?:(?P<D>\d+)D)?(?:T(?:(?P<H>\d+)H)?(?:(?P<M>\d+)M)?(?:(?P<S>\d+(?:\.\d+)?)S)?)?"
)
_SECONDS = {"D": 86_400, "H": 3_600, "M": 60, "S": 1}


def seconds(text: str | None, default: float) -> float:
    """Return a duration in seconds; `default` where none is given. Raises 400."""
    if not text:
        return default
    found = _FORM.fullmatch(text)
    if found is None or text in ("P", "PT"):
        raise ArmError(400, "UserError", f"'{text}' is not a duration in ISO 8601.")
    return sum(float(value) * _SECONDS[unit] for unit, value in found.groupdict().items() if value)
