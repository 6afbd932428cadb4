"""The order is named, the sum is another: discounts, fees, parts."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from bench.matching import wording
from bench.matching.noise.draft import (
    Draft,
    discounted,
    has_terms,
    in_turn,
    kind,
    ordinary,
    pay_date,
    paying,
)
from bench.matching.orders import (
    CENT,
    Order,
    Shop,
    ordered_date,
    owed,
    rounded,
)


def _with_amount(
    shop: Shop, amount: Callable[[Decimal], Decimal], fits: Callable[[Order], bool] | None = None
) -> list[Draft]:
    """Names the order but pays another sum than it owes."""
    order = shop.take(fits)
    if not order:
        return []
    return [paying(shop, order, ordinary(shop, order), amount=rounded(amount(owed(order))))]


@kind(0.8, 3)
def discount_in_time(shop: Shop) -> list[Draft]:
    """The agreed cash discount, taken in time."""
    order = shop.take(has_terms)
    if not order:
        return []
    terms = order["payment_terms"]
    amount = discounted(owed(order), terms["discount_percent"])
    if shop.rng.random() < 0.1:  # reckoned line by line, or from the net sum
        amount += shop.rng.choice((-CENT, CENT))
    on = pay_date(shop, order, last=terms["discount_days"] - 1)
    tail = shop.rng.choice(("", "", " abzgl. Skonto", f" ./. {terms['discount_percent']}% Skonto"))
    return [paying(shop, order, f"{ordinary(shop, order)}{tail}", amount=amount, on=on)]


@kind(0.4, 3)
def discount_late(shop: Shop) -> list[Draft]:
    """The agreed cash discount, taken some days too late."""
    order = shop.take(
        lambda order: has_terms(order) and (shop.today - ordered_date(order)).days > 24
    )
    if not order:
        return []
    terms = order["payment_terms"]
    amount = discounted(owed(order), terms["discount_percent"])
    days = terms["discount_days"]
    on = pay_date(shop, order, first=days + 4, last=days + 10)
    return [paying(shop, order, ordinary(shop, order), amount=amount, on=on)]


@kind(0.4)
def discount_unagreed(shop: Shop) -> list[Draft]:
    """Two or three percent taken off although nobody agreed to it."""
    percent = shop.rng.choice((2, 2, 3))
    return _with_amount(
        shop,
        lambda amount: discounted(amount, percent),
        lambda order: order["payment_terms"] is None,
    )


@kind(0.5)
def fee_deducted(shop: Shop) -> list[Draft]:
    """A bank on the way kept a fee."""
    fee = Decimal(shop.rng.choice(("0.35", "0.50", "1.50", "2.50", "5.00", "7.50", "12.00")))
    drafts = _with_amount(shop, lambda amount: amount - fee, lambda order: owed(order) > fee * 3)
    for draft in drafts:
        marks = ("Entgelt", f"/OCMT/EUR{draft.amount + fee}/CHGS/EUR{fee}/", "", "SHA")
        draft.text = f"{draft.text} {shop.rng.choice(marks)}".strip()
    return drafts


@kind(0.4)
def rounded_amount(shop: Shop) -> list[Draft]:
    """Paid in whole euros."""
    return _with_amount(
        shop,
        lambda amount: (amount + Decimal("0.4")).quantize(Decimal(1)),
        lambda order: owed(order) % 1 != 0,
    )


@kind(0.5)
def overpaid(shop: Shop) -> list[Draft]:
    """Somewhat more than the order owes."""
    more = Decimal(shop.rng.choice(("0.01", "0.10", "1.00", "4.90", "5.00", "10.00", "20.00")))
    return _with_amount(shop, lambda amount: amount + more)


@kind(0.3)
def mistyped_amount(shop: Shop) -> list[Draft]:
    """Two digits of the amount swapped."""

    def swap(amount: Decimal) -> Decimal:
        digits = f"{amount:.2f}"
        euros, cents = digits.split(".")
        return Decimal(
            f"{euros}.{cents[::-1]}" if cents[0] != cents[1] else f"{euros[::-1]}.{cents}"
        )

    return _with_amount(
        shop, swap, lambda order: swap(owed(order)) not in {owed(order), Decimal(0)}
    )


@kind(0.5)
def partial(shop: Shop) -> list[Draft]:
    """Only a part of what the order owes."""
    share = Decimal(shop.rng.choice(("0.5", "0.5", "0.333", "0.25", "0.6")))
    return _with_amount(shop, lambda amount: amount * share, lambda order: owed(order) > 8)


@kind(0.4)
def instalments(shop: Shop) -> list[Draft]:
    """Paid in two halves."""
    order = shop.take(lambda order: owed(order) > 30)
    if not order:
        return []
    first = rounded(owed(order) / 2)
    name = wording.common_name(shop.rng, shop.customer(order).account_holder)
    iban = shop.customer(order).iban
    drafts = []
    for at, amount in enumerate((first, owed(order) - first)):
        words = shop.rng.choice(("", f"Rate {at + 1}", f"{at + 1}. Teil"))
        text = f"{order['number']} {words}".strip()
        drafts.append(paying(shop, order, text, amount=amount, name=name, iban=iban))
    return in_turn(shop, drafts)


@kind(0.3, 1)
def rest(shop: Shop) -> list[Draft]:
    """The rest of an order that is partly paid already."""
    order = shop.take(lambda order: order["payment_status"] == "partially_paid")
    return [paying(shop, order, ordinary(shop, order))] if order else []
