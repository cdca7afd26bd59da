"""Prompt flow: generate a chat flow for an endpoint, test it, serve it."""

from hieno.flow.conversation import FlowTest, test
from hieno.flow.scaffold import Scaffold, init
from hieno.flow.serving import Served, serve, start, status, stop

__all__ = [
    "FlowTest",
    "Scaffold",
    "Served",
    "init",
    "serve",
    "start",
    "status",
    "stop",
    "test",
]
