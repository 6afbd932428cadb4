"""Orders that a person brings in: typed by hand, or asked of their shop by number (K64)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from flask import Response, g, redirect, request, url_for
from markupsafe import Markup
from werkzeug.wrappers import Response as BaseResponse

from plugin_sdk.types import PaymentCode
from server.dashboard import order_queries, queries, words
from server.dashboard.order_timeline import request_sentence
from server.dashboard.pages import page, plain, typed_id
from server.db import db, now
from server.orders.manual import ManualOrder, create_manual_order
from server.orders.models import Order
from server.orders.service import NotPossible
from server.shops.models import OrderRequest, Shop
from server.shops.order_requests import ask_for_order, named_order

CODES = (PaymentCode.PREPAYMENT, PaymentCode.INVOICE)
ADDRESS = ("first_name", "last_name", "company", "street", "postcode", "city", "country")
FIELDS = (
    "shop",
    "number",
    "ordered_on",
    "code",
    "total",
    "currency",
    "email",
    "language",
    "invoice_number",
    "invoice_date",
    *ADDRESS,
)
COUNTRIES = ("DE", "AT", "CH", "LI", "BE", "DK", "ES", "FI", "FR", "IE", "IT", "LU", "NL", "SE")
"""Offered; another one can be typed by its two letters."""
LANGUAGES = ("de", "en")
REQUESTS_SHOWN = 20


# --- typed by hand ------------------------------------------------------------------------------


def ask_add() -> Response:
    return _form({"ordered_on": words.today().isoformat(), "currency": "EUR", "country": "DE"})


def _form(typed: Mapping[str, str], problem: NotPossible | None = None) -> Response:
    return page(
        "manual_order.html",
        422 if problem else 200,
        typed={name: typed.get(name, "") for name in FIELDS},
        shops=queries.living_shops(g.merchant_id),
        codes=CODES,
        languages=LANGUAGES,
        countries=COUNTRIES,
        problem=problem,
        wrong=_field_of(problem),
    )


def add() -> BaseResponse:
    """A managed order that no shop knows; a payment is told to the merchant and to no shop."""
    typed = {name: plain(request.form.get(name, "")) for name in FIELDS}
    try:
        order = create_manual_order(
            g.merchant_id, typed_id(typed["shop"]), _read(typed), actor=g.user.email, at=now()
        )
    except NotPossible as problem:
        db.session.rollback()
        return _form(typed, problem)
    db.session.commit()
    return redirect(url_for(".show", order_id=order.id, done="manual_created"), 303)


def _read(typed: Mapping[str, str]) -> ManualOrder:
    total = words.read_amount(typed["total"])
    if total is None:
        raise NotPossible("amount_unreadable", typed=typed["total"])
    code = typed["code"]
    return ManualOrder(
        number=typed["number"],
        ordered_on=_day(typed["ordered_on"]) or words.today(),
        code=PaymentCode(code) if code in set(CODES) else CODES[0],
        total=Decimal(total),
        currency=typed["currency"] or "EUR",
        email=typed["email"],
        language=typed["language"] if typed["language"] in LANGUAGES else "",
        invoice_number=typed["invoice_number"],
        invoice_date=_day(typed["invoice_date"]),
        address={name: typed[name] for name in ADDRESS},
    )


def _day(text: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise NotPossible("date_unreadable") from None


_WRONG = {
    "amount_unreadable": "total",
    "edit_amount_out_of_range": "total",
    "date_unreadable": "ordered_on",
    "date_out_of_range": "ordered_on",
    "email_impossible": "email",
    "manual_number_missing": "number",
    "manual_number_taken": "number",
    "shop_unknown": "shop",
}


def _field_of(problem: NotPossible | None) -> str | None:
    """Which field the sentence belongs to; None is the whole form."""
    return _WRONG.get(problem.args[0]) if problem else None


# --- asked of the shop --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, what became of it, and the order, once it is here."""

    request: OrderRequest
    shop: Shop
    sentence: Markup
    order: Order | None

    @property
    def waits(self) -> bool:
        return self.request.status in {"queued", "running"}


def ask_import() -> Response:
    return _import_form("", 0)


def _import_form(typed: str, shop_id: int, problem: str | None = None) -> Response:
    return page(
        "order_import.html",
        422 if problem else 200,
        typed=typed,
        shop_id=shop_id,
        shops=queries.living_shops(g.merchant_id),
        asked=_asked(),
        problem=problem,
    )


def import_one() -> BaseResponse:
    """Ask a shop for one order, by its number or as `orderid:1234`."""
    typed = plain(request.form.get("order", ""))
    shop_id = typed_id(request.form.get("shop"))
    shop = next((one for one in queries.living_shops(g.merchant_id) if one.id == shop_id), None)
    if shop is None:
        return _import_form(typed, shop_id, "shop_unknown")
    try:
        ask_for_order(shop, **_named(typed), asked_by=g.user.email, at=now())
    except ValueError as problem:
        db.session.rollback()
        return _import_form(typed, shop_id, str(problem.args[0]))
    db.session.commit()
    return redirect(url_for(".ask_import", done="order_asked"), 303)


def _named(typed: str) -> dict[str, Any]:
    return dict(named_order(typed))


def _asked() -> Sequence[Asked]:
    """The latest of all shops, the newest first."""
    return [
        Asked(row, shop, request_sentence(row), order)
        for row, shop, order in order_queries.latest_requests(g.merchant_id, REQUESTS_SHOWN)
    ]
