"""Invoices by letter: the shop's own PDF, checked, on wish with a payment slip (S75, K60, K77).

A file of its own because both a person and the arrival of a PDF ask for it. Never commits.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select

from server.db import db
from server.mail.languages import day
from server.mail.models import Mail
from server.merchants.service import lock_merchant, settings_of
from server.orders.asking import request_for
from server.orders.failed_mails import did_get_lost, is_settled
from server.orders.identity import country_of, edition_for
from server.orders.ledger import ZERO, Ledger, NotPossible, note, order_now
from server.orders.letters import (
    Draft,
    account_of,
    check_address,
    wants_letter,
    when_of,
    write_letter,
    written_just_now,
)
from server.orders.models import OWING_STATUSES, Invoice, Order
from server.orders.notices import facts_of_request
from server.orders.told import told_order, zone_of
from server.shops.models import Shop


def send_invoice(
    merchant_id: int, order_id: int, *, actor: str, at: datetime, number: str | None = None
) -> int:
    """The shop's invoice by letter (S75), the first or the one of that number; the letter's id.

    Raises NotPossible: no PDF, no postal address, or why this PDF is not printed.
    """
    lock_merchant(merchant_id)
    order = order_now(merchant_id, order_id)
    invoice = _invoice_of(order, number)
    if invoice is None or invoice.pdf is None:
        raise NotPossible("letter_no_invoice", number=order.number)
    before = written_just_now(order, "invoice", at, about=f"{_invoice_once(invoice)}:")
    if before is not None:
        return before.id
    once = f"{_invoice_once(invoice)}:{at:%Y%m%d%H%M%S%f}"
    written = _write_invoice(order, invoice, once, actor, at)
    assert written is not None, "the key is new"
    return written


def _invoice_of(order: Order, number: str | None) -> Invoice | None:
    having = select(Invoice).where(Invoice.order_id == order.id, Invoice.pdf.is_not(None))
    if number is not None:
        having = having.where(Invoice.number == number)
    return db.session.scalar(having.order_by(Invoice.id).limit(1))


def _invoice_once(invoice: Invoice) -> str:
    return f"order:{invoice.order_id}:invoice:{invoice.id}"


def _write_invoice(
    order: Order, invoice: Invoice, once: str, actor: str, at: datetime
) -> int | None:
    """Raises NotPossible as ``send_invoice``; None if this ``once`` was there."""
    check_address(order)
    settings = settings_of(order.merchant_id, order.shop_id)
    shop = db.session.get_one(Shop, order.shop_id)
    told = told_order(order)
    language = edition_for(order.language, country_of(told), shop, settings)
    facts = {
        "shop_name": shop.name,
        "order_number": order.number,
        "order_date": day(order.ordered_at.astimezone(zone_of(order.merchant_id)).date(), language),
        "recipient_name": order.customer_name,
        "invoice_number": invoice.number,
        "invoice_date": day(invoice.date, language) if invoice.date else "",
    }
    rest = Ledger([order.id]).rest(order)
    owes = order.payment_status in OWING_STATUSES and rest > ZERO
    asked = request_for(order, settings, rest) if owes and settings.letter_slip else None
    if asked is not None:
        facts = facts_of_request(asked.made(at), shop, language) | facts
    draft = Draft("invoice", language, facts, once, enclosed=invoice.pdf, slip=asked is not None)
    account = account_of(order)
    return write_letter(order, draft, shop, account, settings, actor=actor, at=at)


def invoice_came(order: Order, invoice: Invoice, at: datetime) -> bool:
    """The first PDF of an invoice is here: it goes by letter if the merchant wants that (K60, K77).

    A PDF that is not printed is no reason not to keep it: the order's history says why. The caller
    holds the merchant's lock.
    """
    settings = settings_of(order.merchant_id, order.shop_id)
    is_over = db.session.get_one(Shop, order.shop_id).status == "deregistered"
    if is_over or not order.is_managed or order.cancelled_at or order.removed_at:
        return False
    is_wanted = wants_letter(order, "invoice", settings)
    if not is_wanted and when_of("invoice", settings) != "never":
        is_wanted = settings.assignment != "shadow" and _has_lost_mail(order)
    if not is_wanted:
        return False
    try:
        return _write_invoice(order, invoice, _invoice_once(invoice), "", at) is not None
    except NotPossible as problem:
        reason = str(problem.args[0])
        note(order, "letter_not_written", "", at, letter="invoice", reason=reason)
        return False


def _has_lost_mail(order: Order) -> bool:
    lost = select(Mail.id).where(Mail.order_id == order.id, did_get_lost(), ~is_settled())
    return bool(db.session.scalar(select(lost.exists())))
