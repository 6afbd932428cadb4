"""Single values as banks print them: texts, amounts, dates, IBANs, and bytes of unsure encoding.

Every function returns ``None`` for what it cannot read; the caller knows the place and reports it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from functools import lru_cache
from io import TextIOWrapper
from typing import BinaryIO

MAX_LINE_CHARACTERS = 1_000_000
MAX_TEXT_CHARACTERS = 10_000
MAX_SHOWN_CHARACTERS = 500
MAX_INTEGER_DIGITS = 15
OLDEST_YEAR, NEWEST_YEAR = 1970, 2099

# Neither databases nor XML take these; a bank that sends them means nothing by them.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_NOTHING = {"NOTPROVIDED", "NOTAVAILABLE", "NONREF", "NOREF"}
_LONGEST = len("NOT AVAILABLE")
_IBAN = re.compile(r"[A-Z]{2}\d{2}[A-Z0-9]{11,30}")
_CURRENCY = re.compile(r"[A-Z]{3}")
_BIC = re.compile(r"[A-Z]{6}[A-Z0-9]{2}(?:[A-Z0-9]{3})?")
_PLAIN_AMOUNT = re.compile(r"[+-]?[0-9]{1,15}(?:\.[0-9]{0,15})?")
_ISO_DATE = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})(?:$|[T +\-Z])")
_GERMAN_DATE = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4}|\d{2})")

# Umlauts of DOS code page 850 between letters: in cp1252 the same bytes are quotation marks
# and capitals of other languages, which do not stand there.
_DOS_UMLAUT = re.compile(rb"[A-Za-z][\x81\x84\x94][a-z]|[A-Z][\x8e\x99\x9a][A-Z]")


def text(value: str | None) -> str | None:
    """The value without blanks around it; ``None`` if empty or one of the words for "nothing"."""
    if value is None:
        return None
    if not value.isprintable():
        value = _CONTROL.sub("", value)
    value = value.strip()
    if not value or (value[0] in "nN" and _is_nothing(value)):
        return None
    return value[:MAX_TEXT_CHARACTERS]


def _is_nothing(value: str) -> bool:
    """One of the words for it; all of them begin with the same letter."""
    return len(value) <= _LONGEST and value.upper().replace(" ", "") in _NOTHING


def shown(printed: str) -> str:
    """A piece of the file for a message: one line, bounded, nothing that a terminal obeys."""
    cleaned = "".join(one if one.isprintable() else " " for one in printed[:MAX_SHOWN_CHARACTERS])
    return cleaned.strip()


@lru_cache(maxsize=256)
def currency(value: str | None) -> str | None:
    """A currency code (ISO 4217) by its shape."""
    return value if value and _CURRENCY.fullmatch(value) else None


def iban(value: str | None) -> str | None:
    """An IBAN (ISO 13616) without blanks, by its shape; the check digits are not judged here."""
    if not value:
        return None
    if _IBAN.fullmatch(value):
        return value
    compact = "".join(value.split()).upper()
    return compact if _IBAN.fullmatch(compact) else None


@lru_cache(maxsize=4096)
def bic(value: str | None) -> str | None:
    """A BIC (ISO 9362) by its shape."""
    if not value:
        return None
    compact = "".join(value.split()).upper()
    return compact if _BIC.fullmatch(compact) else None


def plain_amount(value: str | None) -> Decimal | None:
    """An amount with a decimal point and nothing else, as XML has it."""
    if value is None:
        return None
    if _PLAIN_AMOUNT.fullmatch(value):
        return Decimal(value)
    value = value.strip()
    return Decimal(value) if _PLAIN_AMOUNT.fullmatch(value) else printed_amount(value)


_MONEY_WORDS = re.compile(r"(?:€|EUR|CHF|USD|GBP|¤|\$|£)", re.IGNORECASE)
_BLANKS_AND_APOSTROPHES = re.compile(r"[\s'’\u00a0\u202f\u2009]")
_PRINTED = re.compile(r"(?P<before>[-+(]?)(?P<digits>[0-9.,]*[0-9][0-9.,]*)(?P<after>[-+)SHCD]?)")


def printed_amount(value: str, decimal_sign: str | None = None) -> Decimal | None:
    """An amount as people and banks print it, with its sign.

    ``1.234,56``, ``1,234.56``, ``1'234.50``, ``-12,00``, ``12,00-``, ``42,23 S`` (Soll, debit),
    ``42,23 H`` (Haben, credit), ``(42.00)``, ``¤ 42,00``. Without ``decimal_sign`` a single
    point or comma before exactly three digits groups thousands: money has no three decimals.
    """
    compact = _BLANKS_AND_APOSTROPHES.sub("", _MONEY_WORDS.sub("", value))
    found = _PRINTED.fullmatch(compact.replace("−", "-").upper())
    if found is None:
        return None
    number = _with_point(found["digits"], decimal_sign) or _with_point(found["digits"], None)
    if number is None or len(number.partition(".")[0]) > MAX_INTEGER_DIGITS:
        return None
    is_debit = found["before"] in ("-", "(") or found["after"] in ("-", "S", "D", ")")
    return -Decimal(number) if is_debit else Decimal(number)


def _with_point(digits: str, decimal_sign: str | None) -> str | None:
    """The digits with a decimal point and no grouping, or None where the signs contradict."""
    sign = decimal_sign or _decimal_sign_of(digits)
    grouping = "," if sign == "." else "."
    whole, _, cents = digits.partition(sign)
    if sign in cents or grouping in cents:
        return None
    groups = whole.split(grouping)
    if len(groups) > 1 and any(len(group) != 3 for group in groups[1:]):
        return None
    return f"{''.join(groups) or '0'}.{cents or '0'}" if cents else "".join(groups) or None


def _decimal_sign_of(digits: str) -> str:
    last = max(digits.rfind("."), digits.rfind(","))
    if last < 0:
        return "."
    sign = digits[last]
    other = "," if sign == "." else "."
    if other in digits:
        return sign
    groups_thousands = digits.count(sign) > 1 or (
        len(digits) - last - 1 == 3 and digits[:last].strip("0") != ""
    )
    return other if groups_thousands else sign


@lru_cache(maxsize=4096)
def printed_date(value: str) -> date | None:
    """A date as ``2025-11-21`` (with or without a time behind it), ``21.11.2025``, ``1.2.25``."""
    value = value.strip()
    if found := _ISO_DATE.match(value):
        return calendar_date(int(found[1]), int(found[2]), int(found[3]))
    if found := _GERMAN_DATE.match(value):
        year = int(found[3]) if len(found[3]) == 4 else full_year(int(found[3]))
        return calendar_date(year, int(found[2]), int(found[1]))
    return None


def calendar_date(year: int, month: int, day: int) -> date | None:
    """The date, or None where the calendar has none (30 February) or the year is absurd."""
    if not OLDEST_YEAR <= year <= NEWEST_YEAR:
        return None
    try:
        return date(year, month, day)
    except ValueError:
        return None


def full_year(two_digits: int) -> int:
    """The year of a two-digit one: 70 to 99 are of the last century."""
    return two_digits + (1900 if two_digits >= 70 else 2000)


def decode(raw: bytes) -> str:
    """Bytes of a line as text: UTF-8 where valid, else DOS umlauts, else Windows, else Latin 1."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        pass
    if _DOS_UMLAUT.search(raw):
        return raw.decode("cp850")
    try:
        return raw.decode("cp1252")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def lines(source: BinaryIO, encoding: str | None = None) -> Iterator[str]:
    """The lines of a text file without their ends, each decoded on its own unless told how.

    Banks append files of different systems to each other, so one odd line must not decide the
    encoding of all. UTF-16 is known by its byte order mark.
    """
    start = source.tell()
    mark = source.read(3)
    source.seek(start + (3 if mark == b"\xef\xbb\xbf" else 0))
    if encoding is None and mark[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16"
    # Latin 1 maps every byte to the character of the same number: a way to get universal line
    # ends and a length limit before the real encoding is known.
    wrapper = TextIOWrapper(source, encoding or "latin-1", errors="replace")
    try:
        while line := wrapper.readline(MAX_LINE_CHARACTERS):
            line = line.rstrip("\n")
            yield line if encoding or line.isascii() else decode(line.encode("latin-1"))
    finally:
        wrapper.detach()
