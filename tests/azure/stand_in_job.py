"""A stage without work, in the place of `hieno.targets.azure.job`: it hands its input over.

It is called as that one is and speaks as it does. With a work folder it says `half`, and waits for
a machine that is taken away unless an earlier attempt left its mark there.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path

PATIENCE = 30  # seconds until it goes on although nobody took its machine


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--result", type=Path, required=True)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--input", action="append", default=[])
    given, _ = parser.parse_known_args()
    inputs = dict(pair.split("=", 1) for pair in given.input)
    print(json.dumps({"say": "at work"}), flush=True)
    if given.work:
        _work(given.work)
    source = Path(inputs["run"])
    files = [path for path in source.rglob("*") if path.is_file()]
    for path in sorted(files, key=lambda path: path.name == "manifest.json"):
        target = given.result / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def _work(folder: Path) -> None:
    mark = folder / "checkpoint-1"
    if mark.is_file():
        print(json.dumps({"say": "goes on"}), flush=True)
        return
    mark.write_text("half", encoding="utf-8")
    print(json.dumps({"say": "half"}), flush=True)
    time.sleep(PATIENCE)


if __name__ == "__main__":
    main()
