"""The section `azure`: where the project lives there, and which machines it may use."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from hieno.config.section import Section

Size = Annotated[str, Field(pattern=r"^Standard_[A-Za-z0-9_-]+$")]


class Cluster(Section):
    """The machines of the jobs; there is none while no job runs."""

    size: Size = Field(
        "Standard_NC24ads_A100_v4", description="machine of a job: the tutorial's GPU"
    )
    max_nodes: int = Field(1, ge=1, le=100, description="most machines at the same time")
    low_priority: bool = Field(
        False, description="cheaper machines that may be taken away; training then goes on later"
    )
    idle_minutes: int = Field(
        2, ge=1, le=1440, description="minutes until an idle machine is given back"
    )
    nodes: int = Field(
        1, ge=1, le=100, description="machines that train one model together, up to max_nodes"
    )
    hours: float = Field(
        24,
        gt=0,
        le=720,
        description="longest time of one job, which is ended then; a training "
        "goes on from its last checkpoint when the same command is typed again",
    )
    budget: float | None = Field(
        None,
        gt=0,
        description="most that the machines of one stage may cost, in azure.currency at list "
        "price, earlier attempts included: its job ends when that is spent",
    )

    @model_validator(mode="after")
    def _has_its_nodes(self) -> Self:
        if self.nodes > self.max_nodes:
            raise ValueError(f"nodes is {self.nodes}, and max_nodes {self.max_nodes}: raise it too")
        return self


class Scale(Section):
    """More instances while there is much to do: from `endpoint.instances` to `max_instances`."""

    max_instances: int | None = Field(
        None,
        ge=2,
        le=50,
        description="most instances of a deployment under load, endpoint.instances being the "
        "least; default: always as many as those",
    )
    busy: int = Field(
        70,
        ge=2,
        le=99,
        description="percent of the GPU (of the CPU, where there is none) above which an instance "
        "is added",
    )
    quiet: int = Field(
        30, ge=1, le=98, description="percent of it below which an instance is taken away"
    )
    latency: float | None = Field(
        None,
        gt=0,
        le=180,
        description="seconds that nine of ten answers may take (P90) before an instance is added",
    )
    minutes: int = Field(
        5, ge=5, le=720, description="minutes over which load and latency are averaged"
    )
    cooldown_minutes: int = Field(
        20, ge=1, le=10080, description="minutes after a change before the next one"
    )

    @field_validator("quiet")
    @classmethod
    def _leaves_room(cls, value: int, told: ValidationInfo) -> int:
        if value >= told.data.get("busy", 100):
            raise ValueError(f"must be below busy, which is {told.data['busy']}")
        return value


class OnlineEndpoint(Section):
    """The machines that serve; they are billed until `hieno down`."""

    size: Size = Field("Standard_E4s_v3", description="machine of a deployment: the tutorial's")
    idle_hours: float | None = Field(
        None,
        ge=1,
        le=720,
        description="hours without an answer after which `hieno down --idle` removes the endpoint",
    )
    scale: Scale = Scale()
    serving: Literal["container", "script"] = Field(
        "container",
        description="our container, or a scoring script that runs it behind Azure's own server",
    )
    replace: bool = Field(
        False,
        description="remove the running version before the new one starts, where there is no quota "
        "for both: nothing answers meanwhile",
    )


class Brought(Section):
    """Resource ids of what exists already: it is used, never changed and never removed."""

    workspace: str | None = Field(None, description="an Azure ML workspace with all it needs")
    storage: str | None = Field(None, description="a storage account")
    vault: str | None = Field(None, description="a key vault")
    registry: str | None = Field(None, description="a container registry")
    insights: str | None = Field(None, description="an Application Insights component")
    identity: str | None = Field(None, description="the identity of the endpoint and the jobs")

    @field_validator("*")
    @classmethod
    def _whole_id(cls, value: str | None) -> str | None:
        whole = r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/[^/]+/[^/]+/[^/]+"
        if value is not None and not re.fullmatch(whole, value, re.IGNORECASE):
            raise ValueError("is a whole resource id: /subscriptions/.../providers/TYPE/NAME")
        return value


class Azure(Section):
    """Azure Machine Learning; read where `target` is azure, and by `hieno azure`."""

    preset: Literal["cpu", "gpu"] | None = Field(
        None,
        description="machines for training and serving: cpu is the tutorial's second choice; keys "
        "that are set here win over it",
    )
    subscription: str | None = Field(
        None,
        pattern=r"^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$",
        description="id of the subscription; default: AZURE_SUBSCRIPTION_ID, or the only one",
    )
    location: str = Field("eastus2", pattern=r"^[a-z0-9]+$", description="region, such as eastus2")
    resource_group: str | None = Field(
        None,
        pattern=r"^[-\w.()]{0,89}[-\w()]$",
        description="resource group; default: rg- and the project's name",
    )
    suffix: str | None = Field(
        None,
        pattern=r"^[a-z0-9]{3,8}$",
        description="end of the names that must be unique in the world; default: made of the "
        "subscription and the project",
    )
    sign_in: Literal["auto", "cli", "device-code", "environment", "managed-identity"] = Field(
        "auto",
        description="how to sign in; auto takes a service principal of the environment, a managed "
        "identity, or `az login`, whichever there is",
    )
    contributor: bool = Field(
        False,
        description="make the identity Contributor of the resource group, as the tutorial does; "
        "serving needs less",
    )
    assign_roles: bool = Field(
        True,
        description="give the identities their roles; where you may not, `hieno azure doctor` "
        "prints the lines for an administrator",
    )
    currency: str = Field(
        "USD", pattern=r"^[A-Z]{3}$", description="currency of the prices, such as EUR"
    )
    cluster: Cluster = Cluster()
    endpoint: OnlineEndpoint = OnlineEndpoint()
    bring: Brought = Brought()

    @model_validator(mode="after")
    def _beside_the_workspace(self) -> Self:
        if self.bring.workspace is None:
            return self
        _, _, subscription, _, group, *_ = self.bring.workspace.split("/")
        for key, mine, theirs in (
            ("subscription", self.subscription, subscription),
            ("resource_group", self.resource_group, group),
        ):
            if mine is not None and mine.lower() != theirs.lower():
                raise ValueError(f"{key} is not that of bring.workspace, which is {theirs}")
        return self
