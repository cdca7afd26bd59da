"""Our own wheel, made from the code that runs here: what jobs and containers on Azure run.

It is put together from the installed package, so it needs no checkout and no build tool, and the
same code always makes the same bytes: what Azure has already is not sent again.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import hieno

WHEEL = "Wheel-Version: 1.0\nGenerator: hieno\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_LEFT_OUT = {"__pycache__", ".DS_Store"}
_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the oldest time that a zip file can hold


def write(folder: Path) -> Path:
    """Write the wheel into a folder and return its path."""
    version = metadata.version("hieno")
    path = folder / f"hieno-{version}-py3-none-any.whl"
    record: list[tuple[str, str, str]] = []
    about = f"hieno-{version}.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, content in (*_package(), *_about(about)):
            _add(wheel, name, content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
            record.append((name, f"sha256={digest.decode()}", str(len(content))))
        _add(wheel, f"{about}/RECORD", _listed([*record, (f"{about}/RECORD", "", "")]))
    return path


def _package() -> Iterator[tuple[str, bytes]]:
    root = Path(hieno.__file__).parent
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        if path.is_file() and not _LEFT_OUT.intersection(name.parts):
            yield f"hieno/{name.as_posix()}", path.read_bytes()


def _about(folder: str) -> Iterator[tuple[str, bytes]]:
    installed = metadata.distribution("hieno")
    # A checkout on Python's path has the other one, from when it was last installed.
    told = installed.read_text("METADATA") or installed.read_text("PKG-INFO") or ""
    yield f"{folder}/METADATA", told.encode()
    yield f"{folder}/WHEEL", WHEEL.encode()


def _listed(record: list[tuple[str, str, str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(record)
    return text.getvalue().encode()


def _add(wheel: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, _LONG_AGO)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    wheel.writestr(entry, content)
