"""What a Dockerfile says about the container that runs: its variables and its command.

Nothing is built. The instructions are read as Docker reads them, stages included, and a file that
is to be copied from the context must be there. Of RUN only the files of requirements are known
that it installs.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path


class CannotBuild(Exception):
    """Docker would refuse; the message is what its log would end with."""


@dataclass
class Stage:
    """One stage of a build, with what it has from the stage that it begins with."""

    environment: dict[str, str] = field(default_factory=dict)
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    requirements: list[Path] = field(default_factory=list)
    base: str = ""  # the image that it is made from
    venvs: list[str] = field(default_factory=list)  # environments beside the image's own Python


def read(context: Path, dockerfile: str) -> Stage:
    """Return the last stage of a Dockerfile. Raises `CannotBuild`."""
    path = context / dockerfile
    if not path.is_file():
        raise CannotBuild(f"unable to prepare context: the Dockerfile {dockerfile} is not there")
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    for line, word, rest in _instructions(path.read_text(encoding="utf-8")):
        if word == "FROM":
            stage = _begin(rest, stages)
        elif stage is None:
            if word != "ARG":
                raise CannotBuild(f"{dockerfile}:{line}: no build stage in current context")
        elif word == "ENV":
            stage.environment |= _assignments(rest, stage.environment)
        elif word == "ENTRYPOINT":
            stage.entrypoint, stage.command = _words(rest), []
        elif word == "CMD":
            stage.command = _words(rest)
        elif word == "RUN":
            stage.requirements += _requirements(context, rest)
            stage.venvs += re.findall(r"\buv venv (?:--python \S+ )?(/\S+)", rest)
        elif word in ("COPY", "ADD"):
            _check_sources(context, rest, f"{dockerfile}:{line}")
    if stage is None:
        raise CannotBuild(f"{dockerfile}: there is no FROM in it")
    return stage


def _begin(rest: str, stages: dict[str, Stage]) -> Stage:
    words = [word for word in rest.split() if not word.startswith("--")]
    before = stages.get(words[0].lower(), Stage())
    stage = Stage(
        dict(before.environment),
        list(before.entrypoint),
        list(before.command),
        list(before.requirements),
        before.base or words[0],
        list(before.venvs),
    )
    stages[str(len({id(one) for one in stages.values()}))] = stage
    if len(words) == 3 and words[1].lower() == "as":
        stages[words[2].lower()] = stage
    return stage


def _check_sources(context: Path, rest: str, where: str) -> None:
    flags = [word for word in rest.split() if word.startswith("--")]
    if any(flag.startswith("--from") for flag in flags) or "<<" in rest:
        return
    *sources, _ = [word for word in rest.split() if not word.startswith("--")]
    for source in sources:
        if "://" not in source and not any(context.glob(source.lstrip("/"))):
            raise CannotBuild(f'{where}: COPY failed: "/{source}": not found')


def _requirements(context: Path, rest: str) -> list[Path]:
    named = re.findall(r"pip\s+install\b[^&|;]*?(?:-r|--requirement)[\s=]+(\S+)", rest)
    return [path for name in named if (path := context / Path(name).name).is_file()]


def _instructions(text: str) -> Iterator[tuple[int, str, str]]:
    pending, first = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("#") or (not line.strip() and not pending):
            continue
        first = first or number
        pending += line
        if pending.endswith("\\"):
            pending = pending[:-1] + " "
            continue
        word, _, rest = pending.strip().partition(" ")
        yield first, word.upper(), rest.strip()
        pending, first = "", 0


def _assignments(rest: str, known: Mapping[str, str]) -> dict[str, str]:
    if "=" not in rest.split()[0]:
        name, _, value = rest.partition(" ")
        return {name: value.strip()}
    found: dict[str, str] = {}
    for pair in shlex.split(rest):
        name, _, value = pair.partition("=")
        found[name] = re.sub(
            r"\$\{?(\w+)\}?", lambda match: {**known, **found}.get(match[1], ""), value
        )
    return found


def _words(rest: str) -> list[str]:
    if rest.startswith("["):
        return [str(word) for word in json.loads(rest)]
    return ["/bin/sh", "-c", rest]
