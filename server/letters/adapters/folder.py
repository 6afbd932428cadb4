"""The print folder: for who prints himself, or lets somebody fetch the files.

    KONTOR_VAR/letters/<merchant>/<date>/0001-letter-17.pdf    each letter
                                         addresses.csv         whom they are for
                                         all.pdf               the day's letters behind each other

A letter is a file that is written whole or not at all, and the same letter is never a second file,
so handing it over twice does no harm. Dates are the day in UTC on which it was handed over.
"""

from __future__ import annotations

import csv
import fcntl
import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from plugin_sdk.errors import Misconfigured, Temporary
from server.letters.adapters import Parcel, Receipt, Status
from server.letters.pdfs import PdfRefused, merge

MAX_LETTERS_A_DAY: Final = 9_999
AT_ONCE: Final = 200
"""So many letters are put together in one file; more make a second one."""
ADDRESSES: Final = "addresses.csv"
HEADINGS: Final = ("number", "file", "kind", "pages", "registered", "country", "address")
_LETTER: Final = re.compile(r"(\d{4})-letter-(\d+)\.pdf")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


class Folder:
    """``var`` is KONTOR_VAR. Several workers may write: each holds the merchant's lock."""

    def __init__(self, var: Path, merchant_id: int) -> None:
        self.place = var / "letters" / str(merchant_id)
        self._touched: set[Path] = set()

    def hand_over(self, parcel: Parcel) -> Receipt:
        try:
            with self._locked():
                return Receipt(self._kept(parcel))
        except OSError as error:
            raise Temporary(f"The print folder cannot be written ({error.strerror}).") from error

    def status(self, reference: str) -> Status | None:
        """Nobody tells what becomes of a printed letter."""
        return None

    def check(self) -> str:
        try:
            with self._locked():
                return str(self.place)
        except OSError as error:
            raise Misconfigured(f"The print folder cannot be written ({error.strerror}).") from None

    def finish(self) -> None:
        """Put the letters of each day that was written to into one file."""
        try:
            with self._locked():
                for day in sorted(self._touched):
                    _put_together(day)
        except OSError as error:
            raise Temporary(f"The print folder cannot be written ({error.strerror}).") from error
        self._touched.clear()

    def close(self) -> None:
        """Nothing is open."""

    def remove(self, letter_ids: set[int]) -> int:
        """Take letters out of the folder, with their address; how many files there were (S86)."""
        if not self.place.is_dir():
            return 0
        removed = 0
        with self._locked():
            for day in sorted(path for path in self.place.iterdir() if path.is_dir()):
                gone = [file for file in _letters(day) if _letter_id(file) in letter_ids]
                if gone:
                    names = {file.name for file in gone}
                    rows = [row for row in _rows(day) if row[1] not in names]
                    _write_rows(day, rows)
                    for file in gone:
                        file.unlink()
                    _put_together(day)
                    removed += len(gone)
        return removed

    def _kept(self, parcel: Parcel) -> str:
        day = self.place / parcel.at.date().isoformat()
        file = self._known(parcel.letter_id)
        if file is None:
            day.mkdir(mode=0o700, parents=True, exist_ok=True)
            number = 1 + max((int(each.name[:4]) for each in _letters(day)), default=0)
            if number > MAX_LETTERS_A_DAY:
                raise Temporary(f"The print folder holds {MAX_LETTERS_A_DAY} letters today.")
            file = day / f"{number:04}-{parcel.name}.pdf"
            _write(file, parcel.pdf)
        rows = _rows(file.parent)
        if all(row[1] != file.name for row in rows):
            _write_rows(file.parent, [*rows, _row(file, parcel)])
        self._touched.add(file.parent)
        return f"{file.parent.name}/{file.name}"

    def _known(self, letter_id: int) -> Path | None:
        pattern = f"*/[0-9][0-9][0-9][0-9]-letter-{letter_id}.pdf"
        return next(iter(sorted(self.place.glob(pattern))), None)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.place.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.place / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _letters(day: Path) -> list[Path]:
    return sorted(path for path in day.iterdir() if _LETTER.fullmatch(path.name))


def _letter_id(file: Path) -> int:
    return int(file.name[12:-4])


def _put_together(day: Path) -> None:
    """One file for up to AT_ONCE letters: ``all.pdf``, ``all-2.pdf``, ..."""
    letters = _letters(day)
    parts = [letters[at : at + AT_ONCE] for at in range(0, len(letters), AT_ONCE)]
    names = ["all.pdf", *(f"all-{number}.pdf" for number in range(2, len(parts) + 1))]
    for name, part in zip(names, parts, strict=False):
        try:
            _write(day / name, merge(file.read_bytes() for file in part))
        except PdfRefused as refused:
            raise Temporary(f"The day's letters cannot be put together ({refused}).") from None
    for old in day.glob("all*.pdf"):
        if old.name not in names[: len(parts)]:
            old.unlink()


def _rows(day: Path) -> list[list[str]]:
    try:
        text = (day / ADDRESSES).read_text("utf-8-sig")
    except FileNotFoundError:
        return []
    return list(csv.reader(io.StringIO(text), delimiter=";"))[1:]


def _write_rows(day: Path, rows: list[list[str]]) -> None:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=";", lineterminator="\r\n")
    writer.writerow(HEADINGS)
    writer.writerows(rows)
    _write(day / ADDRESSES, out.getvalue().encode("utf-8-sig"))


def _row(file: Path, parcel: Parcel) -> list[str]:
    registered = "yes" if parcel.is_registered else ""
    texts = [parcel.kind, str(parcel.pages), registered, parcel.country, *parcel.recipient]
    return [file.name[:4], file.name, *map(_text, texts)]


def _text(value: str) -> str:
    """A spreadsheet takes what begins so for a formula, and runs it (OWASP, CSV injection)."""
    return f"'{value}" if value.startswith(_FORMULA) else value


def _write(path: Path, content: bytes) -> None:
    """All of it or nothing, also when the machine stops."""
    new = path.with_name(f".{path.name}.new")
    with new.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
