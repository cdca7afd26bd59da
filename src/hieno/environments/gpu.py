"""Whether vLLM can run here: its environment stands and the machine has a GPU for it."""

from __future__ import annotations

from hieno import environments, machine


def gpu_of_vllm() -> str:
    """Return the name of the GPU that vLLM is ready to run on, or nothing."""
    # The environment first: to look for a GPU takes a program that may be slow to answer.
    if environments.present("vllm") is None:
        return ""
    return next((gpu.name for gpu in machine.gpus()), "")
