"""What a deployment runs, as one value: the same value is the same deployment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from hieno.config import Config
from hieno.endpoint.state import COLOURS
from hieno.files import digest_json
from hieno.registry.versions import ModelVersion
from hieno.targets.azure import script
from hieno.targets.local import lineage

LONGEST_REQUEST = 180.0  # seconds; Azure's bound
START_SECONDS = 1800  # a large model may load that long
WHOLE = "azure"  # the endpoint with its own division of the traffic
NAMES = (WHOLE, *COLOURS)  # what a container is called by those who ask through the gateway


@dataclass(frozen=True)
class Spec:
    """A model version in our container, on so many machines of a size.

    `environment` is what the container is told; `hieno.serve` reads it. `code` is the scoring
    script that runs the container, or nothing where it runs by itself.
    """

    version: int
    model: str
    image: str
    size: str
    instances: int
    timeout: float
    max_concurrent: int
    environment: Mapping[str, str]
    code: str = ""

    @property
    def digest(self) -> str:
        """One word for all of it."""
        return digest_json(vars(self))[:16]


def specify(config: Config, version: ModelVersion, image: str, code: str = "") -> Spec:
    """Return how a project serves a version."""
    own = script.variables(config.serve.max_requests, START_SECONDS) if code else {}
    settings = {
        f"HIENO_SERVE_{name.upper()}": str(value)
        for name, value in config.serve.model_dump().items()
    }
    return Spec(
        version=version.version,
        model=f"azureml:{version.name}:{version.version}",
        image=f"azureml:{image}",
        size=config.azure.endpoint.size,
        instances=config.endpoint.instances,
        timeout=config.endpoint.request_timeout,
        max_concurrent=config.serve.max_requests,
        environment={
            "HIENO_NAME": config.name,
            "HIENO_ALIASES": ",".join(NAMES),
            "HIENO_LINEAGE": json.dumps(lineage(version)),
            **settings,
            **own,
        },
        code=code,
    )
