"""Which orders a posting names, exactly or with a slip of the pen, and how surely.

The store is asked twice a batch: for what is written, and, for the postings that are not clear
by that, for what could have been meant; where nothing is written, by name and amount. The second
question matters most where something *was* found: where numbers are given in sequence, one wrong
digit names another customer's order.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Final

from server.matching.rules.evidence import (
    CHECKED,
    LOOK_ALIKE,
    LOOK_ALIKE_CONFIRMATION,
    TYPO,
    TYPO_CONFIRMATION,
    Evidence,
    is_exact,
    name_evidence,
    reference_weight,
    word_weight,
)
from server.matching.rules.facts import (
    CandidateStore,
    KeyHit,
    OpenOrder,
    OrderId,
    PostingFacts,
)
from server.matching.rules.names import telling_words
from server.matching.rules.text import Reading, before, clean, readings
from server.orders.rules import FOLDED_MARK, fold_look_alikes, name_key, normalise_reference

MIN_SLIP_LENGTH: Final = 4
MAX_SLIP_LENGTH: Final = 16
MAX_SLIP_DISCOUNT: Final = 0.7
MIN_LEADING_WORD: Final = 3  # letters in front of a code that may be written together with it
MAX_SLIP_READINGS: Final = 6  # a posting is searched for slips in so many numbers
MAX_SLIP_WORDS: Final = 3  # and in so many words
CLEAR: Final = 3.0  # a reference this sure, the exact amount,
CLEAR_NAME: Final = 2.0  # and more than the family name leave no question
NEVER_CONFIRMED: Final = 99.0
SEPARATORS: Final = " -_/.:#\n"
DIGITS: Final = "0123456789"
LETTERS_AND_DIGITS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

_CONFIRMATIONS: Final = {TYPO: TYPO_CONFIRMATION, LOOK_ALIKE: LOOK_ALIKE_CONFIRMATION}
_CHECKED_KINDS: Final = ("payment_reference", "creditor_reference")
_WORDS: Final = frozenset(
    "DANKE DANK VIELEN MFG VOM VON FUER FUR IHRE IHR MEINE UND FOLGT EINKAUF UEBERWEISUNG "
    "UBERWEISUNG GUTSCHRIFT NOTPROVIDED DATUM UHR BESTELLUNG BESTELLUNGEN RECHNUNG EREF SVWZ KREF "
    "ABWA IBAN SEPA KAUF WARE ZAHLUNG BEZAHLUNG ORDER AUFTRAG SHOP ONLINE THANKS YOUR WITH".split()
)


@dataclass(frozen=True, slots=True)
class Mention:
    """An order that a reading names, and what that is worth."""

    order: OpenOrder
    reading: Reading
    evidence: Evidence
    is_exact: bool
    is_checked: bool
    confirmation: float = 0.0  # what amount and name must weigh together before it is booked
    doubt: str = ""  # the veto if they do not


@dataclass(slots=True)
class Context:
    """A posting with its cleaned texts, their readings and the orders they name."""

    posting: PostingFacts
    texts: tuple[str, ...]
    readings: list[Reading]
    mentions: list[Mention] = field(default_factory=list)


def find_candidates(
    postings: Sequence[PostingFacts], store: CandidateStore, tolerance: Decimal
) -> list[Context]:
    """The postings with the orders they may pay, in the same order."""
    contexts = [_read(posting) for posting in postings]
    keys = {reading.key for context in contexts for reading in context.readings}
    found = store.find(keys)
    orders = dict(store.load({hit.order_id for hits in found.values() for hit in hits}))
    for context in contexts:
        context.mentions = list(_exact_mentions(context, found, orders))

    unclear = {
        index: dict(_slips(context))
        for index, context in enumerate(contexts)
        if context.posting.available > 0 and not _is_clear(context, tolerance)
    }
    nameless = {
        index: _name_keys(contexts[index].posting)
        for index in unclear
        if not contexts[index].mentions
    }
    wanted = {key for keys in (*unclear.values(), *nameless.values()) for key in keys}
    found = store.find(wanted)
    missing = {hit.order_id for hits in found.values() for hit in hits} - orders.keys()
    orders.update(store.load(missing))
    for index, slips in unclear.items():
        context = contexts[index]
        context.mentions += _slip_mentions(context, slips, found, orders)
        if not context.mentions:
            context.mentions += _name_mentions(context, nameless[index], found, orders)
    return contexts


def _read(posting: PostingFacts) -> Context:
    written = (posting.remittance_information, posting.creditor_reference, posting.end_to_end_id)
    texts = tuple(clean(text) for text in written if text)
    found = [reading for number, text in enumerate(texts) for reading in readings(text, number)]
    return Context(posting, texts, found)


def _exact_mentions(
    context: Context,
    found: Mapping[str, Sequence[KeyHit]],
    orders: Mapping[OrderId, OpenOrder],
) -> Iterator[Mention]:
    for reading in context.readings:
        for hit in found.get(reading.key, ()):
            order = orders.get(hit.order_id)
            if order is not None and not hit.key.startswith(FOLDED_MARK):
                yield _mention(context, reading, hit, order, slip=0.0)


def _mention(
    context: Context, reading: Reading, hit: KeyHit, order: OpenOrder, *, slip: float
) -> Mention:
    is_checked = not slip and (reading.is_checked or hit.kind in _CHECKED_KINDS)
    kind = hit.kind.removesuffix("_part").removesuffix("_folded").replace("_", " ")
    if is_checked:
        sentence = f"{reading.key} is its {kind}, check characters right"
        return Mention(order, reading, Evidence(sentence, CHECKED), True, True)
    text = context.texts[reading.field]
    key = hit.key.removeprefix(FOLDED_MARK)
    prefix = _prefix(order.number, key)
    if prefix and _stands_before(text, reading.start, prefix):
        weight = reference_weight(prefix + key)
        discount = max(reading.discount - 0.5, 0.0)  # torn off exactly at its own leading word
    else:
        discount = reading.discount
        weight = reference_weight(key)
        if hit.kind.endswith(("_part", "_folded")) or key.isdigit():
            weight += word_weight(before(text, reading.start))
    how = "is" if not slip else "is nearly"
    sentence = f"{reading.key} {how} its {kind}"
    evidence = Evidence(sentence, weight - discount + slip)
    if not slip:
        return Mention(order, reading, evidence, True, False)
    return Mention(order, reading, evidence, False, False, _CONFIRMATIONS[slip], "slip_unconfirmed")


@lru_cache(maxsize=100_000)
def _prefix(number: str, key: str) -> str:
    """What the key lacks in front to be the order's whole number."""
    whole = normalise_reference(number)
    for reading in (whole, fold_look_alikes(whole)):
        if reading.endswith(key):
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


def _letters_before(text: str, start: int) -> int:
    """How many letters are written together with what starts here."""
    begin = start
    while begin > 0 and text[begin - 1].isalpha():
        begin -= 1
    return start - begin


def _is_clear(context: Context, tolerance: Decimal) -> bool:
    """Whether nothing that was not written could have been meant instead."""
    posting = context.posting
    for mention in context.mentions:
        if mention.is_checked:
            return True
        order = mention.order
        exact = order.is_open and is_exact(posting.available, order.outstanding, tolerance)
        if (
            exact
            and mention.evidence.weight > CLEAR
            and name_evidence(posting, order).weight > CLEAR_NAME
        ):
            return True
    return False


# --- Slips of the pen -------------------------------------------------------------------------


def _slips(context: Context) -> Iterator[tuple[str, tuple[Reading, float]]]:
    """Keys that may have been meant, each with where it stands and its weight."""
    seen: set[str] = set()
    for reading in _worth_a_search(context):
        for key, weight in _near(reading.key):
            if key not in seen:
                seen.add(key)
                yield key, (reading, weight)


def _worth_a_search(context: Context) -> list[Reading]:
    """The numbers, then the words, that may be a reference with a slip in it.

    Readings that end at the same place are one number with more or less in front of it. What
    already names an order is searched as it is; else the shortest reading and, as numbers are
    also given in groups, the longest of digits.
    """
    payer = {
        normalise_reference(word) for word in (context.posting.counterparty_name or "").split()
    }
    places: dict[tuple[int, int], list[Reading]] = defaultdict(list)
    hits = {mention.reading for mention in context.mentions}
    for reading in context.readings:
        if reading in hits or _may_hold_a_slip(context, reading, payer):
            places[reading.field, reading.end].append(reading)
    chosen: dict[Reading, None] = {}
    for found in places.values():
        named = [reading for reading in found if reading in hits]
        by_length = sorted(named or found, key=lambda reading: len(reading.key))
        chosen[by_length[0]] = None
        digits = [reading for reading in by_length if reading.key.isdigit()]
        chosen.update((reading, None) for reading in digits[-1:])
    ranked = sorted(chosen, key=lambda r: (r not in hits, r.discount, -len(r.key)))
    numbers = [reading for reading in ranked if not reading.key.isalpha()]
    words = [reading for reading in ranked if reading.key.isalpha()]
    return numbers[:MAX_SLIP_READINGS] + words[:MAX_SLIP_WORDS]


def _may_hold_a_slip(context: Context, reading: Reading, payer: Set[str]) -> bool:
    key, text = reading.key, context.texts[reading.field]
    if not MIN_SLIP_LENGTH <= len(key) <= MAX_SLIP_LENGTH or reading.is_checked:
        return False
    written = text[reading.start : reading.end]
    if reading.discount > MAX_SLIP_DISCOUNT or " " in written or "\n" in written:
        return False
    if key.isalpha():
        return key not in _WORDS and key not in payer and not word_weight(key)
    if not key.isdigit() and 0 < _letters_before(text, reading.start) < MIN_LEADING_WORD:
        return False  # G3E7M is one code, 3E7M is no part of it; SHOP9XBJG has a leading word
    return word_weight(before(text, reading.start)) >= 0


def _near(key: str) -> Iterator[tuple[str, float]]:
    """Look-alikes, then all keys one slip away: exchanged, wrong, missing, doubled character."""
    folded = fold_look_alikes(key)
    yield FOLDED_MARK + folded, LOOK_ALIKE
    if folded != key:
        yield folded, LOOK_ALIKE
    alphabet = DIGITS if key.isdigit() else LETTERS_AND_DIGITS
    for neighbour in _one_slip_away(key, alphabet):
        if neighbour != key:
            yield neighbour, TYPO


def _one_slip_away(key: str, alphabet: str) -> Iterable[str]:
    halves = [(key[:cut], key[cut:]) for cut in range(len(key) + 1)]
    for left, right in halves:
        if len(right) > 1:
            yield left + right[1] + right[0] + right[2:]
        if right:
            yield left + right[1:]
            for character in alphabet:
                yield left + character + right[1:]
        for character in alphabet:
            yield left + character + right


def _slip_mentions(
    context: Context,
    slips: Mapping[str, tuple[Reading, float]],
    found: Mapping[str, Sequence[KeyHit]],
    orders: Mapping[OrderId, OpenOrder],
) -> Iterator[Mention]:
    named = {mention.order.id for mention in context.mentions}
    for key, (reading, weight) in slips.items():
        for hit in found.get(key, ()):
            order = orders.get(hit.order_id)
            if order is not None and order.id not in named:
                yield _mention(context, reading, hit, order, slip=weight)


# --- No number at all -------------------------------------------------------------------------


def _name_keys(posting: PostingFacts) -> Set[str]:
    words = telling_words(posting.counterparty_name)
    return {name_key(word, posting.available) for word in words} - {""}


def _name_mentions(
    context: Context,
    keys: Set[str],
    found: Mapping[str, Sequence[KeyHit]],
    orders: Mapping[OrderId, OpenOrder],
) -> Iterator[Mention]:
    """Open orders of such a name that owe exactly this: worth offering, never worth booking."""
    seen: set[OrderId] = set()
    for hit in (hit for key in sorted(keys) for hit in found.get(key, ())):
        order = orders.get(hit.order_id)
        if order is None or not order.is_open or order.id in seen:
            continue
        seen.add(order.id)
        if name_evidence(context.posting, order).weight > 0:
            nowhere = Reading("", -1, 0, 0)
            evidence = Evidence("no number that could be an order's", 0.0)
            yield Mention(order, nowhere, evidence, False, False, NEVER_CONFIRMED, "no_reference")
