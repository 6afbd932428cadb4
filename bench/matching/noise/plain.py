"""The easy seven tenths of an account, and what is nearly as easy."""

from __future__ import annotations

from datetime import timedelta

from bench.matching import wording
from bench.matching.noise.draft import (
    Draft,
    kind,
    ordinary,
    paying,
    tail_of,
)
from bench.matching.orders import (
    Order,
    Shop,
    is_open,
    ordered_date,
)


@kind(23, 9)
def exact(shop: Shop) -> list[Draft]:
    """The number as the shop writes it and nothing else."""
    order = shop.take()
    return [paying(shop, order, order["number"])] if order else []


@kind(20, 9)
def lead_tail(shop: Shop) -> list[Draft]:
    """The number with words before or behind it, dates, TANs and telephone numbers included."""
    order = shop.take()
    if not order:
        return []
    text = wording.lead_and_tail(shop.rng, order["number"], tail_of(shop, order))
    return [paying(shop, order, text)]


@kind(6, 9)
def separators(shop: Shop) -> list[Draft]:
    """Other separators inside the number, or none."""
    order = shop.take()
    if not order:
        return []
    return [
        paying(shop, order, ordinary(shop, order, wording.separated(shop.rng, order["number"])))
    ]


@kind(5, 9)
def lower_case(shop: Shop) -> list[Draft]:
    """All in lower case."""
    order = shop.take()
    return [paying(shop, order, ordinary(shop, order).lower())] if order else []


@kind(6, 9)
def code_only(shop: Shop) -> list[Draft]:
    """The number without the shop's prefix."""
    order = shop.take()
    if not order:
        return []
    return [paying(shop, order, ordinary(shop, order, wording.core(order["number"])))]


def _wrapped(shop: Shop, joint: str) -> list[Draft]:
    order = shop.take()
    if not order:
        return []
    who = wording.full_name(shop.customer(order).person)
    text = wording.across_the_cut(shop.rng, order["number"], who)
    return [paying(shop, order, wording.wrapped(shop.rng, text, joint))]


@kind(2.5, 9)
def wrapped_glued(shop: Shop) -> list[Draft]:
    """Cut after 27 characters, lines put together without a blank."""
    return _wrapped(shop, "")


@kind(2.5, 9)
def wrapped_blank(shop: Shop) -> list[Draft]:
    """Cut after 27 characters, a blank wherever it was cut."""
    return _wrapped(shop, " ")


@kind(2.5, 9)
def wrapped_newline(shop: Shop) -> list[Draft]:
    """Cut after 27 characters, lines kept apart."""
    return _wrapped(shop, "\n")


@kind(3.5, 6)
def invoice_number(shop: Shop) -> list[Draft]:
    """The number of the invoice instead of the order's."""
    order = shop.take(lambda order: bool(order["invoices"]))
    if not order:
        return []
    number = order["invoices"][0]["number"]
    spelt = number if shop.rng.random() < 0.7 else wording.separated(shop.rng, number)
    text = f"{shop.rng.choice(wording.INVOICE_LEADS)} {spelt}"
    if shop.rng.random() < 0.3:
        text = f"{text} {tail_of(shop, order)}"
    return [paying(shop, order, text)]


@kind(1.5, 6)
def order_and_invoice(shop: Shop) -> list[Draft]:
    """Both numbers of one order."""
    order = shop.take(lambda order: bool(order["invoices"]))
    if not order:
        return []
    invoice = order["invoices"][0]["number"]
    text = shop.rng.choice(
        (
            f"Rechnung {invoice} Bestellung {order['number']}",
            f"{order['number']} / {invoice}",
            f"{order['number']} {invoice}",
            f"RE {invoice} Auftrag {wording.core(order['number'])} Danke",
        )
    )
    return [paying(shop, order, text)]


@kind(1, 6)
def long_text(shop: Shop) -> list[Draft]:
    """A whole line with customer number, date, articles and amount beside the number."""
    order = shop.take()
    if not order:
        return []
    words = [tail_of(shop, order) for _ in range(3)]
    words.insert(shop.rng.randrange(3), f"{shop.rng.choice(wording.LEADS)} {order['number']}")
    return [paying(shop, order, " ".join(words))]


@kind(0.3)
def glued_digits(shop: Shop) -> list[Draft]:
    """A date or an amount stands right behind the number, without a blank."""
    order = shop.take()
    if not order:
        return []
    behind = shop.rng.choice(
        (f"{ordered_date(order):%d.%m.%Y}", f"{order['total'].replace('.', ',')}EUR", "2 Stk.")
    )
    return [paying(shop, order, f"{shop.rng.choice(wording.LEADS)} {order['number']}{behind}")]


@kind(0.3)
def mangled_letters(shop: Shop) -> list[Draft]:
    """Umlauts of text and name broken on the way."""
    order = shop.take()
    if not order:
        return []
    who = wording.full_name(shop.customer(order).person)
    text = wording.mangled(f"für Bestellung {order['number']} {who}")
    return [paying(shop, order, text, name=wording.mangled(who))]


@kind(0.4, 2)
def customer_number_collides(shop: Shop) -> list[Draft]:
    """The order's number, and the customer's own one, which is another open order's number."""

    def fits(order: Order) -> bool:
        other = shop.by_core.get(shop.customer(order).number)
        return other is not None and other is not order and is_open(other)

    order = shop.take(fits)
    if not order:
        return []
    number = shop.customer(order).number
    text = shop.rng.choice(
        (
            f"Kd.Nr. {number} Bestellung {order['number']}",
            f"Best. {order['number']} Kundennummer {number}",
            f"Kunde {number} Rechnung zu {order['number']}",
        )
    )
    return [paying(shop, order, text)]


@kind(0.3)
def ordered_later(shop: Shop) -> list[Draft]:
    """Booked before the day of the order: shops put dates right, marketplaces deliver late."""
    order = shop.take()
    if not order:
        return []
    on = ordered_date(order) - timedelta(shop.rng.randrange(1, 4))
    return [paying(shop, order, ordinary(shop, order), on=on)]
