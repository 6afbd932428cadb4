"""ZIP and gzip around statements: banks deliver camt as a ZIP of one XML for each day.

The members are streamed, never unpacked to disk, and limits stop archives made to explode.
"""

from __future__ import annotations

import gzip
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, cast

from server.banking.formats.items import Problem, Unreadable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAX_MEMBERS = 2_000
MAX_EXPANDED_BYTES = 2 * 1024**3
MAX_RATIO = 500
RATIO_COUNTS_FROM_BYTES = 32 * 1024**2

# What reading a damaged archive raises; and what opening one may raise beside it, because its
# directory can claim anything.
DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError)
UNOPENABLE = (*DAMAGED, NotImplementedError, RuntimeError, ValueError, struct.error)


class Expanding(io.RawIOBase):
    """A stream that ends with Unreadable when it gives more than its source may hold.

    ``packed_bytes`` is the size of what it is unpacked from; None counts the bytes only.
    """

    def __init__(self, source: BinaryIO, packed_bytes: int | None = None) -> None:
        self._source = source
        self._most_bytes = MAX_EXPANDED_BYTES
        if packed_bytes is not None:
            self._most_bytes = max(RATIO_COUNTS_FROM_BYTES, MAX_RATIO * packed_bytes)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._source.seek(offset, whence)

    def tell(self) -> int:
        return self._source.tell()

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        block = self._source.read(len(view))
        view[: len(block)] = block
        given = self._source.tell()
        if given > MAX_EXPANDED_BYTES:
            raise Unreadable(f"it is larger than {MAX_EXPANDED_BYTES // 1024**2} MB unpacked")
        if given > self._most_bytes:
            raise Unreadable(f"it unpacks to more than {MAX_RATIO} times its size, as attacks do")
        return len(block)


def limited(source: BinaryIO, packed_bytes: int | None = None) -> BinaryIO:
    """The source as a buffered stream that keeps the limits."""
    return cast(BinaryIO, io.BufferedReader(Expanding(source, packed_bytes), 64 * 1024))


def gunzipped(source: BinaryIO) -> BinaryIO:
    """The one file inside a gzip."""
    start = source.tell()
    packed_bytes = source.seek(0, io.SEEK_END) - start
    source.seek(start)
    return limited(cast(BinaryIO, gzip.GzipFile(fileobj=source)), packed_bytes)


def members(source: BinaryIO) -> Iterator[tuple[str, BinaryIO | Problem]]:
    """Name and stream of each file in a ZIP; a Problem instead of a member that cannot be opened.

    Raises Unreadable for a damaged archive, one without files and one with too many.
    """
    try:
        archive = zipfile.ZipFile(source)
    except UNOPENABLE as error:
        raise Unreadable(f"the ZIP archive is damaged: {error}") from error
    with archive:
        entries = [entry for entry in archive.infolist() if not _is_clutter(entry)]
        if not entries:
            raise Unreadable("the ZIP archive holds no files")
        if len(entries) > MAX_MEMBERS:
            raise Unreadable(f"the ZIP archive holds more than {MAX_MEMBERS} files")
        if sum(entry.file_size for entry in entries) > MAX_EXPANDED_BYTES:
            raise Unreadable(f"it is larger than {MAX_EXPANDED_BYTES // 1024**2} MB unpacked")
        if any(entry.filename == "[Content_Types].xml" for entry in entries):
            raise Unreadable("this is an Office document; please export the postings as CSV")
        for entry in entries:
            yield entry.filename, _opened(archive, entry)


def _opened(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> BinaryIO | Problem:
    if entry.flag_bits & 1:
        return Problem("the file", "it is encrypted; please unpack it first")
    try:
        return limited(cast(BinaryIO, archive.open(entry)), max(entry.compress_size, 1))
    except UNOPENABLE as error:
        return Problem("the file", f"it is damaged inside the archive: {error}")


def _is_clutter(entry: zipfile.ZipInfo) -> bool:
    name = entry.filename.rpartition("/")[2]
    return (
        entry.filename.endswith("/")
        or name.startswith(".")
        or entry.filename.startswith("__MACOSX/")
    )
