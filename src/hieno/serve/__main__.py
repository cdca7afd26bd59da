"""`python -m hieno.serve [ROOT] --port N --name NAME`: how a supervisor starts a container.

Where nobody can change the command, as in a deployment of Azure, the same settings are read from
the environment: HIENO_NAME, HIENO_ALIASES (with commas), HIENO_LINEAGE (the JSON itself), and
HIENO_SERVE_... as in `hieno.yaml`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from hieno.errors import BrokenArtifact, ConfigError, HienoError, Interrupted, MissingInput
from hieno.files import read_json

# Everything is on the disk already; nothing here ever asks a hub.
for _variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
    os.environ.setdefault(_variable, "1")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until stopped; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        _serve(options)
    except HienoError as error:
        print(f"hieno: {error.message}\nhint: {error.hint}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return Interrupted.exit_code
    return 0


def _serve(options: argparse.Namespace) -> None:
    from pydantic import ValidationError

    from hieno.config import Serve
    from hieno.serve.mount import find_model
    from hieno.serve.server import serve

    given: dict[str, object] = {
        name: os.environ[variable]
        for name in Serve.model_fields
        if (variable := f"HIENO_SERVE_{name.upper()}") in os.environ
    }
    flags = {name: getattr(options, name) for name in Serve.model_fields}
    given |= {name: value for name, value in flags.items() if value is not None}
    try:
        settings = Serve.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        flag = str(first["loc"][0]).replace("_", "-")
        raise ConfigError(
            f"--{flag}: {first['msg']}", hint="`python -m hieno.serve --help` lists the flags"
        ) from None
    serve(
        options.root or find_model(),
        host=options.host,
        port=options.port,
        engine=options.engine,
        weights=options.weights,
        settings=settings,
        name=options.name,
        aliases=options.alias,
        headers=_lineage(options.lineage),
    )


def _lineage(path: Path | None) -> dict[str, str]:
    """Return answer headers from JSON such as {"model_version": "7"}."""
    if path is not None and not path.is_file():
        raise MissingInput(f"there is no {path}", hint="leave out --lineage, or name a JSON file")
    try:
        found = read_json(path) if path else json.loads(os.environ.get("HIENO_LINEAGE", "{}"))
    except json.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        place = path or "HIENO_LINEAGE"
        raise BrokenArtifact(f"{place} is not a JSON object", hint="deploy the model again")
    return {f"hieno-{str(name).replace('_', '-')}": str(value) for name, value in found.items()}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m hieno.serve", description="Serve one model without keys on one port."
    )
    parser.add_argument(
        "root",
        type=Path,
        nargs="?",
        help="a package or a model folder [default: the model that is mounted at /model, or by "
        "Azure]",
    )
    parser.add_argument("--port", type=int, required=True, help="0: one that is free")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument(
        "--name",
        default=os.environ.get("HIENO_NAME", "hieno"),
        help="what requests call the model",
    )
    aliases = [name for name in os.environ.get("HIENO_ALIASES", "").split(",") if name]
    parser.add_argument(
        "--alias", action="append", default=aliases, help="another name; repeatable"
    )
    parser.add_argument("--engine", default="auto", help="auto, openvino, transformers or vllm")
    parser.add_argument("--weights", default="auto", help="format of the converted weights")
    parser.add_argument("--lineage", type=Path, help="JSON file of hieno-... answer headers")
    parser.add_argument("--max-requests", type=int)
    parser.add_argument("--max-new-tokens", type=int)
    parser.add_argument("--cache-gb", type=float)
    return parser


if __name__ == "__main__":
    sys.exit(main())
