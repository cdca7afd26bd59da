"""`python -m hieno.package.trial`: what one weight format answers, how fast, in which memory.

Reads one JSON document on stdin and writes one line of JSON to stdout.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any  # JSON


def main() -> int:
    """Answer the prompts with one format and say what it took."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints is no result
    asked: dict[str, Any] = json.load(sys.stdin)
    out.write(json.dumps(_answer(asked)) + "\n")
    out.flush()
    return 0


def _answer(asked: dict[str, Any]) -> dict[str, Any]:
    from hieno.config import Serve
    from hieno.serve.batch import answer_chats

    began = time.monotonic()
    loaded: list[float] = []
    held: list[int] = []

    def on_progress(done: int, total: int) -> None:
        if not done:
            loaded.append(time.monotonic())
        held.append(_memory())

    answers = answer_chats(
        Path(asked["root"]),
        asked["prompts"],
        max_new_tokens=asked["max_new_tokens"],
        engine="openvino",
        weights=asked["weights"],
        settings=Serve.model_validate(asked["serve"]),
        on_progress=on_progress,
    )
    ready = loaded[0] if loaded else time.monotonic()
    return {
        "replies": [
            {
                "text": answer.text.strip(),
                "stopped": answer.finish_reason == "stop",
                "tokens": answer.token_ids,
            }
            for answer in answers
        ],
        "load_seconds": ready - began,
        "seconds": max(time.monotonic() - ready, 1e-6),
        "memory": max(held, default=0),
    }


def _memory() -> int:
    """Return the bytes of memory that this process and the engine's hold."""
    import psutil

    this = psutil.Process()
    return sum(each.memory_info().rss for each in (this, *this.children(recursive=True)))


if __name__ == "__main__":
    sys.exit(main())
