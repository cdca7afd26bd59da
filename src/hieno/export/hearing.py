"""What an exported model is asked, and what it was heard to say."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any  # an answer of another process is JSON

from hieno.errors import HienoError
from hieno.processes import run_to_end

Chat = Sequence[Mapping[str, str]]

TOKENS = 32  # of the answer that is compared
# Besides the question: turns, a system message, other scripts, and white space that some
# tokenizers join.
CHATS: tuple[Chat, ...] = (
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello?"}],
    [
        {"role": "user", "content": "Hyvää päivää! 你好, 🇫🇮 ½"},
        {"role": "assistant", "content": "Moi:\n\n* yksi\n* kaksi"},
        {"role": "user", "content": "I'd  like 3 of 1234, they've said."},
    ],
)


@dataclass(frozen=True)
class Request:
    """Chats to render (the first is asked), and the tokens each of which must end an answer.

    `prompts` are the chats' token ids in training; `tokens` bounds the answer.
    """

    chats: tuple[Chat, ...]
    prompts: tuple[list[int], ...]
    stops: tuple[int, ...]
    tokens: int = TOKENS


@dataclass(frozen=True)
class Heard:
    """Each chat's prompt and the answer to the first, as the exported model's own runtime makes
    them; and whether a forced stop token ended an answer.
    """

    prompts: list[list[int]]
    answer: list[int]
    text: str
    stopped: dict[int, bool]
    runtime: str


def hear_apart(python: Path, driver: str, model: Path, request: Request, work: Path) -> Heard:
    """Ask a model in a side environment, with one of the scripts beside this module."""
    work.mkdir(parents=True, exist_ok=True)
    output = work / "heard.json"
    asked = {**asdict(request), "model": str(model), "output": str(output)}
    # A chat that is read as other tokens may become longer, and the refusal should say so.
    asked["context"] = 2 * max(map(len, request.prompts)) + 2 * request.tokens
    run_apart(python, driver, asked, failed="the exported model cannot be opened")
    heard: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
    heard["stopped"] = {int(token): ended for token, ended in heard["stopped"].items()}
    return Heard(**heard)


def run_apart(python: Path, driver: str, request: Mapping[str, Any], *, failed: str) -> None:
    """Run a script beside this module in a side environment; it reads `request` from stdin."""
    script = Path(__file__).with_name(driver)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TQDM_DISABLE": "1",
    }
    done = run_to_end(
        # isolated: settings for this process's Python are not meant for that one
        [str(python), "-I", "-X", "utf8", str(script)],
        environment=environment,
        text=json.dumps(request),
    )
    if done.returncode == 0:
        return
    last = [line for line in done.stderr.splitlines() if line.strip()][-3:]
    raise HienoError(  # its words name a full disk, too
        f"{failed}: " + (" / ".join(last) or f"exit code {done.returncode}"),
        hint="`hieno models export` with another --to writes this version in another form",
    )
