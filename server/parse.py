"""`python -m server parse`: bank files to postings, without settings, database or web.

The output is a stable interface: one JSON object a posting on stdout, one line a problem on
stderr, exit 0 if all was read, 3 if some entries could not be, 2 if nothing could.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import textwrap
from collections.abc import Callable, Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO

from server.banking import formats
from server.banking.formats import (
    COLUMN_FIELDS,
    ColumnMapping,
    Item,
    ParsedPosting,
    Problem,
    UnknownColumns,
    Unreadable,
)

ALL_READ, NOTHING_READ, PARTLY_READ = 0, 2, 3
MAX_MAPPING_BYTES = 100_000

_EPILOG = f"""\
MAPPING.json: one JSON object, field to header or to a list of headers that are joined:
  {{"booking_date": "Tag", "amount": "Wert", "remittance_information": ["Text 1", "Text 2"]}}
fields:
{textwrap.fill(" ".join(sorted(COLUMN_FIELDS)), 78, initial_indent="  ", subsequent_indent="  ")}
options beside the fields:
  date_format (as strptime has it), decimal ("." or ","), delimiter, encoding,
  inverted (true: what was spent is printed positive, as on credit cards),
  has_header (false: the file has no header, columns are "1", "2" … from the left)

Exit 0: all read. 3: some entries could not be read. 2: nothing could be read.
"""


def main(argv: list[str]) -> int:
    """Parse the files named in ``argv`` (without the command's own name); the exit code."""
    try:
        arguments = _arguments(argv)
    except SystemExit as refused:
        return refused.code if isinstance(refused.code, int) else NOTHING_READ
    try:
        columns = _mapping(arguments.columns) if arguments.columns else None
    except (OSError, ValueError) as error:
        _complain(arguments.columns, None, str(error))
        return NOTHING_READ
    write = _as_json if arguments.json else _as_table
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    try:
        return _parse_all(arguments.files, columns, write)
    except BrokenPipeError:
        # The reader has seen enough (`| head`). Python would complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ALL_READ


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m server parse",
        description="Read bank files (camt, MT940, CSV, OFX, QIF; also in ZIP and gzip) and print"
        " postings.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="a bank file; - is stdin")
    parser.add_argument("--json", action="store_true", help="one JSON object a posting")
    parser.add_argument(
        "--columns", metavar="MAPPING.json", help="the columns of a CSV of unknown layout"
    )
    return parser.parse_args(argv)


def _mapping(path: str) -> ColumnMapping:
    with Path(path).open("rb") as source:
        content = source.read(MAX_MAPPING_BYTES + 1)
    if len(content) > MAX_MAPPING_BYTES:
        raise ValueError("the column mapping is too large")
    return ColumnMapping.from_json(json.loads(content))


def _parse_all(
    files: list[str],
    columns: ColumnMapping | None,
    write: Callable[[ParsedPosting, str], str],
) -> int:
    are_read: list[bool] = []
    problems = 0
    for file in files:
        postings, found = _parse_one(file, columns, write)
        are_read.append(postings > 0 or found == 0)
        problems += found
    sys.stdout.flush()
    if not any(are_read):
        return NOTHING_READ
    return PARTLY_READ if problems else ALL_READ


def _parse_one(
    file: str,
    columns: ColumnMapping | None,
    write: Callable[[ParsedPosting, str], str],
) -> tuple[int, int]:
    """Print one file; the numbers of its postings and problems."""
    postings = problems = 0
    try:
        for name, item in _items(file, columns):
            if isinstance(item, ParsedPosting):
                postings += 1
                sys.stdout.write(write(item, name))
            elif isinstance(item, Problem):
                problems += 1
                _complain(name, item.where, item.what)
    except Unreadable as error:
        problems += 1
        hint = "; see --columns" if isinstance(error, UnknownColumns) else ""
        _complain(file, None, f"{error}{hint}")
    except BrokenPipeError:
        raise
    except OSError as error:
        problems += 1
        _complain(file, None, error.strerror or str(error))
    return postings, problems


def _items(file: str, columns: ColumnMapping | None) -> Iterator[tuple[str, Item]]:
    if file == "-":
        yield from formats.parse_members(sys.stdin.buffer, file, columns)
        return
    source: BinaryIO
    with Path(file).open("rb") as source:
        yield from formats.parse_members(source, file, columns)


def _complain(file: str, where: str | None, what: str) -> None:
    place = f"{file}:{where}" if where else file
    line = "".join(one if one.isprintable() else " " for one in f"{place}: {what}")
    sys.stderr.write(f"{line}\n")


def _as_json(posting: ParsedPosting, file: str) -> str:
    return json.dumps(formats.to_wire(posting, file), ensure_ascii=False) + "\n"


def _as_table(posting: ParsedPosting, file: str) -> str:
    """Date, amount, currency, other party and text in one line for a screen."""
    on = posting.booking_date or posting.value_date
    marks = " ".join(
        mark
        for mark, holds in (
            ("pending", posting.is_pending),
            ("return", posting.is_return),
            ("batch", posting.is_batch_total),
        )
        if holds
    )
    text = " ".join((posting.remittance_information or "").split())
    amount = f"{formats.printed(posting.amount):>14} {posting.currency or '':3}"
    columns = [str(on or "?").ljust(10), amount, f"{(posting.counterparty_name or '')[:30]:30}"]
    return "  ".join([*columns, *([marks] if marks else []), text[:70]]).rstrip() + "\n"
