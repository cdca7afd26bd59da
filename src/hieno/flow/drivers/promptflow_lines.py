"""Answer lines of inputs with prompt flow's own executor, several at a time.

Runs as a script in prompt flow's environment, where hieno is not installed. Its argument is the
flow's file and how many lines are answered at the same time. Reads one JSON object a line from
stdin: `{"line": 1, "inputs": {...}}`, and at the end perhaps `{"aggregate": true}`. Writes one a
line to stdout: `{"line": 1, "outputs": {...}}`, or `error` in place of the outputs, or `metrics`.
"""

import json
import os
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

Row = dict[str, object]


class Flow:
    """A flow that is loaded once; what its aggregation will need is kept line by line."""

    def __init__(self, file: str) -> None:
        from promptflow.executor import FlowExecutor

        path = Path(file)
        self._executor = FlowExecutor.create(path, {}, path.parent, raise_ex=False)
        self._kept: dict[int, tuple[Row, Row]] = {}

    def answer(self, line: int, inputs: Row) -> Row:
        """Return a line's outputs or its error."""
        result = self._executor.exec_line(inputs, line)
        if result.run_info.error:
            return {"error": str(result.run_info.error.get("message") or result.run_info.error)}
        self._kept[line] = (result.run_info.inputs, result.aggregation_inputs)
        outputs = {name: value for name, value in result.output.items() if name != "line_number"}
        return {"outputs": outputs}

    def aggregate(self) -> Row:
        """Return the metrics of all lines that were answered."""
        kept = [self._kept[line] for line in sorted(self._kept)]
        inputs, values = ([each[part] for each in kept] for part in (0, 1))
        result = self._executor.exec_aggregation(_columns(inputs), _columns(values))
        for node in result.node_run_infos.values():
            if node.error:
                return {"error": str(node.error.get("message") or node.error)}
        return {"metrics": result.metrics}


def main() -> None:
    """Answer what stdin asks until it ends."""
    file, workers = sys.argv[1], int(sys.argv[2])
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a node prints is no answer
    lock = threading.Lock()

    def tell(message: Row) -> None:
        with lock:
            out.write(json.dumps(message, default=str) + "\n")
            out.flush()

    def work(line: int, inputs: Row) -> None:
        began = time.monotonic()
        try:
            told = flow.answer(line, inputs)
        except Exception as error:  # also what prompt flow raises before a node runs
            told = {"error": str(error)}
        tell({"line": line, "seconds": round(time.monotonic() - began, 3), **told})

    try:
        flow = Flow(file)
    except Exception as error:
        tell({"failed": str(error)})
        return
    with ThreadPoolExecutor(workers) as pool:
        pending: list[Future[None]] = []
        for text in sys.stdin:
            asked = json.loads(text)
            if "aggregate" in asked:
                for each in pending:
                    each.result()
                tell(flow.aggregate())
            else:
                pending.append(pool.submit(work, asked["line"], asked["inputs"]))


def _columns(rows: list[Row]) -> dict[str, list[object]]:
    names = rows[0] if rows else ()
    return {name: [row[name] for row in rows] for name in names}


if __name__ == "__main__":
    main()
