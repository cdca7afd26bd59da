"""The workflow: prepare the conversation, then let the agent answer.

Put your own steps between the two: look something up, check the question, call a tool.
"""

from collections.abc import AsyncIterator
from functools import cache
from typing import Any  # JSON from those who ask

from agent_framework import (
    Agent,
    AgentExecutorRequest,
    Executor,
    Workflow,
    WorkflowBuilder,
    WorkflowContext,
    handler,
)

from agent import ANSWER, conversation, make_agent
from endpoint import EndpointError, explain


class Prepare(Executor):
    """Turn the inputs into the messages of a conversation."""

    @handler
    async def prepare(
        self, inputs: dict[str, Any], ctx: WorkflowContext[AgentExecutorRequest]
    ) -> None:
        """Send the conversation on to the agent."""
        request = AgentExecutorRequest(messages=conversation(inputs), should_respond=True)
        await ctx.send_message(request)


@cache
def agent() -> Agent:
    """Return the one agent of this process, which keeps its connections open."""
    return make_agent()


def make_workflow() -> Workflow:
    """Return a workflow for one request: an instance refuses to run twice at the same time."""
    prepare = Prepare(id="prepare")
    return (
        WorkflowBuilder(start_executor=prepare, output_from=[agent()])
        .add_edge(prepare, agent())
        .build()
    )


async def pieces(inputs: dict[str, Any]) -> AsyncIterator[str]:
    """Yield the answer piece by piece; raise `EndpointError` where there is none."""
    try:
        async for event in make_workflow().run(inputs, stream=True):
            text = getattr(event.data, "text", None) if event.type == "output" else None
            if text:
                yield str(text)
    except Exception as error:
        raise EndpointError(explain(error)) from error


async def answer(inputs: dict[str, Any]) -> dict[str, str]:
    """Return the whole answer under its name."""
    text = ""
    try:
        async for piece in pieces(inputs):
            text += piece
    except EndpointError as error:
        if not text:
            raise
        text += cut_off(error)
    return {ANSWER: text}


def cut_off(error: Exception) -> str:
    """Return the line that ends an answer which stopped half-way."""
    return f"\n\n[the answer was cut off: {error}]"
