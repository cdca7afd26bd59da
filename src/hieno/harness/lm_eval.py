"""EleutherAI's lm-evaluation-harness: a task for the held-out set, offline."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any  # Any: a task is YAML

from hieno.errors import HienoError
from hieno.files import read_json, write_atomic
from hieno.processes import run_to_end

if TYPE_CHECKING:
    from hieno.harness import Subject

TASK = "hieno_heldout"
SCORING = Path(__file__).with_name("lm_eval_scoring.py")


def run(subject: Subject, questions: Path, *, say: Callable[[str], None]) -> Mapping[str, float]:
    """Ask the endpoint's chat route; return the task's metrics."""
    from hieno import environments

    python = environments.ensure("lm-eval", say=say)
    folder = questions.parent
    write_task(questions, max_new_tokens=subject.max_new_tokens)
    results = folder / "results"
    shutil.rmtree(results, ignore_errors=True)
    model = (
        f"model={subject.model},base_url={subject.url}/v1/chat/completions,num_concurrent=4,"
        "max_retries=3,tokenizer_backend=None"
    )
    command = [
        *(str(python), "-I", "-X", "utf8", "-m", "lm_eval"),
        *("--model", "local-chat-completions", "--model_args", model),
        *("--tasks", TASK, "--include_path", str(folder), "--apply_chat_template"),
        *("--output_path", str(results), "--log_samples"),
    ]
    quiet = {
        **os.environ,
        "OPENAI_API_KEY": subject.key.get_secret_value(),
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_DATASETS_CACHE": str(folder / "cache"),
    }
    say(f"lm-eval asks {subject.url}")
    done = run_to_end(command, environment=quiet, folder=folder)
    write_atomic(folder / "lm-eval.log", done.stdout + done.stderr)
    found = sorted(results.rglob("results_*.json"))
    if done.returncode or not found:
        last = [line for line in done.stderr.splitlines() if line.strip()][-1:] or ["no message"]
        raise HienoError(
            f"lm-eval failed: {last[0]}", hint=f"the whole story is in {folder / 'lm-eval.log'}"
        )
    measured = read_json(found[-1])["results"][TASK]
    return {
        name.partition(",")[0]: float(value)
        for name, value in measured.items()
        if isinstance(value, int | float) and name.endswith(",none") and "stderr" not in name
    }


def write_task(questions: Path, *, max_new_tokens: int) -> Path:
    """Write the task and its scoring beside the questions; return the task's file."""
    shutil.copyfile(SCORING, questions.parent / SCORING.name)
    task: dict[str, Any] = {
        "task": TASK,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(questions)}},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "{{question}}",
        "doc_to_target": "{{reference}}",
        "generation_kwargs": {
            "max_gen_toks": max_new_tokens,
            "do_sample": False,
            "temperature": 0.0,
            "until": [],
        },
        "metric_list": [
            {"metric": name, "aggregation": "mean", "higher_is_better": True}
            for name in ("right", "exact")
        ],
        "metadata": {"version": 1},
    }
    path = questions.parent / f"{TASK}.yaml"
    # JSON is YAML; a function is named by a tag, which JSON does not have
    text = json.dumps(task, indent=2, ensure_ascii=False)
    ending = f',\n  "process_results": !function {SCORING.stem}.score\n}}\n'
    write_atomic(path, text.removesuffix("\n}") + ending)
    return path
