"""What a model's chat template and tokenizer say, found out in a process of its own.

A template is a program by somebody else. It first runs here, with bounds on time and memory, so
that one that loops or swells cannot take the command with it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from hieno import errors
from hieno.errors import ConfigError, HienoError
from hieno.processes import run_to_end

SECONDS = 120
MEMORY = 8 * 1024**3


@dataclass(frozen=True)
class Inspected:
    """The template's family, the token that ends a reply, and the tokenizer's own two."""

    family: str
    stop: int
    eos: int | None
    pad: int | None


def inspect(folder: Path, *, shown: str, seconds: float = SECONDS) -> Inspected:
    """Examine a model folder in a bounded process; `shown` names the model in errors."""
    command = [sys.executable, "-m", "hieno.models.inspection", str(folder)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONIOENCODING": "utf-8"}
    try:
        done = run_to_end(command, environment=environment, seconds=seconds)
    except subprocess.TimeoutExpired:
        raise _unfit(shown, f"it does not end within {seconds:.0f} s") from None
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise _unfit(shown, last[0]) from None
    if "error" in answer:
        kind, message, hint = answer["error"]
        raise errors.rebuild(kind, message.replace(str(folder), shown), hint)
    return Inspected(**answer)


def examine(folder: Path) -> Inspected:
    """Choose the template's family and prove it on one chat."""
    from hieno.templates import family, load_tokenizer, prove, render_training

    tokenizer = load_tokenizer(folder)
    chosen = family(tokenizer).name
    chat = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Hello!"}]
    tokens = render_training(tokenizer, chat)
    learnt = [
        number for number, yes in zip(tokens.input_ids, tokens.supervised, strict=True) if yes
    ]
    prove(tokenizer, [chat], stops=learnt[-1:])
    return Inspected(chosen, learnt[-1], tokenizer.eos_token_id, tokenizer.pad_token_id)


def _unfit(shown: str, problem: str) -> ConfigError:
    return ConfigError(
        f"the chat template or tokenizer of {shown} cannot be used: {problem}",
        hint="choose another model, or correct its chat_template.jinja",
    )


def _bound() -> None:
    if sys.platform == "win32":  # there the time limit alone holds
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def _main(folder: str) -> None:
    _bound()
    try:
        answer: object = asdict(examine(Path(folder)))
    except HienoError as error:
        answer = {"error": [type(error).__name__, error.message, error.hint]}
    print(json.dumps(answer))


if __name__ == "__main__":
    _main(sys.argv[1])
