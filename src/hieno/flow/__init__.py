"""The chat as a prompt flow or an agent: generate it, test it, serve it, ask it in batches."""

from hieno.flow.batch import run
from hieno.flow.conversation import FlowTest, test
from hieno.flow.evaluation import Evaluation, evaluate
from hieno.flow.image import Image, build
from hieno.flow.imports import Import, import_flow
from hieno.flow.migration import Migration, migrate
from hieno.flow.parity import Parity, compare
from hieno.flow.results import Batch
from hieno.flow.scaffold import Scaffold, init
from hieno.flow.serving import Served, serve, start, status, stop

__all__ = [
    "Batch",
    "Evaluation",
    "FlowTest",
    "Image",
    "Import",
    "Migration",
    "Parity",
    "Scaffold",
    "Served",
    "build",
    "compare",
    "evaluate",
    "import_flow",
    "init",
    "migrate",
    "run",
    "serve",
    "start",
    "status",
    "stop",
    "test",
]
