"""What all benchmarks have in common."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
WORK = """
import benchmarks, os, signal, time
try:
    print("measuring", flush=True)
    time.sleep(60)
finally:
    os.kill(os.getpid(), signal.SIGTERM)
    print("everything has ended", flush=True)
"""


def test_a_benchmark_that_is_told_to_end_ends_what_it_has_started() -> None:
    command = [sys.executable, "-c", WORK]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, encoding="utf-8") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "measuring\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "everything has ended\n"
    assert process.returncode == 128 + signal.SIGTERM
