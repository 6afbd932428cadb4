"""Bank statements: hand one in, see what became of it."""

from __future__ import annotations

import json
from typing import Any

from flask import g, request
from flask_smorest import Blueprint
from marshmallow import Schema, fields

from server.api.access import scope
from server.api.idempotency import idempotent
from server.api.problems import Problem
from server.banking.formats import ColumnMapping
from server.banking.models import Statement
from server.banking.service import (
    MAX_STATEMENT_BYTES,
    account_by_iban,
    statement_of,
    store_statement,
)
from server.db import db

MAX_COLUMNS_BYTES = 10_000

blueprint = Blueprint("statements", __name__, url_prefix="/api/v1")


class ProblemEntry(Schema):
    where = fields.String(required=True)
    what = fields.String(required=True)
    raw = fields.String()


class StatementAnswer(Schema):
    """`state`: queued, running, done or failed. Counts grow while it is read.

    `postings_doubtful` look like known ones and wait for a person; `postings_ignored` were taken
    off the list by a rule; both are among `postings_new`. `asks`: what a failed file waits for,
    `columns` (a CSV of unknown layout) or `account` (it names none and there are several).
    """

    id = fields.String(required=True)
    filename = fields.String(required=True)
    state = fields.String(required=True)
    source = fields.String(required=True)
    asks = fields.String(allow_none=True)
    size_bytes = fields.Integer(required=True)
    account_iban = fields.String(allow_none=True)
    entries_read = fields.Integer(required=True)
    postings_new = fields.Integer(required=True)
    postings_known = fields.Integer(required=True)
    postings_pending = fields.Integer(required=True)
    postings_doubtful = fields.Integer(required=True)
    postings_ignored = fields.Integer(required=True)
    problem_count = fields.Integer(required=True)
    problems = fields.List(fields.Nested(ProblemEntry), required=True)
    error = fields.String(allow_none=True)
    created_at = fields.AwareDateTime(required=True)


@blueprint.post("/statements")
@scope("bank")
@idempotent
@blueprint.doc(
    requestBody={
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "columns": {"type": "string", "description": "column mapping, JSON"},
                        "account_iban": {
                            "type": "string",
                            "description": "for files that do not name their account",
                        },
                    },
                }
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
)
@blueprint.response(202, StatementAnswer)
def post_statement() -> Statement:
    """A camt, MT940, CSV, OFX or QIF file, also zipped: kept at once, read by a worker.

    A bare body takes `filename` and `account_iban` as query parameters.
    """
    filename, content, columns = _upload()
    try:
        row = store_statement(
            g.api_key.merchant_id,
            filename,
            content,
            uploaded_by=f"API: {g.api_key.name}",
            columns=columns,
            account_id=_account_id(),
        )
    except ValueError as problem:
        status = 413 if problem.args[0] == "statement_too_large" else 422
        raise Problem(status, _PROBLEMS[problem.args[0]]) from None
    db.session.commit()
    return _answer(row)


_PROBLEMS = {
    "statement_empty": "The file is empty.",
    "statement_too_large": f"A statement has at most {MAX_STATEMENT_BYTES} bytes.",
}


def _upload() -> tuple[str, bytes, dict[str, Any] | None]:
    """(file name, bytes, columns) of a form, or of a bare body with ?filename=."""
    if request.mimetype == "multipart/form-data":
        file = request.files.get("file")
        if file is None:
            raise Problem(422, "The form has no file in the field 'file'.")
        return file.filename or "statement", file.read(), _columns(request.form.get("columns"))
    return request.args.get("filename", "statement"), request.get_data(cache=True), None


def _account_id() -> int | None:
    iban = request.form.get("account_iban") or request.args.get("account_iban")
    if not iban:
        return None
    account = account_by_iban(g.api_key.merchant_id, iban[:100])
    if account is None:
        raise Problem(422, "'account_iban' is none of your bank accounts.")
    return account.id


def _columns(text: str | None) -> dict[str, Any] | None:
    if not text:
        return None
    try:
        columns: dict[str, Any] = json.loads(text) if len(text) <= MAX_COLUMNS_BYTES else {}
    except (ValueError, RecursionError):
        raise Problem(422, "'columns' is no JSON object.") from None
    try:
        ColumnMapping.from_json(columns)
    except ValueError as problem:
        raise Problem(422, f"'columns': {problem}.") from None
    return columns


@blueprint.get("/statements/<int:statement_id>")
@scope("bank")
@blueprint.response(200, StatementAnswer)
def get_statement(statement_id: int) -> Statement:
    """How far a statement has been read, and what could not be."""
    row = statement_of(g.api_key.merchant_id, statement_id) if statement_id < 2**63 else None
    if row is None:
        raise Problem(404, "There is no such statement.")
    return _answer(row)


def _answer(row: Statement) -> Statement:
    row.state = row.status  # type: ignore[attr-defined]
    asks = "columns" if row.asks_columns else "account" if row.asks_account else None
    row.asks = asks  # type: ignore[attr-defined]
    return row
