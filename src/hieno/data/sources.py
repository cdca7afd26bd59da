"""Where chats come from: files, folders, globs and hub datasets, read row by row."""

from __future__ import annotations

import csv
import io
import json
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any  # Any: a row of the user's file can hold anything

from hieno.data.unpacking import Nature, unpacked
from hieno.errors import MissingInput

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
COMPRESSED = (".gz", ".zst")
LARGEST_ROW = 16 * 1024 * 1024  # bytes; what is longer is set aside unread
_PIECE = 1024 * 1024
_HEAD = 1024 * 1024  # bytes looked at to tell how a file is written
_HUB = re.compile(r"[\w.-]+/[\w.-]+")
# what a damaged or truncated file raises, by reader (Arrow's errors are ValueErrors)
_DAMAGE = (OSError, EOFError, ValueError, zlib.error)


@dataclass(frozen=True)
class Record:
    """A row as it was found: JSON text as bytes, or a value; or the problem of what is no row."""

    line: int
    raw: bytes | None = None
    value: Any = None
    code: str = ""
    problem: str = ""


@dataclass(frozen=True)
class HubSet:
    """A dataset of the hub: its name, config, split (slices too) and revision."""

    name: str
    subset: str | None
    split: str
    revision: str | None


def hub_name(source: str, *, split: str | None, root: Path) -> str | None:
    """Return the hub dataset that `data.source` names, or None for a path.

    `hf:OWNER/NAME` always is one, `OWNER/NAME` where `data.split` is set and no such path is.
    """
    if source.startswith("hf:"):
        return source.removeprefix("hf:")
    named = split is not None and _HUB.fullmatch(source) and not (root / source).exists()
    return source if named else None


def files(path: Path, *, key: str) -> list[Path]:
    """Return the files that a path, a folder or a glob names, in the order of their names."""
    hint = f"correct {key} in hieno.yaml"
    if path.is_file():
        return [path]
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.is_file() and _plain_suffix(p) in SUFFIXES)
        if not found:
            kinds = ", ".join(SUFFIXES)
            raise MissingInput(f"{key}: no file in {path} ends in {kinds}", hint=hint)
        return found
    if any(sign in str(path) for sign in "*?["):
        pattern = str(path.relative_to(path.anchor))
        found = sorted(p for p in Path(path.anchor).glob(pattern) if p.is_file())
        if not found:
            raise MissingInput(f"{key}: no file matches {path}", hint=hint)
        return found
    raise MissingInput(f"{key}: there is no file {path}", hint=hint)


def unread(path: Path) -> list[Path]:
    """Return the files of a folder that no reader takes; `files` returns the others."""
    if not path.is_dir():
        return []
    found = (p for p in path.rglob("*") if p.is_file() and _plain_suffix(p) not in SUFFIXES)
    return sorted(found)


def read_file(
    path: Path, *, on_bytes: Callable[[int], None] = lambda done: None
) -> Iterator[Record]:
    """Yield every row of a file; damage ends it with one record of code `broken-file`.

    `on_bytes` is told how far the file is read, in bytes on the disk.
    """
    last = 0
    try:
        raw: io.BufferedReader = io.BufferedReader(io.FileIO(path), _HEAD)
    except OSError as error:
        raise MissingInput(
            f"cannot read the chats in {path}: {error.strerror}",
            hint="set data.source in hieno.yaml to your chats",
        ) from None
    with raw:
        try:
            nature, file = unpacked(raw)
            for record in _reader(path, nature)(file):
                last = record.line
                on_bytes(raw.tell())
                yield record
        except _DAMAGE as error:
            words = str(error).splitlines()[0] if str(error) else type(error).__name__
            yield Record(last + 1, code="broken-file", problem=f"the file ends here: {words}")


def _reader(path: Path, nature: Nature) -> Callable[[io.BufferedReader], Iterator[Record]]:
    suffix = _plain_suffix(path)
    if nature == "archive":
        return _archive
    if nature == "parquet" or suffix == ".parquet":
        return _parquet
    if suffix in (".csv", ".tsv"):
        return lambda file: _csv(file, "\t" if suffix == ".tsv" else "")
    return lambda file: _json(file, named=suffix == ".json")


def _archive(file: IO[bytes]) -> Iterator[Record]:
    yield Record(1, code="not-text", problem="the file is a workbook or another zip archive")


def _plain_suffix(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _lines(file: IO[bytes]) -> Iterator[Record]:
    number = 0
    while line := file.readline(LARGEST_ROW + 1):
        number += 1
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if len(line) > LARGEST_ROW:
            while line and not line.endswith(b"\n"):
                line = file.readline(LARGEST_ROW)
            yield Record(number, code="too-large", problem=_too_large())
        elif line.strip():
            yield Record(number, raw=line)


def not_json(error: Exception) -> str:
    """Say in words what keeps a row from being JSON."""
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON: {error.msg} at character {error.pos + 1}"
    return f"not JSON: {error}"


def _too_large() -> str:
    return f"more than {LARGEST_ROW // 2**20} MB in one row"


def _json(file: io.BufferedReader, *, named: bool) -> Iterator[Record]:
    """Yield the elements of a JSON array, values that span lines, or a row a line.

    An array of any size is one where the file is `named` so; elsewhere it may be a damaged row.
    """
    head = file.peek(_HEAD).removeprefix(b"\xef\xbb\xbf").lstrip()
    spans = _spans_lines(head)
    array = head.startswith(b"[") and (named or spans)
    if not array and not spans:
        yield from _lines(file)
        return
    with io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        yield from _elements(text, array=array)


def _spans_lines(head: bytes) -> bool:
    """Tell whether a file begins with a list or an object that is written over several lines."""
    text = head.decode("utf-8", errors="replace")
    try:
        value, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict | list) and "\n" in text[:end]


def _elements(file: IO[str], *, array: bool) -> Iterator[Record]:
    decoder = json.JSONDecoder()
    text, line, ended = "", 1, False
    opened = not array
    needed = 0  # do not try again before so much has been read
    while True:
        body = text.lstrip(" \t\r\n" if not opened else " \t\r\n,")
        line += text.count("\n", 0, len(text) - len(body))
        text = body
        if not opened and text:
            opened, text = True, text[1:]
            continue
        if array and text.startswith("]"):
            if text[1:].strip() or file.read(_PIECE).strip():
                yield Record(line, code="not-json", problem="there is more after the list")
            return
        found = None
        if text and len(text) >= needed:
            try:
                found = decoder.raw_decode(text)
            except (ValueError, RecursionError) as error:
                if ended or len(text) > LARGEST_ROW or isinstance(error, RecursionError):
                    yield Record(line, code="not-json", problem=not_json(error))
                    return
                needed = 2 * len(text)
        # an element that ends with what was read may go on: a number, for one
        if found and (ended or found[1] < len(text)):
            value, end = found
            yield Record(line, value=value)
            line += text.count("\n", 0, end)
            text, needed = text[end:], 0
            continue
        if ended and not text:
            if array:
                yield Record(line, code="not-json", problem="the list has no end")
            return
        piece = file.read(_PIECE)
        ended = not piece
        needed = 0 if ended else needed
        text += piece


def _csv(file: IO[bytes], delimiter: str) -> Iterator[Record]:
    csv.field_size_limit(LARGEST_ROW)
    with io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        head = text.readline(LARGEST_ROW)
        delimiter = delimiter or max(",;\t|", key=head.count)
        yield from _cells(csv.reader(_then(head, text), delimiter=delimiter, strict=True))


def _cells(reader: Any) -> Iterator[Record]:
    names: list[str] = []
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            open_quote = str(error) == "unexpected end of data"
            problem = "a quote that opens here is never closed" if open_quote else str(error)
            yield Record(line, code="bad-csv", problem=problem)
            continue
        if not names:
            names = [name.strip() for name in cells]
            if twice := [name for name in names if name and names.count(name) > 1]:
                yield Record(line, code="bad-csv", problem=f"two columns are named {twice[0]!r}")
                return
        elif len(cells) != len(names):
            problem = f"{len(cells)} cells, and the header has {len(names)}"
            if any(cells):
                yield Record(line, code="bad-csv", problem=problem)
        else:
            yield Record(line, value=dict(zip(names, cells, strict=True)))


def _then(head: str, rest: IO[str]) -> Iterator[str]:
    yield head
    yield from rest


def _parquet(file: IO[bytes]) -> Iterator[Record]:
    import pyarrow as pa
    from pyarrow import parquet

    seekable = file if file.seekable() else pa.BufferReader(file.read())
    number = 0
    for batch in parquet.ParquetFile(seekable).iter_batches(batch_size=256):
        for value in batch.to_pylist():
            number += 1
            yield Record(number, value=value)
