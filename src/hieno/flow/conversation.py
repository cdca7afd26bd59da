"""Prove a flow: a conversation through the real prompt flow with the real endpoint."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from hieno.errors import HienoError, TryLater
from hieno.files import read_json
from hieno.flow import promptflow
from hieno.flow.scaffold import require
from hieno.processes import run_to_end

QUESTIONS = ("Hello, who are you?", "What did I ask you first?")


@dataclass(frozen=True)
class FlowTest:
    """A conversation that went through prompt flow: each question with its answer."""

    questions: tuple[str, ...]
    answers: tuple[str, ...]


def test(
    folder: Path,
    endpoint: str,
    key: SecretStr,
    *,
    questions: Sequence[str] = QUESTIONS,  # noqa: PT028 - it tests a flow, not hieno
    timeout: float = 600,  # noqa: PT028
    say: Callable[[str], None],
) -> FlowTest:
    """Hold a conversation through the flow; every turn carries the turns before it.

    Nothing is left in the flow's folder. Raises `HienoError` with the node's own words.
    """
    require(folder)
    interpreter = promptflow.python(say)
    with tempfile.TemporaryDirectory(prefix="hieno-flow-") as output:
        request: dict[str, object] = {
            "flow": str(folder.resolve()),
            "questions": [*questions],
            "output": output,
        }
        log = _run(interpreter, request, promptflow.environment(endpoint, key), timeout)
        result = Path(output, "result.json")
        if not result.is_file():
            raise HienoError(f"prompt flow ended without a result\n{log}", hint=_HINT)
        answers = read_json(result)
    if error := answers.get("error"):
        raise HienoError(f"the flow in {folder} failed: {error}", hint=_HINT)
    return FlowTest(tuple(questions), tuple(answers["answers"]))


_HINT = "`hieno status` shows whether the endpoint answers; the flow's code is in chat_node.py"


def _run(
    interpreter: Path, request: dict[str, object], environment: dict[str, str], timeout: float
) -> str:
    driver = Path(__file__).with_name("driver.py")
    try:
        done = run_to_end(
            promptflow.command(interpreter, str(driver)),
            environment=environment,
            folder=str(request["output"]),
            text=json.dumps(request),
            seconds=timeout,
        )
    except subprocess.TimeoutExpired:
        raise TryLater(
            f"the flow did not answer within {timeout:.0f} seconds", hint=_HINT
        ) from None
    return "\n".join(done.stderr.strip().splitlines()[-5:])
