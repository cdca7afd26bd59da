"""The files of a chat project from templates: a prompt flow or an agent, its names and settings."""

from __future__ import annotations

import json
import keyword
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources

from hieno.flow.frameworks import AGENTS, Framework

_FLOW = ("flow.dag.yaml", "chat_node.py", "requirements.txt", "README.md")
_GLOBALS = {"json", "os", "time", "httpx", "client", "closing", "tool", "str", "float", "int"}
_EVALUATION = ("flow.dag.yaml", "score_line.py", "score_all.py")
_AGENT = (
    "agent.py",
    "endpoint.py",
    "workflow.py",
    "host.py",
    "devui.py",
    "settings.toml",
    "requirements.txt",
    "README.md",
)


@dataclass(frozen=True)
class Chat:
    """What a project calls its parts, and how its model is asked."""

    name: str  # of the model
    question: str = "question"
    answer: str = "answer"
    node: str = "chat"
    tool: str = "chat"  # the node's function
    file: str = "chat_node.py"
    system: str = ""
    max_new_tokens: int = 512
    temperature: float = 0.0
    history_turns: int = 8


def files(chat: Chat, framework: Framework) -> dict[str, bytes]:
    """Return the content of each file of a project, by its path in the project's folder."""
    texts = _agent(chat) if framework is AGENTS else _flow(chat)
    return {name: text.encode() for name, text in texts.items()}


def _flow(chat: Chat) -> dict[str, str]:
    texts = {name: _template("promptflow", name) for name in _FLOW}
    texts["README.md"] = _put(texts["README.md"], [("with {name}", f"with {chat.name}")])
    texts["flow.dag.yaml"] = _put(
        texts["flow.dag.yaml"],
        [
            ("  question: #", f"  {chat.question}: #"),
            ("  answer:", f"  {chat.answer}:"),
            ("${chat.output}", f"${{{chat.node}.output}}"),
            ("- name: chat\n", f"- name: {chat.node}\n"),
            (
                "path: chat_node.py",
                f"path: {json.dumps(chat.file) if ' ' in chat.file else chat.file}",
            ),
            ("${inputs.question}", f"${{inputs.{chat.question}}}"),
            ('system: ""', f"system: {json.dumps(chat.system, ensure_ascii=False)}"),
            ("max_new_tokens: 512", f"max_new_tokens: {chat.max_new_tokens}"),
            ("temperature: 0.0", f"temperature: {chat.temperature}"),
            ("history_turns: 8", f"history_turns: {chat.history_turns}"),
        ],
    )
    node = _put(
        texts.pop("chat_node.py"),
        [
            ('QUESTION, ANSWER = "question", "answer"', f"QUESTION, ANSWER = {_pair(chat)}"),
            ("\ndef chat(\n", f"\ndef {_free(chat.tool)}(\n"),
        ],
    )
    if chat.file != "chat_node.py":
        texts["README.md"] = _put(texts["README.md"], [("`chat_node.py`", f"`{chat.file}`")])
    evaluation = {f"evaluation/{name}": _template("evaluation", name) for name in _EVALUATION}
    return {"flow.dag.yaml": texts.pop("flow.dag.yaml"), chat.file: node} | texts | evaluation


def _agent(chat: Chat) -> dict[str, str]:
    texts = {name: _template("agent", name) for name in _AGENT}
    texts["README.md"] = _put(texts["README.md"], [("with {name}", f"with {chat.name}")])
    texts["settings.toml"] = _put(
        texts["settings.toml"],
        [
            ('model = "my-model"', f"model = {json.dumps(chat.name)}"),
            ('system = ""', f"system = {_toml(chat.system)}"),
            ("max_new_tokens = 512", f"max_new_tokens = {chat.max_new_tokens}"),
            ("temperature = 0.0", f"temperature = {float(chat.temperature)}"),
            ("history_turns = 8", f"history_turns = {chat.history_turns}"),
            ('question = "question"', f"question = {_toml(chat.question)}"),
            ('answer = "answer"', f"answer = {_toml(chat.answer)}"),
        ],
    )
    return texts


def _template(framework: str, name: str) -> str:
    return (resources.files("hieno.flow") / "template" / framework / name).read_text("utf-8")


def _put(text: str, changes: Iterable[tuple[str, str]]) -> str:
    for old, new in changes:
        if text.count(old) != 1:
            raise AssertionError(f"a template holds {old!r} {text.count(old)} times, not once")
        text = text.replace(old, new)
    return text


def _free(tool: str) -> str:
    # The node has functions of its own, which a tool of the same name would hide.
    taken = f"def {tool}(" in _template("promptflow", "chat_node.py") or keyword.iskeyword(tool)
    return "chat" if taken or tool in _GLOBALS else tool


def _pair(chat: Chat) -> str:
    return f"{json.dumps(chat.question)}, {json.dumps(chat.answer)}"


def _toml(text: str) -> str:
    # A JSON string is a basic string of TOML but for DEL, which TOML wants escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")
