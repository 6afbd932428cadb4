"""One payment of several orders."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from bench.matching import wording
from bench.matching.noise.draft import (
    MAX_TRIES,
    Draft,
    discounted,
    has_terms,
    kind,
    open_sums,
    paying,
    rivals,
)
from bench.matching.orders import (
    CENT,
    Order,
    Shop,
    ordered_date,
    owed,
)


def several(shop: Shop, least: int, most: int) -> list[Order]:
    """Free orders of one customer in one currency, or none."""
    free: dict[str, list[Order]] = {}
    for order in shop.free:
        free.setdefault(shop.customer(order).number + order["currency"], []).append(order)
    fitting = [mine for mine in free.values() if len(mine) >= least]
    if not fitting:
        return []
    mine = shop.rng.choice(fitting)
    chosen = shop.rng.sample(mine, shop.rng.randrange(least, min(most, len(mine)) + 1))
    shop.free = [order for order in shop.free if order not in chosen]
    return sorted(chosen, key=lambda order: (ordered_date(order), order["number"]))


def together(
    shop: Shop, orders: list[Order], text: str | None, shares: list[Decimal] | None = None
) -> Draft:
    """One payment of all these orders."""
    shares = shares or [owed(order) for order in orders]
    latest = max(orders, key=ordered_date)
    draft = paying(shop, latest, text, amount=sum(shares, Decimal(0)))
    draft.booked = {order["number"]: share for order, share in zip(orders, shares, strict=True)}
    draft.iban = shop.customer(latest).iban
    return draft


def _numbers(shop: Shop, orders: list[Order]) -> tuple[str, list[str]]:
    """What they are called in the payment: all by invoice, or all by order number."""
    if all(order["invoices"] for order in orders) and shop.rng.random() < 0.6:
        return "Rechnungen", [order["invoices"][0]["number"] for order in orders]
    return "Bestellungen", [order["number"] for order in orders]


@kind(0.9, 2)
def several_named(shop: Shop) -> list[Draft]:
    """One payment of two to six orders, all of them named."""
    orders = several(shop, 2, 6)
    if not orders:
        return []
    what, numbers = _numbers(shop, orders)
    if shop.rng.random() < 0.25:
        numbers = [numbers[0], *map(wording.core, numbers[1:])]
    lead = shop.rng.choice((f"{what} ", "", "zahlung von ", "RG "))
    return [together(shop, orders, lead + wording.said_in(shop.rng, numbers))]


@kind(0.3, 2)
def several_abbreviated(shop: Shop) -> list[Draft]:
    """Of the second and later numbers only the last digits are written."""
    for _ in range(MAX_TRIES):
        orders = several(shop, 2, 4)
        if not orders:
            return []
        what, numbers = _numbers(shop, orders)
        if len({(len(number), number[:-3]) for number in numbers}) == 1:
            short = [numbers[0], *(number[-3:] for number in numbers[1:])]
            mark = shop.rng.choice((", ", "/", " + ", " u. ", "+"))
            return [together(shop, orders, f"{what} {mark.join(short)}")]
        shop.free += orders
    return []


@kind(0.4, 1)
def several_some_named(shop: Shop) -> list[Draft]:
    """The sum is of several orders of the customer, the text names only some of them."""
    orders = several(shop, 2, 5)
    if not orders:
        return []
    _, numbers = _numbers(shop, orders)
    named = numbers[: shop.rng.randrange(1, len(numbers))]
    text = (
        f"{wording.said_in(shop.rng, named)} {shop.rng.choice(('u.a.', 'usw', '', 'und weitere'))}"
    )
    draft = together(shop, orders, text.strip())
    draft.is_ambiguous = has_other_sum(shop, orders, draft.amount)
    return [draft]


@kind(0.5, 1)
def several_unnamed(shop: Shop) -> list[Draft]:
    """The sum of several orders of the customer without any number."""
    orders = several(shop, 2, 5)
    if not orders:
        return []
    text = shop.rng.choice(("offene Rechnungen", "diverse Rechnungen", "Bestellungen", None))
    draft = together(shop, orders, text)
    draft.is_ambiguous = has_other_sum(shop, orders, draft.amount) or rivals(
        shop, orders, draft.amount
    )
    return [draft]


@kind(0.3, 2)
def several_discounted(shop: Shop) -> list[Draft]:
    """Several invoices, from each the agreed cash discount, in time."""
    orders = _discountable(shop)
    if not orders:
        return []
    terms = orders[0]["payment_terms"]
    shares = [discounted(owed(order), terms["discount_percent"]) for order in orders]
    what, numbers = _numbers(shop, orders)
    draft = together(
        shop, orders, f"{what} {wording.said_in(shop.rng, numbers)} abz. Skonto", shares
    )
    draft.on = min(ordered_date(orders[-1]) + timedelta(1), shop.today)
    return [draft]


def _discountable(shop: Shop) -> list[Order]:
    """Free orders of one customer, the newest made while the oldest still earns its discount."""
    free: dict[str, list[Order]] = {}
    for order in shop.free:
        if has_terms(order):
            free.setdefault(shop.customer(order).number + order["currency"], []).append(order)
    for mine in free.values():
        mine.sort(key=ordered_date)
        days = timedelta(mine[0]["payment_terms"]["discount_days"] - 2)
        chosen = [order for order in mine if ordered_date(order) <= ordered_date(mine[0]) + days]
        if len(chosen) > 1:
            shop.free = [order for order in shop.free if order not in chosen]
            return chosen
    return []


@kind(0.3, 2)
def several_credit_note(shop: Shop) -> list[Draft]:
    """Several invoices less a credit note the shop has taken off the orders' totals already."""
    orders = several(shop, 2, 5)
    if not orders:
        return []
    what, numbers = _numbers(shop, orders)
    note = f"{shop.rng.choice(('abzgl.', '-', './.'))} GS{shop.rng.randrange(100, 9999)}"
    text = f"{what} {wording.said_in(shop.rng, numbers)} {note}"
    return [together(shop, orders, text)]


@kind(0.3, 4)
def several_of_two(shop: Shop) -> list[Draft]:
    """One payment of two people's orders, both named."""
    first = shop.take()
    if not first:
        return []
    second = shop.take(lambda order: order["currency"] == first["currency"])
    if not second:
        shop.free.append(first)
        return []
    text = wording.said_in(shop.rng, [first["number"], second["number"]])
    return [together(shop, [first, second], text)]


@kind(0.2, 2)
def several_short(shop: Shop) -> list[Draft]:
    """Two orders named, and less paid than both owe: the older one first, or a person decides."""
    orders = several(shop, 2, 2)
    if not orders:
        return []
    less = Decimal(shop.rng.choice(("1.00", "4.90", "5.00")))
    shares = [owed(orders[0]), max(owed(orders[1]) - less, CENT)]
    text = wording.said_in(shop.rng, [order["number"] for order in orders])
    draft = together(shop, orders, text, shares)
    draft.is_ambiguous = True
    return [draft]


def has_other_sum(shop: Shop, orders: list[Order], amount: Decimal) -> bool:
    """Do other open orders of the customer give the same sum?"""
    return open_sums(shop.customer(orders[0])).count(amount) > 1
