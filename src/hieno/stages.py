"""A stage as data: what it reads, its settings, where it writes; and the process that runs it.

The heavy stages (data, train, package, evaluate, register, export) run as
`python -m hieno.stages PLAN` wherever the target is: in a child process here, in a command job in
the cloud. They speak to whoever started them in JSON lines on stdout: `{"progress": ...}`,
`{"say": ...}`, `{"error": ...}`. What they made is read from the folder that they published,
never from here.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO  # Any: a stage's settings are JSON

from hieno import errors
from hieno.files import digest_file, published, read_json, verify
from hieno.reporting import Reporter

RUNNERS: Mapping[str, str] = {
    "data": "hieno.data.stage",
    "train": "hieno.train.stage",
    "estimate": "hieno.train.estimate",
    "package": "hieno.package.stage",
    "evaluate": "hieno.evaluate.stage",
    "register": "hieno.registry.stage",
    "export": "hieno.export.stage",
}


@dataclass(frozen=True)
class StagePlan:
    """One stage, ready to run.

    `inputs` are published folders by role, `digests` the digest each must still have, `files`
    the user's own files with theirs. `output` is the folder to publish under `key`; `work` may
    hold what an interrupted run left to resume. `origin` is published with the result: what `key`
    is the digest of (`made_of`), and where the user's files stood (`read`).
    """

    stage: str
    key: str
    output: str
    work: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    origin: Mapping[str, Any] = field(default_factory=dict)

    def input(self, role: str) -> Path:
        return Path(self.inputs[role])


def save_plan(plan: StagePlan, path: Path) -> None:
    """Write a plan where its runner will read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(plan), indent=2), encoding="utf-8")


def publish(
    plan: StagePlan, kind: str, *, beside: Collection[str] = ()
) -> AbstractContextManager[tuple[Path, dict[str, Any]]]:
    """Fill the folder of a plan's result (see `hieno.files.published`)."""
    return published(Path(plan.output), kind=kind, key=plan.key, origin=plan.origin, beside=beside)


def run_plan(plan: StagePlan, reporter: Reporter) -> None:
    """Check the inputs against their digests, then run the stage in this process."""
    for role, expected in plan.digests.items():
        found = verify(plan.input(role), whole=plan.stage != "register")
        if found.digest != expected:
            raise errors.BrokenArtifact(
                f"{plan.inputs[role]} changed while the work was planned",
                hint="type the same command again",
            )
    runner: Callable[[StagePlan, Reporter], None] = importlib.import_module(RUNNERS[plan.stage]).run
    _refuse_changed(plan)
    with errors.disk_full_is_named(Path(plan.output)):
        runner(plan, reporter)
    try:
        _refuse_changed(plan)
    except errors.TryLater:  # nobody knows which content was read
        shutil.rmtree(plan.output)
        raise


def pass_on(lines: Iterable[str], reporter: Reporter) -> errors.HienoError | None:
    """Tell a reporter what a stage's process tells; return the first failure, if there is one."""
    failure: errors.HienoError | None = None
    for line in lines:
        message = json.loads(line)
        if "progress" in message:
            reporter.progress(*message["progress"])
        elif "say" in message:
            reporter.say(message["say"])
        elif "error" in message:
            failure = failure or errors.rebuild(**message["error"])
    return failure


def _refuse_changed(plan: StagePlan) -> None:
    for name, expected in plan.files.items():
        if digest_file(Path(name)) != expected:
            raise errors.TryLater(
                f"{name} changed while it was being used", hint="type the same command again"
            )


def main(path: str) -> int:
    """Run the plan in a file and report in JSON lines on stdout; return the exit code."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints goes to the log
    return report(StagePlan(**read_json(Path(path))), LineReporter(out))


def report(
    plan: StagePlan,
    reporter: LineReporter,
    *,
    before: Callable[[StagePlan, Reporter], None] = lambda plan, reporter: None,
) -> int:
    """Run a plan, after `before`, and report how it ends as well; return the exit code."""
    try:
        before(plan, reporter)
        run_plan(plan, reporter)
    except errors.HienoError as error:
        told = {"kind": type(error).__name__, "message": error.message, "hint": error.hint}
        reporter.send({"error": told})
        return error.exit_code
    except KeyboardInterrupt:
        return errors.Interrupted.exit_code
    return 0


def _end_with_parent() -> None:
    """Leave as soon as nobody waits for this stage any more: its successor may be at work."""
    while os.read(0, 1024):
        pass
    os._exit(errors.Interrupted.exit_code)


class LineReporter:
    """Reports in JSON lines, for whoever reads this process's output."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def send(self, message: Mapping[str, Any]) -> None:
        self._out.write(json.dumps(message) + "\n")
        self._out.flush()

    def say(self, line: str) -> None:
        self.send({"say": line})

    def stage(self, name: str) -> None:
        self.send({"stage": name})

    def progress(self, done: float, total: float | None, unit: str, text: str = "") -> None:
        self.send({"progress": [done, total, unit, text]})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
