"""Credits: money kept for customers (C12), and orders that were paid too much (C13)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from flask import Blueprint, Response, abort, g, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from server.dashboard import export, match_queries, order_queries, queries, words
from server.dashboard.pages import page
from server.db import db, now
from server.merchants.service import settings_of
from server.orders import credit
from server.orders.credit import CreditRow
from server.orders.service import NotPossible

pages = Blueprint("credits", __name__)

MODES = ("manual", "automatic")
OVERPAID_SHOWN = 50
CREDIT_COLUMNS = (
    "customer",
    "email",
    "customer_number",
    "kept",
    "amount",
    "left",
    "currency",
    "from_order",
    "booking_date",
    "mode",
)
OVERPAID_COLUMNS = (
    "number",
    "customer",
    "email",
    "ordered",
    "total",
    "paid",
    "surplus",
    "currency",
)


@dataclass(slots=True)
class CustomerCredits:
    """What is kept for one customer, the newest first; one sum a currency."""

    name: str
    email: str | None
    number: str | None
    rows: list[CreditRow] = field(default_factory=list)

    @property
    def sums(self) -> list[tuple[Decimal, str]]:
        found: dict[str, Decimal] = {}
        for row in self.rows:
            found[row.posting.currency] = found.get(row.posting.currency, Decimal(0)) + row.left
        return [(amount, currency) for currency, amount in found.items()]

    @property
    def mode(self) -> str | None:
        """The merchant's wish for this customer; None is his general one."""
        return self.rows[0].credit.mode


@pages.get("/credits")
def show_all() -> Response:
    return _page()


def _page(problem: NotPossible | None = None) -> Response:
    rows = credit.customer_credits(g.merchant_id)
    sources = [row.credit.from_order_id for row in rows if row.credit.from_order_id]
    overpaid = match_queries.overpaid_orders(g.merchant_id, OVERPAID_SHOWN + 1)
    return page(
        "credits.html",
        409 if problem else 200,
        customers=by_customer(rows),
        orders=order_queries.order_rows(g.merchant_id, sources),
        overpaid=overpaid[:OVERPAID_SHOWN],
        has_more=len(overpaid) > OVERPAID_SHOWN,
        general_mode=settings_of(g.merchant_id).credit_mode,
        modes=MODES,
        problem=problem,
    )


def by_customer(rows: Iterable[CreditRow]) -> list[CustomerCredits]:
    """One entry a customer, told apart by e-mail, number or name, in the order of their names."""
    found: dict[str, CustomerCredits] = {}
    for row in rows:
        one = row.credit
        key = (one.customer_email or one.customer_number or one.customer_name).casefold()
        known = found.setdefault(
            key, CustomerCredits(one.customer_name, one.customer_email, one.customer_number)
        )
        known.rows.append(row)
    return sorted(found.values(), key=lambda one: (one.name or one.email or "").casefold())


@pages.post("/credits/<int:posting_id>/mode")
def set_mode(posting_id: int) -> BaseResponse:
    """Whether what is kept for this customer pays his next order by itself."""
    _credit_or_404(posting_id)
    mode = request.form.get("mode", "")
    credit.set_credit_mode(
        g.merchant_id,
        posting_id,
        mode if mode in MODES else None,
        actor=g.user.email,
        at=now(),
    )
    db.session.commit()
    return redirect(url_for(".show_all", done="credit_mode"), 303)


@pages.post("/credits/<int:posting_id>/release")
def release(posting_id: int) -> BaseResponse:
    """No credit any more: the money waits in the inbox again."""
    _credit_or_404(posting_id)
    try:
        credit.release_credit(g.merchant_id, posting_id, actor=g.user.email, at=now())
    except NotPossible as problem:
        db.session.rollback()
        return _page(problem)
    db.session.commit()
    return redirect(url_for(".show_all", done="released"), 303)


def _credit_or_404(posting_id: int) -> None:
    if queries.posting_row(g.merchant_id, posting_id) is None:
        abort(404)


# --- export -----------------------------------------------------------------------------------


@pages.get("/credits/export.csv")
def as_csv() -> Response:
    return _csv("credits", _credit_lines())


@pages.get("/credits/overpaid.csv")
def overpaid_as_csv() -> Response:
    return _csv("overpaid", _overpaid_lines())


def _csv(name: str, rows: Iterable[list[export.Cell]]) -> Response:
    filename = f"{words.t(f'credit.file_{name}')}-{words.today().isoformat()}.csv"
    return export.csv_download(rows, filename)


def _credit_lines() -> Iterator[list[export.Cell]]:
    yield [str(words.t(f"credit_column.{name}")) for name in CREDIT_COLUMNS]
    rows = credit.customer_credits(g.merchant_id)
    orders = order_queries.order_rows(
        g.merchant_id, [row.credit.from_order_id for row in rows if row.credit.from_order_id]
    )
    general = settings_of(g.merchant_id).credit_mode
    for row in rows:
        one, posting = row.credit, row.posting
        source = orders.get(one.from_order_id or 0)
        yield [
            one.customer_name,
            one.customer_email,
            one.customer_number,
            words.local(one.kept_at).date(),
            posting.amount,
            row.left,
            posting.currency,
            source.order.number if source else None,
            posting.booking_date,
            str(words.t(f"setting.credit_mode.{one.mode or general}")),
        ]


def _overpaid_lines() -> Iterator[list[export.Cell]]:
    yield [str(words.t(f"credit_column.{name}")) for name in OVERPAID_COLUMNS]
    for row in match_queries.overpaid_orders(g.merchant_id, export.MOST_ROWS):
        order = row.order
        yield [
            order.number,
            order.customer_name,
            order.customer_email,
            words.local(order.ordered_at).date(),
            order.total,
            row.paid,
            row.surplus,
            order.currency,
        ]
