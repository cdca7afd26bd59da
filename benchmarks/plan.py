"""How far `hieno train --plan` is from the run that follows: `make bench-plan`.

The demo's chats; each method is planned, then trained for `EPOCHS`, and the seconds of its steps
and the peak of its memory are compared. Take no other work on the machine meanwhile.

    EPOCHS=0.5 METHODS=lora,full make bench-plan
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any  # facts are JSON

HIENO = [sys.executable, "-m", "hieno"]


def main() -> None:
    """Plan and run each method, print a table, and one JSON object as the last line."""
    from hieno.demo import demo

    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="hieno-bench-") as folder:
        root = demo(Path(folder) / "demo")
        print(f"{'method':<6}  {'planned':>18}  {'run':>18}", flush=True)
        for method in os.environ.get("METHODS", "lora,full").split(","):
            planned = facts(root, method, "--plan")
            ran = facts(root, method)["stages"][-1]["details"]
            print(f"{method:<6}  {shown(planned):>18}  {shown(ran):>18}", flush=True)
            for name, of in (("time", "seconds"), ("memory", "peak_memory")):
                found[f"{method}_{name}_ratio"] = round(planned[of] / ran[of], 3)
    found["worst_error"] = max(abs(ratio - 1) for ratio in found.values())
    print(json.dumps(found))


def facts(root: Path, method: str, *flags: str) -> dict[str, Any]:
    """Run `hieno train` on a project and return its JSON."""
    settings = ["--method", method, "--epochs", os.environ.get("EPOCHS", "0.5")]
    if method == "full":  # a usual rate; the demo's is an adapter's
        settings += ["--learning-rate", "1e-4", "--frozen-layers", "0"]
    command = [*HIENO, "train", *flags, *settings, "--json", "--project", str(root)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, encoding="utf-8")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def shown(found: dict[str, Any]) -> str:
    """Return seconds and gigabytes for people."""
    return f"{found['seconds']:.1f} s, {found['peak_memory'] / 1e9:.2f} GB"


if __name__ == "__main__":
    main()
