"""The stage `flow`: a flow that is generated, proven with a two-turn chat, and served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any  # JSON

from hieno.files import digest_json, read_json, write_json
from hieno.flow import scaffold, serving
from hieno.flow.conversation import test
from hieno.flow.frameworks import named
from hieno.project import Project
from hieno.reporting import Reporter
from hieno.targets import Address

PROOF = "proof.json"


def look(project: Project, address: Address, model: str) -> Mapping[str, Any] | None:
    """Return the flow's status if it is proven for this model (a digest) and served, else None."""
    state = state_folder(project)
    proof = read_json(state / PROOF) if (state / PROOF).is_file() else None
    served = serving.status(state)
    folder = folder_of(project)
    if proof is None or served is None or proof["key"] != _key(project, address, model):
        return None
    if not serving.is_current(state, folder, address.url, address.key):
        return None
    return {
        "url": served.url,
        "folder": served.flow,
        "framework": project.config.flow.framework,
        "chat": proof["chat"],
    }


def make(
    project: Project,
    address: Address,
    model: str,
    questions: Sequence[str],
    reporter: Reporter,
) -> None:
    """Generate the flow, hold a chat through the real prompt flow, and open its page."""
    folder, state = folder_of(project), state_folder(project)
    framework = named(project.config.flow.framework)
    for path in scaffold.init(folder, name=project.config.name, framework=framework).kept:
        reporter.say(f"{path} is yours (changed since it was generated) and was left alone")
    asked = test(folder, address.url, address.key, questions=questions, say=reporter.say)
    chat = [
        {"question": question, "answer": answer}
        for question, answer in zip(asked.questions, asked.answers, strict=True)
    ]
    serving.start(
        folder,
        address.url,
        address.key,
        state=state,
        port=project.config.flow.port,
        say=reporter.say,
    )
    write_json(state / PROOF, {"key": _key(project, address, model), "chat": chat})


def stop(project: Project) -> list[str]:
    """Stop the flow's server; say what was stopped."""
    running = serving.status(state_folder(project))
    stopped = serving.stop(state_folder(project))
    return [f"flow (process {running.process.pid})"] if running and stopped else []


def folder_of(project: Project) -> Path:
    """Return the folder of the project's flow, or of its agent where that is its framework."""
    flow = project.config.flow
    return project.path(flow.path if flow.framework == "promptflow" else flow.agent_path)


def state_folder(project: Project) -> Path:
    """Return where the flow's server and its proof are remembered."""
    return project.state / "flow"


def _key(project: Project, address: Address, model: str) -> str:
    files = serving.files(folder_of(project))
    return digest_json({"files": files, "endpoint": address.url, "model": model})
