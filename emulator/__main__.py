"""`python -m emulator run -- COMMAND`: a command that believes it talks to Azure."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from emulator.cloud import Cloud
from emulator.contract import deviations
from emulator.faults import KINDS
from emulator.server import running
from emulator.settings import Settings
from hieno.project import home

# what would lead around the proxy, or to somebody's real account
_FOREIGN = (
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
    "AZURE_AUTHORITY_HOST",
    "MSI_ENDPOINT",
)

_FROM_AZURE = "azure"  # what hieno keeps of Azure's answers, in its home
_TERMINATED = 128 + signal.SIGTERM


def main(arguments: list[str] | None = None) -> int:
    """Run a command against a fresh emulated Azure; return its exit code."""
    given = _parser().parse_args(arguments)
    settings = Settings(
        caller_roles=tuple(given.role) or Settings.caller_roles,
        registered=not given.unregistered,
        quota=dict(_limit(text) for text in given.quota),
        grants_quota=not given.no_quota,
        taken_names=tuple(name.lower() for name in given.taken_name),
        builds_images=given.build_images,
        image_variables=dict(_pair(text) for text in given.image_variable),
    )
    with (
        tempfile.TemporaryDirectory(prefix="emulator-") as temporary,
        running(given.folder or Path(temporary), settings) as cloud,
    ):
        for text in given.fault:
            cloud.faults.add(text)
        code = _run(cloud, given.command)
        _report(cloud)
    return code


def _run(cloud: Cloud, command: list[str]) -> int:
    kept = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))
    own = {"HIENO_HOME": str(_home_beside(cloud.folder))}
    process = subprocess.Popen(command, env={**kept, **own, **cloud.environment()})
    try:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue  # the command got it as well, and decides what it means
    finally:
        process.terminate()
        process.wait()


def _home_beside(folder: Path) -> Path:
    """Return a home for hieno in which all of the user's is found and nothing is left behind.

    What is made up here, prices above all, must not be taken for Azure's afterwards.
    """
    made, users = folder / "home", home()
    made.mkdir(exist_ok=True)
    for name in os.listdir(users) if users.is_dir() else []:
        if name != _FROM_AZURE and not (made / name).exists():
            (made / name).symlink_to(users / name)
    return made


def _report(cloud: Cloud) -> None:
    for target in dict.fromkeys(cloud.trace.refused):
        print(f"emulator: refused a connection: {target}", file=sys.stderr)
    for entry in cloud.ledger.running():
        rate = "by the hour" if entry.by_the_hour else "a little"
        print(
            f"emulator: still billed {rate}: {entry.quantity} x {entry.meter}, {entry.resource}",
            file=sys.stderr,
        )
    for deviation in deviations(cloud):
        print(f"emulator: not as published: {deviation}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m emulator", description=__doc__)
    run = parser.add_subparsers(required=True).add_parser("run", help="run a command")
    run.add_argument("--folder", type=Path, help="keep what the run writes: trace, logs, jobs")
    kinds = "; ".join(f"{name}: {text}" for name, text in KINDS.items())
    run.add_argument(
        "--fault", action="append", default=[], help=f"'KIND at=PATTERN times=N'. {kinds}"
    )
    run.add_argument(
        "--role", action="append", default=[], help="a role of the caller (else Owner)"
    )
    run.add_argument("--quota", action="append", default=[], help="FAMILY=CORES, over the defaults")
    run.add_argument(
        "--image-variable", action="append", default=[], help="NAME=VALUE, set in every image"
    )
    run.add_argument(
        "--build-images", action="store_true", help="install the pins of images, once per user"
    )
    run.add_argument("--no-quota", action="store_true", help="refuse requests for more quota")
    run.add_argument(
        "--taken-name", action="append", default=[], help="somebody else in Azure has this name"
    )
    run.add_argument("--unregistered", action="store_true", help="no provider is registered yet")
    run.add_argument("command", nargs="+", metavar="COMMAND")
    return parser


def _limit(text: str) -> tuple[str, int]:
    family, cores = _pair(text)
    return family, int(cores)


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


if __name__ == "__main__":
    sys.exit(main())
