"""Answer lines of inputs with an agent project's own workflow, several at a time.

Runs as a script in the agents' environment, where hieno is not installed. Speaks the same lines
as `promptflow_lines.py`. Its argument is the project's `agent.py` and how many lines are answered
at the same time.
"""

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any  # the project's own modules


async def main() -> None:
    """Answer what stdin asks until it ends."""
    file, workers = Path(sys.argv[1]), int(sys.argv[2])
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what the project prints is no answer

    def tell(message: dict[str, object]) -> None:
        out.write(json.dumps(message, default=str) + "\n")
        out.flush()

    sys.path.insert(0, str(file.parent))
    try:
        import workflow  # the user's file
    except BaseException as error:
        tell({"failed": f"{type(error).__name__}: {error}"})
        return
    gate = asyncio.Semaphore(workers)
    tasks = set()
    while text := await asyncio.to_thread(sys.stdin.readline):
        asked = json.loads(text)
        await gate.acquire()
        task = asyncio.create_task(work(workflow, asked["line"], asked["inputs"], tell, gate))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)


async def work(
    workflow: Any, line: int, inputs: dict[str, object], tell: Any, gate: asyncio.Semaphore
) -> None:
    """Answer one line, whatever comes of it."""
    began = time.monotonic()
    told: dict[str, object]
    try:
        told = {"outputs": await workflow.answer(inputs)}
    except Exception as error:
        told = {"error": str(error)}
    gate.release()
    tell({"line": line, "seconds": round(time.monotonic() - began, 3), **told})


if __name__ == "__main__":
    asyncio.run(main())
