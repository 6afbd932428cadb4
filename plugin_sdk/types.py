"""The words both sides of the wire speak. Frozen, typed, no behaviour but arithmetic.

Amounts are ``Decimal`` with a currency beside them, never floats. Times are aware.
``schemas.py`` is their JSON form.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

WIRE_VERSION = 2
"""Raised when a field is added. A server ignores unknown fields of a newer version."""


class PaymentCode(StrEnum):
    """How the customer promised to pay, in the merchant's terms (S23)."""

    PREPAYMENT = "prepayment"
    INVOICE = "invoice"
    CASH_ON_DELIVERY = "cash_on_delivery"
    OTHER = "other"


class PaymentStatus(StrEnum):
    """Where an order stands. Overpaid is ``paid`` with a surplus."""

    UNPAID = "unpaid"
    PARTIALLY_PAID = "partially_paid"
    PAID = "paid"
    CANCELLED = "cancelled"
    REFUNDED = "refunded"
    PARTIALLY_REFUNDED = "partially_refunded"
    COLLECTION = "collection"
    REMOVED = "removed"
    NOT_MANAGED = "not_managed"


class Intent(StrEnum):
    """What a payment update wants the shop to know."""

    PAID = "paid"
    PARTIALLY_PAID = "partially_paid"
    UNPAID = "unpaid"
    CANCELLED = "cancelled"
    OVERDUE = "overdue"
    COLLECTION = "collection"
    REFUNDED = "refunded"
    PARTIALLY_REFUNDED = "partially_refunded"


class Outcome(StrEnum):
    """How a payment update ended, told in the acknowledgement.

    The first four end it. ``temporary`` puts it back on the schedule. ``rejected`` ends it and
    the merchant is told. ``misconfigured`` tells the merchant at once and keeps trying.
    """

    APPLIED = "applied"
    ALREADY_THERE = "already_there"
    NO_LONGER_OPEN = "no_longer_open"
    NOT_SUPPORTED = "not_supported"
    TEMPORARY = "temporary"
    REJECTED = "rejected"
    MISCONFIGURED = "misconfigured"


class Evidence(StrEnum):
    """How the shop answered when it was asked for an order by id (S41)."""

    GONE = "gone"
    TRASHED = "trashed"


class RequestOutcome(StrEnum):
    """What became of "look at this order now", told in the answer.

    ``found`` comes with the order. ``unknown``: the shop was asked and names no such order.
    ``temporary`` puts the request back on the schedule; all others end it.
    """

    FOUND = "found"
    GONE = "gone"
    TRASHED = "trashed"
    UNKNOWN = "unknown"
    NOT_SUPPORTED = "not_supported"
    TEMPORARY = "temporary"
    REJECTED = "rejected"


class PayoutKind(StrEnum):
    """What a part of a payout is for. ``difference``: what the parts told do not explain."""

    SALE = "sale"
    REFUND = "refund"
    FEE = "fee"
    CREDIT = "credit"
    DISPUTE = "dispute"
    OTHER = "other"
    DIFFERENCE = "difference"


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in one currency (ISO 4217). Mixing currencies raises ValueError."""

    amount: Decimal
    currency: str

    def __post_init__(self) -> None:
        if not isinstance(self.amount, Decimal):
            raise TypeError("Money.amount must be a Decimal, never a float")

    def __add__(self, other: Money) -> Money:
        self._same_currency(other)
        return Money(self.amount + other.amount, self.currency)

    def __sub__(self, other: Money) -> Money:
        self._same_currency(other)
        return Money(self.amount - other.amount, self.currency)

    def _same_currency(self, other: Money) -> None:
        if self.currency != other.currency:
            raise ValueError(f"{self.currency} is not {other.currency}")


@dataclass(frozen=True, slots=True)
class Customer:
    """Who ordered. ``language`` is BCP 47 ("de", "de-CH"), as the shop knows it."""

    number: str | None = None
    email: str | None = None
    language: str | None = None
    vat_id: str | None = None
    salutation: str | None = None


@dataclass(frozen=True, slots=True)
class Address:
    """A postal address. ``country`` is ISO 3166-1 alpha-2."""

    first_name: str | None = None
    last_name: str | None = None
    company: str | None = None
    street: str | None = None
    postcode: str | None = None
    city: str | None = None
    country: str | None = None
    phone: str | None = None


@dataclass(frozen=True, slots=True)
class Invoice:
    """The number of an invoice that belongs to the order; the PDF travels apart."""

    number: str
    date: date | None = None


@dataclass(frozen=True, slots=True)
class PaymentTerms:
    """E.g. 2 % within 14 days, 30 days net."""

    discount_percent: Decimal | None = None
    discount_days: int | None = None
    net_days: int | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the order. ``quantity`` may be a fraction (metres, hours)."""

    name: str
    quantity: Decimal = Decimal(1)
    number: str | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """A sale as the shop knows it.

    ``external_id`` is the shop's key, ``number`` what people read. ``total`` is what the customer
    owes after credits that the shop has recorded.
    """

    external_id: str
    number: str
    ordered_at: datetime
    currency: str
    total: Decimal
    payment_method: str | None = None
    payment_code: PaymentCode | None = None
    shop_status: str | None = None
    customer: Customer = Customer()
    billing_address: Address | None = None
    shipping_address: Address | None = None
    invoices: tuple[Invoice, ...] = ()
    due_date: date | None = None
    reminder_base_date: date | None = None
    payment_terms: PaymentTerms | None = None
    foreign_total: Decimal | None = None
    foreign_currency: str | None = None
    exchange_rate: Decimal | None = None
    items: tuple[Item, ...] = ()
    tracking_numbers: tuple[str, ...] = ()
    references: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PaymentUpdate:
    """A payment status on its way to a shop.

    ``shop_status``: what to write; None = the connector's default for the intent.
    ``open_statuses``: write only if the shop's order is in one of these, or already there
    (empty = the connector's own idea of open). Cancelled to paid is the one exception.
    """

    id: str
    external_id: str
    number: str
    payment_status: PaymentStatus
    paid_total: Decimal
    currency: str
    intent: Intent
    created_at: datetime
    shop_status: str | None = None
    open_statuses: tuple[str, ...] = ()
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What became of a payment update. ``reason`` is shown to the merchant."""

    outcome: Outcome
    reason: str | None = None
    shop_status: str | None = None
    retry_after_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """ "Look at this order now" (S74, K64): exactly one of the shop's key and the number is set."""

    id: str
    external_id: str | None = None
    number: str | None = None


@dataclass(frozen=True, slots=True)
class RequestAnswer:
    """What the shop says about a requested order. ``reason`` is shown to the merchant."""

    outcome: RequestOutcome
    order: Order | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class RefundRequest:
    """Money of an order is to go back (S78), in the order's currency.

    ``external_reference`` is taken once a shop. ``planned_for`` is a day of the merchant, today or
    later. Without ``payee_iban`` it goes to where the money came from.
    """

    amount: Decimal
    reason: str | None = None
    external_reference: str | None = None
    planned_for: date | None = None
    payee_name: str | None = None
    payee_iban: str | None = None


@dataclass(frozen=True, slots=True)
class Refund:
    """A repayment as the server has it. ``status`` is one of ``new``, ``planned``,
    ``bank_details_missing``, ``held``, ``in_process``, ``processed``, ``failed`` (with ``error``)
    and ``cancelled``; a newer server may have others."""

    reference: str
    amount: Decimal
    currency: str
    status: str
    requested_at: datetime
    external_reference: str | None = None
    reason: str = ""
    planned_for: date | None = None
    processed_at: datetime | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class OrderResult:
    """The server's answer to one order of a batch."""

    index: int
    external_id: str | None
    outcome: str
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class PayoutPart:
    """What one sale, refund or fee adds to a payout: gross plus fee is net, all of them signed.

    ``gross``: what the customer paid, or got back (negative). ``fee``: what the marketplace kept
    (negative) or gave back. ``external_id``: the order it belongs to, as the shop knows it.
    ``reference`` is the marketplace's own name for this part, ``note`` its words for it.
    """

    kind: PayoutKind
    gross: Decimal
    fee: Decimal = Decimal(0)
    external_id: str | None = None
    reference: str | None = None
    booked_at: datetime | None = None
    note: str | None = None

    @property
    def net(self) -> Decimal:
        """What it adds to the payout."""
        return self.gross + self.fee


@dataclass(frozen=True, slots=True)
class Payout:
    """One transfer of a marketplace or payment provider to the merchant's bank account (N6).

    The parts add up to ``amount`` to the cent; what they lack is a part of its own, of the kind
    ``difference``. ``bank_reference``: what stands on the bank statement, where it is known.
    ``account_digits``: the last digits of the account it went to. ``paid_at``: when it was begun;
    banks take days.
    """

    id: str
    paid_at: datetime
    amount: Decimal
    currency: str
    parts: tuple[PayoutPart, ...]
    bank_reference: str | None = None
    account_digits: str | None = None


@dataclass(frozen=True, slots=True)
class ShopMethod:
    """A payment method or status that a shop offers: its code and the shop's own words for it."""

    code: str
    name: str


@dataclass(frozen=True, slots=True)
class Discovery:
    """What a shop reports of itself, to fill the mapping pickers."""

    payment_methods: tuple[ShopMethod, ...] = ()
    statuses: tuple[ShopMethod, ...] = ()
    currency: str | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class CodeMapping:
    """How one payment code maps to a shop: its methods, what counts as open, what to write."""

    methods: tuple[str, ...] = ()
    open_statuses: tuple[str, ...] = ()
    paid_status: str | None = None
    cancelled_status: str | None = None
    overdue_status: str | None = None
    collection_status: str | None = None


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Sent by an agent every few minutes: "I am here, and this is what I can do".

    ``compare_seconds``: how often it compares new and changed orders; 180 = it asks the shop all
    the time, because the shop cannot tell it anything (S33).
    """

    connector: str
    connector_version: str
    capabilities: tuple[str, ...] = ()
    wire_version: int = WIRE_VERSION
    mapping: str | None = None
    last_error: str | None = None
    defaults: dict[PaymentCode, CodeMapping] = field(default_factory=dict)
    discovery: Discovery | None = None
    compare_seconds: int | None = None
