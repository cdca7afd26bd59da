"""Azure's evaluation library with its local evaluators: word overlap and ROUGE, no service."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hieno.errors import HienoError
from hieno.files import read_json, write_atomic
from hieno.processes import run_to_end

if TYPE_CHECKING:
    from hieno.harness import Subject

METRICS = {"f1": "f1.f1_score", "rouge_l": "rouge_l.rouge"}  # means over all chats
DRIVER = Path(__file__).with_name("azure_driver.py")


def run(subject: Subject, questions: Path, *, say: Callable[[str], None]) -> Mapping[str, float]:
    """Ask the endpoint and let the evaluators compare its replies with the references."""
    from hieno import environments

    python = environments.ensure("azure-evaluation", say=say)
    folder = questions.parent
    output = folder / "azure.json"
    output.unlink(missing_ok=True)
    quiet = {
        **os.environ,
        "HIENO_ENDPOINT": subject.url,
        "HIENO_API_KEY": subject.key.get_secret_value(),
        "HIENO_MODEL": subject.model,
        "HIENO_MAX_NEW_TOKENS": str(subject.max_new_tokens),
        "AZURE_CORE_COLLECT_TELEMETRY": "0",
        "PF_LOGGING_LEVEL": "ERROR",
    }
    say(f"azure-ai-evaluation asks {subject.url}")
    done = run_to_end(
        [str(python), "-I", "-X", "utf8", str(DRIVER), str(questions), str(output)],
        environment=quiet,
        folder=folder,
    )
    write_atomic(folder / "azure.log", done.stdout + done.stderr)
    if done.returncode or not output.is_file():
        last = [line for line in done.stderr.splitlines() if line.strip()][-1:] or ["no message"]
        raise HienoError(
            f"azure-ai-evaluation failed: {last[0]}",
            hint=f"the whole story is in {folder / 'azure.log'}",
        )
    metrics = read_json(output)["metrics"]
    scores = {name: float(metrics.get(theirs, math.nan)) for name, theirs in METRICS.items()}
    if failed := [name for name, value in scores.items() if not math.isfinite(value)]:
        raise HienoError(
            f"azure-ai-evaluation measured no {' and no '.join(failed)}",
            hint=f"the whole story is in {folder / 'azure.log'}",
        )
    return scores
