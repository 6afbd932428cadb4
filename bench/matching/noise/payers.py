"""How the payer's name is written, and payers who are not the customer."""

from __future__ import annotations

from collections.abc import Callable

from bench.matching import names, wording
from bench.matching.noise.draft import (
    Draft,
    is_private,
    kind,
    ordinary,
    paying,
)
from bench.matching.orders import (
    Customer,
    Shop,
)


def _named(shop: Shop, name: Callable[[Customer], str], *, of_company: bool = False) -> list[Draft]:
    """Names the order; how the payer's name is written is what is special."""
    order = shop.take(lambda order: is_private(shop, order) != of_company)
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
    order = shop.take(lambda order: not wording.full_name(shop.customer(order).person).isascii())
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
    order = shop.take(lambda order: len(shop.customer(order).person.company) > 20)
    if not order:
        return []
    name = shop.customer(order).person.company[: shop.rng.choice((20, 27))].strip()
    return [paying(shop, order, ordinary(shop, order), name=name)]


@kind(0.8)
def third_party(shop: Shop) -> list[Draft]:
    """Somebody quite different pays the whole sum and names the order."""
    order = shop.take()
    if not order:
        return []
    payer = names.company(shop.rng) if shop.rng.random() < 0.3 else names.person(shop.rng)
    name, iban = wording.full_name(payer), names.iban(shop.rng)
    return [paying(shop, order, ordinary(shop, order), name=name, iban=iban)]


@kind(0.3)
def no_payer(shop: Shop) -> list[Draft]:
    """The bank tells neither name nor account."""
    order = shop.take()
    return [paying(shop, order, ordinary(shop, order), name=None, iban=None)] if order else []


@kind(1)
def iban_in_text(shop: Shop) -> list[Draft]:
    """The bank writes the payer's account into the text."""
    order = shop.take()
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
