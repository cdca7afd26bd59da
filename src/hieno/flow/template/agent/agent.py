"""The agent: your model with its instructions, and the conversation that it is given."""

import tomllib
from pathlib import Path
from typing import Any  # JSON from those who ask

from agent_framework import Agent, Message
from agent_framework.openai import OpenAIChatCompletionClient

from endpoint import EndpointError, connect

MOST_TOKENS = 1024  # a slow machine still finishes within the 180 seconds that Azure allows
LONGEST_TURN = 20_000  # characters of one earlier question or answer

SETTINGS = tomllib.loads(Path(__file__).with_name("settings.toml").read_text(encoding="utf-8"))
QUESTION: str = SETTINGS["names"]["question"]
ANSWER: str = SETTINGS["names"]["answer"]


def make_agent() -> Agent:
    """Return an agent that talks to the endpoint; it may answer many questions at once."""
    temperature = float(SETTINGS["temperature"])
    return Agent(
        client=OpenAIChatCompletionClient(model=SETTINGS["model"], async_client=connect()),
        name="chat",
        instructions=SETTINGS["system"].strip() or None,
        default_options={
            "max_tokens": max(1, min(int(SETTINGS["max_new_tokens"]), MOST_TOKENS)),
            "temperature": temperature,
        },
    )


def conversation(inputs: dict[str, Any]) -> list[Message]:
    """Return the messages of a conversation in the order in which they were said."""
    question = inputs.get(QUESTION)
    if not isinstance(question, str):
        raise EndpointError(f"the input '{QUESTION}' is missing or is not a text")
    if not question.strip():
        raise EndpointError("the question is empty")
    turns = int(SETTINGS["history_turns"])
    messages = []
    for turn in (inputs.get("chat_history") or [])[-turns:] if turns > 0 else []:
        asked, answered = part(turn, "inputs", QUESTION), part(turn, "outputs", ANSWER)
        if asked and answered:  # a turn that failed would leave a question without an answer
            messages.append(Message("user", [asked[:LONGEST_TURN]]))
            messages.append(Message("assistant", [answered[:LONGEST_TURN]]))
    return [*messages, Message("user", [question])]


def part(turn: Any, side: str, name: str) -> str:
    """Return one side of an earlier turn, empty where it is not there."""
    found = turn.get(side) if isinstance(turn, dict) else None
    return str(found.get(name) or "") if isinstance(found, dict) else ""
