"""Bank files to postings: camt.052/053/054, MT940/MT942, CSV, OFX and QIF, found by content.

Pure: no database, no web, no settings. Nothing that holds an amount is ever dropped, and
nothing is guessed; what cannot be read comes out as a Problem beside what can.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from decimal import Decimal
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, cast

from server.banking.formats import archive, delimited, mt940, ofx, qif
from server.banking.formats.columns import COLUMN_FIELDS, ColumnMapping
from server.banking.formats.header import UnknownColumns
from server.banking.formats.items import (
    Balance,
    Entry,
    ForeignAmount,
    Item,
    ParsedPosting,
    Problem,
    StatementFacts,
    Unreadable,
)
from server.banking.formats.proposal import TableHead, header_key, table_head

__all__ = [
    "COLUMN_FIELDS",
    "Balance",
    "ColumnMapping",
    "Entry",
    "ForeignAmount",
    "Item",
    "ParsedPosting",
    "Problem",
    "StatementFacts",
    "TableHead",
    "UnknownColumns",
    "Unreadable",
    "header_key",
    "parse",
    "parse_members",
    "table_head",
    "to_wire",
]

HEAD_BYTES = 64 * 1024
MAX_NESTED_ARCHIVES = 2
SPOOL_BYTES = 8 * 1024**2
MAX_POSTINGS = 2_000_000

_ALL = [one.name for one in dataclasses.fields(ParsedPosting)]
_PRINTED = _ALL[: _ALL.index("is_batch_total") + 1]
_NOT_STATEMENTS = (
    (b"%PDF", "this is a PDF; please fetch camt.053, MT940 or CSV from the bank instead"),
    (b"\xd0\xcf\x11\xe0", "this is an old Office document; please export the postings as CSV"),
    (b"\x89PNG", "this is a picture"),
    (b"\xff\xd8\xff", "this is a picture"),
)


def parse(source: BinaryIO, name: str, columns: ColumnMapping | None = None) -> Iterator[Item]:
    """The items of a bank file, in its order, whatever its format; of an archive, of all in it.

    ``name`` is used in texts only. ``columns`` says how to read a CSV of unknown layout.
    In archives ``where`` names the member as well. Raises Unreadable when nothing can be read.
    """
    for file, item in parse_members(source, name, columns):
        member = file[len(name) + 1 :]
        if member and not isinstance(item, StatementFacts):
            yield dataclasses.replace(item, where=f"{member}: {item.where}")
        else:
            yield item


def parse_members(
    source: BinaryIO, name: str, columns: ColumnMapping | None = None
) -> Iterator[tuple[str, Item]]:
    """Like ``parse``, with the file of each item: ``name``, or ``name!member`` in archives."""
    postings = 0
    for file, item in _parse_any(archive.limited(_seekable(source)), name, columns, 0):
        yield file, item
        postings += isinstance(item, ParsedPosting)
        if postings >= MAX_POSTINGS:
            yield file, Problem("the rest", f"more than {MAX_POSTINGS} postings; split the file")
            return


def to_wire(posting: ParsedPosting, file: str) -> dict[str, Any]:
    """A posting as `parse` prints it: JSON values, absent is None, amount a decimal string."""
    wire: dict[str, Any] = {"file": file}
    for key in _PRINTED:
        wire[key] = getattr(posting, key)
    wire["booking_date"] = posting.booking_date and posting.booking_date.isoformat()
    wire["value_date"] = posting.value_date and posting.value_date.isoformat()
    wire["amount"] = printed(posting.amount)
    return wire


def printed(amount: Decimal) -> str:
    """An amount with at least two decimals, no exponent and no superfluous zeros."""
    whole, _, cents = f"{amount:f}".partition(".")
    return f"{whole}.{cents.rstrip('0').ljust(2, '0')}"


def _seekable(source: BinaryIO) -> BinaryIO:
    if source.seekable():
        return source
    spool = SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115 - lives as long as the parse
    size = 0
    while block := source.read(HEAD_BYTES):
        size += len(block)
        if size > archive.MAX_EXPANDED_BYTES:
            raise Unreadable(f"it is larger than {archive.MAX_EXPANDED_BYTES // 1024**2} MB")
        spool.write(block)
    spool.seek(0)
    return cast(BinaryIO, spool)


def _parse_any(
    source: BinaryIO, name: str, columns: ColumnMapping | None, depth: int
) -> Iterator[tuple[str, Item]]:
    start = source.tell()
    try:
        head = source.read(HEAD_BYTES)
    except archive.DAMAGED as error:
        raise Unreadable(f"the compressed file is damaged: {error}") from error
    source.seek(start)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b")):
        if depth >= MAX_NESTED_ARCHIVES:
            raise Unreadable("archives inside archives are not opened that deep")
        if head.startswith(b"PK"):
            yield from _parse_zip(source, name, columns, depth)
        else:
            yield from _parse_any(archive.gunzipped(source), name, columns, depth + 1)
        return
    for item in _guarded(_reader(source, head, columns)):
        yield name, item


def _parse_zip(
    source: BinaryIO, name: str, columns: ColumnMapping | None, depth: int
) -> Iterator[tuple[str, Item]]:
    """All members; one that cannot be read is a Problem as long as another one can be."""
    refused: list[tuple[str, Problem]] = []
    unknown: UnknownColumns | None = None
    was_read = False
    for member, stream in archive.members(source):
        file = f"{name}!{member}"
        if isinstance(stream, Problem):
            refused.append((file, stream))
            continue
        with stream:
            try:
                for found in _parse_any(stream, file, columns, depth + 1):
                    was_read = True
                    yield found
                was_read = True
            except Unreadable as error:
                unknown = error if isinstance(error, UnknownColumns) else unknown
                refused.append((file, Problem("the file", str(error))))
    if not was_read and unknown is not None:
        raise unknown
    if not was_read:
        file, problem = refused[0]
        raise Unreadable(f"nothing in the archive could be read; {file}: {problem.what}")
    yield from refused


def _reader(source: BinaryIO, head: bytes, columns: ColumnMapping | None) -> Iterator[Item]:
    """The reader of the format that the first bytes show."""
    begin = head.lstrip(b"\xef\xbb\xbf \t\r\n\x00")
    if not begin:
        raise Unreadable("the file is empty")
    for magic, what in _NOT_STATEMENTS:
        if begin.startswith(magic):
            raise Unreadable(what)
    if ofx.looks_like(head):
        return ofx.read(source)
    if qif.looks_like(head):
        return qif.read(source)
    if begin.startswith(b"<") or head.startswith((b"\xff\xfe<", b"\xfe\xff\x00<")):
        # Only XML needs the XML library; the other formats start faster without it.
        from server.banking.formats import camt

        if begin[:64].lower().startswith((b"<html", b"<!doctype html")):
            raise Unreadable("this is a web page, perhaps the bank's login instead of the file")
        source.seek(source.tell() + len(head) - len(head.lstrip()))
        return camt.read(source)
    if mt940.looks_like(head):
        return mt940.read(source)
    return delimited.read(source, columns)


def _guarded(items: Iterator[Item]) -> Iterator[Item]:
    """What was read before a limit or damage stopped the reading counts; the stop is a Problem."""
    count = 0
    try:
        for item in items:
            count += 1
            yield item
    except (Unreadable, *archive.DAMAGED) as error:
        what = str(error) if isinstance(error, Unreadable) else f"the archive is damaged: {error}"
        if not count and isinstance(error, Unreadable):
            raise
        if not count:
            raise Unreadable(what) from error
        yield Problem("the rest", f"what follows is not read: {what}")
