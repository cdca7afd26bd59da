"""A container of the emulator: started again when it ends, and never after it was closed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from emulator.ml.containers import Container


def test_a_container_that_was_closed_is_not_started_again(tmp_path: Path) -> None:
    word = "import sys; sys.stdin.read()"
    made = Container([sys.executable, "-c", word], dict(os.environ), tmp_path, 0, {})
    made.start()
    made._process.wait(60)  # type: ignore[union-attr]  # nothing is on its input
    made.revive()
    assert made.restarts == 1
    made.close()
    made.revive()
    assert made.restarts == 1
    assert made.code() is not None
