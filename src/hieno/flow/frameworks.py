"""The two frameworks that a chat can be generated for, and what hieno needs to know of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hieno.errors import MissingInput, UsageError


@dataclass(frozen=True)
class Framework:
    """A framework: `entries` are the files by which a folder of it is known, best first."""

    name: str
    environment: str
    entries: tuple[str, ...]
    driver: str
    init: str


PROMPTFLOW = Framework(
    "promptflow",
    environment="promptflow",
    entries=("flow.dag.yaml", "flow.dag.yml"),
    driver="promptflow_lines.py",
    init="hieno flow init",
)
AGENTS = Framework(
    "agent-framework",
    environment="agents",
    entries=("agent.py",),
    driver="agent_lines.py",
    init="hieno flow init --framework agent-framework",
)
FRAMEWORKS: Mapping[str, Framework] = {each.name: each for each in (PROMPTFLOW, AGENTS)}


def named(name: str) -> Framework:
    """Return a framework by its name."""
    if name not in FRAMEWORKS:
        raise UsageError(f"there is no framework '{name}'", hint=f"known: {', '.join(FRAMEWORKS)}")
    return FRAMEWORKS[name]


def entry(folder: Path) -> tuple[Framework, Path]:
    """Return what a folder's project is made for, and the file that it begins with."""
    for framework in FRAMEWORKS.values():
        for name in framework.entries:
            if (folder / name).is_file():
                return framework, folder / name
    raise MissingInput(
        f"there is no flow in {folder} (no {PROMPTFLOW.entries[0]}, no {AGENTS.entries[0]})",
        hint=f"`{PROMPTFLOW.init}` writes one",
    )
