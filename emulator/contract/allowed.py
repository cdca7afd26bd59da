"""Where the SDK itself deviates from the published types, and the live service evidently bears it.

Each line names the version of the SDK that was seen to do so; when a version stops, its line goes.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Allowed:
    """One deviation of a client: in which body, at which place."""

    type: str
    side: str
    path: str  # as a deviation names it
    client: str


ALLOWED = (
    Allowed(
        "Microsoft.MachineLearningServices/workspaces/codes/versions",
        "request",
        ".properties.properties.hash_version",
        "azure-ai-ml 1.35.2 sends an integer",
    ),
    Allowed(
        "Microsoft.MachineLearningServices/workspaces/codes/versions",
        "answer",
        ".properties.properties.hash_version",
        "azure-ai-ml 1.35.2 sends an integer, and reads it back",
    ),
)
