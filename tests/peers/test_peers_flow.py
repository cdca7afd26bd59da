"""The prompt flow and the agent that it is migrated to, both before a real container."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from hieno import flow
from hieno.cli.output import reporter

if TYPE_CHECKING:
    from conftest import Container

SAID = ["Who keeps the light?", "The carpenter.", "And at night? <b>&amp;</b> päivää"]


def test_a_migrated_flow_answers_word_for_word_as_the_flow_does(
    tmp_path: Path, container: Container
) -> None:
    flow.init(tmp_path / "flow", name=container.name)
    dag = tmp_path / "flow/flow.dag.yaml"
    text = dag.read_text(encoding="utf-8")
    text = text.replace('system: ""', 'system: "Be kind."').replace("tokens: 512", "tokens: 24")
    dag.write_text(text, encoding="utf-8")
    made = flow.migrate(tmp_path / "flow", tmp_path / "agent", name=container.name)
    assert made.unmapped == ()
    roles = ["user", "assistant", "user"]
    chat = [{"role": role, "content": text} for role, text in zip(roles, SAID, strict=True)]
    rows = [{"messages": chat[:1]}, {"messages": chat}, {"question": "x " * 100_000}]
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = flow.compare(
        (tmp_path / "flow", tmp_path / "agent"),
        data,
        container.url.removesuffix("/v1"),
        SecretStr(container.key),
        runs=tmp_path / "runs",
        reporter=reporter(),
    )
    assert (found.same, found.refused, found.differences) == (2, 1, ())  # the long one is refused
    answers = [found.batches[0].answer(row) for row in found.batches[0].rows]
    assert all(len(answer) > 10 for answer in answers[:2])
    assert answers[0] != answers[1]
    errors = [each.results[3].error for each in found.batches]
    assert all("HTTP 400" in str(error) for error in errors)
