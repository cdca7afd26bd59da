"""What a file's first bytes say: packed, in UTF-16, a table of Arrow, or no text at all."""

from __future__ import annotations

import codecs
import gzip
import io
from typing import IO, Literal

Nature = Literal["text", "parquet", "archive"]

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_PARQUET, _ZIP = b"PAR1", b"PK\x03\x04"  # a workbook of a spreadsheet is a zip archive
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_PIECE = 1 << 16


def unpacked(file: io.BufferedReader) -> tuple[Nature, io.BufferedReader]:
    """Return what a file holds, and its content without gzip or zstd, and text as UTF-8.

    A name may lie: an export is often packed without saying so, or says so and is not.
    """
    head = file.peek(4)[:4]
    if head.startswith(_GZIP):
        file = io.BufferedReader(gzip.GzipFile(fileobj=file), _PIECE)
    elif head == _ZSTD:
        import pyarrow as pa

        # a small buffer: what stands in it when damage is met is lost
        file = io.BufferedReader(pa.CompressedInputStream(file, "zstd"), _PIECE)
    head = file.peek(4)[:4]
    if head == _PARQUET:
        return "parquet", file
    if head == _ZIP:
        return "archive", file
    if head[:2] in _UTF16:
        return "text", io.BufferedReader(_Recoded(file))
    return "text", file


class _Recoded(io.RawIOBase):
    """UTF-16, as spreadsheets write it, read as UTF-8."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-16")()
        self._waiting = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._waiting:
            piece = self._file.read(_PIECE)
            self._waiting = self._decoder.decode(piece, final=not piece).encode("utf-8")
            if not piece:
                break
        given, self._waiting = self._waiting[: len(buffer)], self._waiting[len(buffer) :]
        buffer[: len(given)] = given
        return len(given)
