"""Other numbers than the order's own."""

from __future__ import annotations

from bench.matching import names, wording
from bench.matching.noise.draft import (
    Draft,
    kind,
    ordinary,
    paying,
)
from bench.matching.orders import (
    Shop,
)


@kind(1)
def end_to_end_only(shop: Shop) -> list[Draft]:
    """The number only in the payer's own id."""
    order = shop.take()
    if not order:
        return []
    reference = shop.rng.choice((order["number"], order["number"], wording.core(order["number"])))
    text = shop.rng.choice((None, None, "Ueberweisung", "Danke"))
    return [paying(shop, order, text, end_to_end_id=reference)]


@kind(0.8)
def creditor_reference(shop: Shop) -> list[Draft]:
    """The order's number as a creditor reference, in its field or in the text, maybe in groups."""
    order = shop.take()
    if not order:
        return []
    reference = names.creditor_reference(order["number"])
    if shop.rng.random() < 0.5:
        return [paying(shop, order, None, creditor_reference=reference)]
    if shop.rng.random() < 0.5:
        reference = " ".join(reference[at : at + 4] for at in range(0, len(reference), 4))
    return [paying(shop, order, reference)]


@kind(0.6)
def other_reference(shop: Shop) -> list[Draft]:
    """What the shop asked the customer to write, or the customer's own purchase number."""
    order = shop.take(
        lambda order: bool(order["references"]) and "-" not in order["references"][0][:4]
    )
    return [paying(shop, order, ordinary(shop, order, order["references"][0]))] if order else []


@kind(0.5)
def marketplace_id(shop: Shop) -> list[Draft]:
    """The number the marketplace gave to the order."""
    order = shop.take(
        lambda order: any(
            text[:2].isdigit() and text.count("-") == 2 for text in order["references"]
        ),
    )
    if not order:
        return []
    number = order["references"][0]
    spelt = number if shop.rng.random() < 0.7 else wording.separated(shop.rng, number)
    return [paying(shop, order, ordinary(shop, order, spelt))]


@kind(0.6, 2)
def customer_number(shop: Shop) -> list[Draft]:
    """The customer's number instead of the order's; the customer has no other open order."""
    order = shop.take(lambda order: len(shop.customer(order).orders) == 1)
    if not order:
        return []
    number = shop.customer(order).number
    lead = shop.rng.choice(("Kd.Nr.", "Kundennummer", "Kundennr.:", "KdNr", "Kunde", "Kunden-Nr."))
    return [paying(shop, order, f"{lead} {number}")]
