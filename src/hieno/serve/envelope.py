"""What both kinds of completions put around an answer."""

from __future__ import annotations

import secrets
import time
from typing import Any  # JSON objects have no narrower type that mypy can check

from hieno.serve.service import Service


def envelope(service: Service, model: str, kind: str, *, prefix: str) -> dict[str, Any]:
    """Return the fields that say which answer this is, and of which engine."""
    return {
        "id": f"{prefix}-{secrets.token_hex(12)}",
        "object": kind,
        "created": int(time.time()),
        "model": model,
        "system_fingerprint": f"hieno_{service.engine.name}",
    }


def usage(prompt: int, completion: int) -> dict[str, int]:
    """Return the counts of tokens."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
