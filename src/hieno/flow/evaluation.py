"""Score a batch with the project's evaluation flow, in the real prompt flow."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # scores are the evaluation flow's JSON

from pydantic import SecretStr

from hieno.errors import BadData, HienoError
from hieno.files import write_atomic
from hieno.flow.frameworks import PROMPTFLOW, entry
from hieno.flow.results import Batch
from hieno.flow.rows import EXPECTED
from hieno.flow.runner import HINT, Runner

FOLDER, SCORES = "evaluation", "scores.jsonl"
SECONDS = 600.0  # for one line, and for what they come to together


@dataclass(frozen=True)
class Evaluation:
    """What a batch is worth: the evaluation flow's metrics, and the score of each line."""

    metrics: Mapping[str, Any]
    scores: Mapping[int, Mapping[str, Any]]
    unscored: int  # lines of which no right answer is known


def evaluate(folder: Path, batch: Batch, *, say: Callable[[str], None]) -> Evaluation:
    """Score a batch with the evaluation flow in `folder`.

    A line that has no answer is scored as an empty one: what fails does not make a flow better.
    """
    framework, file = entry(folder)
    if framework is not PROMPTFLOW:
        raise HienoError(f"{file} is no evaluation flow", hint="`hieno flow init` writes one")
    rows = [row for row in batch.rows if row.expected is not None]
    if not rows:
        raise BadData(
            "no line of the batch says what is expected",
            hint=f'add "{EXPECTED}" to its rows, or take chats that end with an answer',
        )
    scores: dict[int, Mapping[str, Any]] = {}
    # The evaluation needs no endpoint, so it is not told of any.
    with closing(Runner(folder, "", SecretStr(""), say=say)) as runner:
        for row in rows:
            inputs = {"answer": batch.answer(row), "answers": [*row.accepted]}
            runner.ask(row.line, inputs | {"ground_truth": row.expected})
            told = runner.told(SECONDS)
            if "error" in told:
                raise HienoError(f"line {row.line} cannot be scored: {told['error']}", hint=HINT)
            scores[row.line] = told["outputs"]
        metrics = runner.aggregate(SECONDS)
    lines = [json.dumps({"line": line, **score}) + "\n" for line, score in scores.items()]
    write_atomic(batch.folder / SCORES, "".join(lines))
    return Evaluation(metrics, scores, len(batch.rows) - len(rows))
