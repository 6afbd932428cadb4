"""Postings: list them, or hand in single ones without a file."""

from __future__ import annotations

from functools import partial
from typing import Any

from flask import g
from flask_smorest import Blueprint
from marshmallow import Schema, fields, validate
from sqlalchemy import select

from plugin_sdk.schemas import Amount, Currency, Text, WireSchema
from server.api.access import scope
from server.api.idempotency import idempotent
from server.api.problems import Problem
from server.api.wire import json_body, load
from server.banking.formats import ParsedPosting, Unreadable
from server.banking.intake import store_postings
from server.banking.models import BankAccount, Posting
from server.db import db, now
from server.orders.service import request_match, taken_totals

MAX_POSTINGS = 500

blueprint = Blueprint("postings", __name__, url_prefix="/api/v1")


class PostingSchema(WireSchema):
    """One posting, named as `parse` names its fields."""

    makes = partial(ParsedPosting, value_date=None, source="API")

    account_iban = Text(34, 5, required=True)
    booking_date = fields.Date(required=True)
    value_date = fields.Date(allow_none=True)
    amount = Amount(required=True)
    currency = Currency(required=True)
    counterparty_name = Text(500, allow_none=True)
    counterparty_iban = Text(34, allow_none=True)
    counterparty_bic = Text(11, allow_none=True)
    remittance_information = Text(5000, allow_none=True)
    creditor_reference = Text(140, allow_none=True)
    end_to_end_id = Text(140, allow_none=True)
    mandate_id = Text(140, allow_none=True)
    bank_reference = Text(140, allow_none=True)
    transaction_code = Text(140, allow_none=True)
    is_return = fields.Boolean(load_default=False)
    return_reason = Text(140, allow_none=True)


class PostingsSchema(Schema):
    postings = fields.List(
        fields.Nested(PostingSchema), required=True, validate=validate.Length(1, MAX_POSTINGS)
    )


class StoredAnswer(Schema):
    new = fields.Integer(required=True)
    known = fields.Integer(required=True)


class PostingAnswer(Schema):
    id = fields.String(required=True)
    account_iban = fields.String(required=True)
    booking_date = fields.Date(allow_none=True)
    value_date = fields.Date(allow_none=True)
    amount = Amount(required=True)
    currency = fields.String(required=True)
    counterparty_name = fields.String(allow_none=True)
    counterparty_iban = fields.String(allow_none=True)
    remittance_information = fields.String(allow_none=True)
    creditor_reference = fields.String(allow_none=True)
    end_to_end_id = fields.String(allow_none=True)
    is_return = fields.Boolean(required=True)
    assigned_total = Amount(required=True)
    is_open = fields.Boolean(required=True)
    is_possible_duplicate = fields.Boolean(required=True)
    is_ignored = fields.Boolean(required=True)
    source = fields.String(required=True)


class PostingsAnswer(Schema):
    postings = fields.List(fields.Nested(PostingAnswer), required=True)
    cursor = fields.String(allow_none=True)


class PostingsArguments(Schema):
    cursor = fields.Integer(validate=validate.Range(0, 2**63 - 1))
    limit = fields.Integer(load_default=50, validate=validate.Range(1, 100))


@blueprint.get("/postings")
@scope("bank")
@blueprint.arguments(PostingsArguments, location="query")
@blueprint.response(200, PostingsAnswer)
def get_postings(arguments: dict[str, int]) -> dict[str, Any]:
    """The merchant's booked postings in the order they came in; `cursor` leads to the next page.

    Announced (pending) ones are left out: they come when they are booked. So are the sums of
    batches whose payments are listed one by one.
    """
    limit = arguments["limit"]
    query = (
        select(Posting, BankAccount.iban)
        .join(BankAccount, BankAccount.id == Posting.account_id)
        .where(Posting.merchant_id == g.api_key.merchant_id)
        .where(Posting.id > arguments.get("cursor", 0))
        .where(~Posting.is_pending, ~Posting.is_replaced)
        .order_by(Posting.id)
        .limit(limit + 1)
    )
    rows = list(db.session.execute(query))
    totals = taken_totals([row[0].id for row in rows[:limit]])
    page = [_answer(posting, iban, totals[posting.id]) for posting, iban in rows[:limit]]
    return {"postings": page, "cursor": page[-1]["id"] if len(rows) > limit else None}


@blueprint.post("/postings")
@scope("bank")
@idempotent
@blueprint.doc(
    requestBody={"required": True, "content": {"application/json": {"schema": PostingsSchema}}}
)
@blueprint.response(200, StoredAnswer)
def post_postings() -> dict[str, int]:
    """Up to 500 booked postings; one that is known already adds nothing."""
    loaded = load(PostingsSchema(), json_body()).value
    try:
        new, known = store_postings(g.api_key.merchant_id, loaded["postings"])
    except Unreadable as refused:
        raise Problem(422, f"{str(refused).capitalize()}.") from None
    if new:
        request_match(g.api_key.merchant_id, now())
    db.session.commit()
    return {"new": new, "known": known}


def _answer(row: Posting, iban: str, assigned: Any) -> dict[str, Any]:
    fields_of = PostingAnswer._declared_fields.keys() - _DERIVED
    return {
        **{name: getattr(row, name) for name in fields_of},
        "id": str(row.id),
        "account_iban": iban,
        "assigned_total": assigned,
        "is_possible_duplicate": row.duplicate_of_id is not None,
        "is_ignored": row.ignored_at is not None,
    }


_DERIVED = {"id", "account_iban", "assigned_total", "is_possible_duplicate", "is_ignored"}
