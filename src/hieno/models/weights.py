"""Safetensors files, read far enough to know that they are what they say.

A header gives the type, shape and place of each tensor. One that lies (places outside the file,
gaps, overlaps, sizes that do not follow from the shape) is refused before anything is allocated.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any  # a header is whatever the file says

from hieno.errors import ConfigError

INDEX = "model.safetensors.index.json"
LARGEST_HEADER = 100_000_000  # the limit of the format's own reader
_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2, "F16": 2,
    "BF16": 2, "I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8,
}  # fmt: skip


def count_parameters(paths: Iterable[Path]) -> int:
    """Check every file and return how many numbers they hold; raises `ConfigError`."""
    return sum(_check(path) for path in paths)


def shards(index: Path) -> list[str]:
    """Return the files that an index of shards names; refuse names that leave its folder."""
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, AttributeError, TypeError):
        raise _wrong(index, "it is not an index of shards") from None
    for name in names:
        if not isinstance(name, str) or not re.fullmatch(r"[\w.-]+\.safetensors", name):
            raise _wrong(index, f"it names the file {name!r}")
    return sorted(names)


def _check(path: Path) -> int:
    size = path.stat().st_size
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8).ljust(8, b"\xff"))
        if length > min(LARGEST_HEADER, size - 8):
            raise _wrong(path, f"its header claims {length} bytes of a file of {size}")
        try:
            header = json.loads(file.read(length))
        except (ValueError, RecursionError):
            raise _wrong(path, "its header is not JSON") from None
    if not isinstance(header, dict):
        raise _wrong(path, "its header is not JSON")
    header.pop("__metadata__", None)
    places = sorted(_tensor(path, name, tensor) for name, tensor in header.items())
    expected = 0
    for begin, end, _ in places:
        if begin != expected:
            raise _wrong(path, f"its tensors overlap or leave a gap at byte {begin}")
        expected = end
    if expected != size - 8 - length:
        raise _wrong(path, f"it holds {size - 8 - length} bytes of tensors, not {expected}")
    return sum(count for _, _, count in places)


def _tensor(path: Path, name: str, tensor: Any) -> tuple[int, int, int]:
    try:
        kind, shape, (begin, end) = tensor["dtype"], tensor["shape"], tensor["data_offsets"]
        numbers = [*shape, begin, end]
    except (TypeError, KeyError, ValueError):
        raise _wrong(path, f"the tensor {name!r} is not described") from None
    if kind not in _BYTES or any(type(number) is not int or number < 0 for number in numbers):
        raise _wrong(path, f"the tensor {name!r} has type {kind!r} and shape {shape!r}")
    count = math.prod(shape)
    if end - begin != count * _BYTES[kind]:
        raise _wrong(path, f"the tensor {name!r} of shape {shape!r} claims {end - begin} bytes")
    return begin, end, count


def _wrong(path: Path, problem: str) -> ConfigError:
    return ConfigError(
        f"{path} is not a safetensors file that can be trusted: {problem}",
        hint="get the model again from a place that you trust",
    )
