"""The commands about models: base models in the cache, and versions of a project given away."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hieno.cli.options import json_option, project_options
from hieno.cli.output import emit, reporter, table

if TYPE_CHECKING:
    from hieno.project import Project


@click.group()
def models() -> None:
    """Get, list, remove and export models."""


@models.command()
@click.argument("model")
@click.option("--revision", metavar="COMMIT", help="Commit of a hub model; presets pin their own.")
@json_option
def pull(model: str, revision: str | None, as_json: bool) -> None:
    """Get a preset, a hub model or a local folder into the cache.

    MODEL may also be a version of the project here, as its alias, its number or NAME:NUMBER: its
    package with the weights, which a project on Azure has there.
    """
    from hieno import models as base

    if (found := _package(model)) is not None:
        return emit({"model": model, "path": str(found)}, str(found), as_json=as_json)

    telling = reporter()
    telling.stage(f"pull {model}")
    try:
        root = base.pull(model, revision=revision, folder=Path.cwd(), reporter=telling)
    finally:
        telling.close()
    emit({"model": model, "path": str(root)}, str(root), as_json=as_json)


def _package(name: str) -> Path | None:
    """Return the package of a registered version, fetched; None where that is no version."""
    from hieno.project import open_project
    from hieno.registry.versions import find
    from hieno.targets import open_target

    called, colon, number = name.rpartition(":")
    if not number.isdecimal() and name not in ("champion", "challenger"):
        return None
    project = open_project()
    if colon and called != project.config.name:
        return None
    return open_target(project).pull(find(project.registry, number))


@models.command(name="list")
@json_option
def list_models(as_json: bool) -> None:
    """List the presets and what is in the cache."""
    from hieno import models as base

    found = base.listing()
    rows = [[model.name, model.state, model.description] for model in found]
    emit([vars(model) for model in found], table(rows), as_json=as_json)


@models.command()
@click.argument("model")
@json_option
def remove(model: str, as_json: bool) -> None:
    """Remove a model from the cache."""
    from hieno import models as base

    base.remove(model)
    emit({"removed": model}, f"removed {model}", as_json=as_json)


@models.command()
@project_options("mlflow")
def sync(project: Project, as_json: bool) -> None:
    """Show every run and version in MLflow that is not there yet."""
    from hieno.registry import tracking

    place = tracking.place(project)
    telling = reporter()
    telling.stage("sync")
    try:
        tracking.sync(place, telling.say)
    finally:
        telling.close()
    emit({"tracking_uri": place.uri}, f"runs and versions are in {place.uri}", as_json=as_json)


@models.command()
@click.argument("version")
@click.option("--to", required=True, metavar="FORMAT", help="hf, gguf (with a Modelfile) or onnx.")
@click.option("--weights", metavar="TYPE", help="Type of the weights; each format has a default.")
@click.option(
    "--folder",
    "target",
    type=click.Path(path_type=Path),
    metavar="NEW",
    help="Where it is written [default: exports/ in the project].",
)
@project_options()
def export(
    project: Project,
    version: str,
    to: str,
    weights: str | None,
    target: Path | None,
    as_json: bool,
) -> None:
    """Write a model version (a number or an alias) for other tools, and try it there."""
    from hieno import describe
    from hieno.export import order

    telling = reporter()
    try:
        made = order.export(
            project, version, to=to, weights=weights, folder=target, reporter=telling
        )
    finally:
        telling.close()
    document = {"folder": str(made.folder), "made": made.made, **made.facts}
    lines = [*describe.export(made.facts), f"folder  {made.folder}"]
    emit(document, "\n".join(lines), as_json=as_json)
