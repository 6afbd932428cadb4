"""What the matcher is told and what it answers: values only.

Amounts are Decimal in the currency beside them, dates the merchant's local dates.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final, Literal, Protocol

ZERO: Final = Decimal(0)

OrderId = int
Choice = Literal["auto", "suggest", "none"]


@dataclass(frozen=True, slots=True)
class Payer:
    """A name under which the order may be paid: of the billing or the shipping address."""

    first_name: str = ""
    last_name: str = ""
    company: str = ""


@dataclass(frozen=True, slots=True)
class Discount:
    """Early payment discount: so many percent of the total within so many days of the order."""

    percent: Decimal
    days: int


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """An order as the matcher sees it, open or not.

    ``outstanding`` is what it still owes, never negative. An order whose ``payment_status`` is
    not ``unpaid`` or ``partially_paid`` is never paid automatically. ``keys`` are (key, kind)
    of ``server.orders.rules.order_keys``; a store of a database leaves them empty.
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
    keys: tuple[tuple[str, str], ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether a payment is waited for."""
        return self.payment_status in ("unpaid", "partially_paid") and self.outstanding > ZERO


@dataclass(frozen=True, slots=True)
class PostingFacts:
    """A posting as the bank told it. None where the bank said nothing or nothing readable.

    ``remaining`` is what of it is not assigned yet; None means all of it.
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
    remaining: Decimal | None = None

    @property
    def available(self) -> Decimal:
        """What can still be assigned; zero where the amount could not be read."""
        if self.remaining is not None:
            return self.remaining
        return ZERO if self.amount is None else self.amount


@dataclass(frozen=True, slots=True)
class KeyHit:
    """A key that some order really has."""

    key: str
    kind: str
    order_id: OrderId


class CandidateStore(Protocol):
    """Where orders are found by key. Each method is asked a fixed number of times a batch."""

    def find(self, keys: Set[str]) -> Mapping[str, Sequence[KeyHit]]:
        """The hits of those keys that some order has, open or not, in the order of their ids."""
        ...

    def load(self, order_ids: Set[OrderId]) -> Mapping[OrderId, OpenOrder]:
        """The orders with these ids, as they stand now."""
        ...


class MemoryStore:
    """A CandidateStore over a list of orders."""

    def __init__(self, orders: Iterable[OpenOrder]) -> None:
        self._orders = {order.id: order for order in orders}
        hits: dict[str, list[KeyHit]] = defaultdict(list)
        for _, order in sorted(self._orders.items()):
            for key, kind in order.keys:
                hits[key].append(KeyHit(key, kind, order.id))
        self._hits = dict(hits)

    def find(self, keys: Set[str]) -> Mapping[str, Sequence[KeyHit]]:
        """See CandidateStore."""
        return {key: self._hits[key] for key in keys if key in self._hits}

    def load(self, order_ids: Set[OrderId]) -> Mapping[OrderId, OpenOrder]:
        """See CandidateStore."""
        return {id: self._orders[id] for id in order_ids if id in self._orders}


@dataclass(frozen=True, slots=True)
class Share:
    """So much of the posting is booked on this order."""

    order: OpenOrder
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Proposal:
    """Orders a person may be offered together, with what each would get."""

    shares: tuple[Share, ...]
    probability: float
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer for one posting.

    ``auto``: ``shares`` are booked; ``suggest``: ``proposals`` are offered, best first, and
    ``vetoes`` say what spoke against deciding alone; ``none``: every list is empty.
    ``remainder`` is what of the posting is not booked. ``evidence`` belongs to the best
    proposal: a sentence each, with its weight as a power of ten.
    """

    posting: PostingFacts
    choice: Choice
    shares: tuple[Share, ...] = ()
    probability: float = 0.0
    evidence: tuple[str, ...] = ()
    vetoes: tuple[str, ...] = ()
    proposals: tuple[Proposal, ...] = ()

    @property
    def remainder(self) -> Decimal:
        """What is left of the posting; zero where money went out or could not be read."""
        booked = sum((share.amount for share in self.shares), ZERO)
        return max(self.posting.available - booked, ZERO)
