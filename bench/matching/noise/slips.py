"""Slips of the pen: a number that is nearly right, or somebody else's."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from bench.matching import wording
from bench.matching.noise.draft import (
    MAX_TRIES,
    Draft,
    are_alike,
    is_known_number,
    kind,
    ordinary,
    paying,
)
from bench.matching.orders import (
    Shop,
    is_open,
)


def _mistyped(shop: Shop, slip: Callable[[Random, str], str]) -> list[Draft]:
    """Pays an order under a number with a slip in it that is no order's number."""
    order = shop.take()
    if not order:
        return []
    for _ in range(MAX_TRIES):
        typed = slip(shop.rng, order["number"])
        if typed != order["number"] and not is_known_number(shop, typed):
            return [paying(shop, order, ordinary(shop, order, typed))]
    shop.free.append(order)
    return []


@kind(1.2)
def typo_substitution(shop: Shop) -> list[Draft]:
    """One character wrong."""
    return _mistyped(shop, wording.substituted)


@kind(0.8)
def typo_swap(shop: Shop) -> list[Draft]:
    """Two neighbouring characters swapped."""
    return _mistyped(shop, wording.swapped)


@kind(0.7)
def typo_drop(shop: Shop) -> list[Draft]:
    """One character missing."""
    return _mistyped(shop, wording.dropped)


@kind(0.5)
def typo_double(shop: Shop) -> list[Draft]:
    """One character typed twice."""
    return _mistyped(shop, wording.doubled)


@kind(0.7)
def typo_lookalike(shop: Shop) -> list[Draft]:
    """Characters taken for others that look like them, as from a scanned slip."""
    return _mistyped(shop, wording.mistaken)


@kind(0.4)
def typo_two(shop: Shop) -> list[Draft]:
    """Two slips in one number."""
    return _mistyped(shop, wording.twice_mistyped)


@kind(0.4)
def truncated(shop: Shop) -> list[Draft]:
    """The end of the number is missing."""
    return _mistyped(shop, wording.truncated)


@kind(0.7, 3)
def typo_hits_other(shop: Shop) -> list[Draft]:
    """One slip made it another open order's number; name and amount are the true payer's."""
    for _ in range(MAX_TRIES):
        order = shop.take()
        if not order:
            return []
        slip = shop.rng.choice((wording.substituted, wording.substituted, wording.swapped))
        for _ in range(MAX_TRIES):
            typed = slip(shop.rng, order["number"])
            other = shop.by_number.get(typed)
            if (
                other
                and is_open(other)
                and not are_alike(shop.customer(order), shop.customer(other))
            ):
                return [paying(shop, order, ordinary(shop, order, typed))]
        shop.free.insert(0, order)
    return []


@kind(0.3, 3)
def typo_hits_closed(shop: Shop) -> list[Draft]:
    """One slip made it the number of an order that is paid or cancelled."""
    for _ in range(MAX_TRIES):
        order = shop.take()
        if not order:
            return []
        typed = wording.substituted(shop.rng, order["number"])
        other = shop.by_number.get(typed)
        if (
            other
            and not is_open(other)
            and not are_alike(shop.customer(order), shop.customer(other))
        ):
            return [paying(shop, order, ordinary(shop, order, typed))]
        shop.free.insert(0, order)
    return []


@kind(0.3, 1)
def previous_number(shop: Shop) -> list[Draft]:
    """A regular customer names the last order, paid long ago, but pays what the new one costs."""
    closed = [order for order in shop.closed if order["payment_status"] == "paid"]
    shop.rng.shuffle(closed)
    for before in closed:
        customer = shop.customer(before)
        order = shop.take(lambda order: shop.customer(order) is customer)  # noqa: B023
        if order:
            text = ordinary(shop, order, before["number"])
            return [paying(shop, order, text, is_ambiguous=True)]
    return []
