"""How tests run the command line: in this process, or as a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable

from click.testing import CliRunner, Result

from hieno.cli.commands import hieno

Run = Callable[..., Result]

HIENO = [sys.executable, "-m", "hieno"]


def run_here(*arguments: str) -> Result:
    """Run one command in this process; stdout and stderr are kept apart."""
    return CliRunner().invoke(hieno, list(arguments))
