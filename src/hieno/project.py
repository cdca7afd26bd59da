"""A project: the folder with `hieno.yaml`, what it makes under `.hieno/`, and its lock."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # flag values before they are validated

from hieno import config as configuration
from hieno import locks
from hieno.config import Config, Origin
from hieno.errors import Busy, MissingInput


@dataclass(frozen=True)
class Project:
    """A project's folder with its resolved configuration."""

    root: Path
    config: Config
    origins: tuple[Origin, ...]

    @property
    def state(self) -> Path:
        """The folder of everything that hieno makes here."""
        return self.root / ".hieno"

    @property
    def datasets(self) -> Path:
        return self.state / "datasets"

    @property
    def runs(self) -> Path:
        return self.state / "runs"

    @property
    def packages(self) -> Path:
        return self.state / "packages"

    @property
    def evaluations(self) -> Path:
        return self.state / "evaluations"

    @property
    def registry(self) -> Path:
        return self.state / "registry"

    @property
    def endpoint(self) -> Path:
        """The endpoint's live state: its file, keys and logs."""
        return self.state / "endpoint" / self.config.endpoint.name

    @property
    def feedback(self) -> Path:
        """What was rated and corrected on the chat page; cannot be made again."""
        return self.root / "feedback.jsonl"

    @property
    def tracking_uri(self) -> str:
        """MLflow's address for this project."""
        local = f"sqlite:///{(self.state / 'mlflow.db').as_posix()}"
        return self.config.mlflow.tracking_uri or local

    def path(self, name: str) -> Path:
        """Return a path of the configuration, relative ones being under the project's root."""
        return (self.root / Path(name).expanduser()).resolve()


def find(start: Path | None = None) -> Path:
    """Return the nearest folder, from `start` upwards, that holds a `hieno.yaml`."""
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / configuration.FILE_NAME).is_file():
            return folder
    raise MissingInput(
        f"there is no {configuration.FILE_NAME} in {here} or above it",
        hint="`hieno init` makes a project here; `hieno demo` shows one at work",
    )


def open_project(start: Path | None = None, *, flags: Mapping[str, Any] | None = None) -> Project:
    """Find the project around `start` and resolve its configuration."""
    root = find(start)
    resolved = configuration.load(root / configuration.FILE_NAME, flags=flags)
    return Project(root, resolved.config, resolved.origins)


@contextmanager
def locked(project: Project) -> Iterator[None]:
    """Hold the project's lock, so that two commands never write the same stage at once."""
    project.state.mkdir(parents=True, exist_ok=True)
    _ignore_state(project.state)
    holder = project.state / "lock.pid"

    def refusal() -> Busy:
        pid = holder.read_text(encoding="utf-8") if holder.exists() else "?"
        return Busy(
            f"another hieno command (process {pid}) is at work in {project.root}",
            hint="wait until it ends, or stop it, then type the same command again",
        )

    with locks.alone(project.state / "lock", refusal):
        holder.write_text(str(os.getpid()), encoding="utf-8")
        yield


def home() -> Path:
    """Return the per-user folder of models and side environments (`HIENO_HOME` moves it)."""
    if named := os.environ.get("HIENO_HOME"):
        return Path(named).expanduser().resolve()
    from platformdirs import user_cache_path

    return user_cache_path("hieno")


def _ignore_state(state: Path) -> None:
    ignore = state / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n", encoding="utf-8")
