"""What a job on Azure runs: one stage, from mounted inputs to a mounted result.

    python -m hieno.targets.azure.job --plan plan.json --result DIR [--work DIR] --input ROLE=DIR...

It reports as a stage does here, in JSON lines among everything else in the job's log, and its
training shows its metrics in the workspace's MLflow while it runs.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

from hieno.files import MANIFEST, read_json
from hieno.package.layout import first_format
from hieno.reporting import Reporter
from hieno.stages import LineReporter, StagePlan, report
from hieno.targets.azure import metrics


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stage and hand its result over; return the exit code."""
    options = _parser().parse_args(arguments)
    plan = StagePlan(**read_json(options.plan))
    with tempfile.TemporaryDirectory(prefix="hieno-job-") as scratch:
        placed = locate(
            plan,
            inputs=_pairs(options.input),
            files=_pairs(options.file),
            work=options.work or Path(scratch) / "work",
            scratch=Path(scratch),
        )
        reporter = LineReporter(sys.stdout)
        with _shown(placed, reporter):
            code = report(placed, reporter, before=_prepare)
        if code == 0 and _leads():
            hand_over(Path(placed.output), options.result)
    return code


def locate(
    plan: StagePlan,
    *,
    inputs: Mapping[str, str],
    files: Mapping[str, str],
    work: Path,
    scratch: Path,
) -> StagePlan:
    """Return a plan with the paths of this machine in the place of those where it was made."""
    moved = {old: files[str(number)] for number, old in enumerate(plan.files)}
    return replace(
        plan,
        inputs={role: inputs[role] for role in plan.inputs},
        files={moved[old]: digest for old, digest in plan.files.items()},
        settings={
            name: moved.get(value, value) if isinstance(value, str) else value
            for name, value in plan.settings.items()
        },
        output=str(scratch / "results" / Path(plan.output.replace("\\", "/")).name),
        work=str(work),
    )


def hand_over(folder: Path, result: Path) -> None:
    """Copy a published folder to where the job's result is mounted, its manifest last."""
    result.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != folder / MANIFEST:
            target = result / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    shutil.copyfile(folder / MANIFEST, result / MANIFEST)


def _prepare(plan: StagePlan, reporter: Reporter) -> None:
    """Make the base ready for the engine that answers here, which may differ from the sender's."""
    if plan.stage == "evaluate":
        from hieno.package.convert import convert_base

        convert_base(
            plan.input("base"),
            engine=plan.settings["engine"],
            weights=first_format(plan.settings["weights"]),
            say=reporter.say,
        )


def _shown(plan: StagePlan, reporter: Reporter) -> AbstractContextManager[object]:
    if plan.stage == "train" and _leads():
        return metrics.shown(Path(plan.work), Path(plan.output), reporter)
    return nullcontext()


def _leads() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _pairs(words: Sequence[str]) -> dict[str, str]:
    return {name: path for name, _, path in (word.partition("=") for word in words)}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hieno.targets.azure.job")
    parser.add_argument("--plan", type=Path, required=True, help="the resolved plan")
    parser.add_argument("--result", type=Path, required=True, help="where the result goes")
    parser.add_argument("--work", type=Path, help="what an interrupted job left, and leaves")
    parser.add_argument("--input", action="append", default=[], metavar="ROLE=DIR")
    parser.add_argument("--file", action="append", default=[], metavar="NUMBER=FILE")
    return parser


if __name__ == "__main__":
    sys.exit(main())
