"""How tests run the command line: in this process, or as a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner, Result

from hieno.cli.commands import hieno
from hieno.endpoint import credentials, state
from hieno.endpoint.state import DeploymentSpec, Desired, Observed
from hieno.processes import ProcessId
from hieno.project import open_project

Run = Callable[..., Result]

HIENO = [sys.executable, "-m", "hieno"]


def run_here(*arguments: str) -> Result:
    """Run one command in this process; stdout and stderr are kept apart."""
    return CliRunner().invoke(hieno, list(arguments))


def pretend(project: Path, port: int, gateway: ProcessId) -> Path:
    """Write down an endpoint that was not started here; return its folder."""
    folder = open_project(project).endpoint
    credentials.create(folder)
    blue = DeploymentSpec(version="1", command=("true",))
    desired = Desired("hieno", port, traffic={"blue": 100}, deployments={"blue": blue})
    state.write_desired(folder, desired)
    observed = Observed(gateway=gateway, port=port, revision=1, deployments={})
    state.write_observed(folder, observed)
    return folder
