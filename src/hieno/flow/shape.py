"""What a chat's parts are called by those who ask it, whichever framework answers."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # inputs are JSON

from hieno.errors import ConfigError
from hieno.flow import dag
from hieno.flow.frameworks import AGENTS, entry

SETTINGS = "settings.toml"


@dataclass(frozen=True)
class Shape:
    """The names of a chat's question, history and answer; a flow may have no history."""

    question: str
    history: str | None
    answer: str

    def inputs(self, question: str, turns: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
        """Return the inputs that ask a question after the turns of a conversation."""
        asked: dict[str, Any] = {self.question: question}
        if self.history is not None:
            asked[self.history] = [
                {"inputs": {self.question: before}, "outputs": {self.answer: answer}}
                for before, answer in turns
            ]
        return asked


def shape_of(folder: Path) -> Shape:
    """Return the names that a project's `/score` uses."""
    framework, file = entry(folder)
    if framework is AGENTS:
        names = settings(folder).get("names", {})
        return Shape(
            names.get("question", "question"), "chat_history", names.get("answer", "answer")
        )
    flow = dag.read(file)
    # A flow without the marks is asked as the tutorial's is: one input, one output.
    question = flow.question or _only(flow.inputs, file, "input", "is_chat_input")
    answer = flow.answer or _only(flow.outputs, file, "output", "is_chat_output")
    return Shape(question, flow.history, answer)


def settings(folder: Path) -> dict[str, Any]:
    """Return an agent project's settings; raise `ConfigError` where they are not TOML."""
    path = folder / SETTINGS
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}", hint="mend the file") from None


def _only(fields: Any, file: Path, kind: str, mark: str) -> str:
    names = list(fields)
    if len(names) != 1:
        raise ConfigError(
            f"{file}: no {kind} is marked as the chat's",
            hint=f"give the one that is `{mark}: true`",
        )
    return str(names[0])
