"""What is remembered of payers: whom they were confirmed to have paid for (C19)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from server.matching.rules.facts import OpenOrder, PaidFor, payer_key


@dataclass(frozen=True, slots=True)
class Confirmed:
    """One assignment that a person made or confirmed, and did not undo.

    ``customer`` as in ``OpenOrder``; empty where only the order's number is known.
    """

    order: str
    counterparty_iban: str | None = None
    counterparty_name: str | None = None
    customer: tuple[str, ...] = ()
    booked_date: date | None = None


def customer_names(email: str | None, number: str | None, shop: object = "") -> tuple[str, ...]:
    """The names by which a customer is known: his e-mail, his number in that shop."""
    names = []
    if email:
        names.append(f"mail:{email.strip().lower()}")
    if number:
        names.append(f"number:{shop}:{number.strip().upper()}")
    return tuple(names)


def remembered(
    confirmed: Iterable[Confirmed], orders: Iterable[OpenOrder] = ()
) -> Mapping[str, Sequence[PaidFor]]:
    """IBAN, and name as ``payer_key``, to the customers they paid for, the most frequent first.

    ``orders`` tell the customer of an assignment that names only the order.
    """
    customers = {order.number: order.customer for order in orders}
    seen: dict[str, dict[tuple[str, ...], list[date | None]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for each in confirmed:
        customer = each.customer or customers.get(each.order, ())
        if not customer:
            continue
        if each.counterparty_iban:
            seen[each.counterparty_iban][customer].append(each.booked_date)
        if each.counterparty_name:
            seen[payer_key(each.counterparty_name)][customer].append(each.booked_date)
    return {payer: _paid_for(paid) for payer, paid in seen.items()}


def _paid_for(paid: Mapping[tuple[str, ...], list[date | None]]) -> list[PaidFor]:
    found = [
        PaidFor(customer, len(dates), max((day for day in dates if day), default=None))
        for customer, dates in paid.items()
    ]
    return sorted(found, key=lambda each: (-each.times, each.customer))
