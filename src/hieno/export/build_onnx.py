"""Build a model folder for ONNX Runtime GenAI with its own model builder.

Runs as a script in the environment `onnx`, where hieno is not installed. Reads a JSON request
from stdin: `folder`, `output`, `weights`, `work`.
"""

import json
import runpy
import sys


def main() -> None:
    """Answer the request on stdin."""
    request = json.load(sys.stdin)
    sys.argv = ["builder", "-i", request["folder"], "-o", request["output"], "-c", request["work"]]
    sys.argv += ["-p", request["weights"], "-e", "cpu"]
    runpy.run_module("onnxruntime_genai.models.builder", run_name="__main__")


if __name__ == "__main__":
    main()
