"""A new project: a commented `hieno.yaml`, three example chats, what git shall ignore."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from importlib.resources import files as package_files
from pathlib import Path
from string import Template

from hieno import config as configuration
from hieno.errors import MissingInput, UsageError
from hieno.files import write_atomic, write_json


@dataclass(frozen=True)
class Values:
    """What suits a model where nothing is known yet about the chats."""

    epochs: float
    learning_rate: str
    batch_size: int
    rank: int
    alpha: int
    max_length: int
    weights: str


# The rates are where LoRA on all linear layers learns without losing the base's manners: small
# models take ten times more. A 3.8B model in fp32 would need 15 GB of memory to answer.
SMALL = Values(5, "2.0e-3", 12, 32, 64, 1024, "fp32")
LARGE = Values(3, "2.0e-4", 8, 32, 64, 2048, "int8")


def init(
    folder: Path, *, model: str = "phi-3.5-mini", data: Path | None = None, name: str | None = None
) -> list[Path]:
    """Write a new project into `folder` and return the files, `hieno.yaml` last.

    Raises `UsageError` where there is a project already, `MissingInput` where `data` is not
    there, `ConfigError` for an impossible name or model. Nothing that exists is overwritten.
    """
    path = folder / configuration.FILE_NAME
    if path.exists():
        raise UsageError(
            f"{path} is there already",
            hint=f"edit it, or name another folder: `hieno init {folder}-2`",
        )
    if data is not None and not data.is_file():
        raise MissingInput(f"there is no file {data}", hint="name a JSONL file of chats")
    text = _render(folder, model, data, name)
    written = []
    for target, content in _companions(folder, example=data is None):
        if not target.exists():
            write_atomic(target, content)
            written.append(target)
    write_schema(folder)
    write_atomic(path, text)
    return [*written, path]


def write_schema(folder: Path) -> Path:
    """Write the schema that the first line of `hieno.yaml` names, for editors."""
    state = folder / ".hieno"
    write_atomic(state / ".gitignore", "*\n")
    write_json(state / "schema.json", configuration.schema())
    return state / "schema.json"


def _render(folder: Path, model: str, data: Path | None, name: str | None) -> str:
    chosen = name or _name(folder)
    source = "data/chats.jsonl" if data is None else _from(folder, data)
    named = _model(model)
    flags = {"name": chosen, "model": named, "data.source": source, "endpoint.name": chosen}
    configuration.load(None, flags=flags, environment={})
    values = SMALL if model == "demo" else LARGE
    quoted = {"name": _quoted(chosen), "model": _quoted(named), "source": _quoted(source)}
    return Template(_read("hieno.yaml")).substitute(asdict(values) | quoted)


def _companions(folder: Path, *, example: bool) -> list[tuple[Path, str]]:
    made = [(folder / ".gitignore", _read("gitignore.txt"))]
    if example:
        made.append((folder / "data" / "chats.jsonl", _read("chats.jsonl")))
    return made


def _name(folder: Path) -> str:
    """Return the folder's name as far as a project may be called so."""
    words = re.findall(r"[a-zA-Z0-9]+", folder.resolve().name)
    name = "-".join(words).lstrip("-0123456789")[:32].rstrip("-")
    return name if len(name) >= 3 else "my-model"


def _from(folder: Path, data: Path) -> str:
    """Return the path of the chats as seen from the project, absolute where it lies outside."""
    root, target = folder.resolve(), data.resolve()
    inside = target.is_relative_to(root)
    return target.relative_to(root).as_posix() if inside else target.as_posix()


def _model(model: str) -> str:
    """Return a folder absolute, so that it means the same from inside the project."""
    looks_local = model.startswith((".", "/", "~")) or "\\" in model
    path = Path(model).expanduser()
    if looks_local and not path.is_dir():
        raise MissingInput(
            f"there is no model folder {model}", hint="`hieno models list` shows the presets"
        )
    return path.resolve().as_posix() if looks_local else model


def _quoted(text: str) -> str:
    """Return text as a YAML scalar, quoted only where it must be."""
    plain = re.fullmatch(r"[a-zA-Z/][\w./-]*", text)
    return text if plain and text.lower() not in _YAML_WORDS else json.dumps(text)


_YAML_WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}


def _read(name: str) -> str:
    return (package_files("hieno.scaffold") / name).read_text(encoding="utf-8")
