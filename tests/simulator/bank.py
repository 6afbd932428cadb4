"""A bank: transfers on their way, how and when the house hears of them, and whose they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from sqlalchemy import select

from server.banking.formats import ParsedPosting
from server.banking.intake import store_postings
from server.banking.models import Posting, Statement
from server.banking.service import store_statement
from server.db import db
from server.orders.service import request_match
from tests.bank_files import Paid, camt

if TYPE_CHECKING:
    from tests.simulator.world import World

ONE_DAY = timedelta(days=1)


def german_iban(number: int) -> str:
    """A valid one that nobody has."""
    account = f"12030000{number:010}"
    rest = 98 - int(f"{account}131400") % 97
    return f"DE{rest:02}{account}"


@dataclass(slots=True)
class Transfer:
    """Money on its way. ``pays``: (shop id, the shop's key) to amount, as the payer means it;
    ``says``: the text names just these orders, rightly and by nothing else."""

    reference: str
    on: date
    amount: Decimal
    text: str
    name: str
    iban: str
    pays: dict[tuple[int, str], Decimal] = field(default_factory=dict)
    says: bool = False
    is_return: bool = False


class BankModel:
    """One account of a merchant. ``feed``: ``camt`` is a file a day, ``api`` single postings."""

    def __init__(
        self, merchant_id: int, account_id: int, iban: str, zone: ZoneInfo, chance: Random
    ) -> None:
        self.merchant_id, self.account_id, self.iban = merchant_id, account_id, iban
        self.zone, self.chance = zone, chance
        self.feed = "camt" if chance.random() < 0.6 else "api"
        self.is_away = False
        self.waiting: list[Transfer] = []
        self.known: dict[str, Transfer] = {}
        self.posting_of: dict[str, int] = {}
        self.told_until: date | None = None
        self.last_file: tuple[bytes, date] | None = None
        self._files: dict[int, date] = {}
        self._told_at: datetime | None = None
        self._count = 0

    def send(self, transfer: Transfer) -> None:
        while transfer.on.weekday() > 4:
            transfer.on += ONE_DAY
        self.waiting.append(transfer)
        self.known[transfer.reference] = transfer

    def reference(self) -> str:
        self._count += 1
        return f"B{self.account_id}X{self._count:06}"

    @property
    def has_money(self) -> bool:
        """Is a transfer under way?"""
        return bool(self.waiting)

    # --- to the house

    def deliver(self, world: World) -> None:
        """All that was booked until yesterday (file) or by now (postings)."""
        if self.is_away or not world.is_house_up:
            return
        today = world.now.astimezone(self.zone).date()
        if self.feed == "camt":
            self._deliver_file(world, today - ONE_DAY)
        elif today.weekday() < 5:
            self._deliver_postings(world, today)

    def deliver_again(self, world: World) -> None:
        """The same file once more."""
        if self.last_file is not None and not self.is_away and world.is_house_up:
            self._store(world, *self.last_file)

    def _due(self, until: date) -> list[Transfer]:
        due = [one for one in self.waiting if one.on <= until]
        self.waiting = [one for one in self.waiting if one.on > until]
        return due

    def _deliver_file(self, world: World, last: date) -> None:
        first = (self.told_until or last - ONE_DAY) + ONE_DAY
        if first > last:
            return
        paid = [
            Paid(
                f"{one.amount:.2f}",
                one.text,
                one.name,
                one.iban,
                max(one.on, first),
                reference=one.reference,
            )
            for one in self._due(last)
        ]
        self.told_until = last
        content = camt("camt.053", *paid, days=(first, last), iban=self.iban)
        self._store(world, content, last)

    def _store(self, world: World, content: bytes, last: date) -> None:
        row = store_statement(self.merchant_id, "day.xml", content, uploaded_by="the bank")
        db.session.commit()
        self._files[row.id] = last
        self.last_file = content, last

    def _deliver_postings(self, world: World, today: date) -> None:
        due = self._due(today)
        self._count += 1
        noise = Transfer(
            f"N{self.account_id}X{self._count:06}",
            today,
            Decimal("-3.50"),
            "Kontoentgelt",
            "Beispielbank",
            german_iban(1),
        )
        parsed = [
            ParsedPosting(
                self.iban,
                today,
                today,
                one.amount,
                "EUR",
                counterparty_name=one.name,
                counterparty_iban=one.iban,
                remittance_information=one.text,
                bank_reference=one.reference,
                is_return=one.is_return,
                return_reason="AC04" if one.is_return else None,
                source="API",
            )
            for one in (*due, noise)
        ]
        new, _ = store_postings(self.merchant_id, parsed)
        if new:
            request_match(self.merchant_id, world.now)
        db.session.commit()
        self._told_at = world.now

    # --- what is true

    def heard_until(self) -> datetime | None:
        """The moment until which the house can know of everything."""
        if self.feed == "api":
            return self._told_at
        read = db.session.execute(
            select(Statement.id, Statement.finished_at).where(
                Statement.id.in_(self._files), Statement.status == "done"
            )
        )
        moments = [min(at, self._midnight_after(self._files[id])) for id, at in read if at]
        return max(moments, default=None)

    def _midnight_after(self, day: date) -> datetime:
        return datetime.combine(day + ONE_DAY, time(), self.zone)

    def learn_postings(self) -> None:
        """Which posting is which transfer, as long as the house still knows the bank's word."""
        rows = db.session.execute(
            select(Posting.bank_reference, Posting.id).where(
                Posting.account_id == self.account_id, Posting.bank_reference.is_not(None)
            )
        )
        self.posting_of.update((reference, id) for reference, id in rows)
