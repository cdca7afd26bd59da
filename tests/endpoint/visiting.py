"""An endpoint with a chat page, and what a page sends and gets."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any  # JSON

import httpx
from rehearsal import LIMITS, Endpoint

from hieno import ports
from hieno.endpoint import control
from hieno.endpoint.page import invitations
from hieno.endpoint.state import DeploymentSpec, Page

PARROT = Path(__file__).parents[1] / "browser" / "parrot.py"


class Books(Endpoint):
    """An endpoint whose containers say what they are told, and its chat page."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.record = folder.parent / "record.jsonl"
        self.feedback = folder.parent / "feedback.jsonl"

    def start(self, page: Page | None = None) -> None:
        """Deploy version 3, with the untuned model beside it."""
        control.deploy(
            self.folder,
            self.spec("3", "books"),
            port=ports.free_port(),
            wait=60,
            say=self.said.append,
            base=self.spec("base", "base"),
            limits=replace(LIMITS, max_body=1_500_000),
            page=page or Page("books", 200, str(self.feedback)),
        )

    def spec(self, version: str, name: str) -> DeploymentSpec:
        options = ("--record", str(self.record), "--name", name)
        return DeploymentSpec(version, (sys.executable, str(PARROT), "--port", "{port}", *options))

    @contextmanager
    def browser(self, *, code: str | None = None) -> Iterator[httpx.Client]:
        """Return a client as a page of this endpoint is one; with a code it is signed in."""
        url = self.status().url
        headers = {"origin": url}
        with httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=30) as client:
            if code is not None:
                client.post("/chat/api/session", json={"code": code}).raise_for_status()
            yield client

    def invite(self, **options: Any) -> str:
        return invitations.invite(self.folder, **options)[0].get_secret_value()

    def asked(self) -> list[dict[str, Any]]:
        lines = self.record.read_text(encoding="utf-8").splitlines() if self.record.exists() else ()
        return [json.loads(line) for line in lines]


def question(text: str, **changes: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"who": "tuned", "messages": messages, "max_tokens": 50} | changes


def said(answer: httpx.Response) -> str:
    events = [line[6:] for line in answer.text.splitlines() if line.startswith("data: {")]
    choices = [choice for event in events for choice in json.loads(event).get("choices", [])]
    return "".join(choice["delta"].get("content", "") for choice in choices)


def problem(answer: httpx.Response) -> tuple[int, str]:
    error = answer.json()["error"]
    assert sorted(error) == ["code", "message", "param", "type"]
    return answer.status_code, error["code"]
