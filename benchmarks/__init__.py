"""Measurements; `make bench-NAME` runs `python -m benchmarks.NAME`.

To end one with SIGTERM is to end it with Ctrl-C: what it has started ends with it.
"""

import signal
from types import FrameType


def _end(number: int, frame: FrameType | None) -> None:
    signal.signal(number, lambda *_: None)  # it is ending already
    raise SystemExit(128 + number)


signal.signal(signal.SIGTERM, _end)
