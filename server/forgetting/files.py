"""Copies on disk: what other programs laid into the inbox, and what adapters wrote for people.

A file of its own because the disk knows no transaction: it is the last that is done, and a file
that is away already is no error. Symbolic links are never followed.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from server.banking.folder import REFUSED, TAKEN
from server.collection.partners import folder_of
from server.collection.rules import reference_of
from server.config import installed
from server.letters.adapters.folder import Folder

MOST_FILES: Final = 100_000
"""So many are looked at in one folder; more than anybody lays there in ten years."""
READ_BYTES: Final = 1024**2
LETTERS: Final = "letters"
DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StatementCopy:
    """A bank file as the database knows it: by its size and the SHA-256 of its content."""

    merchant_id: int
    size_bytes: int
    content_hash: bytes


def remove_statements(copies: Iterable[StatementCopy]) -> int:
    """The files that were taken from the inbox are kept beside it; these go. Returns how many."""
    removed = 0
    for copy in copies:
        for path in _laid_away(copy.merchant_id, (TAKEN,)):
            if _size_of(path) == copy.size_bytes and _hash_of(path) == copy.content_hash:
                removed += _remove(path)
    return removed


def remove_old_statements(merchant_id: int, before: datetime, limit: int) -> int:
    """Taken or refused and not touched since ``before``; at most ``limit``. Returns how many."""
    removed = 0
    for path in _laid_away(merchant_id, (TAKEN, REFUSED)):
        if removed == limit:
            break
        if _changed_at(path) < before.timestamp():
            removed += _remove(path)
    return removed


def _laid_away(merchant_id: int, names: tuple[str, ...]) -> Iterator[Path]:
    """``<inbox>/<merchant>/taken`` and ``<inbox>/<merchant>/<IBAN>/taken``."""
    inbox = installed().inbox
    if inbox is None:
        return
    own = inbox / str(merchant_id)
    for folder in (own, *(one for one in _entries(own) if _is_folder(one))):
        for name in names:
            yield from (one for one in _entries(folder / name) if _is_file(one))


def _entries(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(
                Path(one.path) for one, _ in zip(entries, range(MOST_FILES), strict=False)
            )
    except OSError:
        return []


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _size_of(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return -1


def _changed_at(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:  # somebody else took it away
        return float("inf")


def _hash_of(path: Path) -> bytes:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while part := file.read(READ_BYTES):
                digest.update(part)
    except OSError:
        return b""
    return digest.digest()


def _remove(path: Path) -> int:
    try:
        path.unlink()
    except FileNotFoundError:
        return 0
    except OSError as error:
        log.warning("a file that is to be forgotten cannot be removed: %s", error.strerror)
        return 0
    return 1


# --- what adapters wrote for people --------------------------------------------------------------


def remove_letters(merchant_id: int, letter_ids: Collection[int]) -> int:
    """Letters in the print folder, with their addresses; the day's files are put together anew.

    Returns how many went. Raises Temporary or OSError if the folder cannot be changed now.
    """
    return Folder(installed().var, merchant_id).remove(set(letter_ids)) if letter_ids else 0


def remove_old_letters(merchant_id: int, before: datetime, limit: int) -> int:
    """Print folders of days before ``before``; at most ``limit``. Returns how many."""
    old = [one for one in _letter_days(merchant_id) if one.name < before.date().isoformat()]
    return sum(_remove_folder(one) for one in old[:limit])


def _letter_days(merchant_id: int) -> list[Path]:
    folder = installed().var / LETTERS / str(merchant_id)
    return [one for one in _entries(folder) if DAY.fullmatch(one.name) and _is_folder(one)]


def _remove_folder(folder: Path) -> int:
    try:
        shutil.rmtree(folder)
    except OSError as error:
        log.warning("a folder that is to be forgotten cannot be removed: %s", error.strerror)
        return 0
    return 1


def remove_cases(merchant_id: int, case_ids: Iterable[int]) -> int:
    """The dossiers of these cases and what was laid beside them. Returns how many files went."""
    begins = tuple(f"{reference_of(one)}-" for one in case_ids)
    folder = folder_of(installed().var, merchant_id)
    found = [one for one in _entries(folder) if _is_file(one)] if begins else []
    return sum(_remove(one) for one in found if one.name.lstrip(".").startswith(begins))
