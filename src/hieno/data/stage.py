"""The stage `data`: publish a dataset of train, test, replayed and rejected rows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any  # statistics are JSON

from hieno.config import Data, Serve
from hieno.data.chats import Chat, Reject, aside, read
from hieno.data.replay import read_prompts, replay
from hieno.data.split import split, without_repeats
from hieno.errors import BadData
from hieno.files import published
from hieno.package.layout import weights_folder
from hieno.reporting import Reporter
from hieno.stages import StagePlan

PROVEN = 64  # chats whose training and serving renderings are compared


@dataclass
class _Sides:
    train: list[Chat] = field(default_factory=list)
    test: list[Chat] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    tokens: dict[str, dict[str, int]] = field(default_factory=dict)


def run(plan: StagePlan, reporter: Reporter) -> None:
    """Make the dataset that a plan describes.

    `plan.inputs["base"]` is the base model's package; the settings are `data` (that section of
    the configuration), `max_length` in tokens, and the absolute paths `source`, `test`, `replay`.
    Raises `BadData` where nothing usable is left, and `BadRow` for the first bad row if strict.
    """
    settings = Data.model_validate(plan.settings["data"])
    base = plan.input("base")
    sides = _read(plan, settings)
    _check_lengths(sides, base, plan.settings["max_length"], settings.strict, reporter)
    if not sides.train:
        raise BadData(
            f"no usable chat in {plan.settings['source']}: {_reasons(sides.rejects)}",
            hint="correct the rows, or name another file in data.source",
        )
    replayed = _replay(plan, settings, base, reporter)
    with published(Path(plan.output), kind="dataset", key=plan.key) as (folder, facts):
        _write(folder / "train.jsonl", (chat.row() for chat in sides.train))
        _write(folder / "test.jsonl", (chat.row() for chat in sides.test))
        _write(folder / "replay.jsonl", replayed)
        _write(folder / "rejected.jsonl", (reject.row() for reject in sides.rejects))
        facts.update(_statistics(sides, replayed), source=plan.settings["source"])


def _read(plan: StagePlan, settings: Data) -> _Sides:
    sides = _Sides()
    if plan.settings["test"]:
        for row in read(Path(plan.settings["test"])):
            _sort(row, sides.test, sides, settings.strict)
    rows = without_repeats(read(Path(plan.settings["source"])), held_out=sides.test)
    for row in rows:
        _sort(row, sides.train, sides, settings.strict)
    if not plan.settings["test"]:
        sides.train, sides.test = split(
            sides.train, test_size=settings.test_size, seed=settings.seed
        )
    return sides


def _sort(row: Chat | Reject, usable: list[Chat], sides: _Sides, strict: bool) -> None:
    if isinstance(row, Chat):
        usable.append(row)
    elif strict:
        raise row.error()
    else:
        sides.rejects.append(row)


def _check_lengths(
    sides: _Sides, base: Path, max_length: int, strict: bool, reporter: Reporter
) -> None:
    from hieno.templates import load_tokenizer, prove, render_training

    tokenizer = load_tokenizer(weights_folder(base))
    prove(tokenizer, [list(chat.messages) for chat in sides.train[:PROVEN]])
    total, done = len(sides.train) + len(sides.test), 0
    for side in ("train", "test"):
        kept: list[Chat] = []
        lengths: list[int] = []
        supervised = 0
        for chat in getattr(sides, side):
            tokens = render_training(tokenizer, list(chat.messages))
            done += 1
            if done % 100 == 0:
                reporter.progress(done, total, "chats", "counting tokens")
            length = len(tokens.input_ids)
            if length > max_length:
                problem = f"{length} tokens, over train.max_length = {max_length}"
                _sort(aside(chat, "too-long", problem), kept, sides, strict)
                continue
            kept.append(chat)
            lengths.append(length)
            supervised += sum(tokens.supervised)
        setattr(sides, side, kept)
        ordered = sorted(lengths)
        sides.tokens[side] = {
            "total": sum(ordered),
            "supervised": supervised,
            "median": ordered[len(ordered) // 2] if ordered else 0,
            "longest": ordered[-1] if ordered else 0,
        }


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
        settings=Serve.model_validate(plan.settings["serve"]),
        on_progress=lambda done, total: reporter.progress(
            done, total, "answers", "replaying what the base model knows"
        ),
    )


def _statistics(sides: _Sides, replayed: Sequence[Any]) -> dict[str, Any]:
    return {
        "rows": {
            "train": len(sides.train),
            "test": len(sides.test),
            "replay": len(replayed),
            "rejected": len(sides.rejects),
        },
        "rejected_by_code": dict(Counter(reject.code for reject in sides.rejects)),
        **{f"{side}_tokens": counts for side, counts in sides.tokens.items()},
    }


def _reasons(rejects: Iterable[Reject]) -> str:
    counts = Counter(reject.code for reject in rejects)
    return ", ".join(f"{count} {code}" for code, count in counts.most_common()) or "it is empty"


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
