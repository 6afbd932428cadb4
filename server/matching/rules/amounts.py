"""How an amount relates to what an order owes: exactly, less a discount or fee, in parts."""

import re
from collections.abc import Iterator
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal
from math import log10
from typing import Final, NamedTuple

from server.matching.rules.evidence import Evidence
from server.matching.rules.facts import ZERO, Crowd, OpenOrder, Policy, PostingFacts

OF_COMMON_PRICES: Final = 0.01  # 29.90: a price on the list of many shops
OF_ODD_PRICES: Final = 0.0005  # 393.31: hardly another order has this amount
SMOOTHING: Final = 200  # orders' worth of general knowledge beside the merchant's own
PAID_EXACTLY: Final = 0.9  # so many payers pay what is asked
LEAST_EXACT: Final = 0.3
KNOWN_AROUND: Final = Decimal("0.02")  # so far around an amount it is known how common totals are
MOST_EXACT: Final = 3.3
DISCOUNTED: Final = 1.8
DISCOUNTED_LATE: Final = 0.8
FEE: Final = 0.8  # the text says so or the payer is abroad, and a bank's fee is missing
ROUNDED: Final = 0.3
NEARLY: Final = -0.5
IN_PARTS: Final = -0.7  # a half, a third, a quarter, a tenth
SAID_PART: Final = 1.0  # "Anzahlung", "2. Rate"
LESS: Final = -1.5
MORE: Final = -1.5
WILD: Final = -3.0  # more than twice, less than a tenth

MAX_FEE: Final = Decimal(15)
COMMON_BELOW: Final = Decimal(200)
_CENT: Final = Decimal("0.01")
_HUNDRED: Final = Decimal(100)
_ONE: Final = Decimal(1)
_FEE_WORD: Final = re.compile(r"ENTGELT|CHGS|CHARGES|OCMT|GEBUE?HR|SPESEN|\bFEES?\b")
_PART_WORD: Final = re.compile(
    r"\bRATEN?\b|RATENZAHLUNG|ANZAHLUNG|TEILZAHLUNG|\bTEIL\b|RESTZAHLUNG"
)
_COMMON_ENDINGS: Final = frozenset(map(Decimal, ("0.00", "0.50", "0.90", "0.95", "0.99")))
_SEPA: Final = frozenset(
    "AD AL AT BE BG CH CY CZ DE DK EE ES FI FR GB GI GR HR HU IE IS IT LI LT LU LV MC MD ME MK MT "
    "NL NO PL PT RO RS SE SI SK SM VA".split()
)


class Relation(NamedTuple):
    """What is said, how much would be booked, and why the rest need not be paid.

    ``is_whole``: nothing is left to ask for.
    """

    evidence: Evidence
    booked: Decimal
    is_whole: bool = False
    because: str | None = None


def relate(
    posting: PostingFacts,
    order: OpenOrder,
    owed: Decimal,
    crowd: Crowd,
    policy: Policy,
    text: str,
) -> Relation:
    """``owed`` is what the order owes at this moment, or its total where it owes nothing."""
    amount = posting.available
    if posting.currency != order.currency:
        facts = {"amount": amount, "currency": posting.currency or "?", "other": order.currency}
        return Relation(Evidence("amount_currency", 0.0, facts), min(amount, owed))
    if amount == owed:
        weight = exact_weight(amount, crowd)
        return Relation(Evidence("amount_exact", weight, {"amount": amount}), amount, True)
    if order.fees and owed == order.outstanding and amount == owed + order.fees:
        facts = {"amount": amount, "owed": owed, "fees": order.fees}
        return Relation(Evidence("amount_with_fees", MOST_EXACT, facts), amount, True)
    if abs(amount - owed) <= policy.tolerance:
        return _tolerated(amount, owed, crowd)
    discounted = _discounted(posting, order, owed, policy)
    if discounted is not None:
        return discounted
    missing = owed - amount
    if ZERO < missing <= MAX_FEE and missing < owed / 2 and _lacks_fee(posting, text):
        facts = {"amount": amount, "owed": owed, "fee": missing}
        because = None if policy.claims_bank_fees else "bank_fee"
        return Relation(Evidence("amount_fee", FEE, facts), amount, because is not None, because)
    return Relation(_different(amount, owed, text), min(amount, owed))


def totals_around(amount: Decimal) -> Iterator[Decimal]:
    """The totals of which it is asked how common they are: this amount, and a cent or two off."""
    yield amount
    for cent in (_CENT, KNOWN_AROUND):
        yield amount - cent
        yield amount + cent


def exact_weight(amount: Decimal, crowd: Crowd) -> float:
    """What it says that two amounts are the same: less, if many orders owe that much."""
    is_common = amount < COMMON_BELOW and amount % 1 in _COMMON_ENDINGS
    general = OF_COMMON_PRICES if is_common else OF_ODD_PRICES
    same = crowd.owing.get(amount, 0)
    share = (same + SMOOTHING * general) / (crowd.open_orders + SMOOTHING)
    return min(max(log10(PAID_EXACTLY / share), LEAST_EXACT), MOST_EXACT)


def discounted(order: OpenOrder) -> Decimal | None:
    """The total less the early payment discount; None where there is none."""
    if order.discount is None:
        return None
    granted = (order.total * order.discount.percent / _HUNDRED).quantize(_CENT, ROUND_HALF_UP)
    return order.total - granted


def days_late(posting: PostingFacts, order: OpenOrder, grace_days: int) -> int:
    """By how many days the discount was missed, by value date (N16); 0 or less is in time."""
    paid = posting.value_date or posting.booking_date
    if order.discount is None or paid is None:
        return 0
    last_day = (order.terms_date or order.ordered_date) + timedelta(days=order.discount.days)
    return (paid - last_day).days - grace_days


def _tolerated(amount: Decimal, owed: Decimal, crowd: Crowd) -> Relation:
    facts = {"amount": amount, "owed": owed, "difference": amount - owed}
    is_known = abs(amount - owed) <= KNOWN_AROUND
    weight = exact_weight(owed, crowd) - 0.5 if is_known else LEAST_EXACT
    because = "tolerance" if amount < owed else None
    return Relation(Evidence("amount_tolerated", weight, facts), amount, True, because)


def _discounted(
    posting: PostingFacts, order: OpenOrder, owed: Decimal, policy: Policy
) -> Relation | None:
    less = discounted(order)
    if less is None or order.discount is None or owed != order.total:
        return None
    if abs(less - posting.available) > max(_CENT, policy.tolerance):
        return None
    facts: dict[str, object] = {
        "amount": posting.available,
        "owed": order.total,
        "percent": order.discount.percent,
    }
    late = days_late(posting, order, policy.discount_grace_days)
    if late <= 0:
        facts["discount"] = order.total - less
        evidence = Evidence("amount_discount", DISCOUNTED, facts)
        return Relation(evidence, posting.available, True, "discount")
    evidence = Evidence("amount_discount_late", DISCOUNTED_LATE, facts | {"days": late})
    because = "discount" if policy.accepts_late_discount else None
    return Relation(evidence, posting.available, because is not None, because)


def _lacks_fee(posting: PostingFacts, text: str) -> bool:
    iban = posting.counterparty_iban
    is_foreign = bool(iban) and iban[:2].isalpha() and iban[:2].upper() not in _SEPA  # type: ignore[index]
    return is_foreign or _FEE_WORD.search(text) is not None


def _different(amount: Decimal, owed: Decimal, text: str) -> Evidence:
    facts: dict[str, object] = {"amount": amount, "owed": owed}
    difference = abs(owed - amount)
    if difference < _ONE and amount % 1 == ZERO:
        return Evidence("amount_rounded", ROUNDED, facts)
    if difference <= max(_ONE, owed / 50):
        return Evidence("amount_near", NEARLY, facts)
    if amount > owed:
        return Evidence("amount_more", MORE if amount <= 2 * owed else WILD, facts)
    said = SAID_PART if _PART_WORD.search(text) else 0.0
    for parts in (2, 3, 4, 10):
        if abs(amount * parts - owed) < _CENT * parts:
            return Evidence("amount_part", IN_PARTS + said, facts | {"parts": parts})
    return Evidence("amount_less", LESS + said if amount >= owed / 10 else WILD, facts)
