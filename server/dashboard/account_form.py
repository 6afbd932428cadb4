"""The form of a bank account: what a person typed, kept as typed until it is right."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache

from babel import Locale
from flask import request
from schwifty import IBAN
from schwifty.exceptions import SchwiftyException

from server.banking.models import BankAccount
from server.banking.rules.accounts import Payee
from server.banking.service import AccountTerms
from server.dashboard import words

MAX_TYPED_LENGTH = 500
YEARS = range(2000, 2200)
NO_COUNTRIES = frozenset({"EU", "EZ", "UN", "QO", "XA", "XB", "ZZ"})
"""Territories of two letters in CLDR that nobody lives in."""
OWNER_FIELDS = {
    "street": "street",
    "building_number": "building_number",
    "postcode": "postcode",
    "city": "city",
    "owner_country": "country",  # the form's other countries are those of customers
}
"""The fields of the account owner's address, and their keys in it."""
_BETWEEN = re.compile(r"[,;\n]+")


@dataclass(frozen=True, slots=True)
class Entered:
    """The fields as they are shown. ``countries`` and ``currencies`` are ticked codes,
    ``more_countries`` and ``more_currencies`` what was typed beside them. ``street`` to
    ``owner_country`` are the owner's address for Swiss QR-bills."""

    iban: str = ""
    bic: str = ""
    creditor_name: str = ""
    currency: str = "EUR"
    label: str = ""
    is_payee: bool = True
    countries: Sequence[str] = ()
    more_countries: str = ""
    currencies: Sequence[str] = ()
    more_currencies: str = ""
    shops: Sequence[int] = ()
    assign_from: str = ""
    ignores_doubles: bool = False
    qr_iban: str = ""
    street: str = ""
    building_number: str = ""
    postcode: str = ""
    city: str = ""
    owner_country: str = "CH"

    @classmethod
    def blank(cls, creditor_name: str) -> Entered:
        return cls(creditor_name=creditor_name)

    @classmethod
    def of_account(cls, account: BankAccount) -> Entered:
        address = account.creditor_address
        return cls(
            words.iban(account.iban),
            account.bic or "",
            account.creditor_name or "",
            account.currency,
            account.label,
            account.is_payee,
            account.for_countries,
            "",
            account.for_currencies,
            "",
            account.for_shops,
            account.assign_from.isoformat() if account.assign_from else "",
            account.ignores_doubles,
            words.iban(account.qr_iban or ""),
            address.get("street", ""),
            address.get("building_number", ""),
            address.get("postcode", ""),
            address.get("city", ""),
            address.get("country", "CH"),
        )

    @classmethod
    def of_form(cls) -> Entered:
        """What this request brings; nothing is checked yet."""
        return cls(
            _text("iban"),
            _text("bic"),
            _text("creditor_name"),
            _text("currency"),
            _text("label"),
            "is_payee" in request.form,
            _codes("country", 2),
            _text("more_countries"),
            _codes("for_currency", 3),
            _text("more_currencies"),
            [int(text) for text in request.form.getlist("shop") if _is_id(text)],
            _text("assign_from"),
            "ignores_doubles" in request.form,
            *(_text(name) for name in ("qr_iban", *OWNER_FIELDS)),
        )

    def terms(self, shop_ids: Collection[int], account: BankAccount | None = None) -> AccountTerms:
        """For the service; IBAN and currency of a known account stay. Raises ValueError with a
        message key."""
        countries, unknown = _read_countries(self.more_countries)
        if unknown:
            raise ValueError("country_invalid")
        currencies = _parts(self.more_currencies)
        if not all(one.upper() in _currencies() for one in currencies):
            raise ValueError("currencies_invalid")
        return AccountTerms(
            iban=account.iban if account else self.iban,
            bic=self.bic,
            creditor_name=self.creditor_name,
            currency=account.currency if account else self.currency,
            label=self.label,
            is_payee=self.is_payee and may_be_payee(account),
            for_countries=[*self.countries, *countries],
            for_currencies=[*self.currencies, *currencies],
            for_shops=[shop_id for shop_id in self.shops if shop_id in shop_ids],
            ignores_doubles=self.ignores_doubles,
            assign_from=_read_date(self.assign_from),
            creditor_address={key: getattr(self, field) for field, key in OWNER_FIELDS.items()},
            qr_iban=self.qr_iban,
        )

    def payee(self, shop_ids: Collection[int], account: BankAccount | None) -> Payee:
        """As customers would see it now, whatever is still missing or wrong."""
        more = [code.upper() for code in _parts(self.more_currencies)]
        return Payee(
            account.iban if account else "".join(self.iban.split()).upper(),
            self.bic,
            self.creditor_name,
            account.currency if account else self.currency.upper(),
            frozenset([*self.countries, *_read_countries(self.more_countries)[0]]),
            frozenset([*self.currencies, *more]),
            frozenset(self.shops) & frozenset(shop_ids),
        )


def may_be_payee(account: BankAccount | None) -> bool:
    """Nobody can transfer money to an account that has only a name, such as PayPal."""
    if account is None:
        return True
    try:
        return bool(IBAN(account.iban))
    except (SchwiftyException, ValueError):
        return False


def _text(name: str) -> str:
    return request.form.get(name, "").replace("\x00", "").strip()[:MAX_TYPED_LENGTH]


def _codes(name: str, length: int) -> list[str]:
    found = {text.upper() for text in request.form.getlist(name)}
    return sorted(text for text in found if len(text) == length and text.isascii())


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


def _parts(text: str) -> list[str]:
    return [part.strip() for part in _BETWEEN.split(text) if part.strip()]


def _read_countries(text: str) -> tuple[list[str], list[str]]:
    """(codes, what is no country): codes or names in the reader's language."""
    names = {name.casefold(): code for code, name in countries(words.language())}
    codes, unknown = [], []
    for one in _parts(text):
        code = one.upper() if one.upper() in names.values() else names.get(one.casefold())
        codes += [code] if code else []
        unknown += [] if code else [one]
    return codes, unknown


def _read_date(text: str) -> date | None:
    if not text:
        return None
    try:
        found = date.fromisoformat(text)
    except ValueError:
        raise ValueError("assign_from_invalid") from None
    if found.year not in YEARS:
        raise ValueError("assign_from_invalid")
    return found


@cache
def countries(language: str) -> list[tuple[str, str]]:
    """(code, name) of all countries in the order of their names."""
    names = Locale(language).territories
    found = [(code, str(name)) for code, name in names.items() if len(code) == 2 and code.isalpha()]
    return sorted(
        (one for one in found if one[0] not in NO_COUNTRIES), key=lambda one: sorted_as(one[1])
    )


def sorted_as(name: str) -> str:
    """For names in the order of a list: umlauts stand with their vowels."""
    return unicodedata.normalize("NFKD", name).casefold()


@cache
def _currencies() -> frozenset[str]:
    return frozenset(Locale("en").currencies)
