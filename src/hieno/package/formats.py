"""Which weight format serves: the same questions through each, and the smallest that holds its own.

What is compared is the served engine itself. Each format runs in a process of its own, so that its
memory is its own.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # facts are JSON

from hieno.config import Serve
from hieno.errors import HienoError
from hieno.evaluate.comparison import primary, scores
from hieno.evaluate.intervals import Sample, paired
from hieno.evaluate.measures import NAMED, Reply, facts_of, samples
from hieno.evaluate.questions import Question
from hieno.package.convert import compress
from hieno.package.layout import ENGINES, FORMATS
from hieno.processes import python_module, run_to_end
from hieno.reporting import Reporter

WHOLE = FORMATS[0]  # what the others are held to
ENGINE = "openvino"


@dataclass(frozen=True)
class Exam:
    """What each format is asked, and how much it may give up (a share of right answers)."""

    questions: Sequence[Question]
    max_new_tokens: int
    serve: Serve
    max_loss: float


@dataclass(frozen=True)
class Trial:
    """How one format answered; `seconds` are those of all answers, without loading."""

    replies: list[Reply]
    tokens: list[list[int]]
    seconds: float
    load_seconds: float
    memory: int
    size: int


def settle(root: Path, exam: Exam, reporter: Reporter) -> tuple[str, dict[str, Any]]:
    """Keep the smallest allowed format of a package that has fp32; return it, and all results.

    A format that cannot be made or loaded is not allowed, and says why.
    """
    engines = root / ENGINES
    reporter.say(f"asking {len(exam.questions)} questions with {WHOLE} weights")
    whole = _try(root, WHOLE, exam)
    seen = {WHOLE: judged(exam, whole, whole)}
    for weights in FORMATS[1:]:
        reporter.say(f"asking them with {weights} weights")
        try:
            compress(
                engines / f"{ENGINE}-{WHOLE}",
                engines / f"{ENGINE}-{weights}",
                weights=weights,
                say=reporter.say,
            )
            seen[weights] = judged(exam, whole, _try(root, weights, exam))
        except HienoError as error:
            seen[weights] = {"allowed": False, "problem": error.message}
    chosen = smallest(seen)
    for weights in FORMATS:
        if weights != chosen:
            shutil.rmtree(engines / f"{ENGINE}-{weights}", ignore_errors=True)
    return chosen, seen


def judged(exam: Exam, whole: Trial, trial: Trial) -> dict[str, Any]:
    """Return what was measured of a format, and whether it may serve.

    Where nothing was asked nothing is known, and only the whole weights may.
    """
    quality = _quality(exam.questions, whole.replies, trial.replies)
    holds = all(row["difference"] >= -exam.max_loss for row in quality.values())
    pairs = list(zip(whole.tokens, trial.tokens, strict=True))
    return {
        "allowed": trial is whole or (bool(quality) and holds),
        "quality": quality,
        "same": sum(a == b for a, b in pairs) / len(pairs) if pairs else None,
        "same_beginning": sum(_common(a, b) for a, b in pairs) / len(pairs) if pairs else None,
        "tokens_per_second": round(sum(map(len, trial.tokens)) / trial.seconds, 1),
        "load_seconds": round(trial.load_seconds, 2),
        "memory": trial.memory,
        "size": trial.size,
    }


def smallest(seen: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the allowed format whose weights are smallest on the disk."""
    allowed = [weights for weights, row in seen.items() if row["allowed"]]
    return min(allowed, key=lambda weights: seen[weights]["size"])


def _quality(
    questions: Sequence[Question], before: Sequence[Reply], after: Sequence[Reply]
) -> dict[str, Any]:
    """Return the paired differences of what decides: held-out answers, and general ones."""
    facts = facts_of(questions)
    old, new = samples(questions, before, facts), samples(questions, after, facts)
    found = {}
    for name in (primary(scores(old)), "general"):
        row = _difference(name, old, new) if name else None
        if name and row:
            found[name] = row
    return found


def _difference(
    name: str, old: Mapping[str, Sample], new: Mapping[str, Sample]
) -> dict[str, Any] | None:
    row = paired(old.get(name, {}), new.get(name, {}), yes_no=NAMED[name].yes_no)
    return {"difference": row.difference, "low": row.low, "high": row.high} if row else None


def _common(one: Sequence[int], other: Sequence[int]) -> float:
    """Return the share of a longer answer's tokens until the two part."""
    longest = max(len(one), len(other))
    alike = next(
        (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
        min(len(one), len(other)),
    )
    return alike / longest if longest else 1.0


def _try(root: Path, weights: str, exam: Exam) -> Trial:
    asked = {
        "root": str(root),
        "weights": weights,
        "prompts": [question.prompt for question in exam.questions],
        "max_new_tokens": exam.max_new_tokens,
        "serve": exam.serve.model_dump(),
    }
    done = run_to_end(
        python_module("hieno.package.trial"), environment=os.environ, text=json.dumps(asked)
    )
    if done.returncode:
        last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "?")
        raise HienoError(
            f"the engine cannot answer with {weights} weights: {last}",
            hint="set package.weights to fp32",
        )
    told = json.loads(done.stdout.splitlines()[-1])
    folder = root / ENGINES / f"{ENGINE}-{weights}"
    return Trial(
        replies=[Reply(row["text"], row["stopped"]) for row in told["replies"]],
        tokens=[row["tokens"] for row in told["replies"]],
        seconds=told["seconds"],
        load_seconds=told["load_seconds"],
        memory=told["memory"],
        size=sum(path.stat().st_size for path in folder.iterdir()),
    )
