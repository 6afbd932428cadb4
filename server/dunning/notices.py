"""What the mails of this room say: to customers about their order, to the merchant about a run.

A file of its own because facts are finished strings in the reader's language, which is no matter
of what is decided or done. Never commits.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import delete, select

from plugin_sdk import types as wire
from server.config import installed
from server.db import db
from server.dunning.circumstances import Circumstances
from server.dunning.rules import kind_of
from server.mail.kinds import KINDS
from server.mail.languages import day, money
from server.mail.models import Mail
from server.mail.rules import grouped_iban
from server.mail.service import insert_mail
from server.orders.identity import country_of, edition_for, identity_of
from server.orders.ledger import ZERO
from server.orders.letters import Draft, try_letter, wants_letter, write_letter
from server.orders.links import help_url, page_url
from server.orders.merchant_notices import tell_people
from server.orders.models import Order
from server.orders.notices import (
    Request,
    facts_of_request,
    mail_to_customer,
    payee_for,
)
from server.orders.told import told_order
from server.shops.models import Shop

LISTED: Final = 20
Ways = frozenset[str]
"""How a person wants a reminder sent: ``mail``, ``letter`` or both (S83)."""
NEVER: Final = {"de": "noch nie", "en": "never"}
NO_ACCOUNT: Final = {"de": "kein Konto für Zahlungen", "en": "no account for payments"}


@dataclass(frozen=True, slots=True)
class Claim:
    """What a reminder demands, in the order's currency.

    ``paid`` is what has arrived; ``fee`` is this one's, ``fees`` that of all levels, ``interest``
    that of this one. ``is_last``: no other is planned.
    """

    level: int
    total: Decimal
    paid: Decimal
    fee: Decimal
    fees: Decimal
    interest: Decimal
    is_last: bool

    @property
    def open_amount(self) -> Decimal:
        """Without fees and interest."""
        return min(max(self.total - self.paid, ZERO), self.due)

    @property
    def due(self) -> Decimal:
        return max(self.total, ZERO) + self.fees + self.interest - self.paid


# --- to customers ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Written:
    """What a level went out as; never neither."""

    mail_id: int | None
    letter_id: int | None


def write_reminder(
    order: Order,
    claim: Claim,
    once: str,
    here: Circumstances,
    payable_until: date | None,
    *,
    ways: Ways | None = None,
    actor: str = "",
) -> Written | None:
    """The mail of a reminder, its letter or both: ``ways``, or as the merchant's settings say.

    None without an account, without any address, or if it was written before. Raises NotPossible
    for a letter by ``ways`` that cannot be printed.
    """
    told = told_order(order)
    account = payee_for(told, order.shop_id, here.payees)
    if account is None:
        return None
    settings = here.settings(order.shop_id)
    asked = Request(
        told,
        wire.PaymentCode(order.payment_code),
        order.payment_reference,
        account,
        settings,
        here.zone,
        claim.due,
        payable_until,
    )
    kind = kind_of(claim.level)

    def facts(shop: Shop, language: str) -> dict[str, str]:
        demanded = facts_of_request(asked, shop, language)
        return demanded | _facts_of_claim(order, claim, asked, here, language)

    by_mail = ways is None or "mail" in ways
    by_letter = wants_letter(order, kind, settings) if ways is None else "letter" in ways
    mail_id = _write(kind, order, once, here, facts) if by_mail else None
    letter_id = None
    if by_letter:
        write = try_letter if ways is None else write_letter  # a person hears why not
        letter_id = _write_letter(write, order, claim, asked, once, here, facts, actor)
    return Written(mail_id, letter_id) if mail_id or letter_id else None


def _write_letter(
    write: Callable[..., int | None],
    order: Order,
    claim: Claim,
    asked: Request,
    once: str,
    here: Circumstances,
    facts: Callable[[Shop, str], dict[str, str]],
    actor: str,
) -> int | None:
    """The same words on paper; the last notice is registered if the merchant wants that."""
    shop, settings = here.shops[order.shop_id], asked.settings
    language = edition_for(order.language, country_of(asked.order), shop, settings)
    is_registered = settings.letter_registered and claim.is_last
    draft = Draft(
        kind_of(claim.level),
        language,
        facts(shop, language),
        once,
        is_registered=is_registered,
        is_again=True,  # a level of which nothing went is not reached, so it comes again (N4)
    )
    return write(order, draft, shop, asked.account, settings, actor=actor, at=here.at)


def _facts_of_claim(
    order: Order, claim: Claim, asked: Request, here: Circumstances, language: str
) -> dict[str, str]:
    def amount(value: Decimal) -> str:
        return money(value, order.currency, language) if value > ZERO else ""

    first = min(
        asked.order.invoices, key=lambda one: (one.date is None, one.date or date.max), default=None
    )
    known_until = here.known_until(asked.account.iban)
    has_extras = claim.fees > ZERO or claim.interest > ZERO
    facts = {
        "invoice_number": first.number if first else "",
        "invoice_date": day(first.date, language) if first and first.date else "",
        "received_total": amount(claim.paid),
        "open_amount": amount(claim.open_amount) if has_extras else "",
        "fees_total": amount(claim.fees),
        "interest": amount(claim.interest),
        "page_url": page_url(order),
        "bank_as_of": day(known_until, language) if known_until else "",
    }
    if claim.level == 1:
        return facts
    return facts | {
        "level": str(claim.level - 1),
        "is_last": "yes" if claim.is_last else "",
        "fee": amount(claim.fee),
    }


def write_enquiry(order: Order, once: str, here: Circumstances) -> int | None:
    """Was the parcel paid at the door (K29)?"""
    return _write("cod_enquiry", order, once, here, _plain_facts(order, here))


def write_cancelled(order: Order, here: Circumstances) -> int | None:
    """No money came, so the order was cancelled. Once a cancellation."""
    assert order.cancelled_at is not None, "it is cancelled already"
    once = f"order:{order.id}:cancelled:{order.cancelled_at.isoformat()}"
    return _write("order_cancelled", order, once, here, _plain_facts(order, here))


def write_overdue(
    order: Order, received: Decimal, amount_due: Decimal, here: Circumstances
) -> int | None:
    """The invoice was not paid and counts as overdue now (K41). Once each time that it does."""
    assert order.cancelled_at is not None, "it is overdue already"
    once = f"order:{order.id}:overdue:{order.cancelled_at.isoformat()}"
    told = told_order(order)
    account = payee_for(told, order.shop_id, here.payees)
    first = next((one.number for one in told.invoices), "")
    plain = _plain_facts(order, here)

    def facts(shop: Shop, language: str) -> dict[str, str]:
        found = plain(shop, language) | {
            "amount_due": money(amount_due, order.currency, language),
            "received_total": money(received, order.currency, language) if received > ZERO else "",
            "invoice_number": first,
        }
        if account is not None:
            asked = Request(
                told,
                wire.PaymentCode(order.payment_code),
                order.payment_reference,
                account,
                here.settings(order.shop_id),
                here.zone,
                amount_due,
            )
            found |= facts_of_request(asked, shop, language)
        known = KINDS["order_overdue"].facts
        return {name: text for name, text in found.items() if name in known}

    return _write("order_overdue", order, once, here, facts)


def _plain_facts(order: Order, here: Circumstances) -> Callable[[Shop, str], dict[str, str]]:
    ordered_on = order.ordered_at.astimezone(here.zone).date()
    return lambda shop, language: {
        "shop_name": shop.name,
        "order_number": order.number,
        "order_date": day(ordered_on, language),
        "order_total": money(order.total, order.currency, language),
        "recipient_name": order.customer_name,
        "page_url": page_url(order),
        "help_url": help_url(order.shop_id, language),
        "legal_line": identity_of(shop).legal_line,
    }


def _write(
    kind: str,
    order: Order,
    once: str,
    here: Circumstances,
    facts: Callable[[Shop, str], dict[str, str]],
) -> int | None:
    """The id of the mail; None without an address, if the merchant wants none of its kind (S1), or
    if it was written before and not withheld."""
    shop, settings = here.shops[order.shop_id], here.settings(order.shop_id)
    mail = mail_to_customer(kind, order, shop, settings, facts)
    if mail is None:
        return None
    drop_withheld(once)
    if not insert_mail(mail | {"once": once, "created_at": here.at, "due_at": here.at}):
        return None
    return db.session.scalar(select(Mail.id).where(Mail.once == once))


def drop_withheld(once: str) -> None:
    """A mail that was never sent makes room for the one that is true now (N4)."""
    db.session.execute(delete(Mail).where(Mail.once == once, Mail.status == "withheld"))


def payable_until(order: Order, here: Circumstances) -> date | None:
    """The date that a reminder names, for display only (S53); none that has passed."""
    settings = here.settings(order.shop_id)
    days = settings.of(order.payment_code).reminder_payable_days
    if not days:
        return None
    begins = here.today
    if settings.reminder_payable_base == "order_date":
        begins = order.ordered_at.astimezone(here.zone).date()
    until = begins + timedelta(days=days)
    return until if until >= here.today else None


def due_date_fact(due_date: date | None) -> Callable[[str], dict[str, str]]:
    """For the payment information that is sent once more: when it is due by contract."""
    return lambda language: {
        "sent_again": "yes",
        **({"due_on": day(due_date, language)} if due_date else {}),
    }


# --- to the merchant ---------------------------------------------------------------------------


def tell_of_ended(
    kind: str, merchant_id: int, run_id: int, order_ids: Sequence[int], count: int, at: datetime
) -> bool:
    """Once a run: these were cancelled or are overdue, or are handed over from now on.

    ``kind`` is ``orders_cancelled`` or ``orders_to_collection``; ``order_ids`` are the first of
    ``count``.
    """
    rows = {
        row.id: row
        for row in db.session.scalars(
            select(Order).where(Order.merchant_id == merchant_id, Order.id.in_(order_ids))
        )
    }
    listed = [rows[one] for one in order_ids[:LISTED] if one in rows]
    base = f"{installed().url}/orders"
    status = "cancelled" if kind == "orders_cancelled" else "collection"

    def facts(language: str) -> dict[str, Any]:
        return {
            "count": str(count),
            "single": "yes" if count == 1 else "",
            "rest": str(count - len(listed)) if count > len(listed) else "",
            "orders": [_ended(kind, row, language, base) for row in listed],
            "orders_url": f"{base}?status={status}",
        }

    return tell_people(kind, merchant_id, f"run:{run_id}:{kind}", facts, at=at)


def _ended(kind: str, order: Order, language: str, base: str) -> dict[str, str]:
    line = {
        "order_number": order.number,
        "customer": order.customer_name,
        "amount": money(order.total, order.currency, language),
        "order_url": f"{base}/{order.id}",
    }
    if kind == "orders_cancelled":
        is_overdue = order.payment_code != wire.PaymentCode.PREPAYMENT.value
        line["is_overdue"] = "yes" if is_overdue else ""
    return line


def tell_of_waiting_run(
    merchant_id: int, run_id: int, count: int, usual: int, at: datetime
) -> bool:
    """Far more than usual would be sent: somebody must look, once a run."""
    return tell_people(
        "run_waits",
        merchant_id,
        f"run:{run_id}:waits",
        lambda _: {
            "count": str(count),
            "usual": str(usual),
            "run_url": f"{installed().url}/dunning/runs/{run_id}",
        },
        at=at,
    )


def tell_of_held(
    here: Circumstances, count: int, ibans: Collection[str], shop_ids: Collection[int]
) -> bool:
    """Reminders are due and do not go out (N5): once in a day of the merchant, with the reasons.

    ``ibans`` are the accounts whose data is too old, ``shop_ids`` the shops that are away.
    """
    reasons = [*_stale_accounts(here, ibans), *_away_shops(here, shop_ids)][:LISTED]

    def facts(language: str) -> dict[str, Any]:
        named = [
            {"subject": subject, "since": _since(since, here, language)}
            for subject, since in reasons
        ]
        if not named:
            named = [{"subject": NO_ACCOUNT[language], "since": NEVER[language]}]
        return {
            "reasons": named,
            "waiting_count": str(count),
            "settings_url": f"{installed().url}/dunning",
        }

    once = f"merchant:{here.merchant_id}:reminders_held:{here.today.isoformat()}"
    return tell_people("reminders_held", here.merchant_id, once, facts, at=here.at)


def _stale_accounts(
    here: Circumstances, ibans: Collection[str]
) -> list[tuple[str, datetime | None]]:
    return [(grouped_iban(iban), here.heard.get(iban)) for iban in sorted(ibans)]


def _away_shops(
    here: Circumstances, shop_ids: Collection[int]
) -> list[tuple[str, datetime | None]]:
    shops = [here.shops[shop_id] for shop_id in sorted(shop_ids)]
    return [(shop.name, shop.error_since or shop.seen_at) for shop in shops]


def _since(moment: datetime | None, here: Circumstances, language: str) -> str:
    if moment is None:
        return NEVER[language]
    local = moment.astimezone(here.zone)
    return f"{day(local.date(), language)}, {local:%H:%M}"
