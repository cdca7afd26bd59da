"""A project on Azure as a signed-in account reaches it: who, where, under which names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from hieno.config import Config
from hieno.errors import ConfigError
from hieno.project import Project
from hieno.targets.azure import names as naming
from hieno.targets.azure.arm import Arm
from hieno.targets.azure.names import Names
from hieno.targets.azure.signin import Account, sign_in


@dataclass(frozen=True)
class Site:
    """Everything that a call to Azure needs to know."""

    config: Config
    account: Account
    names: Names
    arm: Arm

    @property
    def subscription(self) -> str:
        return f"/subscriptions/{self.account.subscription}"

    @property
    def group(self) -> str:
        return f"{self.subscription}/resourceGroups/{self.names.resource_group}"

    @property
    def workspace(self) -> str:
        return self.id("Microsoft.MachineLearningServices/workspaces", self.names.workspace)

    @property
    def storage(self) -> str:
        brought = self.config.azure.bring.storage
        return brought or self.id("Microsoft.Storage/storageAccounts", self.names.storage)

    @property
    def tags(self) -> dict[str, str]:
        """What marks a thing as this project's."""
        return {"managedBy": "hieno", "project": self.config.name}

    def id(self, kind: str, name: str) -> str:
        """Return the id of something in the resource group."""
        return f"{self.group}/providers/{kind}/{name}"


@contextmanager
def opened(project: Project) -> Iterator[Site]:
    """Sign in and give the project's site; raises `AccessDenied` and `ConfigError`."""
    account = sign_in(project.config.azure)
    names = naming.derive(project.config, account.subscription)
    if wrong := naming.problems(names):
        raise ConfigError("; ".join(wrong), hint="choose another `name` or azure.suffix")
    with Arm(account.credential, account.subscription) as arm:
        yield Site(project.config, account, names, arm)
