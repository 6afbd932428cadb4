"""Languages of mails, and how amounts and days are written in each. Pure.

A file of its own because whoever writes facts needs it without any mail: an *edition* is a
language, for German also with a form of address and the wording of Switzerland. Amounts and days
follow CLDR, the locale data of Unicode, where a line below does not say otherwise.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from decimal import Decimal
from typing import Final

EDITIONS: Final = ("de", "de-du", "de-CH", "de-CH-du", "en", "fr", "it", "nl", "es")
"""Of mails to customers; ``du`` is the informal address."""

MERCHANT_LANGUAGES: Final = ("de", "en")
LANGUAGES: Final = tuple(dict.fromkeys(edition.split("-")[0] for edition in EDITIONS))

SWISS_COUNTRIES: Final = frozenset({"CH", "LI"})

_NARROW: Final = "\u202f"  # a narrow blank at which no line ends
_BLANK: Final = "\u00a0"
_MINUS: Final = "\u2212"
_SYMBOLS: Final = {"EUR": "€", "GBP": "£", "USD": "$"}
_DECIMALS: Final = {"JPY": 0, "KRW": 0, "CLP": 0, "ISK": 0, "VND": 0, "BHD": 3, "KWD": 3, "TND": 3}
# (between thousands, before decimals), of an amount that was written ``1,284.60``.
_SEPARATORS: Final = {
    "de": (".", ","),
    "en": (",", "."),
    "fr": (_NARROW, ","),
    "it": (".", ","),
    "nl": (".", ","),
    "es": (".", ","),
}
_SWISS_SEPARATORS: Final = ("\u2019", ".")
_MONTHS: Final = {
    "en": "January February March April May June July August September October November December",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "nl": "januari februari maart april mei juni juli augustus september oktober november december",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre"
    " diciembre",
}
_FIVE_DIGITS: Final = Decimal(10_000)


def language_of(edition: str) -> str:
    """``de`` of ``de-CH-du``."""
    return edition.partition("-")[0]


def parents_of(edition: str) -> tuple[str, ...]:
    """The editions whose words this one builds on, the most general first, itself last.

    >>> parents_of("de-CH-du")
    ('de', 'de-du', 'de-CH', 'de-CH-du')
    """
    parts = edition.split("-")
    last = [edition] if len(parts) > 2 else []
    own = [f"{parts[0]}-{part}" for part in sorted(parts[1:], reverse=True)]
    return (parts[0], *own, *last)


def is_swiss(edition: str) -> bool:
    return "CH" in edition.split("-")


def editions_for(reader: str) -> tuple[str, ...]:
    """The editions of a kind's mails; ``reader`` is ``customer`` or ``merchant``."""
    return EDITIONS if reader == "customer" else MERCHANT_LANGUAGES


def nearest_language(
    wanted: str | None, otherwise: str, known: Collection[str] = MERCHANT_LANGUAGES
) -> str:
    """The language for a reader's language tag (BCP 47), such as ``de-AT`` or None."""
    primary = (wanted or "").replace("_", "-").split("-")[0].lower()
    return primary if primary in known else otherwise


def edition(language: str | None, country: str | None, otherwise: str, *, informal: bool) -> str:
    """The edition for a customer (S62, K20).

    ``language`` is the order's (BCP 47), ``country`` that of the billing address (ISO 3166) and
    ``otherwise`` the shop's language, which counts where the order's is none of ours. A tag that
    names Switzerland itself (``de-CH``) counts if there is no country.
    """
    found = nearest_language(language, nearest_language(otherwise, "de", LANGUAGES), LANGUAGES)
    if found != "de":
        return found
    region = country or (language or "").replace("_", "-").partition("-")[2]
    swiss = "-CH" if region.upper() in SWISS_COUNTRIES else ""
    return f"de{swiss}{'-du' if informal else ''}"


def money(amount: Decimal, currency: str, edition: str) -> str:
    """``1.284,60 €`` in German, ``CHF 1’284.60`` in Switzerland; never breaks at a line end.

    An amount with more decimals than the currency has (a shop that counts yen in hundredths) is
    written as it is: rounding would state another sum than the one that is booked.
    """
    exponent = amount.normalize().as_tuple().exponent
    assert isinstance(exponent, int), "amounts are finite"
    decimals = max(_DECIMALS.get(currency, 2), -exponent)
    language = language_of(edition)
    # Who pays francs in French or Italian lives where francs are written like this.
    swiss = is_swiss(edition) or (currency == "CHF" and language in ("fr", "it"))
    digits = _digits(amount, decimals, language, swiss)
    minus = _MINUS if amount < 0 else ""
    if swiss:
        return f"{currency}{_BLANK}{minus}{digits}"
    symbol = _SYMBOLS.get(currency, currency)
    if language == "en":
        gap = "" if currency in _SYMBOLS else _BLANK
        return f"{minus}{symbol}{gap}{digits}"
    if language == "nl":
        return f"{symbol}{_BLANK}{minus}{digits}"
    return f"{minus}{digits}{_BLANK}{symbol}"


def _digits(amount: Decimal, decimals: int, language: str, swiss: bool) -> str:
    thousands, point = _SWISS_SEPARATORS if swiss else _SEPARATORS[language]
    if language == "es" and abs(amount) < _FIVE_DIGITS:
        thousands = ""  # Spanish groups from five digits on
    written = f"{abs(amount):,.{decimals}f}"
    return written.translate({ord(","): thousands, ord("."): point})


def day(value: date, edition: str) -> str:
    """``28.11.2026`` in German, ``28 November 2026`` in English; never breaks at a line end.

    In Italian in figures, ``28/11/2026``: its article before a day in words depends on the day.
    """
    language = language_of(edition)
    if language == "de":
        return f"{value.day:02}.{value.month:02}.{value.year}"
    if language == "it":
        return f"{value.day:02}/{value.month:02}/{value.year}"
    number = "1er" if language == "fr" and value.day == 1 else str(value.day)
    of = f"{_BLANK}de{_BLANK}" if language == "es" else _BLANK
    month = _MONTHS[language].split()[value.month - 1]
    return f"{number}{of}{month}{of}{value.year}"
