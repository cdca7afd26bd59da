"""Look at everything that could stop the project on Azure, before it costs time or money."""

from __future__ import annotations

from collections.abc import Callable

from hieno.doctor import Finding
from hieno.errors import HienoError
from hieno.project import Project
from hieno.targets.azure.preflight import access, machines, naming
from hieno.targets.azure.site import Site, opened

Look = Callable[[Site], list[Finding]]

LOOKS: tuple[tuple[str, Look], ...] = (
    ("providers", access.providers),
    ("region", machines.region),
    ("machines", machines.sizes),
    ("quota", machines.quota),
    ("your roles", access.callers_roles),
    ("identities", access.identities_roles),
    ("names", naming.names),
)


def check(project: Project) -> list[Finding]:
    """Look at everything, nothing is changed; what fails to be looked at is a finding too."""
    try:
        with opened(project) as site:
            found = [access.signed_in(site)]
            for name, look in LOOKS:
                try:
                    found += look(site)
                except HienoError as error:
                    found.append(Finding(name, "fail", error.message, error.hint))
            return found
    except HienoError as error:
        return [Finding("sign-in", "fail", error.message, error.hint)]


def verdict(findings: list[Finding]) -> str:
    """Say in one line whether the project can go to Azure."""
    failed = [one.name for one in findings if one.state == "fail"]
    warned = [one.name for one in findings if one.state == "warn"]
    if failed:
        return f"not ready: see to {', '.join(dict.fromkeys(failed))}"
    if warned:
        return f"ready, with a warning: {', '.join(dict.fromkeys(warned))}"
    return "ready: nothing stops this project on Azure"


def request_quota(project: Project) -> list[str]:
    """Ask Azure for the cores that are short; return what became of each request."""
    with opened(project) as site:
        return machines.request(site)
