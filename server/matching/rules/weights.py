"""How much references, names, payers and dates weigh, in the light of the merchant's own orders.

The constants are reasoned from frequencies, written beside each, and checked against generated
accounts (docs/matching.md); ``decision`` turns their sum into a calibrated probability.
"""

import re
from datetime import date, timedelta
from math import log10
from typing import Final

from server.matching.rules.evidence import Evidence
from server.matching.rules.facts import Crowd, OpenOrder, PaidFor, PostingFacts
from server.matching.rules.names import Likely, Likeness
from server.orders.rules import name_key

# --- References -------------------------------------------------------------------------------

FEWEST: Final = 500  # a small shop knows less of the world: not surer for it
PRIOR: Final = -0.2
"""A posting pays one certain order, before anything is read: one in all that are open. A little
less than that, because some postings pay none."""

CHECKED: Final = 9.5
"""With check characters that are right: chance and a slip of the pen are both excluded."""

SLIPPED: Final = 3.0
"""One payer in twenty errs, and one foreign number in seventy falls among the merchant's: so a
number one slip away from k orders means each of them with odds of three to k."""

SLIPS: Final = {
    "look_alike": 0.7,  # copied from print or handwriting
    "swapped": 0.5,  # few ways to do it, and people do
    "missing": 0.3,
    "doubled": 0.3,
    "substituted": 0.0,
    "extra": -0.5,
}
"""How much likelier than a wrong character each slip is, as a power of ten."""

UNKNOWN_NUMBER: Final = -1.0  # and one is written that is no order's
TWICE: Final = 1.0  # two numbers of one order: not both by chance
REFERENCE_WORD: Final = 1.3
COUNTER_WORD: Final = -4.0
NO_NUMBER: Final = -0.3  # one payer in twenty writes none, and half of what is not an order's

_REFERENCE_WORD: Final = re.compile(
    r"(?:.*BEST|BESTELL.*|.*ORDER|.*ORDERNR|AUFTRAG.*|RE|RG|RGNR|RENR|RNR|RECHN.*|INVOICE.*|BEZAHLUNG"
    r"|ZAHLUNG|PAYMENT|NR|NO|VWZ|VERWENDUNGSZWECK|BELEG.*|REF|REFERENZ|BESTNR|BESTELLNR)"
)
_COUNTER_WORD: Final = re.compile(
    r"(?:KD|KDNR|KDN|KUNDEN?.*|KUNDNR|CUSTOMER.*|KTO|KTONR|KONTO.*|BLZ|TAN|TEL.*|FAX|MOBIL.*|PLZ"
    r"|SPENDE.*|MITGLIED.*|VERTRAG.*|VS|VSNR|POLICE.*|STEUER.*|MANDAT.*|MREF|GLAEUBIGER.*|CRED"
    r"|ARTIKEL.*|ART|ARTNR|UST.*|ID)"
)
_CUSTOMER_WORD: Final = re.compile(r"KD|KDNR|KDN|KUNDEN?.*|KUNDNR|CUSTOMER.*")

_DIGITS: Final = {3: 2.0, 4: 3.5, 5: 4.5, 6: 5.0, 7: 6.0, 8: 6.5}
_LETTERS: Final = {3: 1.0, 4: 3.0, 5: 4.5, 6: 5.0, 7: 6.0, 8: 7.0}
_MIXED: Final = {3: 2.5, 4: 4.5, 5: 6.0}


def prior(crowd: Crowd) -> float:
    """That a posting pays one certain order of a merchant, nothing read yet."""
    return PRIOR - log10(max(crowd.open_orders, FEWEST))


def reference_weight(key: str) -> float:
    """How seldom this key stands in a text by chance, from its length and its characters.

    Digits of any meaning are common in bank texts; a mix of letters and digits is not; a run of
    letters may be a word or a name.
    """
    if key.isdigit():
        return _DIGITS.get(len(key), 7.0)
    if key.isalpha():
        return _LETTERS.get(len(key), 7.5)
    return _MIXED.get(len(key), 7.5)


def word_weight(word: str) -> float:
    """What the word before a number says about it."""
    if not word:
        return 0.0
    if _COUNTER_WORD.fullmatch(word):
        return COUNTER_WORD
    return REFERENCE_WORD if _REFERENCE_WORD.fullmatch(word) else 0.0


def says_customer(word: str) -> bool:
    """Whether the number behind it is the customer's."""
    return _CUSTOMER_WORD.fullmatch(word) is not None


def slip_weight(slip: str, neighbours: int, prior_weight: float) -> float:
    """What a number one slip away weighs, if so many orders are that near to what is written.

    Replaces the prior, which is taken off because it is added to every sum.
    """
    return log10(SLIPPED / (neighbours + 0.5)) + SLIPS[slip] - prior_weight


# --- Names ------------------------------------------------------------------------------------

OF_A_THOUSAND_NAMES: Final = 0.003  # share of a family name of which nothing is known
OF_FIRST_NAMES: Final = 0.03
SMOOTHING: Final = 200  # orders' worth of general knowledge beside the merchant's own
MOST_OF_A_NAME: Final = 4.0
DIFFERENT_NAME: Final = -1.0  # one payer in ten has another name: parents, partners, companies
RELATIVE: Final = -1.3  # only the family name, and another amount than is asked
ADDED_NAME: Final = 5.5
SPOKEN: Final = 0.5
STRANGER: Final = -2.5  # and pays another amount than is asked

_KINDS: Final[dict[Likeness, str]] = {
    "full": "name_full",
    "company": "name_company",
    "initial": "name_initial",
    "family": "name_family",
}
_AGREEING: Final[dict[Likeness, tuple[float, float]]] = {
    # how many payers are written so, and how many of another's with that family name would be
    "full": (0.75, OF_FIRST_NAMES),
    "company": (0.8, 0.5),
    "initial": (0.1, 0.08),
    "family": (0.12, 1.0),
}


def name_evidence(
    posting: PostingFacts, found: Likely, crowd: Crowd, *, is_whole: bool = True
) -> Evidence:
    """What the account holder's name says; the more, the rarer it is among the orders.

    ``is_whole``: the amount is one that the order asks for.
    """
    name = posting.counterparty_name
    if found.likeness == "unknown":
        return _NAME_UNKNOWN
    if found.likeness == "different":
        weight = DIFFERENT_NAME if is_whole else STRANGER
        return Evidence("name_different", weight, {"name": name})
    if found.is_added:
        return Evidence("name_added", ADDED_NAME, {"name": name})
    named = crowd.named.get(name_key(found.word), 0)
    share = (named + SMOOTHING * OF_A_THOUSAND_NAMES) / (crowd.orders + SMOOTHING)
    true, by_chance = _AGREEING[found.likeness]
    weight = log10(true / (share * by_chance))
    if found.is_spoken:
        weight -= SPOKEN
        return Evidence("name_in_text", min(max(weight, 0.1), MOST_OF_A_NAME), {})
    if found.likeness == "family" and not is_whole:
        weight += RELATIVE
    else:
        weight = max(weight, 0.1)
    return Evidence(_KINDS[found.likeness], min(weight, MOST_OF_A_NAME), {"name": name})


_NAME_UNKNOWN: Final = Evidence("name_unknown", 0.0, {})

# --- Payers known from what people confirmed ----------------------------------------------------

MOST_CUSTOMERS: Final = 5  # an account that pays for more is a provider's, and tells nothing
KNOWN_ACCOUNT: Final = 1.6
KNOWN_NAME: Final = 0.4
MOST_OF_A_PAYER: Final = 5.5
OF_OTHERS: Final = -0.7
OLD_AFTER: Final = timedelta(days=730)
WITH_KNOWN_PAYER: Final = 0.5  # what the name still adds where the account is known


def payer_evidence(
    payer: str,
    known: tuple[PaidFor, ...],
    order: OpenOrder,
    crowd: Crowd,
    *,
    is_account: bool,
    booked: date | None,
) -> Evidence | None:
    """What it says that people confirmed this payer before, for this customer or others."""
    if not known or len(known) > MOST_CUSTOMERS:
        return None
    times = {each: _counted(each, booked) for each in known}
    total = sum(times.values())
    own = sum(n for each, n in times.items() if set(each.customer) & set(order.customer))
    if not own:
        return Evidence("payer_of_others", OF_OTHERS if is_account else 0.0, {"payer": payer})
    base = KNOWN_ACCOUNT if is_account else KNOWN_NAME
    weight = base + log10(max(crowd.open_orders, FEWEST)) + log10(own / total)
    told = sum(each.times for each in known if set(each.customer) & set(order.customer))
    return Evidence("payer_known", min(weight, MOST_OF_A_PAYER), {"payer": payer, "times": told})


def _counted(paid: PaidFor, booked: date | None) -> float:
    is_old = booked and paid.last_date and booked - paid.last_date > OLD_AFTER
    return paid.times / 2 if is_old else float(paid.times)


# --- When -------------------------------------------------------------------------------------

BEFORE_THE_ORDER: Final = -2.0
_BEFORE: Final = Evidence("before_order", BEFORE_THE_ORDER, {})
_ONE_DAY: Final = timedelta(days=1)


def date_evidence(booked: date | None, order: OpenOrder) -> Evidence | None:
    """Money that came before the order was placed pays something else."""
    if booked is None or order.ordered_date <= booked:
        return None
    return None if order.ordered_date <= booked + _ONE_DAY else _BEFORE


A_DAY_LATER: Final = -0.06  # most pay within days: of two alike, the younger order is meant
MOST_LATE: Final = -1.2


def delay_evidence(booked: date | None, order: OpenOrder) -> Evidence:
    """How long after the order the money came."""
    days = max((booked - order.ordered_date).days, 0) if booked else 0
    return Evidence("paid_after", max(A_DAY_LATER * days, MOST_LATE), {"days": days})
