"""The container: one model behind HTTP, and the same engines for work without a server."""

from hieno.serve.answer import Completion
from hieno.serve.batch import generate_all
from hieno.serve.engines import Sampling
from hieno.serve.server import serve

__all__ = ["Completion", "Sampling", "generate_all", "serve"]
