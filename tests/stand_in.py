"""A container without a model, started as `hieno.serve` is: here by arguments, there by variables.

It answers with the number of the version that it was started for. Version 9 ends while it loads,
unless all are `--sound`.
What it does otherwise is in `tests/endpoint/container.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "endpoint"))

import container

BROKEN = 9


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--lineage", type=Path)
    parser.add_argument("--sound", action="store_true")
    given, _ = parser.parse_known_args()
    text = (
        given.lineage.read_text(encoding="utf-8") if given.lineage else os.environ["HIENO_LINEAGE"]
    )
    version = json.loads(text)["model_version"].rpartition(":")[2]
    options = ["--fail"] if version == str(BROKEN) and not given.sound else []
    sys.argv = ["container", "--port", str(given.port), "--name", version, *options]
    container.main()


if __name__ == "__main__":
    main()
