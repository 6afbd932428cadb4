"""What is the same for all orders of a merchant at one moment, and what of it holds reminders back.

A file of its own because the run, the preview, the screen and a person's click all ask it: one
guard for all (N5). Read with a fixed number of queries. Never commits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Final

from sqlalchemy import ColumnElement, select

from server.banking.models import BankAccount, Posting, Statement
from server.banking.rules.accounts import Payee, choose_payee
from server.banking.service import heard_at, payees
from server.db import db
from server.dunning.calendar import Calendar, banking_hours
from server.dunning.fees import BaseRates
from server.dunning.models import BaseRate
from server.merchants.service import settings_of
from server.merchants.settings import MerchantSettings
from server.orders.models import Suggestion
from server.orders.rules import normalise_reference, reference_in_qr
from server.orders.told import zone_of
from server.shops.connections import visited_shops
from server.shops.models import Shop
from server.shops.rules import SILENT_AFTER

LEAST_LIKELY: Final = Decimal("0.1")
"""A suggestion that is less likely is no reason to wait."""
MOST_UNLOOKED: Final = 1000
"""With more postings that nobody has looked at yet, any order's money may be among them."""
SHORTEST_NAME: Final = 4
"""A shorter order number stands in too many texts to say anything."""
HARMLESS: Final = frozenset({"stale_bank", "shop_away", "maybe_paid"})
"""What a person may overrule who knows better."""


@dataclass(frozen=True, slots=True)
class Whose:
    """What of an order decides which guards are about it."""

    order_id: int
    shop_id: int
    number: str
    payment_reference: str
    country: str | None
    currency: str
    total: Decimal
    sync: str


@dataclass(frozen=True, slots=True)
class Unlooked:
    """Money that came and that the matcher has not looked at yet."""

    amount: Decimal
    text: str


class Circumstances:
    """Of one merchant at one moment."""

    def __init__(self, merchant_id: int, at: datetime) -> None:
        self.merchant_id, self.at = merchant_id, at
        self.zone = zone_of(merchant_id)
        self.today: date = at.astimezone(self.zone).date()
        self.payees = payees(merchant_id)
        self._settings: dict[int, MerchantSettings] = {}
        self._calendars: dict[tuple[str | None, int, str], Calendar] = {}
        self._stale: dict[tuple[str, int], bool] = {}

    # --- settings and days

    def settings(self, shop_id: int) -> MerchantSettings:
        """What is in force for a shop."""
        found = self._settings.get(shop_id)
        if found is None:
            found = self._settings[shop_id] = settings_of(self.merchant_id, shop_id)
        return found

    @cached_property
    def general(self) -> MerchantSettings:
        return settings_of(self.merchant_id)

    def payee(self, whose: Whose) -> Payee | None:
        """The account that this order is to be paid to; as ``orders.notices.payee_for``."""
        return choose_payee(
            self.payees, shop_id=whose.shop_id, country=whose.country, currency=whose.currency
        )

    def asked_at(self) -> dict[str, set[int]]:
        """IBAN to the shops whose customers may be asked to pay there."""
        found: dict[str, set[int]] = {}
        for payee in self.payees:
            shops = {one for one in self.living if not payee.for_shops or one in payee.for_shops}
            found.setdefault(payee.iban, set()).update(shops)
        return found

    def calendar(self, whose: Whose) -> Calendar:
        payee = self.payee(whose)
        bank_country = payee.iban[:2] if payee is not None else "DE"
        key = (whose.country, whose.shop_id, bank_country)
        found = self._calendars.get(key)
        if found is None:
            saturdays = self.settings(whose.shop_id).saturday_reminders
            found = Calendar(whose.country, saturdays=saturdays, bank_country=bank_country)
            self._calendars[key] = found
        return found

    @cached_property
    def base_rates(self) -> BaseRates:
        rates: dict[str, dict[date, Decimal]] = {}
        for row in db.session.scalars(select(BaseRate)):
            rates.setdefault(row.country, {})[row.valid_from] = row.percent
        return rates

    # --- the guards

    def hindrance(self, whose: Whose) -> str | None:
        """Why nothing may happen to this order by itself now; None if it may.

        ``stopped``: the merchant's stop switch. ``shadow``: another process reminds (N3).
        ``shop_away``: what changed there is not known here. ``stale_bank``: the account that it is
        paid to was not heard of lately, or there is none. ``maybe_paid``: money that came looks
        like this order's.
        """
        if self.general.stop_mails:
            return "stopped"
        if self.general.assignment == "shadow":
            return "shadow"
        if whose.sync != "manual" and self.is_away(whose.shop_id):
            return "shop_away"
        payee = self.payee(whose)
        if payee is None or self.is_stale(payee.iban, whose.shop_id):
            return "stale_bank"
        return "maybe_paid" if self._may_be_paid(whose) else None

    @cached_property
    def shops(self) -> Mapping[int, Shop]:
        query = select(Shop).where(Shop.merchant_id == self.merchant_id).order_by(Shop.id)
        fresh = query.execution_options(populate_existing=True)
        return {row.id: row for row in db.session.scalars(fresh)}

    @cached_property
    def living(self) -> Sequence[int]:
        """Those that are not deregistered: to the orders of others nothing happens by itself."""
        return [one.id for one in self.shops.values() if one.status != "deregistered"]

    def is_away(self, shop_id: int) -> bool:
        """Not connected, or its agent is silent. A shop that pushes by itself has no heartbeat, and
        one that Kontor visits is heard of when its comparison is due.
        """
        shop = self.shops[shop_id]
        if shop.status != "connected":
            return True
        patience = SILENT_AFTER
        if shop_id in self.visited:
            patience += timedelta(seconds=shop.compare_seconds or 0)
        is_silent = shop.seen_at is None or self.at - shop.seen_at > patience
        return shop.connector is not None and is_silent

    @cached_property
    def visited(self) -> set[int]:
        """The shops that Kontor talks to itself."""
        return visited_shops(self.merchant_id)

    @cached_property
    def heard(self) -> Mapping[str, datetime | None]:
        """IBAN to the moment up to which we know everything; of its currencies the freshest."""
        accounts = select(BankAccount.id, BankAccount.iban).where(
            BankAccount.merchant_id == self.merchant_id
        )
        moments = heard_at(self.merchant_id)
        found: dict[str, datetime | None] = {}
        for account_id, iban in db.session.execute(accounts):
            known = [one for one in (found.get(iban), moments.get(account_id)) if one is not None]
            found[iban] = max(known, default=None)
        return found

    def known_until(self, iban: str) -> date | None:
        """The last day of which we know anything; a file that ends with a day is heard at the next
        midnight."""
        heard = self.heard.get(iban)
        return (heard - timedelta.resolution).astimezone(self.zone).date() if heard else None

    def is_stale(self, iban: str, shop_id: int) -> bool:
        """Older than the shop's setting, in hours of banking days."""
        key = (iban, shop_id)
        if key not in self._stale:
            heard, limit = self.heard.get(iban), self.settings(shop_id).bank_data_hours
            self._stale[key] = heard is None or self.hours_since(heard, iban) > limit
        return self._stale[key]

    def hours_since(self, heard: datetime, iban: str) -> float:
        return banking_hours(heard.astimezone(self.zone), self.at.astimezone(self.zone), iban[:2])

    @cached_property
    def suggested(self) -> frozenset[int]:
        """Orders that an open posting may pay, as somebody is asked about it."""
        rows = db.session.scalars(
            select(Suggestion.orders)
            .join(Posting, Posting.id == Suggestion.posting_id)
            .where(
                Suggestion.merchant_id == self.merchant_id,
                Suggestion.probability >= LEAST_LIKELY,
                Suggestion.returns_id.is_(None),
                Posting.is_open,
            )
        )
        return frozenset(int(part["order_id"]) for parts in rows for part in parts)

    @cached_property
    def unlooked(self) -> tuple[Unlooked, ...]:
        """Of postings that nobody has looked at yet; one more than ``MOST_UNLOOKED`` at most."""
        rows = db.session.execute(
            select(
                Posting.amount,
                Posting.remittance_information,
                Posting.creditor_reference,
                Posting.end_to_end_id,
            )
            .where(*_unlooked(self.merchant_id))
            .limit(MOST_UNLOOKED + 1)
        )
        return tuple(
            Unlooked(amount, normalise_reference(" ".join(_said(texts)))) for amount, *texts in rows
        )

    def _may_be_paid(self, whose: Whose) -> bool:
        if whose.order_id in self.suggested or len(self.unlooked) > MOST_UNLOOKED:
            return True
        names = [
            name
            for name in (normalise_reference(whose.number), whose.payment_reference)
            if len(name) >= SHORTEST_NAME
        ]
        return any(
            one.amount == whose.total or any(name in one.text for name in names)
            for one in self.unlooked
        )


def _said(texts: Sequence[str | None]) -> Iterator[str]:
    """What is written, and what stands in a QR reference."""
    for text in texts:
        if text:
            yield text
            yield reference_in_qr(text) or ""


def _unlooked(merchant_id: int) -> tuple[ColumnElement[bool], ...]:
    return (
        Posting.merchant_id == merchant_id,
        Posting.is_open.is_(True),
        Posting.needs_match.is_(True),
    )


def bank_is_busy(merchant_id: int) -> bool:
    """Is something from the bank still to be read or looked at? Then a run waits a little."""
    unlooked = select(Posting.id).where(*_unlooked(merchant_id))
    unread = select(Statement.id).where(
        Statement.merchant_id == merchant_id, Statement.status.in_(("queued", "running"))
    )
    return bool(
        db.session.scalar(select(unlooked.exists())) or db.session.scalar(select(unread.exists()))
    )
