"""The words of the pages in German and English, and how amounts and dates are written.

``texts/<language>.toml`` holds every sentence; ``t("orders.title")`` gives the one of the
reader's language. A sentence that counts is a table with ``one`` and ``other``, chosen by ``n``.
A missing key raises KeyError: tests compare the files with each other and with the code.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import ROUND_DOWN, Decimal
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date, format_datetime
from babel.numbers import format_currency, format_decimal, format_percent
from flask import g
from markupsafe import Markup, escape

TEXTS = Path(__file__).parent / "texts"
LANGUAGES = ("de", "en")
DEFAULT_LANGUAGE = "de"

_LOCALES = {"de": Locale("de", "DE"), "en": Locale("en", "GB")}
_DATES = {
    "de": {
        "short": "d.M.",
        "year": "d.M.yyyy",
        "long": "d. MMMM yyyy",
        "full": "EEEE, d. MMMM yyyy",
    },
    "en": {
        "short": "d MMM",
        "year": "d MMM yyyy",
        "long": "d MMMM yyyy",
        "full": "EEEE, d MMMM yyyy",
    },
}
_WHOLE = {"de": "#,##0\u00a0¤", "en": "¤#,##0"}
_MINUS = "\u2212"
_NOT_AMOUNT = re.compile(r"[\s\u00a0\u202f€]|EUR|CHF")
_AMOUNT = re.compile(
    r"(-?)(\d{1,12}|\d{1,3}(?:\.\d{3})+(?=,|$)|\d{1,3}(?:,\d{3})+(?=\.|$))(?:[.,](\d{1,2}))?",
    re.ASCII,
)

_IBAN = re.compile(r"[A-Z]{2}\d{2}[A-Z0-9]{11,30}", re.ASCII)

MOST_CERTAIN = Decimal("0.999")
COUNTED = {"one", "other"}

Text = str | dict[str, str]


@cache
def texts(language: str) -> Mapping[str, Text]:
    """Every sentence of a language by its dotted key."""
    tree = tomllib.loads((TEXTS / f"{language}.toml").read_text("utf-8"))
    return dict(_flat(tree, ""))


def _flat(tree: Mapping[str, Any], prefix: str) -> list[tuple[str, Text]]:
    found: list[tuple[str, Text]] = []
    for name, value in tree.items():
        if isinstance(value, dict) and set(value) != COUNTED:
            found += _flat(value, f"{prefix}{name}.")
        else:
            found.append((prefix + name, value))
    return found


def language() -> str:
    """The reader's language; decided once a request by ``access``."""
    return str(g.get("language", DEFAULT_LANGUAGE))


@contextmanager
def reading(reader: str) -> Iterator[None]:
    """For words that somebody else will read: their language in place of the page's."""
    before = language()
    g.language = reader if reader in LANGUAGES else DEFAULT_LANGUAGE
    try:
        yield
    finally:
        g.language = before


def t(key: str, /, **values: object) -> Markup:
    """The sentence in the reader's language, its values escaped; markup in values is kept.

    ``n`` chooses between ``one`` and ``other`` and is written as a number. KeyError if there is
    no such sentence or a value for it is missing.
    """
    text = texts(language())[key]
    if isinstance(text, dict):
        n = values["n"]
        assert isinstance(n, int)
        text = text.get("one", text["other"]) if n == 1 else text["other"]
        values["n"] = number(n)
    return escape(text).format(**values) if values else escape(text)


def has_text(key: str) -> bool:
    """Whether there is such a sentence: for words that come from other rooms."""
    return key in texts(DEFAULT_LANGUAGE)


def preferred(accept_languages: Any) -> str:
    """The language to greet a stranger in, from the browser's Accept-Language."""
    return accept_languages.best_match(LANGUAGES) or DEFAULT_LANGUAGE


def money(amount: Decimal, currency: str) -> str:
    """``1.284,60 €`` or ``€1,284.60``; a negative amount has a real minus sign."""
    return format_currency(amount, currency, locale=_locale()).replace("-", _MINUS)


def whole_money(amount: Decimal, currency: str) -> str:
    """Without decimals, for the lines of a chart."""
    return format_currency(
        amount, currency, locale=_locale(), currency_digits=False, format=_WHOLE[language()]
    )


def number(value: int | Decimal) -> str:
    return format_decimal(value, locale=_locale())


def exact(value: Decimal) -> str:
    """With all its decimals, such as an exchange rate."""
    return format_decimal(value, locale=_locale(), decimal_quantization=False)


def percent(share: Decimal, decimals: int = 0) -> str:
    """``97 %`` of 0.97, in English ``97%``."""
    sign = "\u00a0%" if language() == "de" else "%"
    pattern = "#,##0" + ("." + "0" * decimals if decimals else "") + sign
    return format_percent(share, format=pattern, locale=_locale())


def certainty(probability: Decimal, decimals: int = 0) -> str:
    """A probability as a percentage, rounded down: nothing that is uncertain reads 100 %."""
    unit = Decimal(1).scaleb(-2 - decimals)
    return percent(min(probability, MOST_CERTAIN).quantize(unit, ROUND_DOWN), decimals)


def plain_amount(amount: Decimal) -> str:
    """``1284,60`` for a field that a person edits; three decimals only where there are three."""
    digits = "0.00#"
    return format_decimal(amount, format=digits, locale=_locale())


def day(value: date | datetime | None, form: str = "short") -> str:
    """A date; `short` leaves out the year unless it is another one. A dash for none."""
    if value is None:
        return "–"
    if isinstance(value, datetime):
        value = local(value).date()
    if form == "short" and value.year != today().year:
        form = "year"
    return format_date(value, format=_DATES[language()][form], locale=_locale())


def moment(value: datetime | None) -> str:
    """``heute, 10:42``, ``19.11., 10:42`` in the merchant's time. A dash for none."""
    if value is None:
        return "–"
    here = local(value)
    clock = format_datetime(here, format="HH:mm", locale=_locale())
    if here.date() == today():
        return str(t("common.today_at", time=clock))
    return f"{day(here.date())}, {clock}"


def full_moment(value: datetime) -> str:
    """``20. November 2026, 10:42``: for a mail, which is read on another day."""
    here = local(value)
    return f"{day(here.date(), 'long')}, {format_datetime(here, format='HH:mm', locale=_locale())}"


def as_of(value: datetime) -> str:
    """The short form of ``moment``: the time if it was today, else the date."""
    here = local(value)
    if here.date() == today():
        return format_datetime(here, format="HH:mm", locale=_locale())
    return day(here.date())


def stamp(value: datetime) -> str:
    """``19.11. 10:42``: every row of a history has the same width."""
    here = local(value)
    return f"{day(here.date())} {format_datetime(here, format='HH:mm', locale=_locale())}"


def local(value: datetime) -> datetime:
    """The same moment on the merchant's clock."""
    return value.astimezone(zone())


def zone() -> ZoneInfo:
    return ZoneInfo(g.get("timezone", "Europe/Berlin"))


def today() -> date:
    """The merchant's local date."""
    return datetime.now(UTC).astimezone(zone()).date()


def iban(value: str) -> str:
    """In groups of four, as it is printed and compared; what is no IBAN stays as it is."""
    if _IBAN.fullmatch(value) is None:
        return value
    return " ".join(value[at : at + 4] for at in range(0, len(value), 4))


def country(code: str) -> str:
    """``Deutschland`` for ``DE``; an unknown code is shown as it is."""
    return str(_locale().territories.get(code.upper(), code))


def address(value: str) -> Markup:
    """An e-mail address that breaks at its @ before it breaks anywhere else."""
    return escape(value).replace("@", Markup("@<wbr>"))


def _locale() -> Locale:
    return _LOCALES[language()]


def read_amount(typed: str) -> Decimal | None:
    """``1.284,60``, ``1284.6`` or ``€ 12``; None if it is no amount.

    One or two digits after a point or comma are cents, in both languages; three digits after it
    are thousands. Anything else is refused rather than guessed.
    """
    plain = _NOT_AMOUNT.sub("", typed).replace(_MINUS, "-")
    found = _AMOUNT.fullmatch(plain)
    if found is None:
        return None
    sign, whole, cents = found.groups()
    return Decimal(f"{sign}{whole.replace('.', '').replace(',', '')}.{cents or '0'}")
