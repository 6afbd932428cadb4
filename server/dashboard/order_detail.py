"""One order with everything about it (S56 to S69), and the files that belong to it."""

from __future__ import annotations

import io
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from flask import Response, abort, g, redirect, request, send_file, url_for
from werkzeug.wrappers import Response as BaseResponse

from plugin_sdk import types as wire
from server.banking.rules.accounts import Payee
from server.banking.service import payees
from server.dashboard import (
    collection,
    match_queries,
    order_letters,
    order_mails,
    order_menu,
    order_queries,
    order_steps,
    order_timeline,
    refund_detail,
    refund_queries,
    words,
)
from server.dashboard.order_queries import OrderRow
from server.dashboard.pages import page, plain
from server.db import db, now
from server.mail.codes import code_png
from server.mail.typos import suggest
from server.merchants.service import settings_of
from server.orders import charges, claims, credit, deferrals, lifecycle, proofs
from server.orders.identity import country_of
from server.orders.links import page_url
from server.orders.models import Order
from server.orders.notices import asked_reference, asked_transfer, payee_for
from server.orders.service import NotPossible
from server.orders.told import told_order

MAILS_SHOWN = 5
FILE_POLICY = "default-src 'none'; sandbox"
"""What strangers sent is saved, never shown within our own pages."""


def show(order_id: int) -> Response:
    return order_page(order_id)


def order_page(order_id: int, problem: NotPossible | None = None, code: int = 409) -> Response:
    """The order; 409 with why something is not possible, 422 with what was typed wrong, 404 if it
    is nobody's of the merchant."""
    row = row_or_404(order_id)
    order, at = row.order, now()
    settings = settings_of(order.merchant_id, order.shop_id)
    account = _payee(order) if row.open else None
    fits = lifecycle.actions_of(order)
    shown = request.args.get("show", "")
    shown = shown if shown in order_timeline.GROUPS else ""
    return page(
        "order.html",
        code if problem else 200,
        row=row,
        order=order,
        wire=order.wire,
        settings=settings,
        invoices=order_queries.invoices_of(g.merchant_id, order.id),
        menu_groups=order_menu.menu_of(row, at),
        can_edit="edit" in fits,
        can_be_paid="mark_as_paid" in fits and row.owed > row.paid,
        steps=order_steps.steps_of(order, at),
        mails=order_mails.lines_of(order, at),
        mails_shown=MAILS_SHOWN,
        letters=order_letters.lines_of(order),
        suggestion=suggest(order.customer_email) if order.customer_email else None,
        collection=collection.lines_of(order),
        reminders=order_queries.reminders_of(g.merchant_id, order.id),
        lost_levels=charges.reminders_of(order.id).lost,
        repayments=refund_detail.shown(refund_queries.refunds_of_order(g.merchant_id, order.id)),
        claims=claims.claims_of(order.id),
        proofs=[(one, proofs.findings_of(order, one)) for one in claims.proofs_of(order.id)],
        time_requests=deferrals.requests_of(order.id),
        today=words.today().isoformat(),
        shown=shown,
        groups=order_timeline.GROUPS,
        is_to_merchant=order_timeline.is_to_merchant,
        level_word=order_timeline.level_word,
        rests_until=order.paused_until is not None and order.paused_until >= words.today(),
        entries=order_timeline.entries_of(order, shown, at),
        account=account,
        customer_page=page_url(order) if account else None,
        asked=_asked(order, row.open, account) if account else None,
        problem=problem,
        terms=_terms(order, settings),
        credits=credit.credit_of(order) if row.open else [],
        **(_surplus(row) if row.surplus else {}),
        number_of=_number,
    )


def attempt(order_id: int, do: Callable[[], object], done: str) -> BaseResponse:
    """Do it, commit and go back to the order; 409 on its page if the rooms say no."""
    try:
        do()
    except NotPossible as problem:
        db.session.rollback()
        return order_page(order_id, problem)
    db.session.commit()
    return redirect(url_for(".show", order_id=order_id, done=done), 303)


def row_or_404(order_id: int) -> OrderRow:
    row = order_queries.order_rows(g.merchant_id, [order_id]).get(order_id)
    if row is None:
        abort(404)
    return row


def order_or_404(order_id: int) -> Order:
    order = order_queries.order_of(g.merchant_id, order_id)
    if order is None:
        abort(404)
    return order


def _surplus(row: OrderRow) -> dict[str, Any]:
    """Where the surplus may go: what was searched for, else what the customer owes elsewhere."""
    text = plain(request.values.get("q", ""))
    if text:
        found = order_queries.find_orders(g.merchant_id, text)
        targets = [one for one in found if one.order.id != row.order.id]
    else:
        targets = match_queries.surplus_targets(g.merchant_id, row.order)
    return {
        "q": text,
        "targets": targets,
        "keepable": match_queries.surplus_posting(g.merchant_id, row.order.id),
    }


def _payee(order: Order) -> Payee | None:
    """The account that this order is asked to pay to (K17)."""
    return payee_for(told_order(order), order.shop_id, payees(order.merchant_id))


def _asked(order: Order, amount: Decimal, account: Payee) -> dict[str, str]:
    """What the customer is asked to transfer now: the words of the payment information."""
    told = told_order(order)
    kind = settings_of(order.merchant_id, order.shop_id).reference_kind
    return asked_transfer(
        account,
        language=words.language(),
        amount=amount,
        currency=order.currency,
        payment_reference=asked_reference(kind, order.payment_reference, told, account),
        country=country_of(told),
    )


def _terms(order: Order, settings: Any) -> wire.PaymentTerms | None:
    """What the shop names, else what is set for the payment code (S59)."""
    told = told_order(order).payment_terms
    if told is not None:
        return told
    own = settings.of(order.payment_code)
    if not own.net_days and not own.discount_days:
        return None
    return wire.PaymentTerms(
        own.discount_percent or None, own.discount_days or None, own.net_days or None
    )


def _number(text: object) -> Decimal:
    """A quantity or percentage of the stored wire order, which holds them as strings."""
    try:
        return Decimal(str(text))
    except InvalidOperation:
        return Decimal(0)


# --- files and pictures -------------------------------------------------------------------------


def qr_code(order_id: int) -> Response:
    """The code for what is still open, to scan from the screen."""
    row = order_queries.order_rows(g.merchant_id, [order_id]).get(order_id)
    account = _payee(row.order) if row is not None and row.open else None
    if row is None or account is None:
        abort(404)
    picture = code_png(_asked(row.order, row.open, account))
    if picture is None:
        abort(404)
    return Response(picture, mimetype="image/png")


def invoice(order_id: int, invoice_id: int) -> Response:
    """The PDF that the shop transferred (S60)."""
    order_or_404(order_id)
    found = order_queries.invoice_of(g.merchant_id, order_id, invoice_id)
    if found is None or found.pdf is None:
        abort(404)
    return _saved(found.pdf, "application/pdf", f"{_file_name(found.number)}.pdf")


def proof(order_id: int, proof_id: int) -> Response:
    """What the customer uploaded to show that he has paid (S61)."""
    order_or_404(order_id)
    found = claims.proof_of(g.merchant_id, order_id, proof_id)
    if found is None:
        abort(404)
    return _saved(found.content, found.media_type, found.filename)


def _saved(content: bytes, media_type: str, filename: str) -> Response:
    response = send_file(
        io.BytesIO(content), mimetype=media_type, as_attachment=True, download_name=filename
    )
    response.headers["Content-Security-Policy"] = FILE_POLICY
    return response


def _file_name(number: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in number).strip(".") or "invoice"
