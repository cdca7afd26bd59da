"""Where stages run and models are served. `local` is the reference for every other target."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol  # Any: a status is JSON

from pydantic import SecretStr

from hieno.endpoint.control import EndpointStatus
from hieno.endpoint.credentials import Keys, Which
from hieno.endpoint.examination import Question
from hieno.files import Manifest
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

    @property
    def serves_base(self) -> bool:
        """Whether the untuned model answers there too, by its name."""

    def base(self) -> Manifest | None:
        """Return what the base model was published as, where the place has it."""

    def find(self, plan: StagePlan) -> bool:
        """Bring the result of a stage to `plan.output` if the place has it already."""

    def submit(self, plan: StagePlan, reporter: Reporter) -> None:
        """Run a stage to its end; afterwards `plan.output` is published.

        Raises what the stage raised, `Interrupted` on Ctrl-C, and `HienoError` if it died.
        """

    def pull(self, version: ModelVersion) -> Path:
        """Return a version's package on this machine, with its weights, as it was registered."""

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
        """Return where the endpoint answers this machine.

        Raises `MissingInput` where nothing was deployed, and `Unreachable` where it is stopped.
        """

    def connect(self) -> Address:
        """Return the same, after whatever it takes on this machine to reach it."""

    def endpoint(self) -> EndpointStatus | None:
        """Return the endpoint as it is, or None where nothing was deployed."""

    def traffic(
        self, shares: Mapping[str, int], *, mirror: Mapping[str, int], say: Callable[[str], None]
    ) -> EndpointStatus:
        """Divide the traffic by hand, in percent that add up to 100.

        Raises `UsageError` for shares that make no sense, and changes nothing then.
        """

    def rollback(self, *, say: Callable[[str], None]) -> EndpointStatus:
        """Give all traffic to the deployment before; a second time leads forward again."""

    def keys(self) -> Keys:
        """Return both keys of the endpoint."""

    def regenerate(self, which: Which) -> Keys:
        """Replace one of the keys; the other goes on serving."""

    def logs(self, name: str, *, lines: int) -> list[str]:
        """Return the last lines that a deployment, or the gateway, has written."""

    def follow(self, name: str, *, lines: int) -> Iterator[str]:
        """Yield the last lines and then every new one."""

    def down(self) -> list[str]:
        """Stop what serves; say what it was."""

    def down_idle(self, *, say: Callable[[str], None]) -> list[str]:
        """Stop what is billed by the hour where nobody has asked for long; say what it was.

        Raises `UsageError` where that can never be.
        """


def open_target(project: Project) -> Target:
    """Return the target that a project's configuration names."""
    if project.config.target == "azure":
        from hieno.targets.azure.target import AzureTarget

        return AzureTarget(project)
    from hieno.targets.local import LocalTarget

    return LocalTarget(project)
