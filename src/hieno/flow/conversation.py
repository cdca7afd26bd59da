"""Prove a flow: a conversation through the real framework with the real endpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from hieno.errors import HienoError
from hieno.flow.runner import HINT, Runner
from hieno.flow.shape import Shape, shape_of

QUESTIONS = ("Hello, who are you?", "What did I ask you first?")


@dataclass(frozen=True)
class FlowTest:
    """A conversation that went through a flow: each question with its answer."""

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
    shape = shape_of(folder)
    answers: list[str] = []
    with closing(Runner(folder, endpoint, key, say=say)) as runner:
        for number, question in enumerate(questions):
            runner.ask(number, shape.inputs(question, [*zip(questions, answers, strict=False)]))
            told = runner.told(timeout)
            if "error" in told:
                raise HienoError(f"the flow in {folder} failed: {told['error']}", hint=HINT)
            answers.append(_answer(told["outputs"], shape, folder))
    return FlowTest(tuple(questions), tuple(answers))


def _answer(outputs: dict[str, object], shape: Shape, folder: Path) -> str:
    if shape.answer not in outputs:
        raise HienoError(
            f"the flow in {folder} gave no output '{shape.answer}'",
            hint="mark the output that is the answer with `is_chat_output: true`",
        )
    return str(outputs[shape.answer])
