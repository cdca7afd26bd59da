"""The endpoint and its deployments in the workspace: read, made, given traffic, removed.

What this project needs to remember of an endpoint is in its tags, so that everybody who signs in
sees the same, and nothing but the keys' holder can be out of date.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from typing import Any  # entities of a library that is imported late

from pydantic import SecretStr

from hieno.endpoint.control import EndpointStatus
from hieno.endpoint.credentials import Keys, Which
from hieno.endpoint.state import DeploymentStatus, State
from hieno.errors import HienoError, Unreachable
from hieno.targets.azure import script
from hieno.targets.azure.arm import Arm
from hieno.targets.azure.client import Workspace
from hieno.targets.azure.failures import JUST_GIVEN
from hieno.targets.azure.specification import LONGEST_REQUEST, START_SECONDS, Spec

VERSION, SPEC, SERVING = "hieno.version", "hieno.spec", "hieno.serving"  # of a deployment
NEWEST, ROLLING, PREVIOUS = "hieno.newest", "hieno.rolling", "hieno.previous"  # of an endpoint
RETIRING = "hieno.retiring"  # of an endpoint: the deployment that is to be removed
SCALE = "hieno.scale"  # of an endpoint: which autoscale rules there are
TOOK = "hieno.took"  # of an endpoint: seconds until the last deployment was ready
SUCCEEDED, WORKING = "succeeded", ("creating", "updating", "deleting", "scaling")
STATES: Mapping[str, State] = {  # any other is "starting"
    SUCCEEDED: "ready",
    "scaling": "ready",  # autoscale at work: those that are there go on answering
    "updating": "ready",
    "failed": "failed",
    "canceled": "failed",
    "deleting": "stopped",
}
LOG_LINES = 100
RENEWAL_SECONDS = 120
LOOK_SECONDS = 2.0  # between two looks at what a container says while it starts
API = "2025-12-01"


@dataclass(frozen=True)
class Deployed:
    """A deployment as it is; while Azure is `doing` something with it, it cannot be removed."""

    version: str
    spec: str
    state: State
    doing: str = ""
    instances: int = 1
    scripted: bool = False


@dataclass(frozen=True)
class Seen:
    """An endpoint as it is; `url` has no path."""

    url: str
    traffic: Mapping[str, int]
    mirror: Mapping[str, int]
    tags: Mapping[str, str]
    deployments: Mapping[str, Deployed] = field(default_factory=dict)

    def live(self) -> str | None:
        """Return who has most of the traffic; a deployment that is being tried does not count.

        While one is tried the other is proven, also where it has handed all of its traffic over.
        """
        tried = self.tags.get(ROLLING)
        shares = {
            name: self.traffic.get(name, 0)
            for name, one in self.deployments.items()
            if name != tried and (name in self.traffic or (tried and one.state == "ready"))
        }
        return max(shares, key=lambda name: shares[name], default=None)

    def is_settled(self) -> bool:
        """Tell whether nothing is being tried, and nothing left that was to be removed."""
        return not self.tags.get(ROLLING) and self.tags.get(RETIRING) not in self.deployments

    def is_held(self, version: int) -> bool:
        """Tell whether somebody has taken traffic from a version that was deployed last."""
        live = self.live()
        if live is None or self.tags.get(ROLLING) or self.tags.get(NEWEST) != str(version):
            return False
        shares = [s for n, s in self.traffic.items() if self._version(n) == str(version)]
        return sum(shares) != 100

    def status(self, name: str) -> EndpointStatus:
        """Return it as any endpoint is shown."""
        previous = self.tags.get(PREVIOUS, "")
        gone = previous and previous not in [one.version for one in self.deployments.values()]
        return EndpointStatus(
            name=name,
            url=self.url,
            score_url=f"{self.url}/score",
            alive=True,
            traffic=dict(self.traffic),
            deployments={
                key: DeploymentStatus(one.version, one.state, doing=one.doing)
                for key, one in self.deployments.items()
            },
            mirror=dict(self.mirror),
            retired={"before": previous} if gone else {},
        )

    def _version(self, name: str) -> str:
        return self.deployments[name].version if name in self.deployments else ""


def read(workspace: Workspace) -> Seen | None:
    """Return the endpoint, or None where there is none."""
    from azure.core.exceptions import ResourceNotFoundError

    endpoints, name = workspace.ml.online_endpoints, workspace.names.endpoint
    try:
        found = endpoints.get(name)
        deployments = list(workspace.ml.online_deployments.list(name))
    except ResourceNotFoundError:
        return None
    return Seen(
        url=str(found.scoring_uri or "").removesuffix("/score"),
        traffic={key: share for key, share in (found.traffic or {}).items() if share},
        mirror={key: share for key, share in (found.mirror_traffic or {}).items() if share},
        tags=dict(found.tags or {}),
        deployments={one.name: _deployed(one) for one in deployments},
    )


def create_endpoint(workspace: Workspace, identity: str) -> None:
    """Make the endpoint, with the identity that fetches image and model."""
    from azure.ai.ml.entities import (
        IdentityConfiguration,
        ManagedIdentityConfiguration,
        ManagedOnlineEndpoint,
    )

    endpoint = ManagedOnlineEndpoint(
        name=workspace.names.endpoint,
        auth_mode="key",
        identity=IdentityConfiguration(
            type="user_assigned",
            user_assigned_identities=[ManagedIdentityConfiguration(resource_id=identity)],
        ),
        tags={"hieno.project": workspace.store.project},
    )
    poller = workspace.ml.online_endpoints.begin_create_or_update(endpoint)
    _finish(poller.result, lambda: _find_endpoint(workspace))


def change(
    workspace: Workspace,
    *,
    traffic: Mapping[str, int] | None = None,
    mirror: Mapping[str, int] | None = None,
    **tags: str,
) -> None:
    """Change what is named of the endpoint, and nothing else; an empty tag is removed."""
    endpoints = workspace.ml.online_endpoints
    endpoint = endpoints.get(workspace.names.endpoint)  # a fresh object would reset the traffic
    if traffic is not None:
        endpoint.traffic = {name: share for name, share in traffic.items() if share}
    if mirror is not None:
        endpoint.mirror_traffic = dict(mirror)
    changed = {**(endpoint.tags or {}), **{f"hieno.{name}": value for name, value in tags.items()}}
    endpoint.tags = {name: value for name, value in changed.items() if value}
    poller = endpoints.begin_create_or_update(endpoint)
    _finish(poller.result, lambda: _find_endpoint(workspace))


def create_deployment(
    workspace: Workspace, name: str, spec: Spec, say: Callable[[str], None], *, instances: int
) -> None:
    """Start a deployment and wait until it is ready; what it says meanwhile is passed on."""
    from azure.ai.ml.entities import (
        CodeConfiguration,
        ManagedOnlineDeployment,
        OnlineRequestSettings,
    )

    code = CodeConfiguration(code=spec.code, scoring_script=script.NAME) if spec.code else None
    deployment = ManagedOnlineDeployment(
        name=name,
        endpoint_name=workspace.names.endpoint,
        model=spec.model,
        environment=spec.image,
        code_configuration=code,
        instance_type=spec.size,
        instance_count=instances,
        environment_variables=dict(spec.environment),
        request_settings=OnlineRequestSettings(
            request_timeout_ms=round(min(spec.timeout, LONGEST_REQUEST) * 1000),
            max_concurrent_requests_per_instance=spec.max_concurrent,
        ),
        readiness_probe=_probe(period=10),
        liveness_probe=_probe(period=30),
        tags={
            VERSION: str(spec.version),
            SPEC: spec.digest,
            SERVING: "script" if spec.code else "container",
        },
    )
    start_again(workspace, deployment, say)


def start_again(workspace: Workspace, deployment: Any, say: Callable[[str], None]) -> None:
    """Start a deployment that `find_deployment` has returned before it was removed, as it was."""
    name = deployment.name
    poller = workspace.ml.online_deployments.begin_create_or_update(deployment)

    def watch() -> None:
        said = ""
        while not poller.done():
            poller.wait(LOOK_SECONDS)
            lines = _last_words(workspace, name, 1)
            if lines and lines[-1] != said:
                said = lines[-1]
                say(f"{name}: {said[:200]}")
        poller.result()

    _finish(watch, lambda: find_deployment(workspace, name))


def find_deployment(workspace: Workspace, name: str) -> Any | None:
    """Return a deployment as Azure's library has it, or None where there is none."""
    from azure.core.exceptions import ResourceNotFoundError

    try:
        return workspace.ml.online_deployments.get(name, workspace.names.endpoint)
    except ResourceNotFoundError:
        return None


def delete_deployment(workspace: Workspace, name: str) -> None:
    """Remove a deployment that has no traffic; it is billed until then."""
    poller = workspace.ml.online_deployments.begin_delete(
        name=name, endpoint_name=workspace.names.endpoint
    )
    _finish(poller.result, lambda: find_deployment(workspace, name), to_be="")


def delete_endpoint(workspace: Workspace) -> None:
    """Remove the endpoint with all its deployments."""
    poller = workspace.ml.online_endpoints.begin_delete(name=workspace.names.endpoint)
    _finish(poller.result, lambda: _find_endpoint(workspace), to_be="")


def logs(workspace: Workspace, name: str, lines: int = LOG_LINES) -> list[str]:
    """Return the last lines of a deployment's container; none while there is no container."""
    from azure.core.exceptions import HttpResponseError

    try:
        text = workspace.ml.online_deployments.get_logs(
            name=name, endpoint_name=workspace.names.endpoint, lines=max(lines, 1)
        )
    except HttpResponseError:
        return []
    found = [line.rstrip() for line in str(text or "").splitlines() if line.strip()]
    return found[-lines:] if lines else []


def keys(workspace: Workspace) -> Keys:
    """Return both keys of the endpoint."""
    found = workspace.ml.online_endpoints.get_keys(workspace.names.endpoint)
    return Keys(SecretStr(found.primary_key), SecretStr(found.secondary_key))


def regenerate(workspace: Workspace, which: Which) -> Keys:
    """Replace one of the keys; the other goes on serving.

    Azure's client sends the old key as the value that the new one is to have, so this asks by
    itself.
    """
    before = keys(workspace)
    address = f"{workspace.id}/onlineEndpoints/{workspace.names.endpoint}/regenerateKeys"
    with Arm(workspace.account.credential, workspace.account.subscription) as arm:
        arm.post(address, API, {"keyType": which.capitalize()})
    deadline = time.monotonic() + RENEWAL_SECONDS
    while (found := keys(workspace)) == before:
        if time.monotonic() > deadline:
            raise Unreachable(
                f"Azure has not renewed the {which} key yet", hint="`hieno keys` shows when it has"
            )
        time.sleep(1)
    return found


def died(workspace: Workspace, name: str, spec: Spec, problem: str) -> HienoError:
    """Return why a deployment did not become ready, with its last words."""
    lines = _last_words(workspace, name, 5)
    message = [f"{name} (version {spec.version}) did not start: {problem}", *lines]
    hint = "correct it, then deploy again; what served before goes on"
    if "role" in problem.lower():
        hint = f"{JUST_GIVEN}: then deploy again; `hieno azure doctor` tells whether it is there"
    return HienoError("\n".join(message), hint=hint)


def _probe(period: int) -> Any:
    from azure.ai.ml.entities import ProbeSettings

    return ProbeSettings(
        initial_delay=10,
        period=period,
        timeout=10,
        success_threshold=1,
        failure_threshold=START_SECONDS // period,
    )


def _deployed(found: Any) -> Deployed:
    tags, told = found.tags or {}, _state(found)
    state = STATES.get(told, "starting")
    return Deployed(
        version=tags.get(VERSION, "?"),
        spec=tags.get(SPEC, ""),
        state=state,
        doing=told if told in WORKING and state != "starting" else "",
        instances=int(found.instance_count or 1),
        scripted=tags.get(SERVING) == "script",
    )


def _finish(wait: Callable[[], object], look: Callable[[], Any], *, to_be: str = SUCCEEDED) -> None:
    """Wait for a long operation; where Azure has lost it, the thing itself tells how it ended."""
    from azure.core.exceptions import HttpResponseError

    try:
        with redirect_stdout(io.StringIO()):  # the library prints a dot at each look
            wait()
    except HttpResponseError as error:
        if error.status_code != 404:
            raise
        while (state := _state(look())) in WORKING:
            time.sleep(LOOK_SECONDS)
        if state != to_be:
            raise


def _state(found: Any) -> str:
    """Return how far Azure is with a thing, in small letters; nothing for what is not there."""
    told = getattr(found, "provisioning_state", "")  # a word, or a member of an enumeration
    return str(getattr(told, "value", told)).lower()


def _find_endpoint(workspace: Workspace) -> Any | None:
    from azure.core.exceptions import ResourceNotFoundError

    try:
        return workspace.ml.online_endpoints.get(workspace.names.endpoint)
    except ResourceNotFoundError:
        return None


def _last_words(workspace: Workspace, name: str, lines: int) -> list[str]:
    """Return the last lines of a container, or none: what explains must stop nothing."""
    from azure.core.exceptions import AzureError

    try:
        return logs(workspace, name, lines)
    except AzureError:
        return []
