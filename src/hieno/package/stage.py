"""The stage `package`: publish the tuned model, merged, converted, and asked one question."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any  # JSON

from hieno.config import Package, Serve
from hieno.errors import HienoError
from hieno.files import read_jsonl, read_manifest
from hieno.package import card, formats, layout, mlflow_model
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
            facts.update(_lineage(plan), engine=engine, merge_difference=difference)
            if engine == "openvino":
                facts.update(_convert(folder, settings, plan, reporter))
            facts["reopened"] = _ask(
                folder, engine, question, Serve.model_validate(plan.settings["serve"])
            )
            (folder / "README.md").write_text(card.write(facts), encoding="utf-8")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _convert(
    folder: Path, settings: Package, plan: StagePlan, reporter: Reporter
) -> dict[str, Any]:
    """Convert the model in a package; return the format, and how all did if they were compared."""
    weights = layout.first_format(settings.weights)
    reporter.say("converting the weights for openvino")
    target = folder / layout.ENGINES / f"openvino-{weights}"
    convert(
        folder / layout.MODEL,
        target,
        engine="openvino",
        weights=weights,
        base=plan.input("base"),
        say=reporter.say,
    )
    if settings.weights != "auto":
        return {"weights": weights}
    chosen, seen = formats.settle(folder, _exam(plan, settings), reporter)
    reporter.say(f"{chosen} weights: the smallest that answer as well as {weights}")
    return {"weights": chosen, "formats": seen}


def _exam(plan: StagePlan, settings: Package) -> formats.Exam:
    from hieno.evaluate.questions import SHIPPED, general, held_out

    asked = plan.settings["asked"]
    questions = held_out(plan.input("dataset") / "test.jsonl")
    if asked["general"] != "none":
        named = plan.settings.get("general")
        questions += general(Path(named) if named else SHIPPED)
    return formats.Exam(
        questions=questions,
        max_new_tokens=asked["max_new_tokens"],
        serve=Serve.model_validate(plan.settings["serve"]),
        max_loss=settings.max_loss,
    )


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
