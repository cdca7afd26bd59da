"""Where stages run and models are served. `local` is the reference for every other target."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol  # Any: a status is JSON

from pydantic import SecretStr

from hieno.endpoint.examination import Question
from hieno.project import Project
from hieno.registry.versions import ModelVersion
from hieno.reporting import Reporter
from hieno.stages import StagePlan


@dataclass(frozen=True)
class Address:
    """Where a served model answers, and the key for it."""

    url: str
    key: SecretStr


class Target(Protocol):
    """A place that can run stages and serve a model version."""

    def submit(self, plan: StagePlan, reporter: Reporter) -> None:
        """Run a stage to its end; afterwards `plan.output` is published.

        Raises what the stage raised, `Interrupted` on Ctrl-C, and `HienoError` if it died.
        """

    def deploy(
        self,
        version: ModelVersion,
        *,
        base: Path,
        say: Callable[[str], None],
        questions: Sequence[Question] = (),
    ) -> None:
        """Serve a version; what served before goes on until the new one is proven.

        `questions` are held-out chats with what the version replied when it was evaluated.
        """

    def serving(self, version: ModelVersion) -> Mapping[str, Any] | None:
        """Return the endpoint's status if it serves exactly this version, else None."""

    def address(self) -> Address:
        """Return where the endpoint answers."""

    def down(self) -> list[str]:
        """Stop what serves; say what it was."""


def open_target(project: Project) -> Target:
    """Return the target that a project's configuration names."""
    from hieno.targets.local import LocalTarget

    return LocalTarget(project)
