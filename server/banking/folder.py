"""Statements that another program lays into a folder: an EBICS client, SFTP, a bank's own program.

``<inbox>/<merchant id>/file`` or ``<inbox>/<merchant id>/<IBAN>/file`` for files that do not name
their account. A file is taken when nobody has written to it for a while, kept in the database
and moved to ``taken`` beside it; what cannot be kept goes to ``refused``. Nothing is deleted.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import select

from server.banking.models import BankAccount
from server.banking.service import MAX_STATEMENT_BYTES, store_statement
from server.db import db
from server.merchants.models import Merchant

SETTLED_AFTER = timedelta(seconds=5)
TAKEN, REFUSED = "taken", "refused"
MAX_FILES = 200
UNFINISHED = (".part", ".tmp", ".filepart", ".crdownload", ".lock", "~")


@dataclass(frozen=True, slots=True)
class Laid:
    """A file in the inbox, and whose it is."""

    path: Path
    merchant_id: int
    iban: str | None


def laid(inbox: Path, at: datetime) -> Iterator[Laid]:
    """At most ``MAX_FILES`` finished files, without reading them."""
    count = 0
    for merchant in _folders(inbox):
        if not merchant.name.isdigit() or len(merchant.name) > 18:
            continue
        for iban, folder in [(None, merchant), *((one.name, one) for one in _folders(merchant))]:
            if iban in (TAKEN, REFUSED):
                continue
            for path in _finished(folder, at):
                if count == MAX_FILES:
                    return
                count += 1
                yield Laid(path, int(merchant.name), iban)


def _folders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            found = [Path(one.path) for one in entries if one.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return sorted(found)


def _finished(folder: Path, at: datetime) -> list[Path]:
    """Files, never links: whoever may write here could point at anything else."""
    found = []
    try:
        with os.scandir(folder) as entries:
            for one in entries:
                if one.name.startswith(".") or one.name.lower().endswith(UNFINISHED):
                    continue
                about = one.stat(follow_symlinks=False)
                is_settled = about.st_mtime <= (at - SETTLED_AFTER).timestamp()
                if stat.S_ISREG(about.st_mode) and is_settled and about.st_size:
                    found.append(Path(one.path))
    except OSError:
        return []
    return sorted(found)


def keep(file: Laid) -> bool:
    """Store the file as a statement of its merchant; False if it cannot be kept."""
    merchant = db.session.get(Merchant, file.merchant_id)
    if merchant is None:
        return False
    account_id = db.session.scalar(
        select(BankAccount.id)
        .where(BankAccount.merchant_id == file.merchant_id, BankAccount.iban == (file.iban or ""))
        .order_by(BankAccount.id)
        .limit(1)
    )
    if file.iban is not None and account_id is None:
        return False
    content = _content(file.path)
    if content is None:
        return False
    store_statement(
        file.merchant_id, file.path.name, content, uploaded_by="Folder", account_id=account_id
    )
    return True


def _content(path: Path) -> bytes | None:
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as source:
            content = source.read(MAX_STATEMENT_BYTES + 1)
    except OSError:
        return None
    return content if 0 < len(content) <= MAX_STATEMENT_BYTES else None


def put_away(file: Laid, *, was_kept: bool, at: datetime) -> None:
    """Out of the inbox, under a name that nothing else has."""
    target = file.path.parent / (TAKEN if was_kept else REFUSED)
    try:
        target.mkdir(exist_ok=True)
        name = f"{at:%Y%m%dT%H%M%S%f}-{file.path.name}"
        os.rename(file.path, target / name[-255:])
    except OSError:
        # Read-only folder: what is taken in again is known by its fingerprints.
        return
