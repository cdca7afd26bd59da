"""The options that commands share; those of a section come from the configuration's own tree."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin  # Any: flag values

import click

from hieno.errors import MissingInput, UsageError

if TYPE_CHECKING:
    from hieno.project import Project

Function = Callable[..., Any]

FLAG = "flag__"  # begins the parameter names of flags that set a key, dots being `__`

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


def project_options(
    section: str | None = None, *, required: bool = True
) -> Callable[[Function], Function]:
    """Give a command `--project`, `--set`, `--json` and one flag per plain key of `section`.

    The command is called with the opened project as `project`, and with `as_json`. Where none is
    `required` and none is found, the project is the current folder with the defaults.
    """

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def command(
            *context: Any, folder: Path | None, assignments: Sequence[str], **rest: Any
        ) -> Any:
            flags = _assigned(assignments)
            for name in [name for name in rest if name.startswith(FLAG)]:
                value = rest.pop(name)
                if value is not None:
                    flags[name.removeprefix(FLAG).replace("__", ".")] = value
            project = open_at(folder, flags, required=required)
            return function(*context, project=project, **rest)

        for option in (*_common(), *(_section(section) if section else ())):
            command = option(command)
        return command

    return decorate


def open_at(
    folder: Path | None, flags: dict[str, Any] | None = None, *, required: bool = True
) -> Project:
    """Open the project in `folder`, or without one the nearest around the current folder."""
    from hieno.config import FILE_NAME, load
    from hieno.project import Project, find, open_project

    if folder is not None and not (folder / FILE_NAME).is_file():
        raise MissingInput(
            f"there is no {FILE_NAME} in {folder}", hint=f"`hieno init {folder}` makes a project"
        )
    if not required and folder is None:
        try:
            find()
        except MissingInput:
            resolved = load(None, flags=flags)
            return Project(Path.cwd(), resolved.config, resolved.origins)
    return open_project(folder, flags=flags)


def _assigned(assignments: Sequence[str]) -> dict[str, Any]:
    flags: dict[str, Any] = {}
    for assignment in assignments:
        key, sign, value = assignment.partition("=")
        if not sign or not key.strip():
            raise UsageError(
                f"--set {assignment} is not KEY=VALUE", hint="write it as --set train.epochs=3"
            )
        flags[key.strip()] = value
    return flags


def _common() -> list[Callable[[Function], Function]]:
    return [
        json_option,
        click.option(
            "--set",
            "assignments",
            multiple=True,
            metavar="KEY=VALUE",
            help="Set any key of the configuration; repeatable.",
        ),
        click.option(
            "--project",
            "folder",
            type=click.Path(file_okay=False, path_type=Path),
            metavar="DIR",
            help="The project's folder [default: the nearest with a hieno.yaml].",
        ),
    ]


def _section(section: str) -> list[Callable[[Function], Function]]:
    from hieno.config import keys

    prefix = f"{section}."
    options = []
    for key, field in keys().items():
        kind = _plain(field.annotation)
        if key.startswith(prefix) and kind is not None:
            options.append(_option(key, kind, field))
    return options[::-1]  # click shows the last one applied first


def _option(key: str, kind: Any, field: Any) -> Callable[[Function], Function]:
    flag = "--" + key.partition(".")[2].replace(".", "-").replace("_", "-")
    name = FLAG + key.replace(".", "__")
    text = field.description[0].upper() + field.description[1:]
    if field.default is not None:
        text += f" [default: {str(field.default).lower() if kind is bool else field.default}]"
    if kind is bool:
        return click.option(f"{flag}/--no-{flag[2:]}", name, default=None, help=text)
    if get_origin(kind) is Literal:
        choice = click.Choice(get_args(kind))
        return click.option(flag, name, type=choice, default=None, help=text)
    return click.option(flag, name, type=kind, default=None, help=text)


def _plain(annotation: Any) -> Any | None:
    """Return the type of a key that one flag can hold, or None for lists."""
    if get_origin(annotation) in (Union, types.UnionType):
        kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
        return _plain(kinds[0]) if len(kinds) == 1 else None
    if annotation in (str, int, float, bool) or get_origin(annotation) is Literal:
        return annotation
    return None
