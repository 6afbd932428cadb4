"""No number at all: a name, an amount, an account."""

from __future__ import annotations

from bench.matching import names, wording
from bench.matching.noise.draft import (
    Draft,
    elsewhere,
    is_private,
    kind,
    ordinary,
    paying,
    rivals,
    unlike_any,
)
from bench.matching.orders import (
    Order,
    Shop,
    is_open,
    owed,
)


@kind(2)
def name_only(shop: Shop) -> list[Draft]:
    """No number; the customer's name and what the order owes."""
    order = shop.take()
    if not order:
        return []
    who = wording.full_name(shop.customer(order).person)
    text = shop.rng.choice((*wording.PLAIN_WORDS, who, who, f"Bestellung {who}")) or None
    return [paying(shop, order, text, is_ambiguous=rivals(shop, [order], owed(order)))]


@kind(0.4)
def name_only_family(shop: Shop) -> list[Draft]:
    """No number, and somebody else of the family pays what the order owes."""
    order = shop.take(lambda order: is_private(shop, order))
    if not order:
        return []
    relative = names.person(shop.rng, shop.customer(order).person.last_name)
    text = shop.rng.choice(wording.PLAIN_WORDS) or None
    name = wording.full_name(relative)
    return [paying(shop, order, text, name=name, is_ambiguous=True)]


@kind(0.3)
def name_in_text(shop: Shop) -> list[Draft]:
    """Somebody else pays without a number and writes for whom."""
    order = shop.take(lambda order: is_private(shop, order))
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
    amount = unlike_any(shop, customer)
    name = wording.common_name(shop.rng, customer.person)
    text = shop.rng.choice(wording.PLAIN_WORDS) or None
    return [elsewhere(shop, amount, name, text, currency=order["currency"], iban=customer.iban)]


@kind(0.6, 2)
def known_payer(shop: Shop) -> list[Draft]:
    """No number and a name that says little, but the account has paid for the customer before."""
    order = shop.take(lambda order: shop.customer(order).has_history)
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
    order = shop.take(
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
    order = shop.take(lambda order: known[wording.full_name(shop.customer(order).person)] > 1)
    if not order:
        return []
    text = shop.rng.choice(wording.PLAIN_WORDS) or None
    is_ambiguous = rivals(shop, [order], owed(order))
    return [paying(shop, order, text, is_ambiguous=is_ambiguous)]


@kind(0.3, 2)
def email_address(shop: Shop) -> list[Draft]:
    """Somebody of the family pays and writes the address the shop knows the customer by."""
    order = shop.take(lambda order: is_private(shop, order))
    if not order:
        return []
    customer = shop.customer(order)
    name = wording.full_name(names.person(shop.rng, customer.person.last_name))
    is_ambiguous = sum(owed(other) == owed(order) for other in customer.orders) > 1
    return [paying(shop, order, customer.email, name=name, is_ambiguous=is_ambiguous)]


@kind(0.3, 2)
def paid_by_recipient(shop: Shop) -> list[Draft]:
    """Whom it is sent to pays, with the number or without."""
    order = shop.take(lambda order: "shipping_address" in order)
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

    order = shop.take(has_twin)
    text = shop.rng.choice(wording.PLAIN_WORDS) or None
    return [paying(shop, order, text, is_ambiguous=True)] if order else []
