"""The stage `train`: publish a run, that is what was tuned, its metrics and its settings."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any  # Any: rows of JSONL

from hieno.config import Train
from hieno.errors import ConfigError
from hieno.files import read_json, read_jsonl, write_json
from hieno.package.layout import ADAPTER, RUN_MODEL, weights_folder
from hieno.reporting import Reporter
from hieno.stages import StagePlan, publish
from hieno.train.packing import IGNORED, Row

if TYPE_CHECKING:
    from hieno.train.loop import Outcome
    from hieno.train.samples import Questions


@dataclass(frozen=True)
class Opened:
    """What a run begins with; `settings` are those that fit into this machine's memory."""

    model_folder: Path
    train: list[Row]
    replayed: list[Row]
    test: list[Row]
    settings: Train
    dtype: str
    processes: int
    changed: str
    memory: dict[str, int]


def run(plan: StagePlan, reporter: Reporter) -> None:
    """Fine-tune `inputs["base"]` on `inputs["dataset"]` with the settings `train`.

    An interrupted run leaves its checkpoints in `plan.work` and is continued from there, in the
    compute dtype, the passes and the processes that it was started with.
    """
    work = Path(plan.work)
    work.mkdir(parents=True, exist_ok=True)
    from hieno.train import group

    group.join()
    opened = open_run(plan, work)
    if opened.changed and not group.is_member():
        reporter.say(f"to fit into memory: {opened.changed}")
    if opened.processes > 1 and not group.is_member():
        from hieno.train.launch import together

        return together(plan, opened.processes, reporter)
    if group.leads():
        _publish(plan, opened, work, reporter)
    else:
        _fine_tune(plan, opened, work, work, reporter)  # writes nothing
    group.leave()


def _publish(plan: StagePlan, opened: Opened, work: Path, reporter: Reporter) -> None:
    settings = opened.settings
    with publish(plan, "run") as (folder, facts):
        weights = folder / (RUN_MODEL if settings.method == "full" else ADAPTER)
        outcome = _fine_tune(plan, opened, work, weights, reporter)
        for name in ("metrics.jsonl", "samples.jsonl"):
            if (work / name).is_file():
                shutil.copy2(work / name, folder / name)
        facts.update(
            {
                "settings": settings.model_dump(),
                "dtype": opened.dtype,
                "processes": opened.processes,
                "kernels": outcome.kernels,
                "versions": _versions(),
                "base": plan.digests["base"],
                "dataset": plan.digests["dataset"],
                "chats": len(opened.train) + len(opened.replayed),
                "steps": outcome.steps,
                "seconds": round(outcome.seconds, 1),
                "peak_memory": outcome.peak_memory,
                "resumed_from": outcome.resumed_from,
                "test_loss": outcome.test_loss,
                "base_test_loss": outcome.base_test_loss,
            }
        )
    shutil.rmtree(work, ignore_errors=True)


def _fine_tune(
    plan: StagePlan, opened: Opened, work: Path, weights: Path, reporter: Reporter
) -> Outcome:
    from hieno.train.loop import fine_tune

    return fine_tune(
        opened.model_folder,
        opened.train,
        opened.test,
        opened.settings,
        replayed=opened.replayed,
        questions=questions(plan, opened.settings.samples),
        dtype=opened.dtype,
        work=work,
        weights=weights,
        reporter=reporter,
    )


def questions(plan: StagePlan, count: int) -> Questions | None:
    """Return held-out questions, evenly taken, as the model is asked them when it serves."""
    from hieno.evaluate.questions import held_out
    from hieno.templates import load_tokenizer, render_prompt, stop_ids
    from hieno.train.samples import Questions

    asked = held_out(plan.input("dataset") / "test.jsonl")
    asked = asked[:: max(1, len(asked) // max(1, count))][:count]
    if not asked:
        return None
    folder = weights_folder(plan.input("base"))
    tokenizer = load_tokenizer(folder)
    return Questions(
        texts=[question.prompt[-1]["content"] for question in asked],
        prompts=[render_prompt(tokenizer, question.prompt) for question in asked],
        tokenizer=tokenizer,
        stops=stop_ids(folder),
    )


def open_run(plan: StagePlan, work: Path) -> Opened:
    """Read what a plan names, and settle how its steps are divided.

    What was settled when the run began is in `work` and stays as it is; of several machines, each
    with a memory and a speed of its own, the leader settles it for all. Raises `ConfigError` where
    the run cannot fit into memory.
    """
    from hieno.templates import load_tokenizer
    from hieno.train import group

    settings = Train.model_validate(plan.settings["train"])
    dataset = plan.input("dataset")
    model_folder = weights_folder(plan.input("base"))
    tokenizer = load_tokenizer(model_folder)
    train, replayed, test = (
        tokenise(tokenizer, read_jsonl(dataset / name), loss_on=settings.loss_on)
        for name in ("train.jsonl", "replay.jsonl", "test.jsonl")
    )
    replayed = spread(replayed, settings.replay_share)
    rows = [*train, *replayed, *test]
    settled = group.by_leader(lambda: _settle(settings, model_folder, rows, work))
    divided = {name: settled[name] for name in ("pass_tokens", "checkpointing", "keep_states")}
    return Opened(
        model_folder=model_folder,
        train=train,
        replayed=replayed,
        test=test,
        settings=settings.model_copy(update=divided),
        dtype=settled["dtype"],
        processes=settled["processes"],
        changed=settled["changed"],
        memory=settled["memory"],
    )


def spread(rows: list[Row], share: float) -> list[Row]:
    """Return a share of some rows, from all over."""
    kept = round(len(rows) * share)
    return [rows[i * len(rows) // kept] for i in range(kept)]


def tokenise(
    tokenizer: Any, rows: Iterable[dict[str, Any]], *, loss_on: str = "replies"
) -> list[Row]:
    """Return {"input_ids", "labels"} of each chat; labels are -100 where nothing is learnt.

    A reply that is marked `cut` is learnt without its end, which is not where it would have ended.
    """
    from hieno.templates import render_training

    made = []
    for row in rows:
        tokens = render_training(tokenizer, row["messages"])
        pairs = zip(tokens.input_ids, tokens.supervised, strict=True)
        labels = [
            token if supervised or loss_on == "all" else IGNORED for token, supervised in pairs
        ]
        if row.get("cut"):
            end = max(place for place, supervised in enumerate(tokens.supervised) if supervised)
            labels[end:] = [IGNORED] * (len(labels) - end)
        made.append({"input_ids": list(tokens.input_ids), "labels": labels})
    return made


def _settle(settings: Train, model_folder: Path, rows: Sequence[Row], work: Path) -> dict[str, Any]:
    from hieno import machine
    from hieno.train import sharding
    from hieno.train.memory import fit, shape_of

    started = work / "started.json"
    if started.is_file():
        return dict(read_json(started))
    dtype = machine.compute_dtype() if settings.dtype == "auto" else settings.dtype
    processes = _processes(settings)
    sharding.refuse(settings, processes)
    fitted = fit(
        shape_of(model_folder),
        settings,
        shards=processes if settings.sharding == "full" else 1,
        dtype=dtype,
        lengths=[len(row["input_ids"]) for row in rows],
        free=_free_memory() / int(os.environ.get("LOCAL_WORLD_SIZE", processes)),
    )
    settled = {
        "dtype": dtype,
        "processes": processes,
        "pass_tokens": fitted.pass_tokens,
        "checkpointing": fitted.checkpointing,
        # several processes would each read all chats
        "keep_states": fitted.keep_states and processes == 1,
        "changed": fitted.changed,
        "memory": {**asdict(fitted.need), "total": fitted.need.total},
    }
    write_json(started, settled)
    return settled


def _processes(settings: Train) -> int:
    """Return how many processes train together: as the environment has it, else the settings."""
    import torch

    if "WORLD_SIZE" in os.environ:
        count = int(os.environ["WORLD_SIZE"])
    else:
        gpus = torch.cuda.device_count()
        count = settings.processes or max(1, gpus)
        if 0 < gpus < count:
            raise ConfigError(
                f"train.processes is {count}, and this machine has {gpus} GPUs",
                hint="0 takes one process for each GPU",
            )
    if count > settings.batch_size:
        raise ConfigError(
            f"train.processes: {count} processes cannot share the {settings.batch_size} chats of "
            "a step",
            hint=f"raise train.batch_size to {count} or more, or lower train.processes",
        )
    return count


def _free_memory() -> float:
    """Return the bytes that a run may plan with; on a GPU nothing is reckoned yet."""
    import torch

    from hieno import machine

    return math.inf if torch.cuda.is_available() else machine.memory().available


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("hieno", "torch", "transformers", "trl", "peft")}
