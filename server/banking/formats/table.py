"""A text file as records: lines, quotation marks, delimiters and the characters of its encoding."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from server.banking.formats import fields

MAX_RECORD_LINES = 20
MAX_QUOTES = 101
DELIMITERS = ";,\t|"
BOMS = (b"\xff\xfe", b"\xfe\xff")
# Encodings of the East that no byte betrays; tried when the header then gives a known layout.
# The last is UTF-8 that somebody saved as Windows text and then as UTF-8 again.
OTHER_ENCODINGS = ("cp1250", "cp852", "mac_roman", "twice")


@dataclass(frozen=True, slots=True)
class Record:
    """One record of the file: where it begins, its cells, and its text as it stands there."""

    line_number: int
    cells: list[str]
    raw: str
    problem: str | None = None


class Table:
    """The lines of a file as records; a quote that is never closed costs its line, not the rest.

    Lines are decoded one by one (banks append files of different systems to each other) until
    ``encoding`` is set. Lines can be given back to be read again.
    """

    def __init__(self, source: BinaryIO, encoding: str | None = None) -> None:
        start = source.tell()
        wide = _wide_encoding(source.read(4))
        source.seek(start)
        self._is_decoded = encoding is not None or wide is not None
        self.encoding: str | None = None
        self._lines = fields.lines(source, encoding or wide or "latin-1")
        self._ahead: deque[str] = deque()
        self.line_number = 0

    def line(self) -> str | None:
        """The next line, or None at the end; undecoded, see ``decoded``."""
        printed = self._ahead.popleft() if self._ahead else next(self._lines, None)
        self.line_number += printed is not None
        return printed

    def give_back(self, printed: list[str]) -> None:
        """Lines that were read, to be read again."""
        self._ahead.extendleft(reversed(printed))
        self.line_number -= len(printed)

    def decoded(self, printed: str, encoding: str | None = None) -> str:
        """A line as text, in this encoding or the one that the file was found to have."""
        if self._is_decoded or printed.isascii():
            return printed
        raw = printed.encode("latin-1")
        encoding = encoding or self.encoding
        if encoding is None:
            return fields.decode(raw)
        if encoding == "twice":
            return (
                raw.decode("utf-8", "replace")
                .encode("cp1252", "replace")
                .decode("utf-8", "replace")
            )
        return raw.decode(encoding, "replace")

    def whole(self, first: str) -> str:
        """An undecoded line and those that its open quote reaches to; the line alone if none."""
        whole = first
        for ahead in range(MAX_RECORD_LINES):
            if whole.count('"') % 2 == 0:
                for _ in range(ahead):
                    self.line()
                return whole
            if len(self._ahead) <= ahead:
                following = next(self._lines, None)
                if following is None:
                    break
                self._ahead.append(following)
            whole += "\n" + self._ahead[ahead]
        return first

    def records(self, delimiter: str, width: int) -> Iterator[Record]:
        """The records from here on; ``width`` (0: unknown) tells open quotes from stray ones."""
        while (printed := self.line()) is not None:
            number = self.line_number
            if printed.count('"') % 2 == 0:
                text = self.decoded(printed)
                yield Record(number, split(text, delimiter), text)
            else:
                yield self._quoted(printed, number, delimiter, width)

    def _quoted(self, printed: str, number: int, delimiter: str, width: int) -> Record:
        at = self.line_number
        whole = self.whole(printed)
        if whole != printed:
            text = self.decoded(whole)
            cells = split(text, delimiter)
            if width in (0, len(cells), len(cells) - 1):
                return Record(number, cells, text)
            self.give_back(whole.split("\n")[1:])
            self.line_number = at
        text = self.decoded(printed)
        cells = _mended(text, delimiter, width)
        return Record(number, cells, text, "a quotation mark in it is never closed")


def _wide_encoding(mark: bytes) -> str | None:
    """UTF-16 by its byte order mark or, where a tool has lost that, by its zero bytes."""
    if mark.startswith(BOMS):
        return "utf-16"
    zeros = [one == 0 for one in mark]
    if zeros == [False, True, False, True]:
        return "utf-16-le"
    return "utf-16-be" if zeros == [True, False, True, False] else None


def _mended(text: str, delimiter: str, width: int) -> list[str]:
    """The cells of a line with a quotation mark too many or too few: as many as there should be.

    Where no reading gives that number, all marks are taken out. In a comma file that would cut
    amounts in two, so there the line stays in one piece.
    """
    if text.count('"') <= MAX_QUOTES:
        places = [at for at, one in enumerate(text) if one == '"']
        readings = [f'"{text}', f'{text}"', *(text[:at] + text[at + 1 :] for at in places)]
        for reading in readings:
            cells = _strictly(reading, delimiter)
            if len(cells) == width:
                return cells
    cells = text.replace('"', "").split(delimiter)
    return cells if delimiter != "," or len(cells) == width else [text]


def _strictly(text: str, delimiter: str) -> list[str]:
    """The cells where all quotation marks stand as they must; none where one does not."""
    try:
        return next(csv.reader([text], delimiter=delimiter, strict=True), [])
    except csv.Error:
        return []


def split(printed: str, delimiter: str) -> list[str]:
    """The cells of one record."""
    if '"' not in printed:
        return printed.split(delimiter)
    if printed[0] == printed[-1] == '"':
        # All cells quoted and no quote in them: most banks, and several times faster.
        cells = printed[1:-1].split(f'"{delimiter}"')
        if printed.count('"') == 2 * len(cells):
            return cells
    try:
        return next(csv.reader([printed], delimiter=delimiter), [])
    except csv.Error:
        return printed.replace('"', "").split(delimiter)
