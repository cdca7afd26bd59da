"""Lay tuned weights into the graph that was converted for the base: the same graph, other numbers.

    python -m hieno.package.transplant BASE CONVERTED TUNED TARGET

A conversion traces the whole model to find a graph that fine-tuning does not change. Where each
weight that was tuned stands in the base's graph under its own name, number for number as the base
has it, its place is known, and the tuned one goes there. Anything else is left to a conversion.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any  # graphs are untyped in OpenVINO

GRAPH = "openvino_model"
PREFIX = "self."  # of a weight's name in a graph that was traced
NOT_POSSIBLE = 4  # this process's exit code


class NotPossible(Exception):
    """The graph does not show where a tuned weight goes."""


def main() -> int:
    """Write the converted model, or say why it takes a conversion."""
    base, converted, tuned, target = map(Path, sys.argv[1:])
    try:
        transplant(base, converted, tuned, target)
    except NotPossible as reason:
        print(reason, file=sys.stderr)
        return NOT_POSSIBLE
    return 0


def transplant(base: Path, converted: Path, tuned: Path, target: Path) -> None:
    """Write `tuned` for OpenVINO into an existing, empty folder.

    `base` and `tuned` are model folders; `converted` is the base in the same format. Raises
    `NotPossible` where anything but weights differs, or a tuned weight has no place of its own.
    """
    import openvino

    if _described(base) != _described(tuned):
        raise NotPossible("base and tuned model differ in more than their weights")
    model = openvino.Core().read_model(converted / f"{GRAPH}.xml")
    constants = {
        node.get_friendly_name(): node
        for node in model.get_ops()
        if node.get_type_name() == "Constant"
    }
    for name, before, after in _changed(base, tuned):
        _replace(constants.get(PREFIX + name), name, before, after)
    openvino.save_model(model, target / f"{GRAPH}.xml", compress_to_fp16=False)
    for path in converted.iterdir():
        if path.is_file() and path.stem != GRAPH and path.name != "manifest.json":
            shutil.copy2(path, target / path.name)


def _replace(node: Any, name: str, before: Any, after: Any) -> None:
    """Put a tuned weight where the graph has the base's; both are float32 arrays."""
    import numpy as np
    import openvino
    from openvino import opset13

    if node is None:
        raise NotPossible(f"{name} has no place of its own in the base's graph")
    if node.get_element_type() != openvino.Type.f32 or not np.array_equal(node.data, before):
        raise NotPossible(f"{name} is not in the base's graph as the base has it")
    new = opset13.constant(after, dtype=openvino.Type.f32)
    new.set_friendly_name(node.get_friendly_name())
    for reader in list(node.output(0).get_target_inputs()):
        reader.replace_source_output(new.output(0))


def _changed(base: Path, tuned: Path) -> Iterator[tuple[str, Any, Any]]:
    """Yield each weight that was tuned: its name, as it was, and as it is, in float32."""
    import torch

    with ExitStack() as opened:
        before, after = (_weights(folder, opened) for folder in (base, tuned))
        if before.keys() != after.keys():
            raise NotPossible("base and tuned model have weights of other names")
        for name in sorted(after):
            old, new = before[name].get_tensor(name), after[name].get_tensor(name)
            if old.shape != new.shape:
                raise NotPossible(f"{name} has another shape than in the base")
            if not torch.equal(old, new):
                yield name, old.float().numpy(), new.float().numpy()


def _weights(folder: Path, opened: ExitStack) -> dict[str, Any]:
    """Return each weight's name and the open file that has it."""
    from safetensors import safe_open

    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        file = opened.enter_context(safe_open(path, framework="pt"))
        found.update(dict.fromkeys(file.keys(), file))
    return found


def _described(folder: Path) -> dict[str, bytes]:
    """Return what a conversion reads beside the weights: config, tokenizer, template."""
    return {
        path.name: path.read_bytes()
        for pattern in ("*.json", "*.jinja", "*.model")
        for path in folder.glob(pattern)
        if not path.name.endswith(".index.json")
    }


if __name__ == "__main__":
    sys.exit(main())
