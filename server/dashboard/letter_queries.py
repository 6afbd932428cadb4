"""What the list of letters reads (S73); never their PDFs, which are large."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Select, String, and_, func, or_, select, tuple_

from server.dashboard import queries
from server.db import db
from server.letters.kinds import KINDS
from server.letters.models import Letter
from server.orders.models import Order

LETTERS_A_PAGE: Final = 50
LINES_SHOWN: Final = 200
MOST_COUNTED: Final = 1_000
ORDERS_OF_NUMBER: Final = 20
STATES: Final = (
    "lost",
    "waiting",
    "handed_over",
    "sent",
    "returned",
    "failed",
    "unknown",
    "cancelled",
    "withheld",
)
LISTED_KINDS: Final = tuple(KINDS)

Cursor = tuple[datetime, int]


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """``state`` one of STATES, ``kind`` one of LISTED_KINDS, "" for all."""

    text: str = ""
    state: str = ""
    kind: str = ""
    shop_id: int | None = None
    first_date: date | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """What the letters that were handed over cost, in one currency."""

    amount: Decimal
    currency: str
    count: int


def state_of(letter: Letter) -> str:
    """One of STATES but ``lost``, which is two; what waits for another attempt is ``waiting``."""
    if letter.status in ("queued", "running"):
        return "waiting"
    if letter.status == "withheld":
        return "cancelled" if letter.cancelled_by else "withheld"
    if letter.status == "done":
        return "handed_over" if letter.delivery in (None, "accepted") else str(letter.delivery)
    return letter.status


def in_state(state: str) -> ColumnElement[bool]:
    """Of ``Letter``, as ``state_of`` says it; ``lost`` is failed or returned."""
    is_done = Letter.status == "done"
    is_failed = or_(Letter.status == "failed", and_(is_done, Letter.delivery == "failed"))
    is_returned = and_(is_done, Letter.delivery == "returned")
    states: dict[str, ColumnElement[bool]] = {
        "waiting": Letter.status.in_(("queued", "running")),
        "handed_over": and_(is_done, func.coalesce(Letter.delivery, "accepted") == "accepted"),
        "sent": and_(is_done, Letter.delivery == "sent"),
        "lost": or_(is_failed, is_returned),
        "returned": is_returned,
        "failed": is_failed,
        "unknown": Letter.status == "unknown",
        "cancelled": and_(Letter.status == "withheld", Letter.cancelled_by.is_not(None)),
        "withheld": and_(Letter.status == "withheld", Letter.cancelled_by.is_(None)),
    }
    return states[state]


def matching_letters(merchant_id: int, wanted: LetterFilter, zone: ZoneInfo) -> Select[Any]:
    """The letters that the filter asks for, unordered."""
    query = select(Letter).where(Letter.merchant_id == merchant_id)
    if wanted.first_date is not None:
        query = query.where(Letter.created_at >= queries.midnight(wanted.first_date, zone))
    if wanted.state:
        query = query.where(in_state(wanted.state))
    if wanted.kind:
        query = query.where(Letter.kind == wanted.kind)
    if wanted.shop_id is not None:
        query = query.where(Letter.shop_id == wanted.shop_id)
    if wanted.text:
        query = query.where(_says(merchant_id, wanted.text))
    return query


def _says(merchant_id: int, text: str) -> ColumnElement[bool]:
    """Exactly the number of an order, else a part of a line of the address."""
    numbered = select(Order.id).where(Order.merchant_id == merchant_id, Order.number == text)
    order_ids = list(db.session.scalars(numbered.limit(ORDERS_OF_NUMBER)))
    if order_ids:
        return Letter.order_id.in_(order_ids)
    line = func.json_array_elements_text(Letter.recipient, type_=String).column_valued("at_line")
    return select(line).where(line.icontains(text, autoescape=True)).exists()


def letter_page(
    matching: Select[Any],
    *,
    before: Cursor | None = None,
    after: Cursor | None = None,
    size: int = LETTERS_A_PAGE,
) -> tuple[list[Letter], bool, bool]:
    """(the newest first, are there newer ones, are there older ones)."""
    place = tuple_(Letter.created_at, Letter.id)
    query = matching
    if after is not None:
        query = query.where(place > after).order_by(Letter.created_at, Letter.id)
    else:
        if before is not None:
            query = query.where(place < before)
        query = query.order_by(Letter.created_at.desc(), Letter.id.desc())
    found = list(db.session.scalars(query.limit(size + 1)))
    rows, has_more = found[:size], len(found) > size
    if after is not None:
        return rows[::-1], has_more, True
    return rows, before is not None, has_more


def letter_count(matching: Select[Any], most: int = MOST_COUNTED) -> int:
    """How many there are; counting ends at one more than ``most``."""
    some = matching.with_only_columns(Letter.id).limit(most + 1).subquery()
    return int(db.session.scalar(select(func.count()).select_from(some)) or 0)


def costs(matching: Select[Any]) -> list[Cost]:
    """What those of them cost that were handed over; a sum for each currency."""
    paid = matching.where(Letter.cost.is_not(None), Letter.is_test.is_(False)).subquery()
    rows = db.session.execute(
        select(func.sum(paid.c.cost), paid.c.cost_currency, func.count())
        .group_by(paid.c.cost_currency)
        .order_by(paid.c.cost_currency)
    )
    return [Cost(amount, currency or "EUR", count) for amount, currency, count in rows]


def numbers_of(merchant_id: int, letters: Sequence[Letter]) -> dict[int, str]:
    """Order id to its number, of the orders that these letters are about."""
    ids = {letter.order_id for letter in letters if letter.order_id is not None}
    if not ids:
        return {}
    query = select(Order.id, Order.number).where(
        Order.merchant_id == merchant_id, Order.id.in_(ids)
    )
    return dict(db.session.execute(query).all())


def letters_of_order(merchant_id: int, order_id: int) -> list[Letter]:
    """The newest first."""
    query = select(Letter).where(Letter.merchant_id == merchant_id, Letter.order_id == order_id)
    return list(db.session.scalars(query.order_by(Letter.id.desc()).limit(LINES_SHOWN)))


def letter_of_mail(merchant_id: int, mail_id: int) -> Letter | None:
    """The last one that went instead of this mail."""
    query = select(Letter).where(Letter.merchant_id == merchant_id, Letter.mail_id == mail_id)
    return db.session.scalar(query.order_by(Letter.id.desc()).limit(1))
