"""Looks for a person in everything that is stored, however it is written."""

from __future__ import annotations

import base64
import io
import json
import quopri
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

from sqlalchemy import text

from server.db import Base, db

PACKED = b"PK\x03\x04"


def dump() -> Iterator[tuple[str, str, str]]:
    """(table, column, text) of every value of every row; bytes in each way they can be read."""
    for table in Base.metadata.sorted_tables:
        for (row,) in db.session.execute(text(f'SELECT to_jsonb(t)::text FROM "{table.name}" t')):
            for column, value in json.loads(row).items():
                for one in _texts(value):
                    yield table.name, column, one


def files(folder: Path) -> Iterator[tuple[str, str]]:
    """(path, text) of every file, and the names themselves."""
    for path in sorted(folder.rglob("*")):
        yield str(path), path.name
        if path.is_file():
            for one in readings(path.read_bytes()):
                yield str(path), one


def _texts(value) -> Iterator[str]:
    if isinstance(value, dict):
        for name, each in value.items():
            yield str(name)
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, str) and value.startswith("\\x"):
        yield from readings(bytes.fromhex(value[2:]))
    elif value is not None:
        yield str(value)


def readings(raw: bytes) -> Iterator[str]:
    """The texts that these bytes may be; of an archive those of its members."""
    for encoding in ("utf-8", "latin-1", "utf-16-le"):
        yield raw.decode(encoding, "replace")
    yield quopri.decodestring(raw).decode("utf-8", "replace")
    if raw.startswith(PACKED):
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            for name in archive.namelist():
                yield name
                yield from readings(archive.read(name))


def forms(word: str) -> set[str]:
    """How a word may stand there, in lower case."""
    found = {word, json.dumps(word)[1:-1], quote(word), quote_plus(word)}
    if re.fullmatch(r"[A-Z]{2}\d{2}\w+", word):
        found.add(" ".join(word[at : at + 4] for at in range(0, len(word), 4)))
    for raw in (word.encode(), word.encode("latin-1")):
        found.add(quopri.encodestring(raw).decode())
        found.add(raw.hex())
        for shift in range(3):  # base64 writes three bytes as four signs, wherever the word begins
            coded = base64.b64encode(b" " * shift + raw).decode()
            found.add(coded[(shift * 4 + 2) // 3 : len(coded) - 4])
    return {one.lower() for one in found if len(one) >= 4}


class Wanted:
    """The words that give a person away, and where they are."""

    def __init__(self, *words: str) -> None:
        self.forms = {word: forms(word) for word in words}

    def in_text(self, given: str) -> list[str]:
        text_ = given.lower()
        return [word for word, ways in self.forms.items() if any(way in text_ for way in ways)]

    def in_database(self) -> dict[tuple[str, str], set[str]]:
        """(table, column) to the words that stand there."""
        found: dict[tuple[str, str], set[str]] = {}
        for table, column, one in dump():
            words = self.in_text(one)
            if words:
                found.setdefault((table, column), set()).update(words)
        return found

    def in_files(self, folder: Path) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for path, one in files(folder):
            words = self.in_text(one)
            if words:
                found.setdefault(path, set()).update(words)
        return found
