"""What payers write and what banks do to it: one small function a kind.

A kind takes a shop, pays free orders of it and gives drafts of postings together with what is
true about them. ``PLAIN`` in a kind's weight means the easy seven tenths of an account. Where a
careful person could not tell either, the draft says ``is_ambiguous``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from random import Random
from typing import Any, Final

from bench.matching import names, wording
from bench.matching.orders import (
    CENT,
    Customer,
    Order,
    Shop,
    is_open,
    marketplace_number,
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


# --- Paying an order --------------------------------------------------------------------------


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
    return wording.lead_and_tail(rng, number, _tail(shop, order))


def _tail(shop: Shop, order: Order) -> str:
    customer = shop.customer(order)
    who = wording.full_name(customer.person)
    return wording.tail(
        shop.rng, who, customer.number, ordered_date(order), f"{Decimal(order['total']):.2f}"
    )


def one(shop: Shop, fits: Callable[[Order], bool] | None = None) -> Order | None:
    return shop.take(fits)


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


# --- Plain: seven tenths of an account --------------------------------------------------------


@kind(23, 9)
def exact(shop: Shop) -> list[Draft]:
    """The number as the shop writes it and nothing else."""
    order = one(shop)
    return [paying(shop, order, order["number"])] if order else []


@kind(20, 9)
def lead_tail(shop: Shop) -> list[Draft]:
    """The number with words before or behind it, dates, TANs and telephone numbers included."""
    order = one(shop)
    if not order:
        return []
    text = wording.lead_and_tail(shop.rng, order["number"], _tail(shop, order))
    return [paying(shop, order, text)]


@kind(6, 9)
def separators(shop: Shop) -> list[Draft]:
    """Other separators inside the number, or none."""
    order = one(shop)
    if not order:
        return []
    return [
        paying(shop, order, ordinary(shop, order, wording.separated(shop.rng, order["number"])))
    ]


@kind(5, 9)
def lower_case(shop: Shop) -> list[Draft]:
    """All in lower case."""
    order = one(shop)
    return [paying(shop, order, ordinary(shop, order).lower())] if order else []


@kind(6, 9)
def code_only(shop: Shop) -> list[Draft]:
    """The number without the shop's prefix."""
    order = one(shop)
    if not order:
        return []
    return [paying(shop, order, ordinary(shop, order, wording.core(order["number"])))]


def _wrapped(shop: Shop, joint: str) -> list[Draft]:
    order = one(shop)
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
    order = one(shop, lambda order: bool(order["invoices"]))
    if not order:
        return []
    number = order["invoices"][0]["number"]
    spelt = number if shop.rng.random() < 0.7 else wording.separated(shop.rng, number)
    text = f"{shop.rng.choice(wording.INVOICE_LEADS)} {spelt}"
    if shop.rng.random() < 0.3:
        text = f"{text} {_tail(shop, order)}"
    return [paying(shop, order, text)]


@kind(1.5, 6)
def order_and_invoice(shop: Shop) -> list[Draft]:
    """Both numbers of one order."""
    order = one(shop, lambda order: bool(order["invoices"]))
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
    order = one(shop)
    if not order:
        return []
    words = [_tail(shop, order) for _ in range(3)]
    words.insert(shop.rng.randrange(3), f"{shop.rng.choice(wording.LEADS)} {order['number']}")
    return [paying(shop, order, " ".join(words))]


@kind(0.3)
def glued_digits(shop: Shop) -> list[Draft]:
    """A date or an amount stands right behind the number, without a blank."""
    order = one(shop)
    if not order:
        return []
    behind = shop.rng.choice(
        (f"{ordered_date(order):%d.%m.%Y}", f"{order['total'].replace('.', ',')}EUR", "2 Stk.")
    )
    return [paying(shop, order, f"{shop.rng.choice(wording.LEADS)} {order['number']}{behind}")]


@kind(0.3)
def mangled_letters(shop: Shop) -> list[Draft]:
    """Umlauts of text and name broken on the way."""
    order = one(shop)
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

    order = one(shop, fits)
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


# --- Other numbers of the order ---------------------------------------------------------------


@kind(1)
def end_to_end_only(shop: Shop) -> list[Draft]:
    """The number only in the payer's own id."""
    order = one(shop)
    if not order:
        return []
    reference = shop.rng.choice((order["number"], order["number"], wording.core(order["number"])))
    text = shop.rng.choice((None, None, "Ueberweisung", "Danke"))
    return [paying(shop, order, text, end_to_end_id=reference)]


@kind(0.8)
def creditor_reference(shop: Shop) -> list[Draft]:
    """The order's number as a creditor reference, in its field or in the text, maybe in groups."""
    order = one(shop)
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
    order = one(
        shop, lambda order: bool(order["references"]) and "-" not in order["references"][0][:4]
    )
    return [paying(shop, order, ordinary(shop, order, order["references"][0]))] if order else []


@kind(0.5)
def marketplace_id(shop: Shop) -> list[Draft]:
    """The number the marketplace gave to the order."""
    order = one(
        shop,
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
    order = one(shop, lambda order: len(shop.customer(order).orders) == 1)
    if not order:
        return []
    number = shop.customer(order).number
    lead = shop.rng.choice(("Kd.Nr.", "Kundennummer", "Kundennr.:", "KdNr", "Kunde", "Kunden-Nr."))
    return [paying(shop, order, f"{lead} {number}")]


# --- Slips of the pen -------------------------------------------------------------------------


def _mistyped(shop: Shop, slip: Callable[[Random, str], str]) -> list[Draft]:
    """Pays an order under a number with a slip in it that is no order's number."""
    order = one(shop)
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
        order = one(shop)
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
        order = one(shop)
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
        order = one(shop, lambda order: shop.customer(order) is customer)  # noqa: B023
        if order:
            text = ordinary(shop, order, before["number"])
            return [paying(shop, order, text, is_ambiguous=True)]
    return []


# --- Without a number -------------------------------------------------------------------------


@kind(2)
def name_only(shop: Shop) -> list[Draft]:
    """No number; the customer's name and what the order owes."""
    order = one(shop)
    if not order:
        return []
    who = wording.full_name(shop.customer(order).person)
    text = shop.rng.choice((*wording.PLAIN_WORDS, who, who, f"Bestellung {who}")) or None
    return [paying(shop, order, text, is_ambiguous=rivals(shop, [order], owed(order)))]


@kind(0.4)
def name_only_family(shop: Shop) -> list[Draft]:
    """No number, and somebody else of the family pays what the order owes."""
    order = one(shop, lambda order: is_private(shop, order))
    if not order:
        return []
    relative = names.person(shop.rng, shop.customer(order).person.last_name)
    text = shop.rng.choice(wording.PLAIN_WORDS) or None
    name = wording.full_name(relative)
    return [paying(shop, order, text, name=name, is_ambiguous=True)]


@kind(0.3)
def name_in_text(shop: Shop) -> list[Draft]:
    """Somebody else pays without a number and writes for whom."""
    order = one(shop, lambda order: is_private(shop, order))
    if not order:
        return []
    who = wording.full_name(shop.customer(order).person)
    text = f"{shop.rng.choice(('fuer', 'für', 'Bestellung von', 'i.A.', 'Kunde'))} {who}"
    payer = wording.full_name(names.person(shop.rng))
    ambiguous = rivals(shop, [order], owed(order))
    iban = names.iban(shop.rng)
    return [paying(shop, order, text, name=payer, iban=iban, is_ambiguous=ambiguous)]


@kind(0.8)
def nothing(shop: Shop) -> list[Draft]:
    """Neither a number nor a name: nobody can tell."""
    order = shop.rng.choice(shop.open_orders)
    text = shop.rng.choice((None, "Ueberweisung", "Danke", "Einzahlung", "Bestellung"))
    name = shop.rng.choice((None, "Bareinzahlung", "SB-Einzahlung", "Postbank Einzahlung"))
    return [elsewhere(shop, owed(order), name, text, currency=order["currency"], iban=None)]


@kind(0.4)
def name_other_amount(shop: Shop) -> list[Draft]:
    """A customer's name with a sum that fits none of the orders, and no number."""
    order = shop.rng.choice(shop.open_orders)
    customer = shop.customer(order)
    amount = _unlike_any(shop, customer)
    name = wording.common_name(shop.rng, customer.person)
    text = shop.rng.choice(wording.PLAIN_WORDS) or None
    return [elsewhere(shop, amount, name, text, currency=order["currency"], iban=customer.iban)]


def _unlike_any(shop: Shop, customer: Customer) -> Decimal:
    """An amount that is neither an order's of this family nor close to one, nor a sum of them."""
    theirs = [
        Decimal(order["total"])
        for order in shop.open_orders
        if are_alike(customer, shop.customer(order))
    ]
    theirs += _sums(customer)
    for _ in range(MAX_TRIES):
        amount = shop.style.price(shop.rng)
        if all(abs(amount - one) > one * Decimal("0.2") + 6 for one in theirs):
            break
    return amount


@kind(0.6, 2)
def known_payer(shop: Shop) -> list[Draft]:
    """No number and a name that says little, but the account has paid for the customer before."""
    order = one(shop, lambda order: shop.customer(order).has_history)
    if not order:
        return []
    customer = shop.customer(order)
    name = wording.full_name(customer.account_holder)
    if shop.rng.random() < 0.4:
        name = wording.full_name(names.person(shop.rng))
    text = shop.rng.choice(wording.PLAIN_WORDS) or None
    is_ambiguous = rivals(shop, [order], owed(order))
    draft = paying(shop, order, text, name=name, iban=customer.iban, is_ambiguous=is_ambiguous)
    draft.is_known_by_iban = True
    return [draft]


@kind(0.4, 2)
def household(shop: Shop) -> list[Draft]:
    """One account for several people: the name is another one's than the customer's."""
    order = one(
        shop,
        lambda order: shop.customer(order).person is not shop.customer(order).account_holder,
    )
    if not order:
        return []
    customer = shop.customer(order)
    has_number = shop.rng.random() < 0.5
    text = ordinary(shop, order) if has_number else shop.rng.choice(wording.PLAIN_WORDS) or None
    is_ambiguous = not has_number and (
        rivals(shop, [order], owed(order)) or not customer.has_history
    )
    draft = paying(shop, order, text, iban=customer.iban, is_ambiguous=is_ambiguous)
    draft.is_known_by_iban = True
    return [draft]


@kind(0.4, 2)
def equal_name(shop: Shop) -> list[Draft]:
    """Two customers are called the same; only the amount tells which one pays."""
    known: dict[str, int] = {}
    for customer in {customer.number: customer for customer in shop.customers}.values():
        known[wording.full_name(customer.person)] = (
            known.get(wording.full_name(customer.person), 0) + 1
        )
    order = one(shop, lambda order: known[wording.full_name(shop.customer(order).person)] > 1)
    if not order:
        return []
    text = shop.rng.choice(wording.PLAIN_WORDS) or None
    is_ambiguous = rivals(shop, [order], owed(order))
    return [paying(shop, order, text, is_ambiguous=is_ambiguous)]


@kind(0.3, 2)
def email_address(shop: Shop) -> list[Draft]:
    """Somebody of the family pays and writes the address the shop knows the customer by."""
    order = one(shop, lambda order: is_private(shop, order))
    if not order:
        return []
    customer = shop.customer(order)
    name = wording.full_name(names.person(shop.rng, customer.person.last_name))
    is_ambiguous = sum(owed(other) == owed(order) for other in customer.orders) > 1
    return [paying(shop, order, customer.email, name=name, is_ambiguous=is_ambiguous)]


@kind(0.3, 2)
def paid_by_recipient(shop: Shop) -> list[Draft]:
    """Whom it is sent to pays, with the number or without."""
    order = one(shop, lambda order: "shipping_address" in order)
    if not order:
        return []
    address = order["shipping_address"]
    name = f"{address['first_name']} {address['last_name']}"
    if shop.rng.random() < 0.5:
        return [paying(shop, order, ordinary(shop, order), name=name, iban=names.iban(shop.rng))]
    text = shop.rng.choice(wording.PLAIN_WORDS) or None
    is_ambiguous = any(
        owed(other) == owed(order)
        and wording.key(shop.customer(other).person.last_name) == wording.key(address["last_name"])
        for other in shop.open_orders
        if other is not order
    )
    iban = names.iban(shop.rng)
    return [paying(shop, order, text, name=name, iban=iban, is_ambiguous=is_ambiguous)]


@kind(0.3, 1)
def twins(shop: Shop) -> list[Draft]:
    """The customer ordered the same twice and names no number: nobody can tell which."""

    def has_twin(order: Order) -> bool:
        mine = shop.customer(order).orders
        return sum(owed(other) == owed(order) for other in mine if is_open(other)) > 1

    order = one(shop, has_twin)
    text = shop.rng.choice(wording.PLAIN_WORDS) or None
    return [paying(shop, order, text, is_ambiguous=True)] if order else []


# --- Amounts ----------------------------------------------------------------------------------


def _with_amount(
    shop: Shop, amount: Callable[[Decimal], Decimal], fits: Callable[[Order], bool] | None = None
) -> list[Draft]:
    """Names the order but pays another sum than it owes."""
    order = one(shop, fits)
    if not order:
        return []
    return [paying(shop, order, ordinary(shop, order), amount=rounded(amount(owed(order))))]


def discounted(amount: Decimal, percent: Decimal | int | str) -> Decimal:
    return rounded(amount * (1 - Decimal(percent) / 100))


def has_terms(order: Order) -> bool:
    return order["payment_terms"] is not None and order["payment_status"] == "unpaid"


@kind(0.8, 3)
def discount_in_time(shop: Shop) -> list[Draft]:
    """The agreed cash discount, taken in time."""
    order = one(shop, has_terms)
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
    order = one(
        shop, lambda order: has_terms(order) and (shop.today - ordered_date(order)).days > 24
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
    order = one(shop, lambda order: owed(order) > 30)
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
    return _in_turn(shop, drafts)


@kind(0.3, 1)
def rest(shop: Shop) -> list[Draft]:
    """The rest of an order that is partly paid already."""
    order = one(shop, lambda order: order["payment_status"] == "partially_paid")
    return [paying(shop, order, ordinary(shop, order))] if order else []


def _in_turn(shop: Shop, drafts: list[Draft]) -> list[Draft]:
    """The later ones on the same day or some days later, never before the earlier ones."""
    for before, draft in zip(drafts, drafts[1:], strict=False):
        draft.on = min(before.on + timedelta(shop.rng.choice((0, 1, 2, 5))), shop.today)
    return drafts


# --- Several orders ---------------------------------------------------------------------------


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
    first = one(shop)
    if not first:
        return []
    second = one(shop, lambda order: order["currency"] == first["currency"])
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
    return _sums(shop.customer(orders[0])).count(amount) > 1


def _sums(customer: Customer) -> list[Decimal]:
    """What each choice of the customer's open orders owes together (at most six orders)."""
    sums = [Decimal(0)]
    for order in [order for order in customer.orders if is_open(order)][:6]:
        sums += [so_far + owed(order) for so_far in sums]
    return sums[1:]


# --- Names ------------------------------------------------------------------------------------


def _named(shop: Shop, name: Callable[[Customer], str], *, of_company: bool = False) -> list[Draft]:
    """Names the order; how the payer's name is written is what is special."""
    order = one(shop, lambda order: is_private(shop, order) != of_company)
    if not order:
        return []
    return [paying(shop, order, ordinary(shop, order), name=name(shop.customer(order)))]


@kind(0.4)
def name_order_swapped(shop: Shop) -> list[Draft]:
    """Family name first."""
    mark = shop.rng.choice((" ", ", ", ","))
    return _named(shop, lambda payer: f"{payer.person.last_name}{mark}{payer.person.first_name}")


@kind(0.4)
def name_respelt(shop: Shop) -> list[Draft]:
    """Umlauts as two letters, without their marks, or lost."""
    spell = shop.rng.choice((wording.with_two_letters, wording.plain, wording.without_marked))
    order = one(shop, lambda order: not wording.full_name(shop.customer(order).person).isascii())
    if not order:
        return []
    name = spell(wording.full_name(shop.customer(order).person))
    return [paying(shop, order, ordinary(shop, order), name=name)]


@kind(0.4)
def name_upper_case(shop: Shop) -> list[Draft]:
    """All in capitals."""
    return _named(shop, lambda payer: wording.full_name(payer.person).upper())


@kind(0.5)
def name_partner(shop: Shop) -> list[Draft]:
    """Somebody else of the family pays."""
    return _named(
        shop, lambda payer: wording.full_name(names.person(shop.rng, payer.person.last_name))
    )


@kind(0.5)
def name_couple(shop: Shop) -> list[Draft]:
    """Two people on one account."""
    other = names.person(shop.rng).first_name
    return _named(shop, lambda payer: wording.couple_name(shop.rng, payer.person, other))


@kind(0.3)
def name_company(shop: Shop) -> list[Draft]:
    """A company pays what its owner ordered privately."""

    def name(payer: Customer) -> str:
        return f"{names.skewed(shop.rng, names.TRADES)} {payer.person.last_name} GmbH"

    return _named(shop, name)


@kind(0.3)
def name_of_owner(shop: Shop) -> list[Draft]:
    """The person behind a company pays from a private account."""
    return _named(
        shop, lambda payer: f"{payer.person.first_name} {payer.person.last_name}", of_company=True
    )


@kind(0.4)
def name_initials(shop: Shop) -> list[Draft]:
    """Only the first letter of the first name."""
    return _named(
        shop,
        lambda payer: shop.rng.choice(
            (
                f"{payer.person.first_name[0]}. {payer.person.last_name}",
                f"{payer.person.last_name} {payer.person.first_name[0]}",
                f"{payer.person.first_name[0]} {payer.person.last_name}",
            )
        ),
    )


@kind(0.4)
def name_maiden(shop: Shop) -> list[Draft]:
    """The maiden name, alone or as half of a double name."""
    maiden = names.skewed(shop.rng, names.FAMILY_NAMES)

    def name(payer: Customer) -> str:
        last = payer.person.last_name
        return f"{payer.person.first_name} " + shop.rng.choice(
            (maiden, f"{last}-{maiden}", f"{maiden}-{last}", f"{last} geb. {maiden}")
        )

    return _named(shop, name)


@kind(0.3)
def name_title(shop: Shop) -> list[Draft]:
    """With a title the shop does not know, or a second first name."""

    def name(payer: Customer) -> str:
        first, last = payer.person.first_name, payer.person.last_name
        second = names.skewed(shop.rng, names.WOMEN if payer.person.is_woman else names.MEN)
        return shop.rng.choice(
            (
                f"{shop.rng.choice(names.TITLES)} {first} {last}",
                f"{first} {second[0]}. {last}",
                f"{first} {second} {last}",
                f"{'Frau' if payer.person.is_woman else 'Herrn'} {first} {last}",
            )
        )

    return _named(shop, name)


@kind(0.3)
def name_truncated(shop: Shop) -> list[Draft]:
    """The bank keeps only the first 20 or 27 characters of a company's name."""
    order = one(shop, lambda order: len(shop.customer(order).person.company) > 20)
    if not order:
        return []
    name = shop.customer(order).person.company[: shop.rng.choice((20, 27))].strip()
    return [paying(shop, order, ordinary(shop, order), name=name)]


@kind(0.8)
def third_party(shop: Shop) -> list[Draft]:
    """Somebody quite different pays the whole sum and names the order."""
    order = one(shop)
    if not order:
        return []
    payer = names.company(shop.rng) if shop.rng.random() < 0.3 else names.person(shop.rng)
    name, iban = wording.full_name(payer), names.iban(shop.rng)
    return [paying(shop, order, ordinary(shop, order), name=name, iban=iban)]


@kind(0.3)
def no_payer(shop: Shop) -> list[Draft]:
    """The bank tells neither name nor account."""
    order = one(shop)
    return [paying(shop, order, ordinary(shop, order), name=None, iban=None)] if order else []


@kind(1)
def iban_in_text(shop: Shop) -> list[Draft]:
    """The bank writes the payer's account into the text."""
    order = one(shop)
    if not order:
        return []
    iban = shop.customer(order).iban
    cut = shop.rng.randrange(8, 18)
    spelt = shop.rng.choice((iban, f"{iban[:cut]} {iban[cut:]}"))
    text = shop.rng.choice(
        (
            f"{order['number']} IBAN: {spelt} BIC: WELADE8LXXX",
            f"{ordinary(shop, order)} ABWA+{wording.full_name(shop.customer(order).person)}",
            f"IBAN {spelt} {ordinary(shop, order)}",
        )
    )
    return [paying(shop, order, text)]


# --- Not to be booked -------------------------------------------------------------------------


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


@kind(0.6, 3)
def duplicate(shop: Shop) -> list[Draft]:
    """Paid twice by mistake; the second time nothing is owed."""
    order = one(shop)
    if not order:
        return []
    # Well written, so that which of the two is booked does not hang on how it is written.
    text = f"{shop.rng.choice(wording.LEADS)} {order['number']}"
    first = paying(shop, order, text)
    second = paying(shop, order, text, name=first.name, iban=first.iban, booked={})
    second.on = first.on
    if shop.rng.random() < 0.3:
        second.text = ordinary(shop, order)
    return _in_turn(shop, [first, second])


def _closed(shop: Shop, status: str) -> list[Draft]:
    closed = [order for order in shop.closed if order["payment_status"] == status]
    if not closed:
        return []
    order = shop.rng.choice(closed)
    amount = Decimal(order["total"])
    return [paying(shop, order, ordinary(shop, order), amount=amount, booked={})]


@kind(0.6)
def already_paid(shop: Shop) -> list[Draft]:
    """Names an order that was paid before."""
    return _closed(shop, "paid")


@kind(0.4)
def cancelled(shop: Shop) -> list[Draft]:
    """Names an order that was cancelled: a person decides."""
    return _closed(shop, "cancelled")


@kind(0.3)
def already_paid_unnamed(shop: Shop) -> list[Draft]:
    """No number; name and amount are those of an order that was paid before."""
    drafts = _closed(shop, "paid")
    for draft in drafts:
        draft.text = shop.rng.choice(wording.PLAIN_WORDS) or None
    return drafts if not drafts or not _looks_open(shop, drafts[0]) else []


def _looks_open(shop: Shop, draft: Draft) -> bool:
    name = wording.key(draft.name or "")
    return any(
        wording.key(shop.customer(order).person.last_name) in name
        for order in shop.open_orders
        if owed(order) == draft.amount
    )


def _foreign_text(shop: Shop) -> str | None:
    """What strangers write for reasons of their own; numbers may be like ours."""
    rng = shop.rng
    number = rng.choice(shop.open_orders)["number"]
    near = rng.choice((number, wording.core(number), str(rng.randrange(10**4, 10**6))))
    return rng.choice(
        (
            f"Kundennummer {near} Beitrag {rng.choice(wording.MONTHS)}",
            f"KD {near} Vertrag {rng.randrange(10**6, 10**7)}",
            f"Vertragskonto {rng.randrange(10**8, 10**9)}",
            f"Mitgliedsnummer {near}",
            f"Spende {near}",
            f"Tel. 0{rng.randrange(151, 9000)} {rng.randrange(10**5, 10**7)}",
            f"TAN {rng.randrange(10**6):06} DATUM {shop.today:%d.%m.%Y}, 10.47 UHR",
            f"Auslagen {rng.choice(wording.MONTHS)} 2026",
            "Darlehen Rate",
            "privat",
            "Kaution Wohnung",
            "Miete Lager",
            f"Flohmarkt Stand {rng.randrange(1, 200)}",
            f"ebay Artikel {rng.randrange(10**11, 10**12)}",
            None,
        )
    )


@kind(1.8)
def foreign(shop: Shop) -> list[Draft]:
    """Money that has nothing to do with an order, with numbers like ours in its text."""
    amount = shop.style.price(shop.rng)
    while any(amount == owed(order) for order in shop.open_orders):
        amount += CENT * shop.rng.randrange(1, 90)
    who = stranger(shop, amount)
    name = wording.full_name(names.company(shop.rng) if shop.rng.random() < 0.4 else who)
    return [elsewhere(shop, amount, name, _foreign_text(shop))]


@kind(0.8)
def foreign_equal_amount(shop: Shop) -> list[Draft]:
    """The same, and the sum happens to be what one open order owes."""
    order = shop.rng.choice(shop.open_orders)
    amount = owed(order)
    name = wording.full_name(stranger(shop, amount))
    text = _foreign_text(shop)
    for _ in range(MAX_TRIES):
        if text is None or not _quotes_amount(shop, text, amount):
            break
        text = _foreign_text(shop)
    return [elsewhere(shop, amount, name, text, currency=order["currency"])]


def _quotes_amount(shop: Shop, text: str, amount: Decimal) -> bool:
    """Does the text name an open order that owes this much?"""
    return any(
        wording.core(order["number"]) in text for order in shop.open_orders if owed(order) == amount
    )


@kind(0.3, 6)
def gone_number(shop: Shop) -> list[Draft]:
    """An order the shop does not know any more."""
    if not shop.gone:
        return []
    amount = shop.style.price(shop.rng)
    text = f"{shop.rng.choice(wording.LEADS)} {shop.rng.choice(shop.gone)}"
    return [elsewhere(shop, amount, wording.full_name(stranger(shop, amount)), text)]


@kind(0.3, 6)
def gone_typo(shop: Shop) -> list[Draft]:
    """An unknown order's number with a slip in it."""
    if not shop.gone:
        return []
    amount = shop.style.price(shop.rng)
    for _ in range(MAX_TRIES):
        typed = wording.substituted(shop.rng, shop.rng.choice(shop.gone))
        order = shop.by_number.get(typed)
        if order is None or owed(order) != amount:
            break
    text = f"{shop.rng.choice(wording.LEADS)} {typed}"
    return [elsewhere(shop, amount, wording.full_name(stranger(shop, amount)), text)]


@kind(0.4, 6)
def gone_same_name(shop: Shop) -> list[Draft]:
    """An unknown number next to an open order of somebody with the same family name."""
    for _ in range(MAX_TRIES):
        pair = _gone_neighbour(shop)
        if pair is None:
            return []
        number, order = pair
        customer = shop.customer(order)
        if not customer.person.company:
            amount = _unlike_any(shop, customer)
            payer = names.person(shop.rng, customer.person.last_name)
            text = f"{shop.rng.choice(wording.LEADS)} {number}"
            name = wording.common_name(shop.rng, payer)
            return [elsewhere(shop, amount, name, text, currency=order["currency"])]
    return []


@kind(0.4, 6)
def gone_same_price(shop: Shop) -> list[Draft]:
    """An unknown number next to an open order that owes the same; the name is another."""
    pair = _gone_neighbour(shop)
    if pair is None:
        return []
    number, order = pair
    amount = owed(order)
    text = f"{shop.rng.choice(wording.LEADS)} {number}"
    name = wording.common_name(shop.rng, stranger(shop, amount))
    return [elsewhere(shop, amount, name, text, currency=order["currency"])]


def _gone_neighbour(shop: Shop) -> tuple[str, Order] | None:
    """A number the shop does not know and an open order one slip away from it."""
    slips = (wording.substituted, wording.swapped)
    for _ in range(MAX_TRIES if shop.gone else 0):
        number = shop.rng.choice(shop.gone)
        order = shop.by_number.get(shop.rng.choice(slips)(shop.rng, number))
        if order is not None and is_open(order):
            return number, order
    order = shop.rng.choice(shop.open_orders)
    for _ in range(MAX_TRIES):
        number = wording.substituted(shop.rng, order["number"])
        if not is_known_number(shop, number):
            return number, order
    return None


@kind(0.5)
def stranger_quotes(shop: Shop) -> list[Draft]:
    """An open order's number with another sum and another name."""
    order = shop.rng.choice(shop.open_orders)
    total = Decimal(order["total"])
    for _ in range(MAX_TRIES):
        amount = shop.style.price(shop.rng)
        if not total * Decimal("0.7") < amount < total * Decimal("1.3") + 6:
            break
    who = stranger(shop, amount)
    if wording.key(who.last_name) == wording.key(shop.customer(order).person.last_name):
        return []
    name = wording.common_name(shop.rng, who)
    text = f"{shop.rng.choice((*wording.LEADS, ''))} {order['number']}".strip()
    return [elsewhere(shop, amount, name, text, currency=order["currency"])]


@kind(0.6)
def refund_returned(shop: Shop) -> list[Draft]:
    """A refund of ours that could not be delivered comes back with our own text."""
    order = shop.rng.choice(
        shop.closed if shop.closed and shop.rng.random() < 0.6 else shop.open_orders
    )
    reference = shop.rng.choice((f"ER-{order['number']}", order["number"], f"REF{order['number']}"))
    reason = shop.rng.choice(("Konto erloschen", "AC04", "Empfaenger unbekannt", "IBAN fehlerhaft"))
    word = shop.rng.choice(
        ("RETOURE", "RUECKUEBERWEISUNG", "Rückläufer", "RETURN", "SEPA-RUECKUEB.")
    )
    text = shop.rng.choice(
        (
            f"{word} EREF+{reference} {reason}",
            f"{word} {reason} SVWZ+Erstattung {order['number']}",
            f"{word} Erstattung {order['number']} {reason}",
        )
    )
    draft = paying(shop, order, text, amount=Decimal(order["total"]), booked={})
    if shop.rng.random() < 0.5:
        draft.is_return, draft.return_reason = True, "AC04"
        draft.text = shop.rng.choice((text, f"Erstattung {order['number']}"))
        draft.end_to_end_id = reference
    return [draft]


@kind(0.3)
def own_refund_returned(shop: Shop) -> list[Draft]:
    """A refund of ours goes out and comes back under the same id."""
    order = shop.rng.choice(
        shop.closed if shop.closed and shop.rng.random() < 0.6 else shop.open_orders
    )
    amount = Decimal(order["total"])
    reference = f"{shop.rng.choice(('REF', 'GUT', 'R-', ''))}{order['number']}"
    text = f"Erstattung {order['number']}"
    out = paying(shop, order, text, amount=-amount, booked={}, end_to_end_id=reference)
    out.transaction_code = "PMNT/ICDT/ESCT"
    back = paying(shop, order, text, amount=amount, booked={}, end_to_end_id=reference)
    back.name, back.iban = out.name, out.iban
    back.is_return = shop.rng.random() < 0.4
    if shop.rng.random() < 0.5:
        back.text = f"{shop.rng.choice(('Rueckueberweisung', 'Konto erloschen', 'RETOURE'))} {text}"
    return _in_turn(shop, [out, back])


@kind(0.4)
def returned_debit(shop: Shop) -> list[Draft]:
    """A direct debit of ours was given back: money leaves."""
    order = shop.rng.choice(shop.open_orders)
    text = f"RUECKLASTSCHRIFT {order['number']} MS03"
    draft = paying(shop, order, text, amount=-owed(order), booked={})
    draft.is_return = shop.rng.random() < 0.7
    return [draft]


@kind(0.4)
def other_currency(shop: Shop) -> list[Draft]:
    """The right number and sum in a currency that is not the order's."""
    order = shop.rng.choice(shop.open_orders)
    currency = shop.rng.choice(
        [one for one in ("CHF", "USD", "GBP", "EUR") if one != order["currency"]]
    )
    return [paying(shop, order, ordinary(shop, order), currency=currency, booked={})]


@kind(0.6)
def pending(shop: Shop) -> list[Draft]:
    """Not booked yet."""
    order = shop.rng.choice(shop.open_orders)
    draft = paying(shop, order, ordinary(shop, order), booked={}, is_pending=True)
    draft.on = shop.today
    return [draft]


@kind(0.3)
def batch_total(shop: Shop) -> list[Draft]:
    """The sum of several payments the bank does not tell apart."""
    orders = shop.rng.sample(shop.open_orders, min(shop.rng.randrange(2, 7), len(shop.open_orders)))
    amount = sum(map(owed, orders), Decimal(0))
    text = shop.rng.choice(
        (f"SAMMELGUTSCHRIFT {len(orders)} POSTEN", "Sammler", orders[0]["number"])
    )
    return [elsewhere(shop, amount, None, text, is_batch_total=True, iban=None)]


@kind(0.8)
def payout(shop: Shop) -> list[Draft]:
    """What a payment provider or marketplace pays out for many customers."""
    rng = shop.rng
    number = rng.choice(shop.open_orders)["number"]
    name, text = rng.choice(
        (
            (
                "PayPal (Europe) S.a.r.l. et Cie., S.C.A.",
                f"PAYPAL ABBUCHUNG {rng.randrange(10**12)}",
            ),
            ("PayPal Europe S.a.r.l.", f"Gutschrift PayPal 100{rng.randrange(10**8)} /{number}"),
            (
                "Klarna Bank AB (publ)",
                f"KLARNA {rng.randrange(10**9)} SETTLEMENT {rng.randrange(10**6)}",
            ),
            ("KLARNA BANK AB GERMAN BRANCH", f"Auszahlung {number} {rng.randrange(10**8)}"),
            (
                "Stripe Technology Europe Ltd",
                f"STRIPE P{rng.randrange(10**7)} {rng.randrange(10**5)}",
            ),
            ("Stichting Mollie Payments", f"Mollie settlement {rng.randrange(10**6)}.2611.04"),
            (
                "Amazon Payments Europe S.C.A.",
                f"AMZN {rng.randrange(10**9)} {rng.randrange(10**7)}",
            ),
            ("eBay S.a.r.l.", f"eBay Auszahlung {marketplace_number(rng, 14)}"),
            (
                "SumUp Payments Limited",
                f"SUMUP PID{rng.randrange(10**6)} PAYOUT {shop.today:%d%m%y}",
            ),
            ("Adyen N.V.", f"TX{rng.randrange(10**10)}XT batch {rng.randrange(100, 999)}"),
        )
    )
    amount = (
        owed(rng.choice(shop.open_orders))
        if rng.random() < 0.3
        else rounded(Decimal(rng.randrange(2000, 300000)) / 100)
    )
    return [elsewhere(shop, amount, name, text)]


@kind(0.8)
def official(shop: Shop) -> list[Draft]:
    """Wages, taxes, insurance, rent: the merchant's own money."""
    rng = shop.rng
    month = rng.choice(wording.MONTHS)
    name, text = rng.choice(
        (
            (
                f"Finanzamt {names.skewed(rng, names.CITIES)}",
                f"UST-ERSTATTUNG 3.VJ2026 STNR {rng.randrange(10**9)}",
            ),
            ("Bundeskasse", f"KINDERGELD KG{rng.randrange(10**7)} {month.upper()}"),
            (
                "Allianz Versicherungs-AG",
                f"Schaden {rng.randrange(10**8)} Vertrag AS-{rng.randrange(10**9)}",
            ),
            (wording.full_name(names.company(rng)), f"LOHN / GEHALT {month} 2026"),
            ("Stadtwerke", f"Guthaben Jahresabrechnung Vk. {rng.randrange(10**9)}"),
            ("AOK Die Gesundheitskasse", f"ERSTATTUNG U1 {rng.randrange(10**7)}"),
            (wording.full_name(names.person(rng)), f"Miete {month}"),
            ("Deutsche Rentenversicherung", f"RENTE {rng.randrange(10**7)} {month}"),
        )
    )
    amount = (
        owed(rng.choice(shop.open_orders))
        if rng.random() < 0.2
        else rounded(Decimal(rng.randrange(1500, 250000)) / 100)
    )
    return [elsewhere(shop, amount, name, text)]


@kind(1.5)
def outgoing(shop: Shop) -> list[Draft]:
    """What the merchant pays, suppliers' invoice numbers included."""
    rng = shop.rng
    number = rng.choice((str(rng.randrange(10**4, 10**6)), rng.choice(shop.open_orders)["number"]))
    text = rng.choice(
        (f"Rechnung {number}", f"RE-Nr. {number} Kd. {rng.randrange(10**5)}", "Porto")
    )
    amount = -rng.choice((owed(rng.choice(shop.open_orders)), shop.style.price(rng)))
    name = wording.full_name(names.company(rng))
    return [elsewhere(shop, amount, name, text, transaction_code="PMNT/ICDT/ESCT")]


@kind(0.3)
def ordered_later(shop: Shop) -> list[Draft]:
    """Booked before the day of the order: shops put dates right, marketplaces deliver late."""
    order = one(shop)
    if not order:
        return []
    on = ordered_date(order) - timedelta(shop.rng.randrange(1, 4))
    return [paying(shop, order, ordinary(shop, order), on=on)]
