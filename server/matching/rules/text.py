"""What a payer wrote, as candidate keys: which runs of it could be an order's reference.

A bank text is cut in words and digits at will, decorated with IBANs, dates and customer
numbers, and joined again. So first everything is blanked out that certainly is no reference,
each character by one, so that places in the cleaned text are places in the bank's; then each run
of neighbouring words and digit groups is a candidate. What had to be assumed to read it so costs
a discount, reckoned for those candidates that some order really has. A group of digits is never
taken apart.
"""

import re
import unicodedata
from itertools import pairwise
from typing import Final, NamedTuple

from server.check_digits import MAX_CREDITOR_REFERENCE, QR_REFERENCE_DIGITS, iban_is_valid
from server.orders.rules import (
    MAX_KEY_LENGTH,
    MIN_KEY_LENGTH,
    is_creditor_reference,
    reference_in_qr,
)

MAX_TEXT_LENGTH: Final = 1000  # a SEPA text has 140 characters, the longest MT940 text 390
MAX_ATOMS: Final = 8  # runs of letters or digits in one reading
MAX_GAP: Final = 3  # " - " between two of them
BARRIER: Final = "|"  # stands where something was blanked out; no reading crosses it

_CREDITOR_START: Final = re.compile(r"RF[0-9]{2}")
_ATOM: Final = re.compile(r"[A-Z]+|[0-9]+")
_WORD_BEFORE: Final = re.compile(r"([A-Z][A-Z.\-]*)[^A-Z0-9|]*\Z")
_CASE_CHANGE: Final = re.compile(r"(?<=[a-zäöüß])(?=[A-Z])")
_LEADING: Final = re.compile(
    r"\b(?:VWZ|SVWZ|BESTELL(?:UNG(?:EN)?|NR|NUMMER)?|AUFTRAG(?:SNR)?|RECHNUNG(?:SNR)?|ORDER(?:NR)?"
    r"|BEZAHLUNG|ZAHLUNG|VORKASSE|FUER|EINKAUF|KAUF|NR|RG|RE)(?=[A-Z])",
    re.IGNORECASE,
)
_NO_LETTER: Final = re.compile(r"[^A-Z]")
_MAY_BE_NO_REFERENCE: Final = re.compile(r"\d[.,:/\-]|TAN|BIC|EUR|CHF")
_OTHER_SPACE: Final = str.maketrans({"\r": "\n", "\t": " ", BARRIER: " "})

# Registered IBAN lengths of the countries whose accounts pay into SEPA and Swiss accounts.
_IBAN_LENGTHS: Final = {
    **dict.fromkeys(("NO",), 15),
    **dict.fromkeys(("BE",), 16),
    **dict.fromkeys(("DK", "FI", "NL"), 18),
    **dict.fromkeys(("SI",), 19),
    **dict.fromkeys(("AT", "EE", "LT", "LU"), 20),
    **dict.fromkeys(("CH", "HR", "LI", "LV"), 21),
    **dict.fromkeys(("BG", "DE", "GB", "IE"), 22),
    **dict.fromkeys(("GI",), 23),
    **dict.fromkeys(("AD", "CZ", "ES", "RO", "SE", "SK"), 24),
    **dict.fromkeys(("PT",), 25),
    **dict.fromkeys(("IS",), 26),
    **dict.fromkeys(("FR", "GR", "IT", "MC", "SM"), 27),
    **dict.fromkeys(("CY", "HU", "PL"), 28),
    **dict.fromkeys(("MT",), 31),
}
_IBAN_START: Final = re.compile(
    r"(?:(?P<label>IBAN[: ]*)|(?<![A-Z0-9]))(?P<country>[A-Z]{2})[0-9]{2}"
)
_DAY: Final = r"(?:0?[1-9]|[12][0-9]|3[01])"
_MONTH: Final = r"(?:0?[1-9]|1[0-2])"
_NO_REFERENCE: Final = re.compile(
    "|".join(
        (
            r"\bBIC[: ]+[A-Z]{6}[A-Z0-9]{2}(?:[A-Z0-9]{3})?\b",
            rf"(?<!\d){_DAY}\. ?{_MONTH}\.(?: ?(?:19|20)\d\d|\d\d)?(?!\d)",
            r"(?<=\d)(?:0[1-9]|[12]\d|3[01])\.(?:0[1-9]|1[0-2])\.20\d\d(?!\d)",
            rf"(?<!\d){_DAY}/{_MONTH}/(?:19|20)\d\d(?!\d)",
            r"(?<![\d-])(?:19|20)\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])(?![\d-])",
            rf"(?<![\d/]){_MONTH}/(?:19|20)\d\d(?![\d/])",
            r"(?<!\d)(?:[01]?\d|2[0-3])[:.][0-5]\d(?:[:.][0-5]\d)?(?: ?UHR| ?H\b)",
            r"(?<![\d:])(?:[01]?\d|2[0-3]):[0-5]\d(?::[0-5]\d)?(?![\d:])",
            r"\bTAN(?:-?NR\.?)?[: ]*\d{4,9}(?!\d)",
            r"(?<![\d.,])\d{1,3}(?:\.?\d{3})*,\d\d(?!\d)",
            r"\b(?:EUR|CHF)[: ]*\d+(?:[.,]\d\d)?(?!\d)",
            r"(?<!\d)\d+\.\d\d ?(?:EUR|CHF)\b",
        )
    )
)


class Reading(NamedTuple):
    """A candidate key and where it was read.

    ``field`` numbers the text it was read in; ``start`` and ``end`` are offsets in it.
    """

    key: str
    field: int
    start: int
    end: int


class _OneEach(dict[int, str]):
    """For ``str.translate``: every character as one capital ASCII character, or a blank."""

    def __missing__(self, code: int) -> str:
        plain = unicodedata.normalize("NFKD", chr(code).upper())[0]
        self[code] = plain if plain.isascii() else " "
        return self[code]


_PLAIN: Final = _OneEach(
    {ord(a): b for a, b in zip("ßßøØæÆœŒłŁđĐþÞı", "SSOOAAOOLLDDTTI", strict=True)}
)


def cuts(text: str) -> frozenset[int]:
    """Where letters that are written together are two words: ``fuerANNA``, ``VWZANNA``."""
    found = {match.start() for match in _CASE_CHANGE.finditer(text[:MAX_TEXT_LENGTH])}
    found.update(match.end() for match in _LEADING.finditer(text[:MAX_TEXT_LENGTH]))
    return frozenset(found)


def clean(text: str) -> str:
    """Capital ASCII letters, digits and separators; what is no reference became barriers.

    As long as the text, up to ``MAX_TEXT_LENGTH``. Checksum-valid or labelled IBANs, labelled
    BICs, dates, times, TANs and amounts are blanked.
    """
    text = text[:MAX_TEXT_LENGTH]
    plain = text.upper() if text.isascii() else text.translate(_PLAIN).upper()
    if not plain.isprintable() or BARRIER in plain:
        plain = plain.translate(_OTHER_SPACE)
    if _IBAN_START.search(plain):
        plain = _without_ibans(plain)
    if _MAY_BE_NO_REFERENCE.search(plain):
        plain = _NO_REFERENCE.sub(_blanked, plain)
    return plain


def _blanked(match: re.Match[str]) -> str:
    return BARRIER * (match.end() - match.start())


Run = tuple[str, int, int, int]
"""What ``Reading`` names, before it is known to mean anything: most runs never do."""


def readings(text: str, field: int, cut: frozenset[int] = frozenset()) -> list[Run]:
    """All candidate keys of a cleaned text, as plain (key, field, start, end).

    ``cut``: of ``cuts``, the places where a run of letters is two words.
    """
    found: list[Run] = []
    begin = 0
    for piece in text.split(BARRIER):
        if len(piece) >= MIN_KEY_LENGTH:
            atoms = [match.span() for match in _ATOM.finditer(text, begin, begin + len(piece))]
            _read(text, field, _divided(atoms, cut) if cut else atoms, found)
        begin += len(piece) + 1
    return found


def _divided(atoms: list[tuple[int, int]], cut: frozenset[int]) -> list[tuple[int, int]]:
    divided = []
    for start, end in atoms:
        places = [start, *sorted(at for at in cut if start < at < end), end]
        divided += list(pairwise(places))
    return divided


def _read(text: str, field: int, atoms: list[tuple[int, int]], found: list[Run]) -> None:
    for first, (start, stop) in enumerate(atoms):
        key, end = text[start:stop], stop
        if MIN_KEY_LENGTH <= len(key) <= MAX_KEY_LENGTH:
            found.append((key, field, start, end))
        for begin, stop in atoms[first + 1 : first + MAX_ATOMS]:  # noqa: PLW2901  the next atom's
            if begin - end > MAX_GAP:
                break
            key += text[begin:stop]
            if len(key) > MAX_KEY_LENGTH:
                break
            end = stop
            if len(key) >= MIN_KEY_LENGTH:
                found.append((key, field, start, end))


def creditor_references(found: list[Run]) -> list[Reading]:
    """What stands in a creditor reference whose check digits are right (ISO 11649)."""
    return [
        Reading(key[4:], field, start, end)
        for key, field, start, end in found
        if _CREDITOR_START.match(key)
        and len(key) <= MAX_CREDITOR_REFERENCE
        and is_creditor_reference(key)
    ]


def qr_references(found: list[Run]) -> list[Reading]:
    """Our own references that stand in a QR reference whose check digit is right (QR-bill)."""
    return [
        Reading(own, field, start, end)
        for key, field, start, end in found
        if len(key) == QR_REFERENCE_DIGITS and (own := reference_in_qr(key)) is not None
    ]


def before(text: str, start: int) -> str:
    """The letters of the word directly before an offset, separators skipped: ``BESTELLNR``."""
    match = _WORD_BEFORE.search(text, max(start - 40, 0), start)
    return _NO_LETTER.sub("", match.group(1)) if match else ""


def discount(text: str, reading: Reading, cut: frozenset[int] = frozenset()) -> float:
    """What had to be assumed for a reading, in powers of ten, 0 or more.

    Digit groups joined over blanks; a word torn off at its side.
    """
    price = _price_of_tearing(text, reading.start, reading.end, cut)
    if reading.end - reading.start == len(reading.key):
        return price
    end = -1
    key = ""
    for match in _ATOM.finditer(text, reading.start, reading.end):
        if end >= 0:
            price += _price_of_gap(text[end : match.start()], key, match.group())
        key += match.group()
        end = match.end()
    return price


def _without_ibans(text: str) -> str:
    pieces: list[str] = []
    position = 0
    for match in _IBAN_START.finditer(text):
        length = _IBAN_LENGTHS.get(match["country"])
        if match.start() < position or length is None:
            continue
        start = match.start("country")
        end = _end_of(text, start, length)
        if end is None:
            continue
        iban = re.sub(r"[ \n]", "", text[start:end])
        if match["label"] or iban_is_valid(iban):
            pieces += [text[position : match.start()], BARRIER * (end - match.start())]
            position = end
    return "".join([*pieces, text[position:]])


def _end_of(text: str, start: int, length: int) -> int | None:
    """Where so many letters and digits end, blanks and line ends not counted."""
    seen = 0
    for position in range(start, len(text)):
        character = text[position]
        if character in " \n":
            continue
        if not character.isalnum():
            return None
        seen += 1
        if seen == length:
            return position + 1
    return None


def _price_of_gap(gap: str, key: str, atom: str) -> float:
    """Two digit groups side by side are often two numbers; a bank's line end cuts anywhere."""
    if not (key[-1].isdigit() and atom[0].isdigit()):
        return 0.2 if "\n" in gap or " " in gap else 0.0
    if "\n" in gap:
        return 0.5
    has_word = not key.isdigit()
    if " " in gap or "," in gap:
        return 0.5 if has_word else 2.0
    return 0.2 if has_word else 0.7


def _price_of_tearing(text: str, start: int, end: int, cut: frozenset[int]) -> float:
    """A reading that begins or ends inside a word was perhaps meant as part of that word."""
    price = 0.0
    if start > 0 and text[start - 1].isalnum():
        price += _price_of_side(text[start], start in cut)
    if end < len(text) and text[end].isalnum():
        price += _price_of_side(text[end - 1], end in cut)
    return price


def _price_of_side(outermost: str, is_cut: bool) -> float:
    if is_cut:
        return 0.3
    return 0.5 if outermost.isdigit() else 2.0
