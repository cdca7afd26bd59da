"""Read a flow that was made by hand, say what is wrong with it, and write it anew."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hieno.errors import ConfigError, MissingInput, UsageError
from hieno.flow import chat_project, dag, faults, scaffold
from hieno.flow.chat_project import Chat
from hieno.flow.dag import Dag
from hieno.flow.faults import Code, Fault
from hieno.flow.frameworks import PROMPTFLOW
from hieno.flow.scaffold import Scaffold

_NAME = re.compile(r"[A-Za-z_]\w{0,63}", re.ASCII)
_SECRET = re.compile(r"(^|_)(key|secret|token|password)s?($|_)", re.IGNORECASE)
_ENDPOINT = re.compile(r"(^|_)(endpoint|url|uri)($|_)", re.IGNORECASE)
_PLACEHOLDER = re.compile(r"^(your[_ -]|<.*>$|xxx|\.\.\.|change|todo|insert)", re.IGNORECASE)


@dataclass(frozen=True)
class Secret:
    """A key that stands in a file, masked."""

    place: str
    name: str
    masked: str


@dataclass(frozen=True)
class Import:
    """What a flow was, what is wrong with it, and where the repaired one stands."""

    chat: Chat
    faults: tuple[Fault, ...]
    secrets: tuple[Secret, ...]
    endpoint: str | None
    scaffold: Scaffold


def import_flow(source: Path, folder: Path, *, name: str) -> Import:
    """Write the flow in `source` into `folder`, repaired, with its names and settings kept.

    Nothing in `source` is executed or changed. Raises `UsageError` for a flow that is more than
    one Python node which asks an endpoint.
    """
    flow = dag.read(_dag_file(source))
    code = faults.read_code(_inside(source, _only_node(flow)))
    others = [faults.read_code(path) for path in _modules(source, code)]
    found = [*faults.in_dag(flow), *faults.in_node(code)]
    secrets = [*_secrets([code, *others]), *_node_secrets(flow)]
    for secret in secrets:
        problem = f"the key {secret.name} stands in the file ({secret.masked}), and images copy it"
        found.append(Fault(secret.place, problem, "it comes from HIENO_API_KEY; rotate it"))
    chat = _chat(flow, code, name)
    if folder.resolve() == source.resolve():
        raise UsageError(
            f"{source} cannot be imported into itself", hint="name another folder with --path"
        )
    made = scaffold.write(folder, chat_project.files(chat, PROMPTFLOW))
    return Import(chat, tuple(found), tuple(secrets), _endpoint([code, *others]), made)


def mask(text: str) -> str:
    """Return how a key is shown: enough to know it again, too little to use it."""
    shown = f"{text[:2]}...{text[-2:]}" if len(text) >= 16 else "..."
    return f"{shown}, {len(text)} characters"


def _dag_file(source: Path) -> Path:
    for name in PROMPTFLOW.entries:
        if (source / name).is_file():
            return source / name
    raise MissingInput(
        f"there is no flow in {source} (no {' and no '.join(PROMPTFLOW.entries)})",
        hint="name the folder that holds it: `hieno flow import DIR`",
    )


def _only_node(flow: Dag) -> str:
    kinds = [f"{node['name']} ({node.get('type', '?')})" for node in flow.nodes]
    source = flow.nodes[0].get("source") if len(flow.nodes) == 1 else None
    path = source.get("path") if isinstance(source, Mapping) else None
    if not isinstance(path, str) or flow.nodes[0].get("type") != "python":
        raise UsageError(
            f"{flow.path}: its nodes are {', '.join(kinds) or 'none'}; one Python node is imported",
            hint="begin with `hieno flow init`, and move your other nodes there by hand",
        )
    return path


def _inside(source: Path, name: str) -> Path:
    path = (source / name).resolve()
    if not path.is_relative_to(source.resolve()) or not path.is_file():
        raise ConfigError(
            f"the node's file {name} is not in {source}", hint="correct source.path in the flow"
        )
    return path


def _modules(source: Path, code: Code) -> Iterator[Path]:
    """Yield the project's own modules that the node imports, and config.py in any case."""
    names = {module for module, _, _ in faults.imported(code)} | {"config"}
    for module in sorted(names):
        path = (source / f"{module}.py").resolve()
        if _NAME.fullmatch(module) and path.is_file() and path.is_relative_to(source.resolve()):
            yield path


def _secrets(codes: list[Code]) -> Iterator[Secret]:
    for code in codes:
        for name, (value, line) in code.texts.items():
            if _SECRET.search(name) and _is_key(value):
                yield Secret(code.place(line), name, mask(value))
        for value, line in faults.bearers(code):
            yield Secret(code.place(line), "Authorization", mask(value))


def _node_secrets(flow: Dag) -> Iterator[Secret]:
    lines = flow.path.read_text(encoding="utf-8-sig").splitlines()
    for node in flow.nodes:
        inputs = node.get("inputs")
        for name, value in inputs.items() if isinstance(inputs, Mapping) else ():
            if isinstance(value, str) and _SECRET.search(str(name)) and _is_key(value):
                line = next((n for n, text in enumerate(lines, start=1) if value in text), 1)
                yield Secret(f"{flow.path.name}:{line}", str(name), mask(value))


def _is_key(value: str) -> bool:
    return len(value) >= 8 and not _PLACEHOLDER.match(value) and not value.startswith("${")


def _endpoint(codes: list[Code]) -> str | None:
    for code in codes:
        for name, (value, _) in code.texts.items():
            if _ENDPOINT.search(name) and re.match(r"https?://[^\s@]+$", value):
                return value
    return None


def _chat(flow: Dag, code: Code, name: str) -> Chat:
    texts = [key for key, given in flow.inputs.items() if given.get("type") == "string"]
    question = flow.question or next(iter(texts or flow.inputs), "question")
    answer = flow.answer or next(iter(flow.outputs), "answer")
    usual = Chat(name)
    tokens = faults.number(code, "max_new_tokens", int)
    temperature = faults.number(code, "temperature", float)
    return Chat(
        name,
        question=_kept(question, usual.question),
        answer=_kept(answer, usual.answer),
        node=_kept(str(flow.nodes[0]["name"]), usual.node),
        tool=_kept(faults.tool_name(code) or usual.tool, usual.tool),
        file=code.path.name if _NAME.fullmatch(code.path.stem) else usual.file,
        max_new_tokens=usual.max_new_tokens if tokens is None else max(1, min(tokens, 1024)),
        temperature=usual.temperature if temperature is None else max(0.0, min(temperature, 2.0)),
    )


def _kept(name: str, usual: str) -> str:
    return name if _NAME.fullmatch(name) and name != "chat_history" else usual
