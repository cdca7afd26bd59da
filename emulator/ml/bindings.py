"""What stands for `${{inputs.x}}` and `${{outputs.y}}` in a job's command."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any  # Any: jobs are JSON

from emulator.arm.errors import ArmError
from emulator.arm.ids import ResourceId
from emulator.ml import blobs
from emulator.ml.mounts import Mount

if TYPE_CHECKING:
    from emulator.cloud import Cloud

_PLACE = re.compile(r"\$\{\{\s*([\w.]+)\s*\}\}")
_LITERAL = "literal"
DEFAULT = "default"  # the artifacts of the run; what a job writes to ./outputs


@dataclass
class Bindings:
    """The folders and values of one attempt."""

    values: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    mounts: list[Mount] = field(default_factory=list)

    def command(self, text: str) -> str:
        """Return a command with what stands for its places, as it is, not quoted."""
        return _PLACE.sub(lambda found: self.values[found[1]], text)

    def write(self, *, at_end: bool = False) -> None:
        """Bring the outputs' blobs to what was written."""
        for mount in self.mounts:
            if mount.live or at_end:
                mount.write()


def check(job: dict[str, Any]) -> None:
    """Raise 400 where the command names what the job does not have."""
    known = {f"inputs.{name}" for name in job.get("inputs") or {}}
    known |= {f"outputs.{name}" for name in job.get("outputs") or {}}
    for name in _PLACE.findall(job["command"]):
        if name not in known:
            message = f"Missing entry for '${{{{{name}}}}}' in the inputs and outputs of the job."
            raise ArmError(400, "UserError", message)


def bind(cloud: Cloud, workspace: ResourceId, job: dict[str, Any], folder: Path) -> Bindings:
    """Read the inputs and lay out the outputs below a folder that all nodes see.

    Raises `ArmError` and `FileNotFoundError`.
    """
    bound = Bindings()
    for name, given in (job.get("inputs") or {}).items():
        if given["jobInputType"] == _LITERAL:
            bound.values[f"inputs.{name}"] = str(given["value"])
            continue
        place = blobs.resolve(cloud, workspace, given["uri"])
        read = place.download(folder / "inputs" / name)
        bound.values[f"inputs.{name}"] = str(read)
        bound.variables[f"AZURE_ML_INPUT_{name}"] = str(read)
    for name, asked in job["outputs"].items():
        if name == DEFAULT:
            continue
        live = asked.get("mode", "ReadWriteMount") != "Upload"
        place = blobs.resolve(cloud, workspace, asked["uri"])
        mount = Mount(folder / "outputs" / name, place, live)
        mount.fill()
        bound.mounts.append(mount)
        bound.values[f"outputs.{name}"] = str(mount.folder)
        bound.variables[f"AZURE_ML_OUTPUT_{name}"] = str(mount.folder)
    return bound
