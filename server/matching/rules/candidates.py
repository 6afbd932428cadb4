"""Which orders a posting may pay: named exactly, nearly, by its payer, or by name and amount.

The store is asked twice a batch: for what is written and for who is known; then, for the
postings that are not clear by that, for what could have been meant. The second question matters
most where something *was* found: where numbers are given in sequence, one wrong digit names
another customer's order.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from decimal import Decimal
from functools import lru_cache
from typing import Final, NamedTuple

from server.matching.rules.amounts import discounted, totals_around
from server.matching.rules.case import Case, Mention, keys_of_names
from server.matching.rules.evidence import Evidence
from server.matching.rules.facts import (
    ZERO,
    CandidateStore,
    Crowd,
    KeyHit,
    OpenOrder,
    OrderId,
    PostingFacts,
    payer_key,
)
from server.matching.rules.slips import near, slip_of
from server.matching.rules.text import (
    Reading,
    Run,
    before,
    creditor_references,
    qr_references,
)
from server.matching.rules.weights import (
    CHECKED,
    COUNTER_WORD,
    MOST_CUSTOMERS,
    REFERENCE_WORD,
    prior,
    reference_weight,
    says_customer,
    slip_weight,
    word_weight,
)
from server.orders.rules import (
    MAX_KEY_LENGTH,
    fold_look_alikes,
    normalise_reference,
)

MIN_SLIP_LENGTH: Final = 3
MIN_SLIP_LETTERS: Final = 4  # of a code with letters
MAX_SLIP_LENGTH: Final = 16
MAX_SLIP_DISCOUNT: Final = 0.7
MIN_LEADING_WORD: Final = 3  # letters in front of a code that may be written together with it
MAX_SLIP_READINGS: Final = 6  # a posting is searched for slips in so many numbers
MAX_SLIP_WORDS: Final = 3  # and in so many words
UNKNOWN_FROM: Final = 4  # digits
MAX_SPOKEN_WORDS: Final = 6
MIN_SPOKEN_WORD: Final = 3
MAX_BY_NAME: Final = 60  # orders of the payer's name that are looked at
CLEAR: Final = 3.0  # a reference this sure, the exact amount, and
CLEAR_NAMES: Final = ("full", "company", "initial")  # more than the family name: no question
SEPARATORS: Final = " -_/.:#\n"
QR_ZEROS: Final = "0000"  # a QR reference of ours begins with 15, in groups of five mostly

OTHER_GROUP: Final = -4.0
_GROUPS_BEFORE: Final = re.compile(r"(?:\d+[-_/.])+\Z")
_NO_DIGIT: Final = re.compile(r"\D")
_CHECKED_KINDS: Final = ("payment_reference", "creditor_reference")
_WORDS: Final = frozenset(
    "DANKE DANK VIELEN MFG VOM VON FUER FUR IHRE IHR MEINE UND FOLGT EINKAUF UEBERWEISUNG "
    "UBERWEISUNG GUTSCHRIFT NOTPROVIDED DATUM UHR BESTELLUNG BESTELLUNGEN RECHNUNG EREF SVWZ KREF "
    "ABWA IBAN SEPA KAUF WARE ZAHLUNG BEZAHLUNG ORDER AUFTRAG SHOP ONLINE THANKS YOUR WITH".split()
)


class Found(NamedTuple):
    """The cases of a batch, and how common things are among the merchant's orders."""

    cases: list[Case]
    crowd: Crowd


def find_candidates(postings: Sequence[PostingFacts], store: CandidateStore) -> Found:
    """The postings with the orders they may pay, in the same order."""
    cases = [Case(posting) for posting in postings]
    waiting = [case for case in cases if case.available > 0]
    checked = {case: own for case in waiting if (own := _checked_references(case))}
    written = {run[0] for case in waiting for run in case.runs}
    found = store.find(written.union(r.key for own in checked.values() for r in own))
    orders = dict(store.load({hit.order_id for hits in found.values() for hit in hits}))
    crowd = store.crowd(
        (total for case in waiting for total in totals_around(case.available)),
        (key for case in waiting for key in case.name_keys),
    )
    _recognise(waiting, store)
    for case in waiting:
        _name_exactly(case, checked.get(case, ()), case.runs, found, orders)
    unclear = [case for case in waiting if not _is_clear(case)]
    if unclear:
        _look_further(unclear, store, orders, crowd)
    return Found(cases, crowd)


def _checked_references(case: Case) -> list[Reading]:
    """What stands in references with check digits.

    What touches a QR reference of ours is part of it, and no number of its own.
    """
    checked = creditor_references(case.runs) if "RF" in case.text else []
    for one in qr_references(case.runs) if QR_ZEROS in case.text else ():
        checked.append(one)
        case.runs = [
            run
            for run in case.runs
            if run[1] != one.field or run[3] <= one.start or run[2] >= one.end
        ]
    return checked


def _recognise(cases: Sequence[Case], store: CandidateStore) -> None:
    """Whom the payers are known to have paid for."""
    known = store.payers(payer for case in cases for payer in _payers_of(case.posting))
    if not known:
        return
    for case in cases:
        case.known = tuple(known.get(case.posting.counterparty_iban or "", ()))
        if not case.known and case.posting.counterparty_name:
            case.counted = tuple(known.get(payer_key(case.posting.counterparty_name), ()))


def _payers_of(posting: PostingFacts) -> Iterator[str]:
    if posting.counterparty_iban:
        yield posting.counterparty_iban
    if posting.counterparty_name:
        yield payer_key(posting.counterparty_name)


# --- What is written --------------------------------------------------------------------------


def _name_exactly(
    case: Case,
    checked: Sequence[Reading],
    runs: Sequence[Run],
    found: Mapping[str, Sequence[KeyHit]],
    orders: Mapping[OrderId, OpenOrder],
) -> None:
    for reading in checked:
        for hit in found.get(reading.key, ()):
            if hit.order_id in orders:
                case.mentions.append(_checked(case, reading, hit, orders[hit.order_id]))
    longest: dict[OrderId, Reading] = {}
    for run in runs:
        hits = found.get(run[0])
        if hits is None:
            continue
        reading = Reading._make(run)
        for hit in hits:
            order = orders.get(hit.order_id)
            if order is None or _is_within(reading, longest.get(hit.order_id)):
                continue
            longest[hit.order_id] = reading
            if hit.kind in _CHECKED_KINDS:
                case.mentions.append(_checked(case, reading, hit, order))
            elif hit.kind == "customer_number":
                case.mentions.append(_customer(case, reading, order))
            else:
                case.mentions.append(_written(case, reading, hit, order))


def _is_within(reading: Reading, other: Reading | None) -> bool:
    """Whether it is a part of what named the same order already; longer runs come first."""
    return (
        other is not None
        and reading.field == other.field
        and other.start <= reading.start
        and reading.end <= other.end
        and len(reading.key) < len(other.key)
    )


def _checked(case: Case, reading: Reading, hit: KeyHit, order: OpenOrder) -> Mention:
    what = hit.kind.removesuffix("_part")
    facts = {"written": reading.key, "what": what, "number": order.number}
    evidence = Evidence("number_checked", CHECKED, facts, case.span(reading))
    return Mention(order, reading, evidence, "number", True)


def _written(case: Case, reading: Reading, hit: KeyHit, order: OpenOrder) -> Mention:
    facts = {
        "written": reading.key,
        "what": hit.kind.removesuffix("_part"),
        "number": order.number,
    }
    weight = _weight(case, reading, hit, order)
    return Mention(order, reading, Evidence("number", weight, facts, case.span(reading)), "number")


def _customer(case: Case, reading: Reading, order: OpenOrder) -> Mention:
    text = case.texts[reading.field]
    weight = reference_weight(reading.key) - case.off(reading)
    word = before(text, reading.start)
    weight += REFERENCE_WORD if says_customer(word) else min(word_weight(word), 0.0)
    facts = {"written": reading.key, "what": "customer_number", "number": order.number}
    return Mention(
        order, reading, Evidence("number", weight, facts, case.span(reading)), "customer"
    )


def _weight(case: Case, reading: Reading, hit: KeyHit, order: OpenOrder) -> float:
    """What it is worth that this key of the order stands where it was read."""
    text = case.texts[reading.field]
    off = case.off(reading)
    prefix = _prefix(order.number, hit.key)
    if prefix and _stands_before(text, reading.start, prefix):
        # torn off exactly at its own leading word
        return reference_weight(prefix + hit.key) - max(off - 0.5, 0.0)
    weight = reference_weight(hit.key) - off
    if hit.kind.endswith("_part"):
        weight += _contradiction(text, reading.start, prefix)
    if hit.kind.endswith("_part") or hit.key.isdigit():
        weight += word_weight(before(text, reading.start))
    return weight


def _contradiction(text: str, start: int, prefix: str) -> float:
    """A part of a number that is written with other digits in front is another number's."""
    match = _GROUPS_BEFORE.search(text, max(start - MAX_KEY_LENGTH, 0), start)
    digits = _NO_DIGIT.sub("", prefix)
    if match is None or not digits:
        return 0.0
    return 0.0 if digits.endswith(_NO_DIGIT.sub("", match[0])) else OTHER_GROUP


@lru_cache(maxsize=100_000)
def _prefix(number: str, key: str) -> str:
    """What the key lacks in front to be the order's whole number."""
    whole = normalise_reference(number)
    if whole.endswith(key) or fold_look_alikes(whole).endswith(key):
        return whole[: -len(key)]
    return ""


def _stands_before(text: str, start: int, prefix: str) -> bool:
    """Whether the prefix stands directly before an offset, whatever separates its characters."""
    left = start
    for character in reversed(prefix):
        while left > 0 and text[left - 1] in SEPARATORS:
            left -= 1
        left -= 1
        if left < 0 or text[left] != character:
            return False
    return True


def _is_clear(case: Case) -> bool:
    """Whether nothing that was not written could have been meant instead."""
    available = case.available
    for mention in case.mentions:
        if mention.is_checked:
            return True
        order = mention.order
        if (
            mention.basis == "number"
            and available == order.outstanding
            and mention.evidence.weight > CLEAR
            and order.is_open
            and case.likeness(order).likeness in CLEAR_NAMES
        ):
            return True
    return False


# --- What may have been meant -----------------------------------------------------------------


def _look_further(
    cases: Sequence[Case],
    store: CandidateStore,
    orders: dict[OrderId, OpenOrder],
    crowd: Crowd,
) -> None:
    more = {case: case.read_closely() for case in cases}
    for case in cases:
        _listen(case)
    _find_by_payer(cases, store, orders)
    lengths = store.lengths()
    slips = {case: _slips(case, lengths) for case in cases if _may_mean_another(case)}
    wanted = {run[0] for runs in more.values() for run in runs}
    meant = store.find(wanted.union(*(keys for own in slips.values() for _, keys in own)))
    ids = {hit.order_id for hits in meant.values() for hit in hits}
    orders.update(store.load(ids - orders.keys()))
    for case in cases:
        if more[case]:
            _name_exactly(case, (), more[case], meant, orders)
        if case in slips:
            _mean_nearly(case, slips[case], meant, orders, crowd)


def _find_by_payer(
    cases: Sequence[Case], store: CandidateStore, orders: dict[OrderId, OpenOrder]
) -> None:
    """Open orders of the payer's name, of customers he is known for, and of a rare amount."""
    named = store.named(
        {key for case in cases for key in case.name_keys},
        {(key, case.available) for case in cases for key in case.name_keys},
    )
    owing = store.owing({case.available for case in cases if not case.mentions})
    customers = store.of_customers({each for case in cases for each in _customers_of(case)})
    ids: set[OrderId] = set()
    for table in (named, owing, customers):
        ids.update(id for some in table.values() for id in some)
    orders.update(store.load(ids - orders.keys()))
    for case in cases:
        case.nearby = {id for key in case.name_keys for id in named.get(key, ())}
        near_ids = set(case.nearby)
        near_ids.update(id for each in _customers_of(case) for id in customers.get(each, ()))
        if not case.mentions:
            near_ids.update(owing.get(case.available, ()))
        ranked = sorted(
            (orders[id] for id in near_ids if id in orders),
            key=lambda order: (order.number, order.id),
        )
        case.by_name = ranked[:MAX_BY_NAME]


def _may_mean_another(case: Case) -> bool:
    """Whether a slip is worth a search.

    Not where an order is written that asks for just this amount, and nobody of the payer's name
    owes it: another order could not be meant more likely.
    """
    written = [
        mention.order.id
        for mention in case.mentions
        if mention.is_exact
        and mention.evidence.weight > CLEAR
        and mention.order.is_open
        and case.available == mention.order.outstanding
    ]
    if not written:
        return True
    return any(
        order.id not in written and agrees(case, order, ZERO)
        for order in case.by_name
        if order.id in case.nearby
    )


def _customers_of(case: Case) -> Set[str]:
    """The customers of whom the payer, or what he wrote, tells."""
    known = case.known or case.counted
    if len(known) > MOST_CUSTOMERS:
        known = ()
    customers = {each for paid in known for each in paid.customer}
    for mention in case.mentions:
        if mention.is_exact:
            customers.update(mention.order.customer)
    return customers


def _listen(case: Case) -> None:
    """What else the text tells: a name, where he writes whom he pays for; a strange number."""
    if not any(mention.is_exact for mention in case.mentions):
        found = (run[0] for run in case.runs if run[0].isdigit() and len(run[0]) >= UNKNOWN_FROM)
        case.unknown = next(found, "")
    words = (
        key
        for key, _, start, end in case.runs
        if key.isalpha() and len(key) == end - start >= MIN_SPOKEN_WORD and key not in _WORDS
    )
    spoken = [word for word in dict.fromkeys(words) if not word_weight(word)][:MAX_SPOKEN_WORDS]
    if len(spoken) > 1:
        case.spoken = " ".join(spoken)
        case.name_keys.update(key for key in keys_of_names(spoken) if "+" in key)


_Slips = list[tuple[Reading, Set[str]]]


def _slips(case: Case, lengths: Set[int] | None) -> _Slips:
    """For each number worth a search, the keys that may have been meant."""
    return [(reading, near(reading.key, lengths)) for reading in _worth_a_search(case)]


def _worth_a_search(case: Case) -> list[Reading]:
    """The numbers, then the words, that may be a reference with a slip in it.

    Readings that end at the same place are one number with more or less in front of it. What
    already names an order is searched as it is; else the shortest reading and, as numbers are
    also given in groups, the longest of digits.
    """
    payer = {normalise_reference(word) for word in (case.posting.counterparty_name or "").split()}
    places: dict[tuple[int, int], list[Reading]] = defaultdict(list)
    hits = {mention.reading for mention in case.mentions if mention.is_exact}
    for reading in map(Reading._make, case.runs):
        if reading in hits or _may_hold_a_slip(case, reading, payer):
            places[reading.field, reading.end].append(reading)
    chosen: dict[Reading, None] = {}
    for found in places.values():
        named = [reading for reading in found if reading in hits]
        by_length = sorted(named or found, key=lambda r: (_is_torn(case, r), len(r.key)))
        chosen[by_length[0]] = None
        digits = [reading for reading in by_length if reading.key.isdigit()]
        chosen.update((reading, None) for reading in digits[-1:])
    ranked = sorted(
        chosen,
        key=lambda r: (r not in hits, case.off(r), -len(r.key), r),
    )
    numbers = [reading for reading in ranked if not reading.key.isalpha()]
    words = [reading for reading in ranked if reading.key.isalpha()]
    return numbers[:MAX_SLIP_READINGS] + words[:MAX_SLIP_WORDS]


def _may_hold_a_slip(case: Case, reading: Reading, payer: Set[str]) -> bool:
    key, text = reading.key, case.texts[reading.field]
    if not MIN_SLIP_LENGTH <= len(key) <= MAX_SLIP_LENGTH:
        return False
    if len(key) < MIN_SLIP_LETTERS and not key.isdigit():
        return False
    if key.isalpha() and (key in _WORDS or key in payer or word_weight(key)):
        return False
    written = text[reading.start : reading.end]
    if " " in written or "\n" in written or case.off(reading) > MAX_SLIP_DISCOUNT:
        return False
    if key.isalpha():
        return True
    if not key.isdigit() and 0 < _letters_before(text, reading.start) < MIN_LEADING_WORD:
        return False  # G3E7M is one code, 3E7M is no part of it; SHOP9XBJG has a leading word
    return word_weight(before(text, reading.start)) > COUNTER_WORD


def _is_torn(case: Case, reading: Reading) -> bool:
    text, start = case.texts[reading.field], reading.start
    return start > 0 and text[start - 1].isalnum() and start not in case.cuts[reading.field]


def _letters_before(text: str, start: int) -> int:
    """How many letters are written together with what starts here."""
    begin = start
    while begin > 0 and text[begin - 1].isalpha():
        begin -= 1
    return start - begin


def _mean_nearly(
    case: Case,
    slips: _Slips,
    found: Mapping[str, Sequence[KeyHit]],
    orders: Mapping[OrderId, OpenOrder],
    crowd: Crowd,
) -> None:
    named = {mention.order.id for mention in case.mentions if mention.is_exact}
    base = prior(crowd)
    for reading, keys in slips:
        there = sorted(keys & found.keys())
        hits = [hit for key in there for hit in found[key] if hit.kind != "customer_number"]
        neighbours = len({hit.order_id for hit in hits})
        for hit in hits:
            order = orders.get(hit.order_id)
            if order is None or order.id in named or not _agrees(case, order):
                continue
            slip = slip_of(reading.key, hit.key)
            facts = {
                "written": reading.key,
                "what": hit.kind.removesuffix("_part"),
                "meant": hit.key,
                "slip": slip,
                "number": order.number,
            }
            weight = slip_weight(slip, neighbours, base) - case.off(reading)
            evidence = Evidence("number_slip", weight, facts, case.span(reading))
            case.mentions.append(Mention(order, reading, evidence, "slip"))


def _agrees(case: Case, order: OpenOrder) -> bool:
    """Whether anything but the number speaks for the order; else it is only a neighbour."""
    return agrees(case, order, ZERO) or order.id in case.nearby


def agrees(case: Case, order: OpenOrder, tolerance: Decimal) -> bool:
    """Whether the amount is one that the order asks for."""
    amount = case.available
    if amount == order.outstanding or amount == order.total:  # noqa: PLR1714  hashing is slower
        return True
    if order.discount is not None and amount == discounted(order):
        return True
    return bool(tolerance) and abs(amount - order.outstanding) <= tolerance
