"""The side environment that a project runs in: its Python, its variables, its private home."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from pydantic import SecretStr

from hieno import environments
from hieno.files import write_atomic
from hieno.flow.frameworks import Framework
from hieno.project import home

# Without these prompt flow's first command starts a background service, sends telemetry under a
# number derived from this machine, and asks a package index for a newer version once a week.
PRIVATE_HOME = {
    "pf.yaml": "telemetry:\n  enabled: false\ntrace:\n  destination: none\n"
    "cli:\n  installation_id: 00000000-0000-0000-0000-000000000000\n",
    "pf_version_check.json": '{"last_check_time": "9000-01-01 00:00:00.000000", '
    '"last_hint_time": "9000-01-01 00:00:00.000000"}\n',
}

# What would send the flow's traffic elsewhere, or lead its Python to our packages.
_NOT_INHERITED = (
    "ALL_PROXY",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "PYTHONHOME",
    "PYTHONPATH",
    "VIRTUAL_ENV",
)


def python(framework: Framework, say: Callable[[str], None]) -> Path:
    """Return the Python that has a framework; its environment is made on first use."""
    return environments.ensure(framework.environment, say=say)


def command(interpreter: Path, *arguments: str) -> list[str]:
    """Return a command of that Python which sees only its own packages (`-I`)."""
    return [str(interpreter), "-I", "-X", "utf8", *arguments]


def script(interpreter: Path, file: Path, *arguments: str) -> list[str]:
    """Return the command of a project's own script, which finds the modules beside it."""
    return [str(interpreter), "-E", "-s", "-B", "-X", "utf8", str(file), *arguments]


def environment(endpoint: str, key: SecretStr) -> dict[str, str]:
    """Return the environment of a project's process; the key goes this way and no other.

    A private home with telemetry switched off is there before prompt flow's first start.
    """
    private = home() / "promptflow"
    for file, content in PRIVATE_HOME.items():
        path = private / file
        if not path.is_file() or path.read_text(encoding="utf-8") != content:
            write_atomic(path, content)
    kept = {name: value for name, value in os.environ.items() if name.upper() not in _NOT_INHERITED}
    return kept | {
        "AGENT_FRAMEWORK_FEATURE_MASK_DISABLED": "true",
        "AGENT_FRAMEWORK_USER_AGENT_DISABLED": "true",
        "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true",
        "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",
        "HIENO_API_KEY": key.get_secret_value(),
        "HIENO_ENDPOINT": endpoint,
        "NO_PROXY": "*",
        "PF_DISABLE_TRACING": "true",
        "PF_HOME_DIRECTORY": str(private),
    }
