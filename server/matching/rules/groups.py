"""Several orders paid by one posting: subsets whose sum is the amount, if only one does.

Orders that are named must be among them; others of the same payer may. What each owes counts,
or what it owes less its early payment discount. The search is exact and bounded: at most
``MAX_ITEMS`` orders, in two halves.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import product
from typing import Final, NamedTuple

from server.matching.rules.amounts import days_late, discounted
from server.matching.rules.facts import ZERO, OpenOrder, OrderId, Policy, PostingFacts, Share

MAX_ITEMS: Final = 12
MAX_SOLUTIONS: Final = 4


class Item(NamedTuple):
    """An order with the ways in which it may be part of the sum; none of them: left out."""

    order: OpenOrder
    options: tuple[Share, ...]
    is_named: bool


class Sums(NamedTuple):
    """The subsets whose sum is the amount, fewest orders first; how many were tried at most."""

    solutions: tuple[tuple[Share, ...], ...]
    tried: int


def item(
    posting: PostingFacts,
    order: OpenOrder,
    left: Mapping[OrderId, Decimal],
    policy: Policy,
    *,
    is_named: bool,
) -> Item | None:
    """The order as a part of a sum; None if it cannot be one."""
    owed = left.get(order.id, order.outstanding)
    if not order.is_open or owed <= ZERO or order.currency != posting.currency:
        return None
    options = [Share(order, owed)]
    less = discounted(order)
    if less is not None and owed == order.total:
        policy = order.policy or policy
        in_time = days_late(posting, order, policy.discount_grace_days) <= 0
        if in_time or policy.accepts_late_discount:
            options.append(Share(order, less, "discount"))
    return Item(order, tuple(options), is_named)


def sums(items: Sequence[Item], amount: Decimal, tolerance: Decimal) -> Sums:
    """All subsets of two and more orders with every named one, whose sum is the amount."""
    if not 2 <= len(items) <= MAX_ITEMS:
        return Sums((), 0)
    options = [[*each.options, *([] if each.is_named else [None])] for each in items]
    half = len(items) // 2
    behind = _sums(options[half:])
    found: dict[tuple[tuple[OrderId, Decimal], ...], tuple[Share, ...]] = {}
    for total, chosen in _pairs(options[:half]):
        for wanted in _within(amount - total, tolerance, behind):
            for rest in behind[wanted]:
                shares = _fitted((*chosen, *rest), amount)
                if len(shares) > 1:
                    found[tuple((share.order.id, share.amount) for share in shares)] = shares
    ranked = sorted(found.values(), key=_rank)
    tried = 1
    for ways in options:
        tried *= len(ways)
    return Sums(tuple(ranked[:MAX_SOLUTIONS]), tried)


def _fitted(shares: tuple[Share, ...], amount: Decimal) -> tuple[Share, ...]:
    """What is tolerated is cut from, or laid on, the largest share: never more than there is."""
    off = amount - sum((share.amount for share in shares), ZERO)
    if off == ZERO or not shares:
        return shares
    at = max(range(len(shares)), key=lambda n: (shares[n].amount, shares[n].order.number))
    share = shares[at]
    because = share.because or ("tolerance" if off < ZERO else None)
    fitted = Share(share.order, share.amount + off, because)
    return (*shares[:at], fitted, *shares[at + 1 :])


def in_turn(
    posting: PostingFacts, orders: Sequence[OpenOrder], left: Mapping[OrderId, Decimal]
) -> tuple[Share, ...]:
    """What each would get where the sum is another: one after the other, as far as it goes."""
    shares = []
    rest = posting.available
    for order in orders:
        amount = min(left.get(order.id, order.outstanding), rest)
        if amount > ZERO:
            shares.append(Share(order, amount))
            rest -= amount
    return tuple(shares)


def formula(shares: Sequence[Share]) -> str:
    """``49.90 + 98.00 (discount)``."""
    return " + ".join(
        f"{share.amount:f}" + (" (discount)" if share.because == "discount" else "")
        for share in shares
    )


def _rank(shares: tuple[Share, ...]) -> tuple[object, ...]:
    """Fewest orders first, then without discount, then the oldest."""
    discounts = sum(share.because is not None for share in shares)
    dates = sorted(share.order.ordered_date for share in shares)
    return len(shares), discounts, dates, sorted(share.order.number for share in shares)


_Option = Share | None


def _pairs(options: Sequence[Sequence[_Option]]) -> list[tuple[Decimal, tuple[Share, ...]]]:
    pairs = []
    for combination in product(*options):
        chosen = tuple(share for share in combination if share is not None)
        pairs.append((sum((share.amount for share in chosen), ZERO), chosen))
    return pairs


def _sums(options: Sequence[Sequence[_Option]]) -> Mapping[Decimal, list[tuple[Share, ...]]]:
    by_sum: dict[Decimal, list[tuple[Share, ...]]] = defaultdict(list)
    for total, chosen in _pairs(options):
        by_sum[total].append(chosen)
    return by_sum


def _within(
    wanted: Decimal, tolerance: Decimal, sums: Mapping[Decimal, list[tuple[Share, ...]]]
) -> list[Decimal]:
    if tolerance == ZERO:
        return [wanted] if wanted in sums else []
    return [each for each in sums if abs(each - wanted) <= tolerance]
