"""The stage `package`: publish the tuned model, merged, converted, and asked one question."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any  # JSON

from hieno.config import Package, Serve
from hieno.errors import HienoError
from hieno.files import read_jsonl, read_manifest
from hieno.package import card, layout, mlflow_model
from hieno.package.convert import choose_engine, convert
from hieno.package.merge import merge
from hieno.reporting import Reporter
from hieno.stages import StagePlan, publish


def run(plan: StagePlan, reporter: Reporter) -> None:
    """Merge `inputs["run"]` into `inputs["base"]`, package and convert it, and reopen it."""
    from hieno.templates import load_tokenizer, render_training

    settings = Package.model_validate(plan.settings["package"])
    base, tuned = layout.weights_folder(plan.input("base")), plan.input("run")
    question = next(read_jsonl(plan.input("dataset") / "train.jsonl"))["messages"]
    probe = render_training(load_tokenizer(base), question).input_ids
    work = Path(plan.work)
    shutil.rmtree(work, ignore_errors=True)
    engine = choose_engine(settings.engine)
    try:
        reporter.say("merging what was tuned into a plain model")
        merged = work / layout.MODEL.name  # MLflow keeps the folder's name
        difference = merge(base, tuned, merged, probe=probe)
        with publish(plan, "package") as (folder, facts):
            mlflow_model.write(merged, folder)
            if engine == "openvino":
                reporter.say(f"converting the weights for {engine}")
                target = folder / layout.ENGINES / f"{engine}-{settings.weights}"
                convert(
                    folder / layout.MODEL,
                    target,
                    engine=engine,
                    weights=settings.weights,
                    say=reporter.say,
                )
            facts.update(_lineage(plan), engine=engine, merge_difference=difference)
            facts["reopened"] = _ask(
                folder, engine, question, Serve.model_validate(plan.settings["serve"])
            )
            (folder / "README.md").write_text(card.write(facts), encoding="utf-8")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _ask(
    folder: Path, engine: str, messages: list[dict[str, str]], settings: Serve
) -> dict[str, str]:
    from hieno.serve.batch import answer_chats

    until_reply = messages[: _first_reply(messages)]
    [answer] = answer_chats(
        folder, [until_reply], max_new_tokens=64, engine=engine, settings=settings
    )
    if not answer.token_ids:
        raise HienoError(
            "the packaged model was opened again and gave no answer",
            hint="look at the training loss with `hieno status`; a lower learning rate may help",
        )
    return {
        "question": until_reply[-1]["content"],
        "answer": answer.text,
        "finish_reason": answer.finish_reason,
    }


def _first_reply(messages: list[dict[str, str]]) -> int:
    return next(i for i, message in enumerate(messages) if message["role"] == "assistant")


def _lineage(plan: StagePlan) -> dict[str, Any]:
    run = read_manifest(plan.input("run"))
    base = read_manifest(plan.input("base"))
    dataset = read_manifest(plan.input("dataset"))
    if run is None or base is None or dataset is None:  # verified before the stage started
        raise AssertionError("inputs are published folders")
    return {
        "name": plan.settings["name"],
        "base": {"digest": base.digest, **base.facts},
        "run": {"key": run.key, "digest": run.digest, **run.facts},
        "dataset": {"digest": dataset.digest, **dataset.facts},
    }
