"""Asking for money: when the payment information goes out, and when it goes out again.

A file of its own because orders that arrive, money that moves and people all ask. ``notices``
says what such a mail says. Never commits.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import Exists, String, cast, delete, func, select

from plugin_sdk import types as wire
from server.banking.service import payees
from server.db import db
from server.letters.models import Letter
from server.mail.languages import money
from server.mail.models import Mail
from server.mail.service import insert_mail
from server.merchants.models import SettingChange
from server.merchants.service import settings_of
from server.merchants.settings import MerchantSettings
from server.orders.brakes import is_stopped, is_waiting
from server.orders.charges import count_charges
from server.orders.identity import country_of, edition_for
from server.orders.ledger import ZERO, Ledger
from server.orders.letters import (
    Draft,
    readdress_letters,
    try_letter,
    wants_letter,
    withhold_letters,
)
from server.orders.models import OWING_STATUSES, Invoice, Order
from server.orders.notices import (
    ASKS_FOR_MONEY,
    Request,
    facts_of_asking,
    payee_for,
    payment_information,
    request_of,
)
from server.orders.told import told_order, zone_of
from server.shops.models import Shop

PAYMENT_INFORMATION = "payment_information"
REMINDERS = ("reminder", "dunning_notice", "cod_enquiry")
OVERDUE = "order_overdue"
MORE_TIME = "more_time_answer"
ASKING = (PAYMENT_INFORMATION, *REMINDERS, OVERDUE, MORE_TIME)
"""Mails that ask a customer for money, whatever they are called."""

OVERTAKEN_BY_EDIT = "the order changed before it was sent"
RETROACTIVE = timedelta(hours=6)
"""Asking at once after all also means the orders of that time (K22)."""


def asks_now(settings: MerchantSettings, code: str, *, has_invoice: bool) -> bool:
    """Does an order of this payment code get its payment information now (S1, S44, K15, K22)?"""
    if not settings.sends(PAYMENT_INFORMATION):
        return False
    if code not in {one.value for one in ASKS_FOR_MONEY}:
        return False  # cash on delivery is paid at the door (K29)
    when = settings.of(code).ask_when
    return when == "at_once" or (when == "with_invoice" and has_invoice)


def first_once(order_id: int) -> str:
    """The key of the mail that asks first."""
    return f"order:{order_id}:{PAYMENT_INFORMATION}"


# --- the request -------------------------------------------------------------------------------


def request_for(order: Order, settings: MerchantSettings, amount: Decimal) -> Request | None:
    """What the customer of a stored order is asked for; None where there is no account for it."""
    told = told_order(order)
    account = payee_for(told, order.shop_id, payees(order.merchant_id))
    if account is None:
        return None
    return request_of(
        told,
        wire.PaymentCode(order.payment_code),
        order.payment_reference,
        account,
        settings,
        zone_of(order.merchant_id),
        amount,
    )


def ask(
    order: Order,
    once: str,
    amount: Decimal,
    *,
    at: datetime,
    wait: timedelta = timedelta(0),
    facts: Callable[[str], dict[str, str]] = lambda _: {},
    is_new: bool = True,
) -> bool:
    """Write a payment information, and its letter beside it where the merchant wants one (S47).

    Who has no e-mail gets the letter alone. False without account or address, if ``once`` was
    there, or if the merchant wants none (S1). Without ``is_new`` the letter that went says the
    same already.
    """
    settings = settings_of(order.merchant_id, order.shop_id)
    if settings.assignment == "shadow":
        return False  # the process of today asks (N3)
    if not settings.sends(PAYMENT_INFORMATION):
        return False
    asked = request_for(order, settings, amount)
    if asked is None:
        return False
    asked = asked.made(at)
    shop = db.session.get_one(Shop, order.shop_id)
    content = payment_information(shop, asked, facts)
    if content is not None:
        ids = {"merchant_id": order.merchant_id, "shop_id": order.shop_id, "order_id": order.id}
        times = {"created_at": at, "due_at": at + wait}
        if not insert_mail(content | ids | times | {"once": once}):
            return False
    by_letter = is_new and _write_letter(order, asked, shop, once, facts, at)
    return content is not None or by_letter


def _write_letter(
    order: Order,
    asked: Request,
    shop: Shop,
    once: str,
    facts: Callable[[str], dict[str, str]],
    at: datetime,
) -> bool:
    settings = asked.settings
    if not wants_letter(order, PAYMENT_INFORMATION, settings):
        return False
    language = edition_for(order.language, country_of(asked.order), shop, settings)
    said = facts_of_asking(asked, shop, language) | facts(language)
    draft = Draft(PAYMENT_INFORMATION, language, said, once)
    return try_letter(order, draft, shop, asked.account, settings, actor="", at=at) is not None


def ask_new_by_letter(shop_id: int, external_ids: Collection[str], at: datetime) -> int:
    """Orders that have just come in with their mails: the letters beside them. Returns how many."""
    orders = select(Order).where(
        Order.shop_id == shop_id,
        Order.external_id.in_(external_ids),
        Order.payment_status.in_(OWING_STATUSES),
    )
    return sum(_ask_new_by_letter(order, at) for order in db.session.scalars(orders))


def _ask_new_by_letter(order: Order, at: datetime) -> bool:
    settings = settings_of(order.merchant_id, order.shop_id)
    has_invoice = bool(db.session.scalar(select(_has_invoice(order.id))))
    if not asks_now(settings, order.payment_code, has_invoice=has_invoice):
        return False
    asked = request_for(order, settings, order.total)
    if asked is None or order.total <= ZERO:
        return False
    shop = db.session.get_one(Shop, order.shop_id)
    return _write_letter(order, asked.made(at), shop, first_once(order.id), lambda _: {}, at)


def ask_first(order: Order, at: datetime, *, wait: timedelta = timedelta(0)) -> bool:
    """The mail that asks first, if this order is to be asked now; never a second one."""
    if _is_over(order):
        return False
    settings = settings_of(order.merchant_id, order.shop_id)
    has_invoice = db.session.scalar(select(_has_invoice(order.id)))
    if not asks_now(settings, order.payment_code, has_invoice=bool(has_invoice)):
        return False
    rest = Ledger([order.id]).rest(order)
    return rest > ZERO and ask(order, first_once(order.id), rest, at=at, wait=wait)


def _is_over(order: Order) -> bool:
    """Of a deregistered shop: only a person asks for its money (K12)."""
    return db.session.get_one(Shop, order.shop_id).status == "deregistered"


def _has_invoice(order_id: int) -> Exists:
    return select(Invoice.id).where(Invoice.order_id == order_id).exists()


def ask_again(order: Order, at: datetime, *, wait: timedelta = timedelta(0)) -> bool:
    """Once more, because a person says so (S76). Nothing else of the order changes."""
    rest = Ledger([order.id]).rest(order)
    if rest <= ZERO:
        return False
    return ask(order, _next_once(order), rest, at=at, wait=wait)


def _next_once(order: Order) -> str:
    """The key of one more mail or letter: no two follow the same ones."""
    mails, letters = _mails(order), _letters(order)
    last = [f"{mails[-1].id}"] if mails else []
    last += [f"letter-{letters[-1].id}"] if letters else []
    return ":".join([first_once(order.id), *last])


# --- when the order changes ----------------------------------------------------------------------


def follow_change(
    order: Order, total_before: Decimal, email_before: str | None, at: datetime
) -> None:
    """The shop or a person changed an order that may have been asked for its money.

    A mail that still waits is written anew. One that is on its way or gone is followed by
    another, to a new address (S36) or with a note that the amount has changed (S37); so with
    letters, but for the address of a mail. Reminders that wait are withheld: the next run writes
    what is true then.
    """
    is_new_total = total_before != order.total
    is_new_email = (email_before or "").lower() != (order.customer_email or "").lower()
    owes = order.payment_status in OWING_STATUSES
    if is_new_total:
        withhold_letters(order, [PAYMENT_INFORMATION], OVERTAKEN_BY_EDIT)
    waiting = [mail for mail in _mails(order, for_update=True) if _still_waits(mail)]
    if waiting and owes:
        _rewrite(order, waiting, at, is_new=is_new_total)
    sent: list[Mail | Letter] = [*_mails(order), *_letters(order)]
    sent = [one for one in sent if one.status not in ("queued", "withheld")]
    if not waiting and sent and owes and (is_new_total or is_new_email):
        facts = _changed_amount(order, total_before) if is_new_total else (lambda _: {})
        rest = Ledger([order.id]).rest(order)
        if rest > ZERO:
            ask(order, _next_once(order), rest, at=at, facts=facts, is_new=is_new_total)
    elif not sent and not waiting and owes:
        ask_first(order, at)
    if is_new_total or is_new_email:
        withhold_mails(order, REMINDERS, OVERTAKEN_BY_EDIT)
    readdress_letters(order)


def _mails(order: Order, *, for_update: bool = False) -> list[Mail]:
    """Every payment information of the order, oldest first."""
    query = select(Mail).where(Mail.order_id == order.id, Mail.kind == PAYMENT_INFORMATION)
    query = query.order_by(Mail.id)
    if for_update:
        query = query.with_for_update(skip_locked=True)
    return list(db.session.scalars(query))


def _letters(order: Order) -> list[Letter]:
    """Every payment information of the order on paper, oldest first."""
    query = select(Letter).where(Letter.order_id == order.id, Letter.kind == PAYMENT_INFORMATION)
    return list(db.session.scalars(query.order_by(Letter.id)))


def _still_waits(mail: Mail) -> bool:
    return (mail.status == "queued" and mail.attempts == 0) or is_stopped(mail)


def _rewrite(order: Order, waiting: Sequence[Mail], at: datetime, *, is_new: bool) -> None:
    """The same mail with what is true now; it waits from now on again."""
    first = waiting[0].once
    settings = settings_of(order.merchant_id, order.shop_id)
    drop_mails(waiting)
    rest = Ledger([order.id]).rest(order)
    if rest > ZERO:
        wait = timedelta(seconds=settings.mail_wait_seconds)
        ask(order, first, rest, at=at, wait=wait, is_new=is_new)


def _changed_amount(order: Order, before: Decimal) -> Callable[[str], dict[str, str]]:
    return lambda language: {
        "amount_changed": "yes",
        "previous_amount": money(before, order.currency, language),
    }


def ask_after_all(order: Order, at: datetime) -> None:
    """Open again, and the customer was never asked, because a payment seemed to be there."""
    withheld = [mail for mail in _mails(order) if mail.status == "withheld"]
    letters = [one for one in _letters(order) if one.status == "withheld" and not one.cancelled_by]
    if not (withheld or letters) or _is_over(order):
        return
    drop_mails(withheld)
    rest = Ledger([order.id]).rest(order)
    ask(order, first_once(order.id), rest, at=at)


def drop_mails(mails: Sequence[Mail]) -> None:
    """Make room for a mail that says what is true now."""
    if mails:
        db.session.flush()
        db.session.execute(delete(Mail).where(Mail.id.in_([mail.id for mail in mails])))


def withhold_mails(order: Order, kinds: Sequence[str], why: str) -> list[Mail]:
    """In the same transaction as its reason; returns what was withheld.

    What a stop of all mails holds is withheld for good: it would say what is no longer so. Letters
    of the same kinds stay with them. What a reminder charged goes with its mail and its letter.
    """
    waiting = select(Mail).where(Mail.order_id == order.id, Mail.kind.in_(kinds), is_waiting())
    mails = list(db.session.scalars(waiting.with_for_update(skip_locked=True)))
    for mail in mails:
        mail.withhold(why)
    has_letters = withhold_letters(order, kinds, why) > 0
    if has_letters or any(mail.kind in REMINDERS for mail in mails):
        count_charges(order)
    return mails


# --- many at once --------------------------------------------------------------------------------


def ask_waiting(
    merchant_id: int,
    at: datetime,
    *,
    shop_id: int | None = None,
    code: str | None = None,
    since: datetime | None = None,
) -> int:
    """Write to whoever was never asked and is to be asked now. Returns to how many.

    When a bank account was entered, and when a setting changed (K22: ``since`` is 6 h before).
    Nobody in the shadow, and afterwards nobody whose order came while it lasted (N3).
    """
    if settings_of(merchant_id).assignment == "shadow":
        return 0
    asked = select(Mail.order_id).where(
        Mail.merchant_id == merchant_id,
        Mail.kind == PAYMENT_INFORMATION,
        Mail.order_id.is_not(None),
    )
    waiting = select(Order).where(
        Order.merchant_id == merchant_id,
        Order.payment_status == wire.PaymentStatus.UNPAID.value,
        Order.total > 0,
        Order.payment_code.in_([one.value for one in ASKS_FOR_MONEY]),
        Order.id.not_in(asked),
    )
    moments = [moment for moment in (since, _live_since(merchant_id)) if moment is not None]
    if moments:
        waiting = waiting.where(Order.created_at > max(moments))
    if shop_id is not None:
        waiting = waiting.where(Order.shop_id == shop_id)
    if code is not None:
        waiting = waiting.where(Order.payment_code == code)
    return sum(ask_first(order, at) for order in db.session.scalars(waiting))


def _live_since(merchant_id: int) -> datetime | None:
    """When the merchant last came out of the shadow; None if he never was in it."""
    shadow = select(func.max(SettingChange.id)).where(
        SettingChange.merchant_id == merchant_id,
        SettingChange.name == "assignment",
        cast(SettingChange.value, String) == '"shadow"',
    )
    return db.session.scalar(
        select(func.min(SettingChange.changed_at)).where(
            SettingChange.merchant_id == merchant_id,
            SettingChange.name == "assignment",
            SettingChange.id > shadow.scalar_subquery(),
        )
    )
