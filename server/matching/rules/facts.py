"""What the matcher is told and what it answers: values only.

Amounts are Decimal in the currency beside them, dates the merchant's local dates.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final, Literal, NamedTuple, Protocol

from server.matching.rules.evidence import Evidence
from server.merchants.settings import Level
from server.orders.rules import NAME_MARK

ZERO: Final = Decimal(0)
MOST_OF_A_NAME: Final = 25  # a commoner name needs the amount beside it to say anything
MOST_OF_AN_AMOUNT: Final = 5

OrderId = int
Choice = Literal["auto", "suggest", "none"]


@dataclass(frozen=True, slots=True)
class Payer:
    """A name under which the order may be paid.

    Of an address; or ``is_added``: a person told that this payer will pay the order (S85).
    """

    first_name: str = ""
    last_name: str = ""
    company: str = ""
    is_added: bool = False


@dataclass(frozen=True, slots=True)
class Discount:
    """Early payment discount: so many percent of the total within so many days."""

    percent: Decimal
    days: int


@dataclass(frozen=True, slots=True)
class Policy:
    """What the merchant wishes; see ``server.merchants.settings``."""

    level: Level = "normal"
    tolerance: Decimal = ZERO
    claims_bank_fees: bool = False
    max_order_age_days: int = 0
    discount_grace_days: int = 3
    accepts_late_discount: bool = False
    assigns_cancelled: bool = False
    claims_fees: bool = False
    invoice_discount: Discount | None = None


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """An order as the matcher sees it, open or not.

    ``outstanding`` is what it still owes, never negative. An order whose ``payment_status`` is
    not ``unpaid`` or ``partially_paid`` is never paid automatically. ``terms_date`` is the day
    from which discount days count: of the invoice, else of the order. ``customer`` are the names
    by which a customer is known: his e-mail in small letters, his number with its shop.
    ``fees`` were charged by reminders and may be paid with it, but need not be.
    ``policy`` is that of its shop; None is the batch's. ``keys`` are (key, kind) of
    ``server.orders.rules.order_keys``; a store of a database leaves them empty.
    """

    id: OrderId
    number: str
    currency: str
    total: Decimal
    outstanding: Decimal
    payment_status: str
    ordered_date: date
    payers: tuple[Payer, ...] = ()
    discount: Discount | None = None
    terms_date: date | None = None
    customer: tuple[str, ...] = ()
    fees: Decimal = ZERO
    policy: Policy | None = None
    keys: tuple[tuple[str, str], ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether a payment is waited for."""
        return self.payment_status in ("unpaid", "partially_paid") and self.outstanding > ZERO


@dataclass(frozen=True, slots=True)
class PostingFacts:
    """A posting as the bank told it. None where the bank said nothing or nothing readable.

    ``remaining`` is what of it is not assigned yet; None means all of it. ``is_own_refund``: money
    that we had sent out and that came back.
    """

    id: object
    amount: Decimal | None
    currency: str | None
    booking_date: date | None = None
    value_date: date | None = None
    counterparty_name: str | None = None
    counterparty_iban: str | None = None
    remittance_information: str | None = None
    creditor_reference: str | None = None
    end_to_end_id: str | None = None
    is_return: bool = False
    is_pending: bool = False
    is_batch_total: bool = False
    is_possible_duplicate: bool = False
    is_own_refund: bool = False
    remaining: Decimal | None = None

    @property
    def available(self) -> Decimal:
        """What can still be assigned; zero where the amount could not be read."""
        if self.remaining is not None:
            return self.remaining
        return ZERO if self.amount is None else self.amount


@dataclass(frozen=True, slots=True)
class PaidFor:
    """A person confirmed that this payer paid for this customer, so many times."""

    customer: tuple[str, ...]
    times: int
    last_date: date | None = None


class KeyHit(NamedTuple):
    """A key that some order really has."""

    key: str
    kind: str
    order_id: OrderId


@dataclass(frozen=True, slots=True)
class Crowd:
    """How common things are among a merchant's orders.

    ``open_orders`` is how many wait for money; ``owing`` how many of them have a total, ``named``
    how many orders at all carry a name key.
    """

    open_orders: int
    orders: int
    owing: Mapping[Decimal, int]
    named: Mapping[str, int]


class CandidateStore(Protocol):
    """Where orders are found. Each method is asked a fixed number of times a batch."""

    def find(self, keys: Set[str]) -> Mapping[str, Sequence[KeyHit]]:
        """The hits of those keys that some order has, open or not, in the order of their ids."""
        ...

    def lengths(self) -> Set[int] | None:
        """The lengths that keys of numbers have; None where nobody counted."""
        ...

    def named(
        self, names: Set[str], pairs: Set[tuple[str, Decimal]]
    ) -> Mapping[str, Sequence[OrderId]]:
        """Open orders by name key: all of a rare name, of a common one those of a wanted total."""
        ...

    def owing(self, totals: Set[Decimal]) -> Mapping[Decimal, Sequence[OrderId]]:
        """Open orders of a total that only a few have."""
        ...

    def of_customers(self, customers: Set[str]) -> Mapping[str, Sequence[OrderId]]:
        """Open orders by customer."""
        ...

    def payers(self, payers: Iterable[str]) -> Mapping[str, Sequence[PaidFor]]:
        """Whom an IBAN, or a name, is known to have paid for."""
        ...

    def crowd(self, totals: Iterable[Decimal], names: Iterable[str]) -> Crowd:
        """How common these totals and names are, and perhaps others."""
        ...

    def load(self, order_ids: Set[OrderId]) -> Mapping[OrderId, OpenOrder]:
        """The orders with these ids, as they stand now."""
        ...


class MemoryStore:
    """A CandidateStore over a list of orders."""

    def __init__(
        self,
        orders: Iterable[OpenOrder],
        history: Mapping[str, Sequence[PaidFor]] | None = None,
    ) -> None:
        self._orders = {order.id: order for order in orders}
        self._history = history or {}
        self._hits: dict[str, list[KeyHit]] = {}
        self._names: dict[str, list[OrderId]] = defaultdict(list)
        self._totals: dict[Decimal, list[OrderId]] = defaultdict(list)
        self._customers: dict[str, list[OrderId]] = defaultdict(list)
        self._owing: dict[Decimal, int] = {}
        self._lengths: set[int] = set()
        self._named: dict[str, int] = {}
        self._of_common_name: dict[str, Set[OrderId]] = {}
        self._open = 0
        for _, order in sorted(self._orders.items()):
            self._take(order)

    def _take(self, order: OpenOrder) -> None:
        is_open = order.is_open
        for key, kind in order.keys:
            if kind == "name":
                self._named[key] = self._named.get(key, 0) + 1
                if is_open:
                    self._names[key].append(order.id)
                continue
            self._lengths.add(len(key))
            hit = KeyHit(key, kind, order.id)
            found = self._hits.get(key)
            if found is None:
                self._hits[key] = [hit]
            else:
                found.append(hit)
        if is_open:
            self._open += 1
            self._totals[order.total].append(order.id)
            self._owing[order.total] = len(self._totals[order.total])
            for customer in order.customer:
                self._customers[customer].append(order.id)

    def find(self, keys: Set[str]) -> Mapping[str, Sequence[KeyHit]]:
        """See CandidateStore."""
        hits = self._hits
        return {key: hits[key] for key in keys & hits.keys()}

    def lengths(self) -> Set[int] | None:
        """See CandidateStore."""
        return self._lengths

    def named(
        self, names: Set[str], pairs: Set[tuple[str, Decimal]]
    ) -> Mapping[str, Sequence[OrderId]]:
        """See CandidateStore."""
        found: dict[str, Sequence[OrderId]] = {}
        totals: dict[str, list[Decimal]] = defaultdict(list)
        for name, total in pairs:
            totals[name].append(total)
        for name in names:
            ids: Sequence[OrderId] = self._names.get(name, ())
            if len(ids) > MOST_OF_A_NAME:
                of_name = self._of_name(name)
                ids = [id for total in totals[name] for id in self._totals.get(total, ())]
                ids = sorted(id for id in ids if id in of_name)
            if ids:
                found[name] = ids
        return found

    def _of_name(self, name: str) -> Set[OrderId]:
        if name not in self._of_common_name:
            self._of_common_name[name] = frozenset(self._names[name])
        return self._of_common_name[name]

    def owing(self, totals: Set[Decimal]) -> Mapping[Decimal, Sequence[OrderId]]:
        """See CandidateStore."""
        found = {total: self._totals.get(total, ()) for total in totals}
        return {total: ids for total, ids in found.items() if 0 < len(ids) <= MOST_OF_AN_AMOUNT}

    def of_customers(self, customers: Set[str]) -> Mapping[str, Sequence[OrderId]]:
        """See CandidateStore."""
        return {each: self._customers[each] for each in customers if each in self._customers}

    def payers(self, payers: Iterable[str]) -> Mapping[str, Sequence[PaidFor]]:
        """See CandidateStore."""
        if not self._history:
            return {}
        return {each: self._history[each] for each in payers if each in self._history}

    def crowd(self, totals: Iterable[Decimal], names: Iterable[str]) -> Crowd:
        """See CandidateStore."""
        return Crowd(self._open, len(self._orders), self._owing, self._named)

    def load(self, order_ids: Set[OrderId]) -> Mapping[OrderId, OpenOrder]:
        """See CandidateStore."""
        orders = self._orders
        return {id: orders[id] for id in order_ids if id in orders}


class Share(NamedTuple):
    """So much of the posting is booked on this order.

    ``because``: what the order owes beyond it is written off for that reason (see
    ``orders.models.Assignment``); None leaves it owed.
    """

    order: OpenOrder
    amount: Decimal
    because: str | None = None


@dataclass(frozen=True, slots=True)
class Proposal:
    """Orders a person may be offered together, with what each would get."""

    shares: tuple[Share, ...]
    probability: float
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer for one posting.

    ``auto``: ``shares`` are booked; ``suggest``: ``proposals`` are offered, best first, and
    ``vetoes`` say what spoke against deciding alone; ``none``: every list is empty.
    ``remainder`` is what of the posting is not booked. ``evidence`` belongs to the best
    proposal. ``runner_up`` is the next best answer.
    """

    posting: PostingFacts
    choice: Choice
    shares: tuple[Share, ...] = ()
    probability: float = 0.0
    evidence: tuple[Evidence, ...] = ()
    vetoes: tuple[str, ...] = ()
    proposals: tuple[Proposal, ...] = ()
    runner_up: Proposal | None = None

    @property
    def remainder(self) -> Decimal:
        """What is left of the posting; zero where money went out or could not be read."""
        booked = sum((share.amount for share in self.shares), ZERO)
        return max(self.posting.available - booked, ZERO)


def payer_key(name: str) -> str:
    """The name of an account holder as the memory of payers keeps it."""
    return NAME_MARK + " ".join(sorted(name.upper().replace(",", " ").split()))
