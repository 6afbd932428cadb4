"""A posting before it is printed with its truth, and what all kinds of noise make it from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final

from bench.matching import names, wording
from bench.matching.orders import (
    Customer,
    Order,
    Shop,
    is_open,
    ordered_date,
    owed,
    rounded,
)

MAX_TRIES: Final = 40
LAST_DAYS: Final = 12
"""Postings that pay no order of ours lie so many days back at most."""


@dataclass
class Draft:
    """A posting before it is printed, and the truth: how much is right for which order."""

    on: date
    amount: Decimal
    currency: str
    name: str | None
    iban: str | None
    text: str | None
    booked: dict[str, Decimal] = field(default_factory=dict)
    is_ambiguous: bool = False
    is_known_by_iban: bool = False
    """Without the payer's account nobody could tell, so the bank names it."""
    end_to_end_id: str | None = None
    creditor_reference: str | None = None
    transaction_code: str | None = "PMNT/RCDT/ESCT"
    return_reason: str | None = None
    is_return: bool = False
    is_pending: bool = False
    is_batch_total: bool = False


@dataclass(frozen=True)
class Kind:
    """A kind of noise: how often (share of all postings in percent) and how it is made."""

    name: str
    weight: float
    rank: int
    make: Callable[[Shop], list[Draft]]


KINDS: Final[dict[str, Kind]] = {}


def kind(
    weight: float, rank: int = 5
) -> Callable[[Callable[[Shop], list[Draft]]], Callable[[Shop], list[Draft]]]:
    """Registers a kind under its function's name; those of low ``rank`` choose their orders first.

    The function gives no draft if the shop has no order that fits.
    """

    def register(make: Callable[[Shop], list[Draft]]) -> Callable[[Shop], list[Draft]]:
        KINDS[make.__name__] = Kind(make.__name__, weight, rank, make)
        return make

    return register


def paying(shop: Shop, order: Order, text: str | None, **changed: Any) -> Draft:
    """A payment of what the order owes, by its customer, from the customer's account."""
    customer = shop.customer(order)
    amount = changed.pop("amount", owed(order))
    draft = Draft(
        on=pay_date(shop, order),
        amount=amount,
        currency=order["currency"],
        name=wording.common_name(shop.rng, customer.account_holder),
        iban=customer.iban if shop.rng.random() < 0.88 else names.iban(shop.rng),
        text=text,
        booked={order["number"]: min(amount, owed(order))},
    )
    for name, value in changed.items():
        setattr(draft, name, value)
    return draft


def pay_date(shop: Shop, order: Order, first: int = 0, last: int = 12) -> date:
    """So many days after the order, as far as today allows it."""
    passed = (shop.today - ordered_date(order)).days
    days = shop.rng.randrange(first, max(first, min(last, passed)) + 1)
    return min(ordered_date(order) + timedelta(days), shop.today)


def ordinary(shop: Shop, order: Order, number: str | None = None) -> str:
    """A text as most people write it, with the order's number or what stands for it."""
    rng = shop.rng
    number = order["number"] if number is None else number
    if rng.random() < 0.3:
        return number
    return wording.lead_and_tail(rng, number, tail_of(shop, order))


def tail_of(shop: Shop, order: Order) -> str:
    customer = shop.customer(order)
    who = wording.full_name(customer.person)
    return wording.tail(
        shop.rng, who, customer.number, ordered_date(order), f"{Decimal(order['total']):.2f}"
    )


def is_private(shop: Shop, order: Order) -> bool:
    return not shop.customer(order).person.company


def rivals(shop: Shop, orders: list[Order], amount: Decimal) -> bool:
    """Could a person take another open order for it who knows only name and amount?"""
    ours = {order["number"] for order in orders}
    customer = shop.customer(orders[0])
    for other in shop.open_orders:
        if other["number"] in ours or other["currency"] != orders[0]["currency"]:
            continue
        if amount in {owed(other), Decimal(other["total"])} and are_alike(
            customer, shop.customer(other)
        ):
            return True
    return False


def are_alike(left: Customer, right: Customer) -> bool:
    """Of one family, one company or one household."""
    return (
        left.household == right.household
        or wording.key(left.person.last_name) == wording.key(right.person.last_name)
        or (left.person.company != "" and left.person.company == right.person.company)
    )


def is_known_number(shop: Shop, number: str) -> bool:
    return number in shop.by_number


def unlike_any(shop: Shop, customer: Customer) -> Decimal:
    """An amount that is neither an order's of this family nor close to one, nor a sum of them."""
    theirs = [
        Decimal(order["total"])
        for order in shop.open_orders
        if are_alike(customer, shop.customer(order))
    ]
    theirs += open_sums(customer)
    for _ in range(MAX_TRIES):
        amount = shop.style.price(shop.rng)
        if all(abs(amount - one) > one * Decimal("0.2") + 6 for one in theirs):
            break
    return amount


def discounted(amount: Decimal, percent: Decimal | int | str) -> Decimal:
    return rounded(amount * (1 - Decimal(percent) / 100))


def has_terms(order: Order) -> bool:
    return order["payment_terms"] is not None and order["payment_status"] == "unpaid"


def in_turn(shop: Shop, drafts: list[Draft]) -> list[Draft]:
    """The later ones on the same day or some days later, never before the earlier ones."""
    for before, draft in zip(drafts, drafts[1:], strict=False):
        draft.on = min(before.on + timedelta(shop.rng.choice((0, 1, 2, 5))), shop.today)
    return drafts


def open_sums(customer: Customer) -> list[Decimal]:
    """What each choice of the customer's open orders owes together (at most six orders)."""
    sums = [Decimal(0)]
    for order in [order for order in customer.orders if is_open(order)][:6]:
        sums += [so_far + owed(order) for so_far in sums]
    return sums[1:]


def elsewhere(
    shop: Shop, amount: Decimal, name: str | None, text: str | None, **changed: Any
) -> Draft:
    """A posting that pays none of our orders."""
    rng = shop.rng
    draft = Draft(
        on=shop.today - timedelta(rng.randrange(LAST_DAYS)),
        amount=amount,
        currency="EUR",
        name=name,
        iban=names.iban(rng),
        text=text,
    )
    for field_name, value in changed.items():
        setattr(draft, field_name, value)
    return draft


def stranger(shop: Shop, amount: Decimal) -> names.Person:
    """Somebody of no family that owes this amount."""
    families = {
        wording.key(shop.customer(order).person.last_name)
        for order in shop.open_orders
        if abs(owed(order) - amount) <= max(owed(order) * Decimal("0.05"), Decimal(2))
    }
    who = names.person(shop.rng)
    for _ in range(MAX_TRIES):
        if wording.key(who.last_name) not in families:
            break
        who = names.person(shop.rng)
    return who
