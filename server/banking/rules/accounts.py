"""Which account a customer is asked to pay to, and whose account a file speaks of."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from server.banking.payments.swiss_qr import Party

LEAST_ACCOUNT_DIGITS = 6
QR_BILL_COUNTRIES = frozenset({"CH", "LI"})


@dataclass(frozen=True, slots=True)
class Payee:
    """Where a merchant's customers are asked to pay, and for whom (empty: for all).

    ``for_countries`` are billing countries (ISO 3166), ``for_shops`` ids. The ``address`` is what
    a Swiss QR-bill needs of the account's owner; None where nobody entered it. The ``qr_iban`` is
    the account's other name, empty if it has none.
    """

    iban: str
    bic: str
    creditor_name: str
    currency: str = "EUR"
    for_countries: frozenset[str] = frozenset()
    for_currencies: frozenset[str] = frozenset()
    for_shops: frozenset[int] = frozenset()
    address: Party | None = None
    qr_iban: str = ""

    def asked_iban(self, country: str | None) -> str:
        """What a customer billed in ``country`` (ISO 3166) is asked to pay to.

        Only banks in Switzerland and Liechtenstein send money to a QR-IBAN.
        """
        is_domestic = not country or country.upper() in QR_BILL_COUNTRIES
        return self.qr_iban if self.qr_iban and is_domestic else self.iban


def choose_payee(
    payees: Iterable[Payee], *, shop_id: int, country: str | None, currency: str
) -> Payee | None:
    """The account for an order (K17, K51), or None if none of them is for it.

    An account that is not for the order's shop, country or currency is never chosen. Of the
    others the one that was meant most closely: named for the shop, then the country, then the
    currency; then the one in the order's currency, then the one in the customer's country; then
    the first.
    """
    best: Payee | None = None
    best_fit: tuple[bool, ...] = ()
    country = (country or "").upper()
    for payee in payees:
        if (
            _excludes(payee.for_shops, shop_id)
            or _excludes(payee.for_countries, country)
            or _excludes(payee.for_currencies, currency)
        ):
            continue
        fit = (
            bool(payee.for_shops),
            bool(payee.for_countries),
            bool(payee.for_currencies),
            payee.currency == currency,
            bool(country) and payee.iban.startswith(country),
        )
        if best is None or fit > best_fit:
            best, best_fit = payee, fit
    return best


def _excludes(wanted: Collection[object], one: object) -> bool:
    return bool(wanted) and one not in wanted


def is_account(iban: str, printed: str) -> bool:
    """Whether an account as a bank printed it is this IBAN: ``50010517/0648489890 EUR``.

    Bank code and account number in any notation, or the account number alone if it is long
    enough, stand at the end of the IBAN.
    """
    compact = "".join(one for one in printed.upper() if one.isalnum())
    if compact.startswith(iban) or iban == compact[:34]:
        return True
    numbers = [part for part in _digit_runs(printed) if part.strip("0")]
    if not numbers:
        return False
    country_part = iban[4:]
    number = numbers[-1].lstrip("0")
    if not country_part.endswith(number):
        return False
    if len(numbers) == 1:
        return len(number) >= LEAST_ACCOUNT_DIGITS
    rest = country_part.removesuffix(number).rstrip("0")
    return rest.endswith(numbers[0].strip("0")) or numbers[0] in country_part


def _digit_runs(text: str) -> list[str]:
    return "".join(one if one.isdigit() else " " for one in text).split()
