"""The loopback gateway before the endpoint: chats, flows and the page talk to it with our keys.

The endpoint's own key is fetched, handed to the gateway's memory, and kept nowhere; beside the
gateway stands only a fingerprint, to notice that it was renewed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hieno.config import Config
from hieno.endpoint import control
from hieno.endpoint.control import EndpointStatus
from hieno.endpoint.credentials import Keys, fingerprint
from hieno.endpoint.examination import LEAST_LIKENESS, MOST_TOKENS, Examination, Question
from hieno.endpoint.state import DeploymentSpec, Limits, Page
from hieno.files import read_json, write_json
from hieno.project import Project
from hieno.targets.azure import scaling
from hieno.targets.azure.serving import Seen
from hieno.targets.azure.specification import LONGEST_REQUEST, WHOLE

_FINGERPRINT = "azure.json"


def place(project: Project, seen: Seen, keys: Keys) -> EndpointStatus:
    """Put the gateway before the endpoint as it is now; one that runs with this key goes on."""
    folder, key = project.endpoint, keys.primary
    renewed = _known(folder) != _print_of(keys)
    live = seen.live() or next(iter(seen.deployments), "")
    version = seen.deployments[live].version if live else "?"
    scripted = any(one.scripted for one in seen.deployments.values())
    specs = {WHOLE: DeploymentSpec(version, (), url=seen.url, only_score=scripted)}
    for name, one in seen.deployments.items():
        specs[name] = DeploymentSpec(
            one.version, (), url=seen.url, remote_name=name, only_score=one.scripted
        )
    status = control.front(
        folder,
        specs,
        key,
        port=project.config.endpoint.port,
        limits=_limits(project.config),
        page=page(project),
        renewed=renewed,
    )
    write_json(folder / _FINGERPRINT, {"key": _print_of(keys), "url": seen.url}, private=True)
    return status


def is_stale(project: Project, keys: Keys) -> bool:
    """Tell whether a gateway stands here with a key that was renewed elsewhere."""
    known = _known(project.endpoint)
    return known not in ("", _print_of(keys))


def remove(project: Project) -> list[str]:
    """Stop the gateway."""
    return control.down(project.endpoint) if control.status(project.endpoint) else []


def page(project: Project) -> Page:
    """Return what the chat page shows and keeps."""
    keeps = project.config.endpoint.feedback
    return Page(
        title=project.config.name,
        max_new_tokens=project.config.serve.max_new_tokens,
        feedback=str(project.feedback) if keeps else "",
    )


@dataclass(frozen=True)
class Asking:
    """Asks a deployment by its name, through the gateway, as everybody else will."""

    project: Project
    questions: Sequence[Question]

    def examine(self, name: str) -> str:
        """Ask for a first token, and what the evaluation asked; return what is wrong."""
        if problem := self.ask(name):
            return f"did not answer a first question: {problem}"
        if not self.questions:
            return ""
        most = min(MOST_TOKENS, self.project.config.serve.max_new_tokens)
        asked = [replace(question, max_tokens=most) for question in self.questions]
        like = self._examination(name).likeness(asked, timeout=LONGEST_REQUEST)
        if like >= LEAST_LIKENESS:
            return ""
        return (
            f"does not answer as it was evaluated: {len(asked)} held-out questions, likeness"
            f" {like:.2f} (at least {LEAST_LIKENESS:g})"
        )

    def ask(self, name: str) -> str:
        """Ask for one token; return why there was none."""
        return self._examination(name).first(timeout=LONGEST_REQUEST)

    def _examination(self, name: str) -> Examination:
        found = control.status(self.project.endpoint)
        port = int(found.url.rpartition(":")[2]) if found else 0
        return Examination(self.project.endpoint, port, name)


def _limits(config: Config) -> Limits:
    return Limits(
        request_timeout=min(config.endpoint.request_timeout, LONGEST_REQUEST),
        max_concurrent=config.serve.max_requests * scaling.most(config),
    )


def _print_of(keys: Keys) -> str:
    return fingerprint(keys.primary.get_secret_value().encode())


def _known(folder: Path) -> str:
    path = folder / _FINGERPRINT
    return str(read_json(path)["key"]) if path.is_file() else ""
