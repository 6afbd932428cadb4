"""What is decided about one order: its payment status, its references, its search keys.

Pure functions. The ledger gives the sums, the shop gives the flags; nothing here is stored.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Final, Literal, Protocol

from plugin_sdk.types import PaymentStatus
from server.check_digits import (
    QR_REFERENCE_DIGITS,
    creditor_reference_is_valid,
    make_creditor_reference,
    mod10_recursive,
    qr_reference_is_valid,
)

ZERO: Final = Decimal(0)
OWING_STATUSES: Final = ("unpaid", "partially_paid")
"""Payment statuses of orders that wait for money."""
REFUND_WAITING: Final = ("new", "planned", "bank_details_missing", "held")
"""Statuses of a repayment that is not with the bank yet."""
REFUND_ARRANGED: Final = (*REFUND_WAITING, "in_process", "processed", "failed")
"""Statuses of a repayment whose money is spoken for: nobody may assign it elsewhere."""
REFUND_PAID: Final = ("processed",)
"""Statuses of a repayment that has left: it counts as refunded."""
LATE_CODES: Final = frozenset({"invoice", "cash_on_delivery"})
"""Payment codes whose goods are with the customer: "cancelled" reads "overdue" there (K4)."""


def payment_status(  # noqa: PLR0913  a status follows from that many facts
    total: Decimal,
    paid: Decimal,
    *,
    refunded: Decimal = ZERO,
    cancelled: bool = False,
    collection: bool = False,
    removed: bool = False,
    managed: bool = True,
    tolerance: Decimal = ZERO,
    zero_is_paid: bool = True,
) -> PaymentStatus:
    """The status of an order, from its sums and flags.

    ``total`` is what the customer owes after credits, ``paid`` the sum of the assignments,
    ``refunded`` the sum of what was sent back; all in the order's currency. ``tolerance`` is the
    deviation the merchant accepts as paid exactly. An order of nothing needs no payment, unless
    not ``zero_is_paid`` (K32).

    Money that arrived wins over the flags: a payment after a cancellation, a successful
    collection and an order that vanished from the shop after it was paid are all paid. Overpaid
    is paid, and sending back a surplus leaves it paid. An order whose total was raised after the
    payment is partially paid again.
    """
    assert tolerance >= ZERO and refunded >= ZERO
    if not managed:
        return PaymentStatus.NOT_MANAGED
    kept = paid - refunded
    if kept > ZERO and kept >= total - tolerance:
        return PaymentStatus.PAID
    if refunded > ZERO:
        everything = refunded >= total - tolerance or kept <= tolerance
        return PaymentStatus.REFUNDED if everything else PaymentStatus.PARTIALLY_REFUNDED
    if removed:
        return PaymentStatus.REMOVED
    if collection:
        return PaymentStatus.COLLECTION
    if cancelled:
        return PaymentStatus.CANCELLED
    if total <= ZERO:
        return PaymentStatus.PAID if zero_is_paid else PaymentStatus.UNPAID
    return PaymentStatus.PARTIALLY_PAID if paid > ZERO else PaymentStatus.UNPAID


# --- Our own payment reference ---------------------------------------------------------------

# What can be mistaken for another character in handwriting or print is left out: 0 O D Q, 1 I L,
# 8 B, 6 G, 5 S, 2 Z and U V lose their letters (and 0 and 1 themselves). Exactly 23 remain, a
# prime: a weighted sum modulo a prime finds every single substitution (no weight is 0) and every
# exchange of two characters (no two weights are equal).
REFERENCE_ALPHABET: Final = "23456789ACEFHJKMNPRTWXY"
REFERENCE_LENGTH: Final = 8
MIN_REFERENCE_DIGITS: Final = 2
_MODULUS: Final = len(REFERENCE_ALPHABET)
_VALUES: Final = {character: value for value, character in enumerate(REFERENCE_ALPHABET)}


class Chooser(Protocol):
    """The one method of ``random.Random`` and ``secrets.SystemRandom`` that is needed here."""

    def sample(self, population: Sequence[str], k: int) -> list[str]:
        """``k`` different elements in random order."""
        ...


def make_payment_reference(random: Chooser) -> str:
    """A new reference to ask the customer for: seven random characters and a check character.

    No character occurs twice, none can be confused with another, the first is a letter (a
    spreadsheet makes a number of ``7E491234``) and at least two are digits (no word of any
    language). About 400 million references are possible; that two orders draw the same one is
    prevented by the caller's UNIQUE key, who then asks again.
    """
    while True:
        body = "".join(random.sample(REFERENCE_ALPHABET, REFERENCE_LENGTH - 1))
        check = _check_character(body)
        if check not in body and _has_good_shape(body + check):
            return body + check


def is_payment_reference(text: str) -> bool:
    """Whether ``make_payment_reference`` can have made it, its check character included."""
    return (
        len(text) == REFERENCE_LENGTH == len(set(text))
        and _VALUES.keys() >= set(text)
        and _has_good_shape(text)
        and _check_character(text[:-1]) == text[-1]
    )


def _has_good_shape(reference: str) -> bool:
    digits = sum(character.isdigit() for character in reference)
    return reference[0].isalpha() and digits >= MIN_REFERENCE_DIGITS


def _check_character(body: str) -> str:
    """The character that makes the sum of weight times value 0 modulo 23; its own weight is 1."""
    weights = range(len(body) + 1, 1, -1)
    total = sum(
        weight * _VALUES[character] for weight, character in zip(weights, body, strict=True)
    )
    return REFERENCE_ALPHABET[-total % _MODULUS]


# --- Creditor reference (ISO 11649) -----------------------------------------------------------


def creditor_reference(reference: str) -> str:
    """The reference as a structured creditor reference, ``RF`` and two check digits in front.

    ISO 11649. ValueError if nothing remains of the text without its separators, or more than 21
    characters.
    """
    return make_creditor_reference(normalise_reference(reference))


def is_creditor_reference(text: str) -> bool:
    """Whether the text, whatever its case and blanks, is an ISO 11649 reference that checks."""
    return creditor_reference_is_valid(normalise_reference(text))


# --- QR reference (Swiss QR-bill) --------------------------------------------------------------


def qr_reference(payment_reference: str) -> str:
    """Our own reference as payments to a QR-IBAN carry it: 26 digits and their check digit.

    Its characters are read as the digits of a number, so that it can be read back
    (``reference_in_qr``). SIX, Implementation Guidelines QR-bill, annex B. ValueError if it is
    none of our own.
    """
    if not is_payment_reference(payment_reference):
        raise ValueError(f"only our own references become QR references: {payment_reference!r}")
    number = 0
    for character in payment_reference:
        number = number * _MODULUS + _VALUES[character]
    digits = f"{number:0{QR_REFERENCE_DIGITS - 1}d}"
    return f"{digits}{mod10_recursive(digits)}"


def reference_in_qr(text: str) -> str | None:
    """Our own reference that a QR reference stands for, however it is grouped.

    None if the check digit is wrong, or if the number is somebody else's.
    """
    digits = normalise_reference(text)
    if not qr_reference_is_valid(digits):
        return None
    number, characters = int(digits[:-1]), ""
    for _ in range(REFERENCE_LENGTH):
        number, value = divmod(number, _MODULUS)
        characters = REFERENCE_ALPHABET[value] + characters
    return characters if number == 0 and is_payment_reference(characters) else None


# --- Search keys ------------------------------------------------------------------------------

KeyKind = Literal[
    "order_number",
    "order_number_part",
    "invoice_number",
    "invoice_number_part",
    "payment_reference",
    "creditor_reference",
    "external_reference",
    "additional_number",
    "customer_number",
    "name",
]

MIN_KEY_LENGTH: Final = 3
MAX_KEY_LENGTH: Final = 35  # the longest end-to-end id a bank carries
MIN_TAIL_LENGTH: Final = 4  # a shorter last group says too little without what stands before
NAME_MARK: Final = "@"
MIN_NAME_LENGTH: Final = 3
MAX_NAME_LENGTH: Final = 20
LEGAL_FORMS: Final = frozenset(
    "GMBH MBH UG AG KG KGAA OHG GBR EK EV EG SE CO LTD INC LLC SARL SAS SA BV NV SPA SRL "
    "HAFTUNGSBESCHRANKT HAFTUNGSBESCHRAENKT GGMBH E K V".split()
)
"""What stands in many companies' names and tells none of them."""

_SEPARATORS: Final = {code: None for code in range(128) if not chr(code).isalnum()}
_NOT_ALPHANUMERIC: Final = re.compile(r"[^A-Z0-9]+")
_LEADING_WORD: Final = re.compile(r"\s*[^\W\d_]+\s*(?:[-_/.:#\s]\s*|(?=\d))")
_LAST_GROUP: Final = re.compile(r"[^\W_]+(?=[\W_]*$)")
_UMLAUT: Final = re.compile("([AOU])E")
_LOOK_ALIKES: Final = str.maketrans("OILSBZG", "0115826")


def normalise_reference(text: str) -> str:
    """Capital letters A-Z and digits only: accents, case, blanks and separators do not count."""
    if text.isascii():
        return text.upper().translate(_SEPARATORS)
    decomposed = unicodedata.normalize("NFKD", text.upper())
    return _NOT_ALPHANUMERIC.sub("", decomposed)


def fold_look_alikes(key: str) -> str:
    """A normalised key as a tired eye reads it: O is 0, I and L are 1, S 5, B 8, Z 2, G 6."""
    return key.translate(_LOOK_ALIKES)


def order_keys(
    number: str,
    *,
    invoice_numbers: Iterable[str] = (),
    payment_reference: str | None = None,
    references: Iterable[str] = (),
    names: Iterable[str] = (),
    people: Iterable[tuple[str, str]] = (),
    customer_number: str | None = None,
    additional_number: str | None = None,
) -> tuple[tuple[str, KeyKind], ...]:
    """What a payer may write to mean this order: (normalised key, kind), without repetition.

    ``number`` and the invoice numbers come whole, without their leading word (``SHOP-4711`` is
    often written ``4711``) and as their last group (``2026-04711`` as ``04711``). ``references``
    are numbers of others, for instance a marketplace's. Keys shorter than 3 or longer than 35
    characters are left out. ``names`` are family names, companies and the additional name (S85),
    ``people`` first and family names: the order of a payer who wrote no number is looked for among
    those of his name.
    """
    keys: dict[tuple[str, KeyKind], None] = {}
    _add_number(keys, number, "order_number", "order_number_part")
    for invoice in invoice_numbers:
        _add_number(keys, invoice, "invoice_number", "invoice_number_part")
    if payment_reference is not None:
        keys[normalise_reference(payment_reference), "payment_reference"] = None
        keys[creditor_reference(payment_reference), "creditor_reference"] = None
    for reference in references:
        keys[normalise_reference(reference), "external_reference"] = None
    if additional_number:
        keys[normalise_reference(additional_number), "additional_number"] = None
    if customer_number:
        keys[normalise_reference(customer_number), "customer_number"] = None
    words = [name_key(word) for name in names for word in name_words(name)]
    words += [
        pair_key(one, other)
        for first_name, last_name in people
        for one in name_words(first_name)[:1]
        for other in name_words(last_name)
    ]
    keys.update(((word, "name"), None) for word in words)
    return tuple(
        pair for pair in keys if MIN_KEY_LENGTH <= len(pair[0].lstrip(NAME_MARK)) <= MAX_KEY_LENGTH
    )


def name_words(name: str) -> list[str]:
    """The words of a family name or company that may tell it from others."""
    words = name.replace("-", " ").split()
    return [word for word in words if normalise_reference(word) not in LEGAL_FORMS]


@lru_cache(maxsize=100_000)
def name_key(word: str) -> str:
    """The key of a word of a name; empty for a word too short to say anything.

    Ü, UE and U are one: ``@MULLER``.
    """
    folded = _UMLAUT.sub(r"\1", normalise_reference(word))
    if len(folded) < MIN_NAME_LENGTH:
        return ""
    return NAME_MARK + folded[:MAX_NAME_LENGTH]


def pair_key(one: str, other: str) -> str:
    """The key of two words of a name, whichever comes first: ``@ERIKA+MUSTERMANN``."""
    first, second = sorted((name_key(one), name_key(other)))
    return f"{first}+{second[1:]}" if first and second else ""


def _add_number(
    keys: dict[tuple[str, KeyKind], None], number: str, whole_kind: KeyKind, part_kind: KeyKind
) -> None:
    whole = normalise_reference(number)
    keys[whole, whole_kind] = None
    if number.isalnum() and not number[:1].isalpha():
        return
    part = normalise_reference(_LEADING_WORD.sub("", number, count=1))
    if part != whole:
        keys[part, part_kind] = None
    last = _LAST_GROUP.search(number)
    tail = normalise_reference(last[0]) if last else ""
    if len(tail) >= MIN_TAIL_LENGTH and tail not in (whole, part):
        keys[tail, part_kind] = None
