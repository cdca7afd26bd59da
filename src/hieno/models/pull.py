"""Get a base model into the cache, whichever of the three ways it comes."""

from __future__ import annotations

from pathlib import Path

from hieno.models.cache import find_source, local_state, models_folder
from hieno.models.source import Source, recognise
from hieno.reporting import Reporter


def pull(
    model: str, *, revision: str | None = None, folder: Path | None = None, reporter: Reporter
) -> Path:
    """Return the package root of a base model, which is fetched first where it is not there.

    `model` is a preset, a hub id or a local folder (a relative one is looked for in `folder`). A
    model that is in the cache needs no network and no heavy import. Without a revision a hub
    model that has no pinned one is taken at the newest commit, which is said and recorded.
    Raises `MissingInput`, `ConfigError`, `AccessDenied`, `Unreachable` or `BrokenArtifact`.
    """
    source = recognise(model, revision, folder)
    found = find_source(source)
    if found is not None:
        return found
    from filelock import FileLock

    models_folder().mkdir(parents=True, exist_ok=True)
    with FileLock(models_folder() / f"{source.slug}.lock"):
        return find_source(source) or _make(source, reporter)


def _make(source: Source, reporter: Reporter) -> Path:
    if source.kind == "demo":
        from hieno.models.demo import make

        return make(source, reporter)
    if source.kind == "hub":
        from hieno.models.hub import download

        return download(source, reporter)
    from hieno.models.publication import Origin, publish

    path = Path(source.name)
    return publish(path, Origin(source, local_state(path), ""), reporter)
