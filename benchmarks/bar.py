"""How long until four of five held-out questions of the demo are answered right: `make bench-bar`.

LoRA and whole with hieno, and with stock TRL on the same chats (padded batches, sdpa), each in a
process of its own, all with the demo's settings. After every `EVERY` epochs the held-out questions
are asked; that takes no part in the time. A configuration ends when the bar is reached.

With `OUT` the project, the results and a checkpoint of each time are kept in a folder: the same
command goes on where it was stopped, and leaves out what is done. So the whole can be run in parts,
and the table shows whatever is there.

    OUT=bar CONFIGS=lora EPOCHS=3 EVERY=1 make bench-bar
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any  # trainers are untyped

BAR = 0.8
CONFIGS = "lora,full,lora-trl,full-trl"
FULL_RATE = 1e-4  # the demo's is an adapter's
MOST_TOKENS = 60  # as `hieno evaluate` has it
STATE = "state.json"


def main() -> None:
    """Train each configuration to the bar, print a table, and one JSON object as the last line."""
    from hieno.demo import demo

    kept = os.environ.get("OUT")
    place: AbstractContextManager[str] = (
        nullcontext(kept) if kept else tempfile.TemporaryDirectory(prefix="hieno-bench-")
    )
    with place as folder:
        out = Path(folder).resolve()
        root = demo(out / "demo")
        stages = called([sys.executable, "-m", "hieno", "data", "--json", "--project", str(root)])
        where = [stage["details"]["folder"] for stage in stages["stages"][:2]]
        for name in os.environ.get("CONFIGS", CONFIGS).split(","):
            called([sys.executable, "-m", "benchmarks.bar", name, *where, str(out)])
        print(json.dumps(summary(out)))


def summary(out: Path) -> dict[str, Any]:
    """Print a table of what was measured so far, and return it."""
    found: dict[str, Any] = {"bar": BAR}
    print(f"{'':<9}  {'seconds':>8}  {'epochs':>6}  {'held-out':>8}", flush=True)
    for name in CONFIGS.split(","):
        if not (out / name / STATE).is_file():
            continue
        ended = json.loads((out / name / STATE).read_text(encoding="utf-8"))
        reached = ended["share"] >= BAR
        found[f"{name}_seconds"] = round(ended["seconds"], 1) if reached else None
        found[f"{name}_share"] = round(ended["share"], 3)
        missing = "not reached" if ended["done"] else "goes on"
        print(
            f"{name:<9}  {ended['seconds']:>8.1f}  {ended['epochs']:>6}  {ended['share']:>8.1%}"
            + ("" if reached else f"  {missing}"),
            flush=True,
        )
    return found


def called(command: list[str]) -> dict[str, Any]:
    """Run a command and return the JSON that it prints, whole or in its last line."""
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, encoding="utf-8")
    text = done.stdout if done.stdout.startswith("{\n") else done.stdout.splitlines()[-1]
    result: dict[str, Any] = json.loads(text)
    return result


# ---- in the child ---------------------------------------------------------------------------


def train(name: str, base: Path, dataset: Path, out: Path) -> dict[str, Any]:
    """Train one configuration until it reaches the bar; return how long and how far it came."""
    from hieno.config import Train
    from hieno.files import read_json
    from hieno.project import open_project

    work = out / name
    work.mkdir(exist_ok=True)
    state: dict[str, Any] = {"seconds": 0.0, "epochs": 0, "share": 0.0, "step": 0, "done": False}
    if (work / STATE).is_file():
        state = read_json(work / STATE)
    if state["done"]:
        return state
    settings = open_project(out / "demo").config.train.model_dump()
    settings["epochs"] = float(os.environ.get("EPOCHS", "3"))
    if name.startswith("full"):
        settings |= {"method": "full", "learning_rate": FULL_RATE, "frozen_layers": 0}
    opened = Train.model_validate(settings)
    trainer, chosen = TRAINERS[name.partition("-")[2]](opened, base, dataset, work)
    trainer.add_callback(exam(trainer, chosen, base, dataset, work=work, state=state))
    checkpoint = work / f"checkpoint-{state['step']}"
    trainer.train(resume_from_checkpoint=str(checkpoint) if state["step"] else None)
    return state


def exam(
    trainer: Any, chosen: Any, base: Path, dataset: Path, *, work: Path, state: dict[str, Any]
) -> Any:
    """Return a callback that asks the held-out questions now and then and stops at the bar.

    `state` is how far it came; with each checkpoint it is written to `work`.
    """
    from transformers import TrainerCallback

    from hieno.evaluate.measures import facts_of, is_right
    from hieno.evaluate.questions import held_out
    from hieno.files import write_json
    from hieno.package.layout import weights_folder
    from hieno.templates import load_tokenizer, render_prompt, stop_ids
    from hieno.train.samples import Questions, answers

    folder = weights_folder(base)
    tokenizer = load_tokenizer(folder)
    asked = [question for question in held_out(dataset / "test.jsonl") if question.checkable]
    facts = facts_of(asked)
    questions = Questions(
        texts=[question.prompt[-1]["content"] for question in asked],
        prompts=[render_prompt(tokenizer, question.prompt) for question in asked],
        tokenizer=tokenizer,
        stops=stop_ids(folder),
    )

    every = int(os.environ.get("EVERY", "1"))

    class Exam(TrainerCallback):  # type: ignore[misc]
        def on_epoch_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.perf_counter()

        def on_epoch_end(self, args: Any, run: Any, control: Any, **_: Any) -> None:
            state["seconds"] += time.perf_counter() - self.began
            state["epochs"] += 1
            last = run.global_step >= run.max_steps
            if state["epochs"] % every and not last:
                return
            replies = answers(trainer.model, questions, chosen, most_tokens=MOST_TOKENS)
            right = [is_right(q, r, facts) for q, r in zip(asked, replies, strict=True)]
            state["share"] = sum(right) / len(right)
            state["done"] = last or state["share"] >= BAR
            told = f"{state['share']:.1%} after {state['seconds']:.0f} s"
            print(f"{work.name}, epoch {state['epochs']}: {told}", file=sys.stderr, flush=True)
            control.should_training_stop |= state["done"]
            control.should_save = True

        def on_save(self, args: Any, run: Any, control: Any, **_: Any) -> None:
            state["step"] = run.global_step
            write_json(work / STATE, state)

    return Exam()


def ours(settings: Any, base: Path, dataset: Path, work: Path) -> tuple[Any, Any]:
    """Return hieno's trainer, and the kernels that it uses."""
    from hieno.machine import compute_dtype
    from hieno.package.layout import weights_folder
    from hieno.train.loop import prepare

    prepared = prepare(
        weights_folder(base),
        rows_of(base, dataset, "train.jsonl"),
        settings,
        replayed=rows_of(base, dataset, "replay.jsonl"),
        dtype=compute_dtype(),
        work=work,
        reporter=Silent(),
    )
    return prepared.trainer, prepared.kernels


def theirs(settings: Any, base: Path, dataset: Path, work: Path) -> tuple[Any, Any]:
    """Return stock TRL's trainer for the same chats and settings, and its kernels."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM
    from trl import SFTConfig, SFTTrainer

    from hieno.machine import compute_dtype
    from hieno.package.layout import weights_folder
    from hieno.templates import load_tokenizer
    from hieno.train.kernels import Kernels
    from hieno.train.model import targets

    half = torch.cuda.is_available() or compute_dtype() == "bfloat16"
    folder = weights_folder(base)
    arguments = SFTConfig(
        output_dir=str(work),
        use_cpu=not torch.cuda.is_available(),
        bf16=half,
        max_length=settings.max_length,
        per_device_train_batch_size=settings.batch_size,
        gradient_checkpointing=False,
        num_train_epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.scheduler,
        warmup_steps=settings.warmup,
        seed=settings.seed,
        save_strategy="no",
        save_total_limit=2,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    chats = rows_of(base, dataset, "train.jsonl") + rows_of(base, dataset, "replay.jsonl")
    adapted = settings.method == "lora"
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=torch.bfloat16 if half and adapted else torch.float32,
        attn_implementation="sdpa",
    )
    layers = model.config.num_hidden_layers
    trainer = SFTTrainer(
        model=model,
        args=arguments,
        processing_class=load_tokenizer(folder),
        train_dataset=Dataset.from_list(chats),
        peft_config=LoraConfig(
            task_type="CAUSAL_LM",
            target_modules=targets(model, "all"),
            r=settings.rank,
            lora_alpha=settings.alpha,
            layers_to_transform=list(range(settings.frozen_layers, layers)),
        )
        if adapted
        else None,
    )
    return trainer, Kernels("sdpa")


TRAINERS: dict[str, Callable[..., tuple[Any, Any]]] = {"": ours, "trl": theirs}


def rows_of(base: Path, dataset: Path, name: str) -> list[dict[str, list[int]]]:
    """Return the tokenised chats of a dataset's file."""
    from hieno.files import read_jsonl
    from hieno.package.layout import weights_folder
    from hieno.templates import load_tokenizer
    from hieno.train.stage import tokenise

    return tokenise(load_tokenizer(weights_folder(base)), read_jsonl(dataset / name))


class Silent:
    """A reporter that tells nobody."""

    def stage(self, name: str) -> None: ...

    def say(self, line: str) -> None: ...

    def progress(self, *_: Any) -> None: ...


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        print(json.dumps(train(sys.argv[1], *map(Path, sys.argv[2:]))))
