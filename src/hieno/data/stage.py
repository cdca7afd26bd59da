"""The stage `data`: publish a dataset of train, test, replayed and rejected rows.

Two passes: every batch is read, checked, cleaned and measured, by all cores; then chats are
compared with each other and divided, from a few numbers a chat, and the batches are copied out.
"""

from __future__ import annotations

import json
import shutil
import sys
from itertools import islice
from pathlib import Path
from typing import Any  # statistics are JSON

from hieno.config import Data, Serve
from hieno.data.assembly import Assembled, assemble
from hieno.data.intake import read_batches
from hieno.data.lengths import Length, measure, open_ruler
from hieno.data.replay import read_prompts, replay
from hieno.data.report import write_report
from hieno.data.statistics import gather
from hieno.errors import BadData, UserError
from hieno.files import read_jsonl
from hieno.package.layout import weights_folder
from hieno.registry import tracking
from hieno.registry.datasets import REPORT
from hieno.reporting import Reporter
from hieno.stages import StagePlan, publish
from hieno.train.memory import shape_of

PROVEN = 64  # chats whose training and serving renderings are compared


def run(plan: StagePlan, reporter: Reporter) -> None:
    """Make the dataset that a plan describes.

    `plan.inputs["base"]` is the base model's package; the settings are `data` (that section of
    the configuration), `max_length` in tokens, `sources` and `tests` (lists of path and shown
    name) or `hub`, `earlier` (the dataset before, or None), `replay`, an absolute path, and
    `tracking`, the MLflow that shows the dataset (or None).
    Raises `BadData` where nothing usable is left, and `BadRow` for the first bad row if strict.
    """
    work = Path(plan.work)
    work.mkdir(parents=True, exist_ok=True)
    try:
        _make(plan, work, reporter)
    except UserError:  # with other rows or settings nothing of it can be used again
        shutil.rmtree(work, ignore_errors=True)
        raise
    shutil.rmtree(work, ignore_errors=True)
    if plan.settings["tracking"]:
        reporter.progress(0, None, "runs", "showing the dataset in MLflow")
        tracking.show(tracking.Place(**plan.settings["tracking"]), reporter)


def _make(plan: StagePlan, work: Path, reporter: Reporter) -> None:
    settings = Data.model_validate(plan.settings["data"])
    base = plan.input("base")
    model = weights_folder(base)
    intake = read_batches(plan, settings, model, work, reporter)
    with publish(plan, "dataset", beside=[REPORT]) as (folder, facts):
        earlier = plan.settings.get("earlier")
        made = assemble(
            intake,
            settings,
            folder,
            work,
            earlier=Path(earlier) if earlier else None,
            reporter=reporter,
        )
        if not made.rows["train"]:
            raise BadData(
                f"no usable chat in {intake.source}: {_reasons(made.rejected_by_code)}",
                hint="correct the rows, or name another file in data.source",
            )
        _prove(model, folder, made)
        replayed = _replay(plan, settings, base, reporter)
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in replayed)
        (folder / "replay.jsonl").write_text(lines, encoding="utf-8", newline="\n")
        facts.update(
            gather(
                intake,
                made,
                replayed=_lengths(model, replayed),
                shape=shape_of(model),
                train=plan.settings["train"],
                max_length=plan.settings["max_length"],
                split={
                    "seed": settings.seed,
                    "test_size": settings.test_size,
                    "own_test": bool(plan.settings["tests"]),
                },
            )
        )
        reporter.progress(0, None, "pages", "writing the report")
        write_report(folder / REPORT, facts, folder / "train.jsonl", model)
    for line in _told(facts, made, Path(plan.output)):
        reporter.say(line)


def _prove(model: Path, folder: Path, made: Assembled) -> None:
    from hieno.templates import load_tokenizer, prove

    tokens, supervised = made.columns["tokens"], made.columns["supervised"]
    one_sided = int(((supervised == 0) | (supervised == tokens)).sum())
    if one_sided:
        raise BadData(
            f"of {one_sided} chats nothing or everything would be learnt",
            hint="put {% generation %} around the reply, and nothing else, in chat_template.jinja",
        )
    rows = islice(read_jsonl(folder / "train.jsonl"), PROVEN)
    prove(load_tokenizer(model), [row["messages"] for row in rows])


def _lengths(model: Path, rows: list[dict[str, Any]]) -> list[Length]:
    """Measure replayed answers, which passed no check."""
    if not rows:
        return []
    ruler = open_ruler(model, max_length=sys.maxsize)
    measured = [measure(ruler, row) for row in rows]
    return [length for length in measured if isinstance(length, Length)]


def _replay(
    plan: StagePlan, settings: Data, base: Path, reporter: Reporter
) -> list[dict[str, Any]]:
    if not plan.settings["replay"]:
        return []
    prompts = read_prompts(Path(plan.settings["replay"]))
    return replay(
        base,
        prompts,
        max_new_tokens=settings.replay_tokens,
        weights=plan.settings.get("weights", "auto"),
        settings=Serve.model_validate(plan.settings["serve"]),
        on_progress=lambda done, total: reporter.progress(
            done, total, "answers", "replaying what the base model knows"
        ),
    )


def _told(facts: dict[str, Any], made: Assembled, output: Path) -> list[str]:
    lines = []
    if made.first_rejects:
        lines.append(f"set aside, the first of each kind; all stand in {output / 'rejected.jsonl'}")
        lines += [
            f"  {row['file']}:{row['line']}: {row['code']}: {row['problem']}. To do: {row['fix']}"
            for row in made.first_rejects
        ]
    if facts["found"]:
        kinds = ", ".join(f"{count} {kind}" for kind, count in facts["found"].items())
        lines.append(
            f"found in the texts: {kinds}; see findings.jsonl, data.secrets, data.personal"
        )
    if facts["normalised"]:
        lines.append(f"{facts['normalised']} chats brought into NFC with plain line ends")
    return [*lines, f"report: {output / REPORT}"]


def _reasons(codes: dict[str, int]) -> str:
    ordered = sorted(codes.items(), key=lambda item: -item[1])
    return ", ".join(f"{count} {code}" for code, count in ordered) or "it is empty"
