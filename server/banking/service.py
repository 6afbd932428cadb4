"""Bank accounts and statements: what is done. Only the import commits, slice by slice."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from schwifty import BIC, IBAN
from schwifty.exceptions import SchwiftyException
from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert

from server.banking.formats import ColumnMapping, ParsedPosting, Problem, Unreadable, parse
from server.banking.models import BankAccount, Posting, Statement
from server.banking.rules import fingerprints
from server.db import db

MAX_STATEMENT_BYTES = 64 * 1024 * 1024
MAX_FILENAME_LENGTH = 255
SLICE_ENTRIES = 500
PROBLEMS_KEPT = 200
CREDITOR_NAME_LENGTH = 70  # EPC069-12


def save_account(
    merchant_id: int, *, iban: str, bic: str, creditor_name: str, at: datetime
) -> BankAccount:
    """The account that customers are asked to pay to. Raises ValueError with a message key."""
    checked = _checked(IBAN, iban, "iban_invalid")
    given = _checked(BIC, bic, "bic_invalid") if bic.strip() else checked.bic
    name = " ".join(creditor_name.split())
    if not name or len(name) > CREDITOR_NAME_LENGTH:
        raise ValueError("creditor_name_invalid")
    db.session.execute(
        update(BankAccount).where(BankAccount.merchant_id == merchant_id).values(is_payee=False)
    )
    account = db.session.get_one(BankAccount, _account_id(merchant_id, checked.compact, "EUR"))
    account.bic = given.compact if given else None
    account.creditor_name, account.is_payee = name, True
    return account


def _checked(kind: Any, text: str, message_key: str) -> Any:
    """An IBAN or BIC of schwifty; ValueError with the message key if it is none."""
    try:
        return kind(text)
    except (SchwiftyException, ValueError):
        raise ValueError(message_key) from None


@dataclass(frozen=True, slots=True)
class Payee:
    """Where a merchant's customers are asked to pay."""

    iban: str
    bic: str
    creditor_name: str


def payee_account(merchant_id: int) -> Payee | None:
    """None until the merchant has entered it."""
    row = db.session.execute(
        select(BankAccount.iban, BankAccount.bic, BankAccount.creditor_name).where(
            BankAccount.merchant_id == merchant_id, BankAccount.is_payee
        )
    ).first()
    return Payee(row.iban, row.bic or "", row.creditor_name or "") if row else None


def store_statement(
    merchant_id: int,
    filename: str,
    content: bytes,
    *,
    uploaded_by: str,
    columns: dict[str, Any] | None = None,
) -> Statement:
    """Keep the file as it came; a worker reads it. Raises ValueError with a message key."""
    if not content:
        raise ValueError("statement_empty")
    if len(content) > MAX_STATEMENT_BYTES:
        raise ValueError("statement_too_large")
    statement = Statement(
        merchant_id=merchant_id,
        filename=filename.replace("\x00", "")[-MAX_FILENAME_LENGTH:] or "statement",
        content=content,
        size_bytes=len(content),
        content_hash=hashlib.sha256(content).digest(),
        columns=columns,
        uploaded_by=uploaded_by,
    )
    db.session.add(statement)
    db.session.flush()
    return statement


def statement_of(merchant_id: int, statement_id: int) -> Statement | None:
    return db.session.scalar(
        select(Statement).where(Statement.merchant_id == merchant_id, Statement.id == statement_id)
    )


def retry_statement(
    merchant_id: int, statement_id: int, columns: dict[str, Any], at: datetime
) -> Statement | None:
    """Read a failed statement again, now with the columns that a person named."""
    statement = statement_of(merchant_id, statement_id)
    if statement is None or statement.status != "failed":
        return None
    statement.columns = columns
    statement.entries_read = statement.postings_new = statement.postings_known = 0
    statement.problem_count, statement.problems = 0, []
    statement.error, statement.attempts = None, 0
    statement.put_back(at)
    return statement


def store_postings(merchant_id: int, postings: Sequence[ParsedPosting]) -> tuple[int, int]:
    """Booked postings that came without a file. Returns (new, known)."""
    writer = PostingWriter(merchant_id, statement_id=None, fallback_iban=None)
    new = writer.write(list(fingerprints(postings)))
    return new, len(postings) - new


class StatementImport:
    """One statement being read, slice by slice, so that a long one holds up nobody.

    ``step`` writes one slice and says whether more is to come; whoever calls it commits. After a
    break (a new drain, a crashed worker) reading starts over and skips what the row says was
    read: the fingerprints would find it known in any case.
    """

    def __init__(self, statement: Statement) -> None:
        self.statement_id = statement.id
        self._writer = PostingWriter(
            statement.merchant_id,
            statement_id=statement.id,
            fallback_iban=statement.account_iban,
        )
        self._problems: list[Problem] = []
        self._postings = self._read(statement.content, statement)
        self._skip = statement.entries_read

    def step(self, size: int = SLICE_ENTRIES) -> bool:
        """Write up to ``size`` postings. Raises Unreadable if the file is none of ours."""
        if self._skip:
            for _ in islice(self._postings, self._skip):
                pass
            self._skip = 0
            self._problems.clear()
        part = list(islice(self._postings, size))
        statement = db.session.get_one(Statement, self.statement_id)
        booked = [pair for pair in part if not pair[0].is_pending]
        new = self._writer.write(booked)
        statement.entries_read += len(part)
        statement.postings_new += new
        statement.postings_known += len(booked) - new
        statement.postings_pending += len(part) - len(booked)
        self._note_problems(statement)
        if statement.account_iban is None:
            statement.account_iban = self._writer.first_iban
        return len(part) == size

    def _read(self, content: bytes, statement: Statement) -> Iterator[tuple[ParsedPosting, str]]:
        return fingerprints(self._only_postings(content, statement.filename, statement.columns))

    def _only_postings(
        self, content: bytes, name: str, named: dict[str, Any] | None
    ) -> Iterator[ParsedPosting]:
        try:
            columns = ColumnMapping.from_json(named) if named else None
        except ValueError as problem:
            raise Unreadable(str(problem)) from problem
        for item in parse(io.BytesIO(content), name, columns):
            if isinstance(item, ParsedPosting):
                yield item
            elif isinstance(item, Problem):
                self._problems.append(item)

    def _note_problems(self, statement: Statement) -> None:
        if not self._problems:
            return
        statement.problem_count += len(self._problems)
        told = [{"where": p.where, "what": p.what[:500]} for p in self._problems]
        statement.problems = [*statement.problems, *told][:PROBLEMS_KEPT]
        self._problems.clear()


class PostingWriter:
    """Writes postings that are not there yet, and the accounts that they name."""

    def __init__(
        self, merchant_id: int, *, statement_id: int | None, fallback_iban: str | None
    ) -> None:
        self.merchant_id = merchant_id
        self.statement_id = statement_id
        self._fallback_iban = fallback_iban
        self._accounts: dict[tuple[str, str], int] = {}

    @property
    def first_iban(self) -> str | None:
        """The account of the first posting; None if no file named it."""
        return next((iban for iban, _ in self._accounts if iban), None)

    def write(self, pairs: list[tuple[ParsedPosting, str]]) -> int:
        """How many were new."""
        if not pairs:
            return 0
        rows = [self._row(posting, fingerprint) for posting, fingerprint in pairs]
        written = db.session.execute(
            insert(Posting)
            .on_conflict_do_nothing(index_elements=["account_id", "fingerprint"])
            .returning(Posting.id),
            rows,
        )
        return len(written.all())

    def _row(self, posting: ParsedPosting, fingerprint: str) -> dict[str, Any]:
        is_open = posting.amount > 0
        return {
            "merchant_id": self.merchant_id,
            "account_id": self._account(posting),
            "statement_id": self.statement_id,
            "fingerprint": fingerprint,
            "booking_date": posting.booking_date,
            "value_date": posting.value_date,
            "amount": posting.amount,
            "currency": posting.currency or "EUR",
            "counterparty_name": posting.counterparty_name,
            "counterparty_iban": (posting.counterparty_iban or "")[:64] or None,
            "counterparty_bic": (posting.counterparty_bic or "")[:64] or None,
            "remittance_information": posting.remittance_information,
            "creditor_reference": posting.creditor_reference,
            "end_to_end_id": posting.end_to_end_id,
            "mandate_id": posting.mandate_id,
            "bank_reference": posting.bank_reference,
            "transaction_code": posting.transaction_code,
            "is_return": posting.is_return,
            "return_reason": posting.return_reason,
            "is_batch_total": posting.is_batch_total,
            "is_open": is_open,
            "needs_match": is_open,
        }

    def _account(self, posting: ParsedPosting) -> int:
        iban = posting.account_iban or self._fallback_iban or self._payee_iban()
        currency = posting.currency or "EUR"
        if (iban, currency) not in self._accounts:
            self._accounts[iban, currency] = _account_id(self.merchant_id, iban, currency)
        return self._accounts[iban, currency]

    def _payee_iban(self) -> str:
        """For files that do not name their account: the merchant's own, or "" for unnamed."""
        payee = payee_account(self.merchant_id)
        return payee.iban if payee else ""


def _account_id(merchant_id: int, iban: str, currency: str) -> int:
    iban = iban.replace(" ", "")[:34]
    db.session.execute(
        insert(BankAccount)
        .values(merchant_id=merchant_id, iban=iban, currency=currency)
        .on_conflict_do_nothing(index_elements=["merchant_id", "iban"])
    )
    found = db.session.scalar(
        select(BankAccount.id).where(
            BankAccount.merchant_id == merchant_id, BankAccount.iban == iban
        )
    )
    assert found is not None, "it was there, or we wrote it"
    return found


__all__ = [
    "Payee",
    "StatementImport",
    "Unreadable",
    "payee_account",
    "retry_statement",
    "save_account",
    "statement_of",
    "store_statement",
]
