"""What speaks for and against "this posting pays this order", in powers of ten.

Each weight is the decimal logarithm of a likelihood ratio: how much more often the observation
is made when the posting does pay the order than when it has nothing to do with it. 2.0 is a
hundred times. They are reasoned from frequencies that can be argued about, written beside
each, so that a measured calibration can replace them one by one.
"""

import re
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from server.matching.rules.facts import ZERO, OpenOrder, PostingFacts
from server.matching.rules.names import Likeness, likeness


@dataclass(frozen=True, slots=True)
class Evidence:
    """One observation: a sentence and its weight as a power of ten."""

    sentence: str
    weight: float

    def __str__(self) -> str:
        return f"{self.sentence} ({self.weight:+.1f})"


PRIOR: Final = -3.5
"""A posting pays one certain order of a few thousand before anything is read."""

# --- References -------------------------------------------------------------------------------

CHECKED: Final = 9.5
"""With check characters that are right: chance and a slip of the pen are both excluded."""

TYPO: Final = -3.3
"""One payer in twenty errs, in one of some 120 ways; so much rarer than writing it correctly."""

LOOK_ALIKE: Final = -2.3
"""Errs only by characters that look alike, however many: copied from print or handwriting."""

TYPO_CONFIRMATION: Final = 4.0
"""A number that is not what was written may be that of an order unknown here. Among dozens of
neighbours a common price and a common family name come together by chance; so amount and name
must weigh this much together: the whole name, or a rare amount with the family name."""

LOOK_ALIKE_CONFIRMATION: Final = 3.0
"""Letters among digits are nobody's number; a common price and the family name are enough."""

REFERENCE_WORD: Final = 1.3
COUNTER_WORD: Final = -4.0

_REFERENCE_WORD: Final = re.compile(
    r"(?:.*BEST|BESTELL.*|.*ORDER|.*ORDERNR|AUFTRAG.*|RE|RG|RGNR|RENR|RNR|RECHN.*|INVOICE.*|BEZAHLUNG"
    r"|ZAHLUNG|PAYMENT|NR|NO|VWZ|VERWENDUNGSZWECK|BELEG.*|REF|REFERENZ|BESTNR|BESTELLNR)"
)
_COUNTER_WORD: Final = re.compile(
    r"(?:KD|KDNR|KDN|KUNDEN?.*|KUNDNR|CUSTOMER.*|KTO|KTONR|KONTO.*|BLZ|TAN|TEL.*|FAX|MOBIL.*|PLZ"
    r"|SPENDE.*|MITGLIED.*|VERTRAG.*|VS|VSNR|POLICE.*|STEUER.*|MANDAT.*|MREF|GLAEUBIGER.*|CRED"
    r"|ARTIKEL.*|ART|ARTNR|UST.*|ID)"
)


def reference_weight(key: str) -> float:
    """How seldom this key stands in a text by chance, from its length and its characters.

    Digits of any meaning are common in bank texts; a mix of letters and digits is not; a run of
    letters may be a word or a name.
    """
    length = len(key)
    if key.isdigit():
        return {3: 2.0, 4: 3.5, 5: 4.5, 6: 5.0, 7: 6.0, 8: 6.5}.get(length, 7.0)
    if key.isalpha():
        return {3: 1.0, 4: 3.0, 5: 4.5, 6: 5.0, 7: 6.0, 8: 7.0}.get(length, 7.5)
    return {3: 2.5, 4: 4.5, 5: 6.0}.get(length, 7.5)


def word_weight(word: str) -> float:
    """What the word before a number says about it."""
    if _COUNTER_WORD.fullmatch(word):
        return COUNTER_WORD
    return REFERENCE_WORD if _REFERENCE_WORD.fullmatch(word) else 0.0


# --- Amount -----------------------------------------------------------------------------------

EXACT_ODD: Final = 2.8  # 393.31: hardly another order has this amount
EXACT_COMMON: Final = 2.0  # 29.90: a price on the list of many shops
DISCOUNTED: Final = 1.8
DISCOUNTED_LATE: Final = 0.8
FEE: Final = 0.8  # the text says so, and a bank's fee is missing
ROUNDED: Final = 0.3
NEARLY: Final = -0.5
IN_PARTS: Final = -0.7  # a half, a third, a quarter, a tenth
LESS: Final = -1.5
MORE: Final = -1.5
WILD: Final = -3.0  # more than twice, less than a tenth

MAX_FEE: Final = Decimal(15)
DISCOUNT_GRACE_DAYS: Final = 3  # the transfer's own days
_CENT: Final = Decimal("0.01")
_FEE_WORD: Final = re.compile(r"ENTGELT|CHGS|CHARGES|OCMT|GEBUE?HR|SPESEN|\bFEES?\b")
_COMMON_ENDINGS: Final = frozenset(map(Decimal, ("0.00", "0.50", "0.90", "0.95", "0.99")))
COMMON_BELOW: Final = Decimal(200)


def is_exact(amount: Decimal, owed: Decimal, tolerance: Decimal) -> bool:
    """Whether the amount is what is owed, within the deviation the merchant accepts."""
    return abs(amount - owed) <= tolerance


def exact_weight(amount: Decimal) -> float:
    """What it says that two amounts are the same: less, if everything costs that much."""
    is_common = amount < COMMON_BELOW and amount % 1 in _COMMON_ENDINGS
    return EXACT_COMMON if is_common else EXACT_ODD


def amount_evidence(
    posting: PostingFacts, order: OpenOrder, owed: Decimal, text: str, tolerance: Decimal
) -> Evidence:
    """What the amount says. ``owed`` is what the order owes at this moment, more than zero."""
    amount = posting.available
    if posting.currency != order.currency:
        return Evidence(f"{amount} {posting.currency}, the order is in {order.currency}", 0.0)
    if is_exact(amount, owed, tolerance):
        return Evidence(f"{amount} is what the order owes", exact_weight(amount))
    discounted = _discount_evidence(posting, order, owed)
    if discounted is not None:
        return discounted
    missing = owed - amount
    if ZERO < missing <= MAX_FEE and missing < owed / 2 and _FEE_WORD.search(text):
        return Evidence(f"{amount} is {owed} less a bank's fee", FEE)
    return _different_amount(amount, owed)


def _different_amount(amount: Decimal, owed: Decimal) -> Evidence:
    difference = abs(owed - amount)
    if amount % 1 == ZERO and difference < 1:
        return Evidence(f"{amount} is {owed} rounded", ROUNDED)
    if difference <= max(Decimal(1), owed / 50):
        return Evidence(f"{amount} is nearly {owed}", NEARLY)
    if amount > owed:
        return Evidence(f"{amount} is more than {owed}", MORE if amount <= 2 * owed else WILD)
    for parts in (2, 3, 4, 10):
        if abs(amount * parts - owed) < _CENT * parts:
            return Evidence(f"{amount} is {owed} in {parts} parts", IN_PARTS)
    return Evidence(f"{amount} is less than {owed}", LESS if amount >= owed / 10 else WILD)


def _discount_evidence(posting: PostingFacts, order: OpenOrder, owed: Decimal) -> Evidence | None:
    if order.discount is None or owed != order.total:
        return None
    granted = (order.total * order.discount.percent / 100).quantize(_CENT, ROUND_HALF_UP)
    if abs(order.total - granted - posting.available) > _CENT:
        return None
    last_day = order.ordered_date + timedelta(days=order.discount.days + DISCOUNT_GRACE_DAYS)
    in_time = posting.booking_date is None or posting.booking_date <= last_day
    sentence = f"{posting.available} is {order.total} less {order.discount.percent} % discount"
    return Evidence(sentence, DISCOUNTED if in_time else DISCOUNTED_LATE)


# --- Who and when -----------------------------------------------------------------------------

NAMES: Final[dict[Likeness, float]] = {
    "full": 2.7,
    "company": 2.7,
    "initial": 2.2,
    "family": 1.3,  # in a shop's list every twentieth shares a common family name
    "unknown": 0.0,
    "different": -0.8,  # one payer in seven has another name: parents, partners, companies
}
BEFORE_THE_ORDER: Final = -2.0


def name_evidence(posting: PostingFacts, order: OpenOrder) -> Evidence:
    """What the account holder's name says."""
    found = likeness(posting.counterparty_name, order.payers)
    if found == "unknown":
        return Evidence("no name to compare", NAMES[found])
    agrees = {
        "full": "is the customer's name",
        "company": "is the customer's company",
        "initial": "is the customer's family name and initial",
        "family": "has the customer's family name",
        "different": "is not the customer's name",
    }[found]
    return Evidence(f"{posting.counterparty_name} {agrees}", NAMES[found])


def date_evidence(booked: date | None, order: OpenOrder) -> Evidence | None:
    """Money that came before the order was placed pays something else."""
    if booked is None or order.ordered_date <= booked + timedelta(days=1):
        return None
    return Evidence("booked before the order was placed", BEFORE_THE_ORDER)
