"""Statements: upload, progress, result; and which column of an unknown CSV means what."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, abort, g, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from server.banking import service
from server.banking.formats import ColumnMapping
from server.banking.models import Statement
from server.dashboard import queries
from server.dashboard.pages import page, part
from server.db import db, now

pages = Blueprint("statements", __name__)

MAX_FILES = 20
HEAD_BYTES = 16 * 1024
MAX_HEADER_LINE = 60
MAX_COLUMNS = 60
DELIMITERS = ";\t,|"
IN_WORK = ("queued", "running")

FIELDS = (
    "booking_date",
    "value_date",
    "amount",
    "credit",
    "debit",
    "debit_or_credit",
    "currency",
    "counterparty_name",
    "counterparty_iban",
    "counterparty_bic",
    "remittance_information",
    "creditor_reference",
    "end_to_end_id",
    "bank_reference",
    "transaction_code",
    "account_iban",
    "status",
)
"""What a column may mean: names of ``banking.formats.ColumnMapping``, the usual ones first."""


@pages.get("/statements")
def show_all() -> Response:
    return _list_page()


def _list_page(problem: str | None = None) -> Response:
    rows = [_row(statement) for statement in queries.statements(g.merchant_id)]
    return page(
        "statements.html",
        422 if problem else 200,
        rows=rows,
        is_busy=any(row["is_busy"] for row in rows),
        problem=problem,
        megabytes=service.MAX_STATEMENT_BYTES // 1024**2,
    )


def _row(statement: Statement) -> dict[str, Any]:
    """A statement as it is shown in the list and, while it is read, every second."""
    is_done = statement.status == "done"
    return {
        "statement": statement,
        "is_busy": statement.status in IN_WORK,
        "asks_columns": statement.status == "failed" and "header" in (statement.error or ""),
        "waiting": (
            queries.open_postings_of_statement(g.merchant_id, statement.id) if is_done else 0
        ),
        "bank": queries.bank_name(statement.account_iban) if statement.account_iban else None,
    }


@pages.post("/statements")
def upload() -> BaseResponse:
    files = [file for file in request.files.getlist("file") if file.filename][:MAX_FILES]
    if not files:
        return _list_page("statement_missing")
    try:
        for file in files:
            service.store_statement(
                g.merchant_id, file.filename or "", file.read(), uploaded_by=g.user.email
            )
    except ValueError as refused:
        db.session.rollback()
        return _list_page(str(refused.args[0]))
    db.session.commit()
    return redirect(url_for(".show_all", done="uploaded"), 303)


@pages.get("/statements/<int:statement_id>")
def show(statement_id: int) -> Response:
    return _detail_page(_statement_or_404(statement_id))


def _detail_page(statement: Statement, problem: str | None = None) -> Response:
    return page(
        "statement.html",
        422 if problem else 200,
        row=_row(statement),
        statement=statement,
        is_busy=statement.status in IN_WORK,
        table=_table(statement) if statement.status == "failed" else None,
        fields=FIELDS,
        chosen=_chosen(statement),
        problem=problem,
    )


@pages.get("/statements/<int:statement_id>/row")
def show_row(statement_id: int) -> str:
    """One line of the list again, for htmx, until the file is read."""
    return part("_statement_row.html", row=_row(_statement_or_404(statement_id)))


@pages.post("/statements/<int:statement_id>/columns")
def name_columns(statement_id: int) -> BaseResponse:
    """Read it again with the columns that a person named."""
    statement = _statement_or_404(statement_id)
    table = _table(statement)
    if statement.status != "failed" or table is None:
        return redirect(url_for(".show", statement_id=statement.id), 303)
    columns = _named_columns(table)
    try:
        ColumnMapping.from_json(columns)
    except ValueError:
        return _detail_page(statement, "amount_column_missing")
    service.retry_statement(g.merchant_id, statement.id, columns, now())
    db.session.commit()
    return redirect(url_for(".show_all", done="columns_named"), 303)


def _table(statement: Statement) -> CsvHead | None:
    return csv_head(queries.statement_head(g.merchant_id, statement.id, HEAD_BYTES))


def _named_columns(table: CsvHead) -> dict[str, Any]:
    columns: dict[str, Any] = {"delimiter": table.delimiter}
    for at, header in enumerate(table.header):
        field = request.form.get(f"column-{at}", "")
        if field in FIELDS and header.strip():
            columns.setdefault(field, []).append(header)
    return columns


def _chosen(statement: Statement) -> dict[str, str]:
    """Header to field: what was just sent, else what the statement remembers."""
    stored = statement.columns or {}
    chosen = {
        header: field
        for field, headers in stored.items()
        if isinstance(headers, list)
        for header in headers
    }
    table = _table(statement) if request.method == "POST" else None
    if table is not None:
        chosen |= {
            header: request.form.get(f"column-{at}", "") for at, header in enumerate(table.header)
        }
    return chosen


def _statement_or_404(statement_id: int) -> Statement:
    statement = queries.statement_of(g.merchant_id, statement_id)
    if statement is None:
        abort(404)
    return statement


# --- the head of a CSV ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CsvHead:
    """The header of a CSV and its first record, for a person to name the columns."""

    delimiter: str
    header: list[str]
    example: list[str]


def csv_head(head: bytes) -> CsvHead | None:
    """Where the table of a text file seems to start; None if it is no table at all.

    Banks write lines of their own above the header, so the header is the first of the lines
    with the most cells.
    """
    text = _decoded(head)
    if text is None or text.lstrip().startswith(("<", ":20:", "{1:")):
        return None
    lines = [line for line in text.splitlines() if line.strip()][:MAX_HEADER_LINE]
    delimiter = max(
        DELIMITERS, key=lambda sign: max((line.count(sign) for line in lines), default=0)
    )
    records = [record for record in csv.reader(lines, delimiter=delimiter) if record]
    width = max((len(record) for record in records[:-1] or records), default=0)
    if not 2 <= width <= MAX_COLUMNS:
        return None
    at = next(number for number, record in enumerate(records) if len(record) == width)
    example = records[at + 1] if at + 1 < len(records) else []
    return CsvHead(delimiter, records[at], (example + [""] * width)[:width])


def _decoded(head: bytes) -> str | None:
    if b"\x00" in head:
        return None
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return head.decode(encoding, errors="ignore" if encoding == "utf-8-sig" else "strict")
        except UnicodeDecodeError:
            continue
    return head.decode("latin-1")
