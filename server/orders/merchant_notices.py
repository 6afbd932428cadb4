"""What mails tell the merchant's people: of banks, shops, callbacks, postings, differences.

A file of its own, beside ``notices``, because it reads what customers are never told. Each notice
is written once an occasion or once a day, and never commits.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.orm import aliased

from server.banking.fetching import Notice as BankNotice
from server.banking.models import IgnoreRule, Posting, Statement
from server.banking.service import Recognised, recognised_in
from server.callbacks.service import Trouble
from server.config import installed
from server.db import db
from server.mail.domains import Broken
from server.mail.kinds import KINDS
from server.mail.languages import day, money, nearest_language
from server.mail.models import Mail
from server.mail.service import queue_mail
from server.mail.theme import KONTOR
from server.merchants.models import Merchant, User
from server.merchants.notices import recipients
from server.merchants.service import lock_merchant
from server.orders.identity import system_address
from server.orders.ledger import Ledger, is_standing, taken_totals
from server.orders.links import stop_url
from server.orders.models import Assignment, DeferralRequest, Order, PaymentClaim, Suggestion
from server.orders.rules import LATE_CODES
from server.orders.told import zone_of
from server.shops.models import PaymentUpdate, Shop

log = logging.getLogger(__name__)

ZERO = Decimal(0)
LISTED_POSTINGS = 10
LISTED_DIFFERENCES = 20
OF_THE_SHOP = frozenset({"shop_error", "shop_disabled"})
PURPOSE_LENGTH = 90  # so much of a bank text tells a person what it is about

STATUS_WORDS = {
    "de": {
        "paid": "bezahlt",
        "partially_paid": "teilbezahlt",
        "unpaid": "offen",
        "cancelled": "storniert",
        "overdue": "überfällig",
        "collection": "Inkasso",
        "refunded": "erstattet",
        "partially_refunded": "teilerstattet",
    },
    "en": {
        "paid": "paid",
        "partially_paid": "partially paid",
        "unpaid": "unpaid",
        "cancelled": "cancelled",
        "overdue": "overdue",
        "collection": "in collection",
        "refunded": "refunded",
        "partially_refunded": "partially refunded",
    },
}

DIFFERENCE_WORDS = {
    "de": {
        "tolerance": "in Ihrer Toleranz",
        "bank_fee": "Bankgebühr",
        "discount": "Skonto",
        "goodwill": "Kulanz",
        "other": "anderer Grund",
    },
    "en": {
        "tolerance": "within your tolerance",
        "bank_fee": "bank fee",
        "discount": "cash discount",
        "goodwill": "goodwill",
        "other": "another reason",
    },
}

DOMAIN_WORDS = {
    "de": {
        "missing": "Der {record}-Eintrag fehlt im DNS.",
        "wrong": "Der {record}-Eintrag im DNS stimmt nicht mehr.",
    },
    "en": {
        "missing": "The {record} record is missing in the DNS.",
        "wrong": "The {record} record in the DNS is not right any more.",
    },
}

CALLBACK_WORDS = {
    "de": {
        "failing": "Kein Aufruf wurde mit 2xx beantwortet.",
        "gone": "Die Adresse hat mit 410 geantwortet: Sie will nichts mehr hören.",
    },
    "en": {
        "failing": "No call was answered with 2xx.",
        "gone": "The address answered 410: it wants to hear no more.",
    },
}

RETURN_WORDS = {
    "de": {
        "AC01": "IBAN ungültig",
        "AC04": "Konto aufgelöst",
        "AC06": "Konto gesperrt",
        "AM04": "Konto nicht gedeckt",
        "AM05": "doppelt ausgeführt",
        "CUST": "auf Wunsch des Zahlers",
        "DUPL": "doppelt ausgeführt",
        "FOCR": "zurückgerufen",
        "FRAD": "Verdacht auf Betrug",
        "MD01": "kein Mandat",
        "MD06": "Widerspruch des Zahlers",
        "MD07": "Kontoinhaber verstorben",
        "MS02": "ohne Angabe von Gründen, vom Zahler",
        "MS03": "ohne Angabe von Gründen, von der Bank",
        "TECH": "technischer Fehler",
    },
    "en": {
        "AC01": "IBAN not valid",
        "AC04": "account closed",
        "AC06": "account blocked",
        "AM04": "not enough money on the account",
        "AM05": "carried out twice",
        "CUST": "at the payer’s wish",
        "DUPL": "carried out twice",
        "FOCR": "recalled",
        "FRAD": "suspected fraud",
        "MD01": "no mandate",
        "MD06": "the payer objected",
        "MD07": "account holder has died",
        "MS02": "no reason given, by the payer",
        "MS03": "no reason given, by the bank",
        "TECH": "technical error",
    },
}
"""ISO 20022, ExternalReturnReason1Code and ExternalCancellationReason1Code: the frequent ones."""


# --- as it happens -------------------------------------------------------------------------------


def tell_of_bank(notice: BankNotice) -> None:
    """To those who hear of it, once an occasion: a bank wants a person (C27)."""
    row = notice.connection
    moment = (row.consent_at or row.created_at).isoformat()

    def facts(language: str) -> dict[str, Any]:
        told = {
            "bank_name": row.bank_name,
            "bank_url": f"{installed().url}/bank-connections/{row.id}",
        }
        return told | ({"ends_on": day(notice.on, language)} if notice.on else {})

    tell_people(notice.kind, row.merchant_id, f"bank:{row.id}:{notice.kind}:{moment}", facts)


def tell_of_domain(broken: Broken) -> None:
    """To those who hear of it, once a break: their mails leave from our address again (S17, N14).

    Kontor's own domain is nobody's: that stands in the log, for the operator.
    """
    if broken.merchant_id is None:
        log.error("the DNS of %s, Kontor's own domain, is not right any more", broken.name)
        return
    since = local_day(broken.merchant_id, broken.since)

    def facts(language: str) -> dict[str, Any]:
        sentences = [
            DOMAIN_WORDS[language][one.state].format(record="SPF" if one.key == "spf" else "DKIM")
            for one in broken.problems
            if one.state in DOMAIN_WORDS[language]
        ]
        return {
            "domain": broken.name,
            "problem": " ".join(sentences),
            "page_url": f"{installed().url}/settings/domains/{broken.domain_id}",
            "since": day(since, language),
        }

    once = f"domain:{broken.domain_id}:broken:{broken.since.isoformat()}"
    tell_people("domain_broken", broken.merchant_id, once, facts)


def tell_of_callback(trouble: Trouble) -> None:
    """To those who hear of it, once a fault: a program of the merchant's hears nothing (K79).

    What stands behind the question mark of its address may be a password, and is not told.
    """
    moment = trouble.since.astimezone(zone_of(trouble.merchant_id))
    url = urlsplit(trouble.url)._replace(query="", fragment="").geturl()

    def facts(language: str) -> dict[str, Any]:
        return {
            "url": url,
            "since": f"{day(moment.date(), language)}, {moment:%H:%M}",
            "reason": CALLBACK_WORDS[language][trouble.because],
            "page_url": f"{installed().url}/settings/callbacks/{trouble.url_id}",
            "is_gone": "yes" if trouble.because == "gone" else "",
        }

    once = f"callback:{trouble.url_id}:{trouble.because}:{trouble.since.isoformat()}"
    tell_people("callback_failing", trouble.merchant_id, once, facts)


def tell_of_quota(
    merchant_id: int, left: int, threshold: int, ends_at: datetime | None, at: datetime
) -> None:
    """To the administrators, once a crossing: few mails of the relay are left (S100)."""
    ends_on = local_day(merchant_id, ends_at) if ends_at is not None else None

    def facts(language: str) -> dict[str, Any]:
        return {
            "left": str(left) if left > 0 else "",
            "threshold": str(threshold),
            "page_url": f"{installed().url}/relay/quota",
            "ends_on": day(ends_on, language) if ends_on is not None else "",
        }

    once = f"relay:{merchant_id}:quota:{at.isoformat()}"
    tell_people("relay_quota_low", merchant_id, once, facts, at=at)


def tell_of_recognised(statement: Statement) -> None:
    """What rules took off the list of which the merchant wants to hear (K45): once a file."""
    url = f"{installed().url}/postings?state=ignored&statement={statement.id}"
    for hits in recognised_in(statement):

        def facts(language: str, hits: Recognised = hits) -> dict[str, Any]:
            return {
                "pattern": hits.pattern,
                "count": str(hits.count),
                "received_total": money(hits.total, hits.currency, language),
                "postings_url": url,
            }

        tell_people(
            "postings_recognised",
            statement.merchant_id,
            f"statement:{statement.id}:rule:{hits.rule_id}:{hits.currency}",
            facts,
        )


def tell_people(  # noqa: PLR0913  a mail has that many columns
    kind: str,
    merchant_id: int,
    once: str,
    facts: Callable[[str], dict[str, Any]],
    *,
    shop_id: int | None = None,
    order_id: int | None = None,
    at: datetime | None = None,
    people: Sequence[User] | None = None,
    outbox: list[dict[str, Any]] | None = None,
) -> bool:
    """A mail about the house to who gets this kind (K42), in each one's language, with the link
    that stops it (K38); True if one was written.

    ``people`` is given by who has asked for them already; ``outbox`` as in ``queue_mail``.
    """
    merchant = db.session.get_one(Merchant, merchant_id)
    is_written = False
    for user in people_for(kind, merchant_id) if people is None else people:
        language = nearest_language(user.language, merchant.language)
        is_written |= queue_mail(
            kind,
            merchant_id=merchant_id,
            shop_id=shop_id,
            order_id=order_id,
            language=language,
            recipient=user.email,
            once=f"{once}:{user.id}",
            facts={"recipient_name": user.name, "stop_url": stop_url(user.id, kind)}
            | facts(language),
            theme=KONTOR,
            sender_name="Kontor",
            sender_address=system_address(),
            at=at,
            outbox=outbox,
        )
    return is_written


def facts_of_order(order: Order, shop: Shop) -> dict[str, str]:
    """What a notice about a single order says in every language: which it is, and whose."""
    return {
        "shop_name": shop.name,
        "order_number": order.number,
        "customer": order.customer_name,
        "order_url": f"{installed().url}/orders/{order.id}",
    }


def people_for(kind: str, merchant_id: int) -> list[User]:
    """Who gets a notice of this kind now."""
    return recipients(merchant_id, kind, is_essential=KINDS[kind].is_essential)


def tell_merchant(kind: str, shop: Shop, update: PaymentUpdate | None, at: datetime) -> None:
    """To those who hear of it: `shop_error` and `shop_disabled` once a fault, `transfer_failed`
    once an order.
    """
    zone = zone_of(shop.merchant_id)
    if kind in OF_THE_SHOP:
        since = shop.error_since or at
        once = f"shop:{shop.id}:{kind.removeprefix('shop_')}:{since.isoformat()}"
    else:
        assert update is not None, "a failed transfer has an update"
        since = update.created_at
        once = f"update:{update.id}:failed"
    moment = since.astimezone(zone)

    def facts(language: str) -> dict[str, Any]:
        told = {
            "shop_name": shop.name,
            "since": f"{day(moment.date(), language)}, {moment:%H:%M}",
        }
        if update is None or kind in OF_THE_SHOP:
            url = f"{installed().url}/shops/{shop.id}"
            return told | {"reason": shop.error or "", "shop_settings_url": url}
        return told | {
            "order_number": update.number,
            "payment_status": STATUS_WORDS[language].get(update.intent, update.intent),
            "reason": update.error or "",
            "order_url": f"{installed().url}/orders/{update.order_id}",
        }

    order_id = update.order_id if update is not None else None
    tell_people(kind, shop.merchant_id, once, facts, shop_id=shop.id, order_id=order_id)


def tell_of_order(kind: str, order: Order, posting: Posting, at: datetime, **facts: str) -> bool:
    """To those who hear of it, once a kind, order and posting; False if it was told before.

    Kinds: ``payment_for_cancelled`` (S51, S54), ``payment_for_removed`` (S40),
    ``payment_for_manual_order`` (K41) and ``payment_returned`` (N18), for which ``posting`` is the
    one that came or the one that took it back. To be called when the ledger and the shop's update
    are written, because the mail says what became of them. ``facts`` go over what is found here,
    finished for every language.
    """
    is_return = kind == "payment_returned"
    came, told_of = _came_and_went(posting) if is_return else (posting, posting)
    booked = _booked(order, [came])
    share = -_booked(order, [came, told_of], "return") if told_of is not came else booked
    amount = share if share > ZERO else abs(came.amount)
    marks = _marks(kind, order, booked, at)
    rest = Ledger([order.id]).rest(order)
    shop = db.session.get_one(Shop, order.shop_id)
    booked_on = told_of.booking_date or local_day(order.merchant_id, at)

    def told(language: str) -> dict[str, Any]:
        return {
            **facts_of_order(order, shop),
            "amount": money(amount, came.currency, language),
            "payer": came.counterparty_name or "",
            "booked_on": day(booked_on, language),
            "posting_url": f"{installed().url}/postings/{told_of.id}",
            **_left_and_why(kind, told_of, rest, order.currency, language),
            **marks,
            **facts,
        }

    return tell_people(
        kind,
        order.merchant_id,
        f"order:{order.id}:posting:{told_of.id}:{kind}",
        told,
        shop_id=order.shop_id,
        order_id=order.id,
        at=at,
    )


def tell_of_removals(shop: Shop, held: int, open_count: int, at: datetime) -> bool:
    """To those who hear of it, once a shop and day: orders vanish, and somebody must look (S41)."""
    day_of = local_day(shop.merchant_id, at).isoformat()
    return tell_people(
        "removals_wait",
        shop.merchant_id,
        f"shop:{shop.id}:removals:{day_of}",
        lambda _: {
            "shop_name": shop.name,
            "count": str(held),
            "open_count": str(open_count),
            "review_url": f"{installed().url}/shops/{shop.id}/removals",
        },
        shop_id=shop.id,
        at=at,
    )


def tell_of_claim(order: Order, claim: PaymentClaim, *, has_proof: bool, at: datetime) -> bool:
    """To those who hear of it, once a claim: the customer says that he has paid (S61)."""
    shop = db.session.get_one(Shop, order.shop_id)

    def facts(language: str) -> dict[str, Any]:
        return {
            **facts_of_order(order, shop),
            "amount": money(order.total, order.currency, language),
            "paid_on": day(claim.paid_on, language) if claim.paid_on else "",
            "message": claim.message,
            "has_proof": "yes" if has_proof else "",
            "paused_until": day(order.paused_until, language) if order.paused_until else "",
        }

    return tell_people(
        "customer_says_paid",
        order.merchant_id,
        f"order:{order.id}:claim:{claim.id}",
        facts,
        shop_id=order.shop_id,
        order_id=order.id,
        at=at,
    )


def tell_of_question(order: Order, request: DeferralRequest, *, at: datetime) -> bool:
    """To those who hear of it, once a request: the customer asks for more time (N8)."""
    shop = db.session.get_one(Shop, order.shop_id)

    def facts(language: str) -> dict[str, Any]:
        return {
            **facts_of_order(order, shop),
            "amount": money(order.total, order.currency, language),
            "asked_until": day(request.until_date, language),
            "message": request.message,
            "paused_until": day(order.paused_until, language) if order.paused_until else "",
        }

    return tell_people(
        "more_time_asked",
        order.merchant_id,
        f"order:{order.id}:more_time:{request.id}",
        facts,
        shop_id=order.shop_id,
        order_id=order.id,
        at=at,
    )


def _came_and_went(posting: Posting) -> tuple[Posting, Posting]:
    """The posting that brought the money and the one that took it back, whichever was given."""
    if posting.returns_id is not None:
        return db.session.get_one(Posting, posting.returns_id), posting
    taken = db.session.scalar(select(Posting).where(Posting.returns_id == posting.id))
    return posting, taken or posting


def _booked(order: Order, postings: Sequence[Posting], origin: str | None = None) -> Decimal:
    """What the ledger has of these postings on the order."""
    total = select(func.sum(Assignment.amount)).where(
        Assignment.order_id == order.id, Assignment.posting_id.in_([one.id for one in postings])
    )
    if origin is not None:
        total = total.where(Assignment.origin == origin)
    return db.session.scalar(total) or ZERO


def _marks(kind: str, order: Order, booked: Decimal, at: datetime) -> dict[str, str]:
    """What Kontor did, and what sort of order it is, as far as the kind speaks of it."""
    update = select(PaymentUpdate.id).where(
        PaymentUpdate.order_id == order.id,
        PaymentUpdate.created_at >= at,
        PaymentUpdate.status != "withheld",
    )
    holds = {
        "is_assigned": booked > ZERO,
        "shop_told": db.session.scalar(update.limit(1)) is not None,
        "overdue": order.payment_code in LATE_CODES,
    }
    known = KINDS[kind].optional
    return {name: "yes" if is_so else "" for name, is_so in holds.items() if name in known}


def _left_and_why(
    kind: str, posting: Posting, rest: Decimal, currency: str, language: str
) -> dict[str, str]:
    """What the order still owes and why the money went back, as far as the kind speaks of it."""
    found = {
        "amount_open": money(rest, currency, language) if rest > ZERO else "",
        "reason": return_reason(posting.return_reason, language),
    }
    known = KINDS[kind].optional
    return {name: text for name, text in found.items() if name in known}


def return_reason(printed: str | None, language: str) -> str:
    """``AC04`` as ``Konto aufgelöst (AC04)``; what is no code that we know stays as it is."""
    words = RETURN_WORDS[language].get((printed or "").strip())
    return f"{words} ({(printed or '').strip()})" if words else printed or ""


# --- to the merchant, once a day ----------------------------------------------------------------


def tell_of_unassigned(
    merchant_id: int,
    postings: Sequence[Posting],
    at: datetime,
    likely: Mapping[int, str] | None = None,
) -> bool:
    """To those who hear of it, at most once in a day of the merchant: these wait for a person.

    ``postings`` were just looked at and not assigned; those that came since the last such mail
    and wait as well are told with them, so that what came later that day is not forgotten.
    ``likely`` is the number of the most likely order by posting id; where it is not given, the
    first suggestion counts. Nobody is told who ignores whatever is not assigned (K44).
    """
    once = once_a_day("postings_need_you", merchant_id, at)
    if is_told("postings_need_you", once, merchant_id) or _ignores_unassigned(merchant_id):
        return False
    ids = [posting.id for posting in postings]
    waits = (Posting.merchant_id == merchant_id) & Posting.is_open
    looked_at: ColumnElement[bool] = or_(Posting.id.in_(ids), ~Posting.needs_match)
    last = last_told("postings_need_you", merchant_id)
    is_new = or_(Posting.id.in_(ids), Posting.created_at > last) if last else looked_at
    newest = (
        select(Posting)
        .where(waits, looked_at, is_new)
        .order_by(Posting.booking_date.desc().nulls_last(), Posting.id.desc())
        .limit(LISTED_POSTINGS)
    )
    listed = list(db.session.scalars(newest))
    if not listed:
        return False
    count = db.session.scalar(select(func.count()).select_from(Posting).where(waits, looked_at))
    lines = _lines_of_postings(merchant_id, listed, likely or {})
    base = f"{installed().url}/postings"

    def facts(language: str) -> dict[str, Any]:
        return {
            **counted(count or 0, len(listed)),
            "postings": [line(language, base) for line in lines],
            "postings_url": base,
        }

    return tell_people("postings_need_you", merchant_id, once, facts, at=at)


def _lines_of_postings(
    merchant_id: int, postings: Sequence[Posting], likely: Mapping[int, str]
) -> list[Callable[[str, str], dict[str, str]]]:
    ids = [posting.id for posting in postings]
    taken = taken_totals(ids)
    orders = {**_likely_orders(ids), **likely}

    def line_of(posting: Posting) -> Callable[[str, str], dict[str, str]]:
        left = posting.amount - taken[posting.id]
        booked_on = posting.booking_date or local_day(merchant_id, posting.created_at)
        return lambda language, base: {
            "booked_on": day(booked_on, language),
            "payer": posting.counterparty_name or "",
            "amount": money(left, posting.currency, language),
            "purpose": _shortened(posting.remittance_information or ""),
            "likely_order": orders.get(posting.id, ""),
            "posting_url": f"{base}/{posting.id}",
        }

    return [line_of(posting) for posting in postings]


def _likely_orders(posting_ids: Sequence[int]) -> dict[int, str]:
    """Posting id to the numbers of the orders that are suggested first."""
    firsts = db.session.execute(
        select(Suggestion.posting_id, Suggestion.orders).where(
            Suggestion.posting_id.in_(posting_ids),
            Suggestion.rank == 0,
            Suggestion.returns_id.is_(None),
        )
    )
    offered = {posting_id: [int(one["order_id"]) for one in parts] for posting_id, parts in firsts}
    order_ids = {order_id for one in offered.values() for order_id in one}
    numbers = dict(
        db.session.execute(select(Order.id, Order.number).where(Order.id.in_(order_ids))).all()
    )
    return {
        posting_id: ", ".join(numbers[one] for one in order_ids if one in numbers)
        for posting_id, order_ids in offered.items()
    }


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= PURPOSE_LENGTH else line[: PURPOSE_LENGTH - 1].rstrip() + "…"


def _ignores_unassigned(merchant_id: int) -> bool:
    rule = select(IgnoreRule.id).where(
        IgnoreRule.merchant_id == merchant_id, IgnoreRule.kind == "unassigned"
    )
    return db.session.scalar(rule.limit(1)) is not None


def tell_of_differences(merchant_id: int, since: datetime, at: datetime) -> bool:
    """To those who hear of it, at most once in a day of the merchant: paid, with a difference.

    What was booked since the last such mail, or after ``since`` if there was none (K21, C7), and
    still stands. Takes the merchant's lock, so that no booking is half way in.
    """
    once = once_a_day("differences_booked", merchant_id, at)
    if is_told("differences_booked", once, merchant_id):
        return False
    lock_merchant(merchant_id)
    after = last_told("differences_booked", merchant_id) or since
    rows = db.session.execute(_differences(merchant_id, after, at)).all()
    if not rows:
        return False
    base = f"{installed().url}/orders"

    def facts(language: str) -> dict[str, Any]:
        return {
            **counted(rows[0][3], len(rows)),
            "differences": [
                _difference_line(row, order, received, language, base)
                for row, order, received, _ in rows
            ],
            "orders_url": f"{base}?status=paid",
        }

    return tell_people("differences_booked", merchant_id, once, facts, at=at)


def _differences(
    merchant_id: int, after: datetime, until: datetime
) -> Select[Assignment, Order, Decimal, int]:
    """Difference, its order, the amount of the payment that it completes; and how many."""
    completed = aliased(Assignment)
    return (
        select(Assignment, Order, completed.amount, func.count().over())
        .join(Order, Order.id == Assignment.order_id)
        .outerjoin(completed, completed.id == Assignment.completes_id)
        .where(
            Assignment.merchant_id == merchant_id,
            Assignment.origin == "difference",
            Assignment.created_at > after,
            Assignment.created_at <= until,
            is_standing(),
        )
        .order_by(Assignment.id.desc())
        .limit(LISTED_DIFFERENCES)
    )


def _difference_line(
    row: Assignment, order: Order, received: Decimal | None, language: str, base: str
) -> dict[str, str]:
    """What was written off lacks in the payment, so it is told as a minus."""
    sign = "+" if row.amount < ZERO else ""
    words = DIFFERENCE_WORDS[language]
    return {
        "order_number": order.number,
        "customer": order.customer_name,
        "amount": money(received, order.currency, language) if received is not None else "",
        "difference": f"{sign}{money(-row.amount, order.currency, language)}",
        "because": words.get(row.because or "other", words["other"]),
        "order_url": f"{base}/{order.id}",
    }


# --- for all that is told once a day ------------------------------------------------------------


def counted(count: int, listed: int) -> dict[str, str]:
    """The facts of a list that a mail may have to cut."""
    return {
        "count": str(count),
        "single": "yes" if count == 1 else "",
        "rest": str(count - listed) if count > listed else "",
    }


def once_a_day(kind: str, merchant_id: int, at: datetime) -> str:
    return f"merchant:{merchant_id}:{kind}:{local_day(merchant_id, at).isoformat()}"


def local_day(merchant_id: int, at: datetime) -> date:
    """The merchant's date."""
    return at.astimezone(zone_of(merchant_id)).date()


def is_told(kind: str, once: str, merchant_id: int) -> bool:
    """Whether everyone who would get this mail has it: one look-up, before any work is done."""
    keys = [f"{once}:{user.id}" for user in people_for(kind, merchant_id)]
    there = select(func.count()).select_from(Mail).where(Mail.once.in_(keys))
    return db.session.scalar(there) == len(keys)


def last_told(kind: str, merchant_id: int) -> datetime | None:
    """When the last mail of this kind was written."""
    mails = select(Mail.created_at).where(Mail.merchant_id == merchant_id, Mail.kind == kind)
    return db.session.scalar(mails.order_by(Mail.created_at.desc()).limit(1))
