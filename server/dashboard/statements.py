"""Statements: upload, progress, result; and which column of an unknown CSV means what."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, abort, g, redirect, request, send_file, url_for
from werkzeug.wrappers import Response as BaseResponse

from server.banking import formats, service
from server.banking.formats import (
    COLUMN_FIELDS,
    ColumnMapping,
    ParsedPosting,
    Problem,
    TableHead,
    Unreadable,
)
from server.banking.models import BankAccount, Statement
from server.dashboard import bank_queries, queries
from server.dashboard.bank_queries import Delivery
from server.dashboard.pages import page, part
from server.db import db, now

pages = Blueprint("statements", __name__)

MAX_FILES = 50
HEAD_BYTES = 32 * 1024
MAX_FIELD_LENGTH = 40
PREVIEWED = 5
IN_WORK = ("queued", "running")
UNSAFE_IN_NAMES = re.compile(r"[\x00-\x1f\x7f/\\]")

USUAL_FIELDS = (
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
    "mandate_id",
    "bank_reference",
    "transaction_code",
    "account_iban",
    "status",
)
FIELDS = (*USUAL_FIELDS, *sorted(COLUMN_FIELDS - set(USUAL_FIELDS)))
"""What a column may mean, the usual ones first."""


# --- all of them ------------------------------------------------------------------------------


@pages.get("/statements")
def show_all() -> Response:
    return _list_page()


def _list_page(problem: str | None = None) -> Response:
    before = request.args.get("before", "")
    found, has_older = bank_queries.statement_page(
        g.merchant_id, int(before) if before.isdecimal() and len(before) < 19 else None
    )
    accounts = bank_queries.accounts(g.merchant_id)
    rows = [
        _row(delivery, accounts)
        for delivery in _listed_once(bank_queries.deliveries(g.merchant_id, found))
    ]
    return page(
        "statements.html",
        422 if problem else 200,
        rows=rows,
        accounts=accounts,
        is_busy=any(row["is_busy"] for row in rows),
        older=found[-1].id if has_older else None,
        problem=problem,
        megabytes=service.MAX_STATEMENT_BYTES // 1024**2,
        most_files=MAX_FILES,
    )


def _listed_once(found: Sequence[Delivery]) -> list[Delivery]:
    """A file that cannot be read and is handed in again is one line, the latest."""
    listed: list[Delivery] = []
    failed: set[bytes] = set()
    for one in found:
        statement = one.statement
        if statement.status == "failed" and statement.content_hash in failed:
            continue
        if statement.status == "failed":
            failed.add(statement.content_hash)
        listed.append(one)
    return listed


def _row(delivery: Delivery, accounts: Sequence[BankAccount]) -> dict[str, Any]:
    """A statement as it is shown in the list and, while it is read, every second."""
    statement = delivery.statement
    named = [
        one
        for one in accounts
        if one.iban == statement.account_iban
        or (statement.account_iban is None and one.id == statement.account_id)
    ]
    return {
        "statement": statement,
        "is_busy": statement.status in IN_WORK,
        "asks_columns": statement.asks_columns and statement.status == "failed",
        "asks_account": statement.asks_account and statement.status == "failed",
        "waiting": delivery.waiting,
        "earlier": delivery.earlier,
        "account": named[0] if named else None,
    }


@pages.post("/statements")
def upload() -> BaseResponse:
    """Keep the files. The page's script sends them one by one and gets one line for each."""
    is_script = "HX-Request" in request.headers
    files = [file for file in request.files.getlist("file") if file.filename][:MAX_FILES]
    if not files:
        return _list_page("statement_missing")
    stored = []
    try:
        for file in files:
            statement = service.store_statement(
                g.merchant_id,
                file.filename or "",
                file.read(),
                uploaded_by=g.user.email,
                account_id=_chosen_account(),
            )
            stored.append(statement)
    except ValueError as refused:
        db.session.rollback()
        problem = str(refused.args[0])
        if is_script:
            row = part("_statement_refused.html", file=files[0].filename, problem=problem)
            return Response(row, 422)
        return _list_page(problem)
    db.session.commit()
    if is_script:
        return Response("".join(_row_part(one) for one in stored))
    return redirect(url_for(".show_all", done="uploaded"), 303)


# --- one of them ------------------------------------------------------------------------------


@pages.get("/statements/<int:statement_id>")
def show(statement_id: int) -> Response:
    return _detail_page(_statement_or_404(statement_id))


def _detail_page(
    statement: Statement, problem: str | None = None, preview: Preview | None = None
) -> Response:
    accounts = bank_queries.accounts(g.merchant_id)
    (delivery,) = bank_queries.deliveries(g.merchant_id, [statement])
    row = _row(delivery, accounts)
    table = _table(statement) if row["asks_columns"] else None
    chosen = _chosen(table) if table else {}
    if table is not None and preview is None and not problem:
        preview = _preview(statement, _mapping(table, chosen))
    return page(
        "statement.html",
        422 if problem else 200,
        row=row,
        statement=statement,
        is_busy=row["is_busy"],
        periods=bank_queries.periods_of(g.merchant_id, statement.id),
        postings=bank_queries.posting_count_of(g.merchant_id, statement.id),
        table=table,
        fields=FIELDS,
        chosen=chosen,
        accounts=accounts,
        chosen_account=_chosen_account() or statement.account_id,
        preview=preview,
        problem=problem,
    )


@pages.get("/statements/<int:statement_id>/row")
def show_row(statement_id: int) -> str:
    """One line of the list again, for htmx, until the file is read."""
    return _row_part(_statement_or_404(statement_id))


def _row_part(statement: Statement) -> str:
    (delivery,) = bank_queries.deliveries(g.merchant_id, [statement])
    return part("_statement_row.html", row=_row(delivery, bank_queries.accounts(g.merchant_id)))


@pages.get("/statements/<int:statement_id>/file")
def download(statement_id: int) -> Response:
    """The file as it came; never shown by the browser, whatever it holds."""
    statement = _statement_or_404(statement_id)
    return send_file(
        io.BytesIO(bank_queries.statement_content(g.merchant_id, statement.id)),
        mimetype="application/octet-stream",
        as_attachment=True,
        download_name=UNSAFE_IN_NAMES.sub("_", statement.filename),
    )


# --- columns of an unknown CSV ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Preview:
    """The first records as postings. ``missing`` is a message key: it cannot be read so."""

    postings: Sequence[ParsedPosting] = ()
    problems: Sequence[Problem] = ()
    missing: str | None = None


@pages.post("/statements/<int:statement_id>/columns")
def name_columns(statement_id: int) -> BaseResponse:
    """Read it again with the columns that a person named; or look first what that gives."""
    statement = _statement_or_404(statement_id)
    table = _table(statement)
    if statement.status != "failed" or table is None:
        return redirect(url_for(".show", statement_id=statement.id), 303)
    columns = _mapping(table, _chosen(table))
    if "preview" in request.args:
        shown = _preview(statement, columns)
        if "HX-Request" in request.headers:
            return Response(part("_columns_preview.html", preview=shown))
        return _detail_page(statement, preview=shown)
    if _misses_amount(columns):
        return _detail_page(statement, "amount_column_missing")
    try:
        service.retry_statement(
            g.merchant_id, statement.id, columns, now(), account_id=_chosen_account()
        )
    except ValueError as refused:
        db.session.rollback()
        return _detail_page(_statement_or_404(statement_id), str(refused.args[0]))
    db.session.commit()
    return redirect(url_for(".show", statement_id=statement.id, done="columns_named"), 303)


@pages.post("/statements/<int:statement_id>/account")
def name_account(statement_id: int) -> BaseResponse:
    """Read it again as a statement of the account that a person chose."""
    statement = _statement_or_404(statement_id)
    account_id = _chosen_account()
    if not statement.asks_account or statement.status != "failed":
        return redirect(url_for(".show", statement_id=statement.id), 303)
    if account_id is None:
        return _detail_page(statement, "account_unknown")
    try:
        service.retry_statement(g.merchant_id, statement.id, None, now(), account_id=account_id)
    except ValueError as refused:
        db.session.rollback()
        return _detail_page(_statement_or_404(statement_id), str(refused.args[0]))
    db.session.commit()
    return redirect(url_for(".show", statement_id=statement.id, done="account_named"), 303)


def _table(statement: Statement) -> TableHead | None:
    return formats.table_head(queries.statement_head(g.merchant_id, statement.id, HEAD_BYTES))


def _chosen(table: TableHead) -> dict[int, str]:
    """Column to field: what was just sent, else what is proposed."""
    if request.method == "POST":
        sent = {
            at: request.form.get(f"column-{at}", "")[:MAX_FIELD_LENGTH]
            for at in range(len(table.header))
        }
        return {at: field for at, field in sent.items() if field in FIELDS}
    return {at: field for at, field in enumerate(table.proposed) if field in FIELDS}


def _mapping(table: TableHead, chosen: dict[int, str]) -> dict[str, Any]:
    """What ``banking.formats.ColumnMapping`` reads."""
    columns: dict[str, Any] = {"delimiter": table.delimiter}
    if not table.has_header:
        columns["has_header"] = False
    for at, field in chosen.items():
        if table.header[at].strip():
            columns.setdefault(field, []).append(table.header[at])
    return columns


def _misses_amount(columns: dict[str, Any]) -> bool:
    return not {"amount", "debit", "credit"} & set(columns)


def _preview(statement: Statement, columns: dict[str, Any]) -> Preview:
    """The first records of the file, read with these columns."""
    if _misses_amount(columns):
        return Preview(missing="amount_column_missing")
    head = queries.statement_head(g.merchant_id, statement.id, HEAD_BYTES)
    if len(head) == HEAD_BYTES:
        head = head[: head.rfind(b"\n") + 1]
    postings: list[ParsedPosting] = []
    problems: list[Problem] = []
    try:
        mapping = ColumnMapping.from_json(columns)
        for item in formats.parse(io.BytesIO(head), statement.filename, mapping):
            if isinstance(item, ParsedPosting):
                postings.append(item)
            elif isinstance(item, Problem):
                problems.append(item)
            if len(postings) == PREVIEWED:
                break
    except (Unreadable, ValueError):
        return Preview(missing="columns_unreadable")
    return Preview(postings, problems[:PREVIEWED])


def _chosen_account() -> int | None:
    account = request.form.get("account", "")
    return int(account) if account.isdecimal() and len(account) < 19 else None


def _statement_or_404(statement_id: int) -> Statement:
    statement = queries.statement_of(g.merchant_id, statement_id)
    if statement is None:
        abort(404)
    return statement
