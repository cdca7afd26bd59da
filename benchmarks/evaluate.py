"""How long an evaluation takes, and what it says of good and bad trainings: `make bench-evaluate`.

The demo project, in a folder that is kept where `FOLDER` names one. First the demo as it is, then
the model trained once more on shuffled answers, and once for long without the base's own answers:
neither may become champion, and the gate has to say why. Then base and tuned model are asked 60
held-out and 200 general questions, and the time of the stage is taken. All of it takes an hour on
two cores without bfloat16; `ONLY=refusals` and `ONLY=time` do the one or the other.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any  # reports are JSON

HIENO = [sys.executable, "-m", "hieno"]
HELD_OUT, GENERAL = 60, 200
ASKED = {"data.test": "data/some.jsonl", "evaluate.general": "data/shipped.jsonl"}


def main() -> None:
    """Measure, print what the gate says, and print one JSON object as the last line."""
    from hieno.demo import demo

    with tempfile.TemporaryDirectory(prefix="hieno-bench-") as folder:
        root = Path(os.environ.get("FOLDER", folder)).resolve() / "demo"
        demo(root)
        found: dict[str, Any] = {}
        parts = {"refusals": refusals, "time": timing}
        for name in os.environ.get("ONLY", ",".join(parts)).split(","):
            found |= parts[name](root)
    print(json.dumps(found))


def timing(root: Path) -> dict[str, Any]:
    """Return the seconds of an evaluation of 60 + 200 questions, and of judging it again."""
    from hieno.evaluate.questions import SHIPPED

    first_lines(root / "data" / "heldout.jsonl", root / "data" / "some.jsonl", HELD_OUT)
    first_lines(SHIPPED, root / "data" / "shipped.jsonl", GENERAL)
    run("package", *at(root, ASKED))
    first = took(root, ASKED)
    again = took(root, {**ASKED, "gate.max_forgotten": "0.06"})
    report = newest(root)
    print(
        f"{HELD_OUT} + {GENERAL} questions, two models: {first:.1f} s; judged again: {again:.1f} s"
    )
    print(report["verdict"]["sentence"])
    return {"seconds": first, "seconds_again": again, "verdict": report["verdict"]["word"]}


def refusals(root: Path) -> dict[str, Any]:
    """Register the demo, then two bad trainings; return the verdicts and the gate's reasons."""
    run("register", *at(root, {}))
    good = newest(root)
    print(good["verdict"]["sentence"])
    shuffled(root / "data" / "chats.jsonl", root / "data" / "shuffled.jsonl")
    bad = {
        "shuffled": {"data.source": "data/shuffled.jsonl"},
        "forgot": {"data.replay": "null", "train.epochs": "5"},
    }
    found: dict[str, Any] = {"demo": said(good)}
    for name, settings in bad.items():
        code = run("register", *at(root, settings), check=False)
        found[name] = {"exit": code, "champion": champion(root), **said(newest(root))}
        print(f"{name}: exit {code}, champion {champion(root)}")
        print(f"  {newest(root)['verdict']['sentence']}")
    return found


def said(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is kept of a report."""
    lead = next(row for row in report["differences"]["base"] if row["name"] == "facts")
    kept = ("before", "after", "low", "high")
    return {
        "verdict": report["verdict"]["word"],
        "reasons": report["gate"]["reasons"],
        "facts": {name: lead[name] for name in kept},
    }


def champion(root: Path) -> int | None:
    """Return the version that may serve."""
    aliases = json.loads((root / ".hieno" / "registry" / "aliases.json").read_text("utf-8"))
    return aliases.get("champion")  # type: ignore[no-any-return]


def newest(root: Path) -> dict[str, Any]:
    """Return the report that was written last."""
    reports = (root / ".hieno" / "evaluations").glob("*/report.json")
    latest = max(reports, key=lambda path: path.stat().st_mtime)
    found: dict[str, Any] = json.loads(latest.read_text("utf-8"))
    return found


def shuffled(source: Path, target: Path) -> None:
    """Write chats whose last replies are those to other questions."""
    rows = [json.loads(line) for line in source.read_text("utf-8").splitlines()]
    replies = [(row["messages"][-1], row.get("answers")) for row in rows]
    random.Random(0).shuffle(replies)  # noqa: S311
    for row, (reply, answers) in zip(rows, replies, strict=True):
        row["messages"][-1], row["answers"] = reply, answers
    target.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def first_lines(source: Path, target: Path, count: int) -> None:
    """Copy so many rows, from all over."""
    lines = source.read_text("utf-8").splitlines()
    chosen = lines[:: max(1, len(lines) // count)][:count]
    target.write_text("\n".join(chosen) + "\n", encoding="utf-8")


def took(root: Path, settings: Mapping[str, str]) -> float:
    """Return the seconds of the stage alone."""
    started = time.monotonic()
    run("evaluate", *at(root, settings))
    return round(time.monotonic() - started, 1)


def at(root: Path, settings: Mapping[str, str]) -> list[str]:
    """Return the options that name a project and set its keys."""
    pairs = [f"{key}={value}" for key, value in settings.items()]
    return ["--project", str(root), *(word for pair in pairs for word in ("--set", pair))]


def run(*arguments: str, check: bool = True) -> int:
    """Run a command to its end and return its exit code."""
    done = subprocess.run([*HIENO, *arguments], check=check, stdin=subprocess.DEVNULL)
    return done.returncode


if __name__ == "__main__":
    main()
