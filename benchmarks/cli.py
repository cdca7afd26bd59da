"""How long the command line takes to answer: `hieno --help` and `hieno status`.

Each is the median of ten runs of a whole process, taken in turns with a bare `python -c pass`,
which no command can beat.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

RUNS = 10
COMMANDS = {
    "help_ms": [sys.executable, "-m", "hieno", "--help"],
    "status_ms": [sys.executable, "-m", "hieno", "status"],
    "python_ms": [sys.executable, "-c", "pass"],
}


def main() -> None:
    """Print the conditions, a table, and the medians as one JSON object."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        (project / "hieno.yaml").write_text("name: books\nmodel: demo\n", encoding="utf-8")
        times = measure(project)
    print(f"conditions: Python {platform.python_version()}, click {version('click')}, ", end="")
    print(f"pydantic {version('pydantic')}, {os.cpu_count()} cores, load {load()}, ", end="")
    print(f"{RUNS} runs each in turns after one warm-up, an empty project, warm file cache")
    print(f"{'':10} {'median':>8} {'least':>8} {'most':>8} {'of python':>10}")
    medians = {name: statistics.median(found) for name, found in times.items()}
    for name, found in times.items():
        ratio = medians[name] / medians["python_ms"]
        label = f"{name.removesuffix('_ms'):10}"
        print(f"{label} {medians[name]:8.0f} {min(found):8.0f} {max(found):8.0f} {ratio:9.1f}x")
    print(json.dumps({name: round(median, 1) for name, median in medians.items()}))


def measure(project: Path) -> dict[str, list[float]]:
    """Return the milliseconds of each run of each command."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for run in range(RUNS + 1):
        for name, command in COMMANDS.items():
            began = time.perf_counter()
            subprocess.run(command, cwd=project, stdout=subprocess.DEVNULL, check=True)
            if run:  # the first one of each fills the file cache
                times[name].append((time.perf_counter() - began) * 1000)
    return times


def load() -> str:
    """Return the load of the last minute, where the system tells it."""
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "?"


if __name__ == "__main__":
    main()
