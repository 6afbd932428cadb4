"""The CSV layouts of banks and payment providers, as facts: which header holds which field.

A layout is found by its *set* of headers; order and position do not matter. In this table
``" + "`` joins several columns into one text, ``"|"`` separates names that the same column has
had, and a leading ``"?"`` marks a column that only some of the bank's files have. An exact
layout has headers that anybody might choose, so it fits only if the file has no others.

Files without any header are known by the shape of their records, and only by shapes in which
every cell has one possible meaning.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

SHAPE_MIN_SHARE = 0.75
SHAPE_RECORDS = 40

_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "€": "eur"})
_LOST = re.compile("(?:(?<=[a-z])[?\ufffd]+)|(?:[?\ufffd]+(?=[a-z]))|\ufffd+")
_ANY_LETTERS = "[a-z]{1,2}"

Part = tuple[str, ...]
Column = tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """How cells are to be read where the file itself does not tell.

    ``day_first`` decides 01/02/2026. ``is_inverted``: what was spent is printed positive, as
    on credit cards. ``packed`` names the grammar in which the text holds several fields.
    ``fee_is_deducted``: the fee is taken off beside the amount and printed positive.
    """

    decimal: str | None = None
    date_format: str | None = None
    day_first: bool | None = None
    currency: str | None = None
    account: str | None = None
    is_inverted: bool = False
    packed: str | None = None
    fee_is_deducted: bool = False
    undated_is_pending: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """One layout: its columns by field, those it may have besides, and how to read the cells."""

    title: str
    required: Mapping[str, Column]
    optional: Mapping[str, Column]
    reading: Reading
    is_exact: bool = False
    # Of a file without header: what each cell of a record must look like.
    shape: tuple[re.Pattern[str], ...] = ()
    delimiter: str = ";"
    _names: frozenset[str] = field(default=frozenset())

    def places(self, names: Sequence[str]) -> dict[str, list[int]] | None:
        """The columns of each field in a header of these normal names; None if it is another."""
        if self.is_exact and not self._names.issuperset(name for name in names if name):
            return None
        found: dict[str, list[int]] = {}
        for key, column in self.required.items():
            places = [_place(part, names) for part in column]
            if None in places:
                return None
            found[key] = [place for place in places if place is not None]
        for key, column in self.optional.items():
            places = [_place(part, names) for part in column]
            if known := [place for place in places if place is not None]:
                found[key] = [*found.get(key, ()), *known]
        if "currency" in found:
            found["currency"] = [currency_place(found, names)]
        return found

    def fits(self, cells: Sequence[str]) -> bool:
        """Whether a record has the shape of this headerless layout."""
        while len(cells) > len(self.shape) and not cells[-1].strip():
            cells = cells[:-1]
        return len(cells) == len(self.shape) and all(
            pattern.fullmatch(cell.strip()) for pattern, cell in zip(self.shape, cells, strict=True)
        )


def normal(name: str) -> str:
    """A header without case, blanks, punctuation, accents and the choice of umlauts."""
    if name.isascii() and "?" not in name:
        return "".join(one for one in name.casefold() if one.isalnum())
    folded = _LOST.sub("\ufffd", name.casefold().translate(_UMLAUTS))
    split = unicodedata.normalize("NFKD", folded)
    return "".join(one for one in split if one.isalnum() or one == "\ufffd")


def currency_place(places: Mapping[str, Sequence[int]], names: Sequence[str]) -> int:
    """The column of the currency: of several with its name, the first behind the amount."""
    first = places["currency"][0]
    same = [place for place, name in enumerate(names) if name == names[first]]
    amounts = [place for key in ("amount", "credit") for place in places.get(key, ())]
    behind = [place for place in same if amounts and place > amounts[0]]
    return behind[0] if behind else first


def best(names: Sequence[str]) -> tuple[Layout, dict[str, list[int]]] | None:
    """The layout of a header, of several the one that explains most, and its fields' places."""
    found: tuple[Layout, dict[str, list[int]]] | None = None
    known = 0
    present = set(names)
    for layout in LAYOUTS.values():
        if layout.shape or not _may_fit(layout, present):
            continue
        places = layout.places(names)
        columns = sum(map(len, places.values())) if places else 0
        if places is not None and columns > known:
            found, known = (layout, places), columns
    return found


def by_shape(records: Sequence[Sequence[str]], delimiter: str) -> Layout | None:
    """The headerless layout whose shape the first and nearly all of these records have."""
    filled = [cells for cells in records if any(cell.strip() for cell in cells)][:SHAPE_RECORDS]
    for layout in LAYOUTS.values():
        if not layout.shape or layout.delimiter != delimiter or not filled:
            continue
        fitting = sum(layout.fits(cells) for cells in filled)
        if layout.fits(filled[0]) and fitting >= SHAPE_MIN_SHARE * len(filled):
            return layout
    return None


def mended(names: Sequence[str]) -> list[str]:
    """The names with lost characters (``W?hrung``) set to the one known header they can be."""
    return [_mended(name) if "\ufffd" in name else name for name in names]


def _mended(name: str) -> str:
    pattern = re.compile(
        "".join(_ANY_LETTERS if one == "\ufffd" else re.escape(one) for one in name)
    )
    fitting = {known for known in _KNOWN_NAMES if pattern.fullmatch(known)}
    return fitting.pop() if len(fitting) == 1 else name


def _place(part: Part, names: Sequence[str]) -> int | None:
    return next((names.index(name) for name in part if name in names), None)


def _may_fit(layout: Layout, present: set[str]) -> bool:
    return all(any(name in present for name in part) for part in _parts(layout.required))


def _parts(columns: Mapping[str, Column]) -> Iterator[Part]:
    for column in columns.values():
        yield from column


def _columns(printed: str) -> Column:
    return tuple(
        tuple(normal(name) for name in part.split("|")) for part in printed.lstrip("?").split(" + ")
    )


def _layout(
    title: str,
    reading: Reading,
    *,
    is_exact: bool = False,
    ignored: str = "",
    **columns: str,
) -> Layout:
    required = {key: _columns(one) for key, one in columns.items() if not one.startswith("?")}
    optional = {key: _columns(one) for key, one in columns.items() if one.startswith("?")}
    names = {name for part in (*_parts(required), *_parts(optional)) for name in part}
    names |= {normal(name) for name in ignored.split("|")}
    return Layout(title, required, optional, reading, is_exact, _names=frozenset(names))


def _shape(
    title: str, reading: Reading, cells: str, delimiter: str = ";", **columns: str
) -> Layout:
    """A headerless layout: the kinds of its cells, and fields by the number of their cell."""
    shape = tuple(re.compile(_KINDS[kind], re.IGNORECASE) for kind in cells.split())
    required = {key: tuple((number,) for number in one.split()) for key, one in columns.items()}
    return Layout(title, required, {}, reading, shape=shape, delimiter=delimiter)


_AMOUNT = r"[+-]?[\d.,' ]*\d"
_KINDS = {
    "date": r"\d{1,2}\.\d{1,2}\.\d{4}",
    "ymd": r"20\d{6}",
    "named": r"\d{1,2} [a-z]{3} (?:\d{4}|\d{2})",
    "stamp": r"\d{1,2}\.\d{1,2}\.\d{4} [\d:]+",
    "text": r".*[^\W\d_].*",
    "word": r"[A-Z]{2,4}-?",
    "any": r"(?s:.*)",
    "iso": r"\d{4}-\d\d-\d\d",
    "number": r"\d",
    "signed": r"[+-]?[\d.]*\d(?:,\d{1,2})?",
    "exact": r"-?\d+\.\d{6}",
    "positive": r"[\d.]*\d,\d\d",
    "positive?": r"(?:[\d.]*\d,\d\d)?",
    "point?": r"(?:[\d,]*\d\.\d\d)?",
    "loss?": r"(?:-[\d.]*\d[.,]\d\d)?",
    "gain?": r"(?:[\d.]*\d[.,]\d\d)?",
    "flag": r"[OI]",
    "currency": r"[A-Z]{3}",
    "none": r"",
    "iban": r"'?[A-Z]{2}\d{2}[A-Z0-9]{11,30}'?",
    "account": r"\d{6,10}",
}

_DE = Reading(decimal=",", day_first=True)
_DE_EUR = Reading(decimal=",", day_first=True, currency="EUR")
_EN = Reading(decimal=".", day_first=True)
_POINT = Reading(decimal=".")
_CH = Reading(decimal=".", day_first=True, currency="CHF")

_GERMAN = [
    _layout(
        "Sparkasse CSV-CAMT (V2, V8)",
        _DE,
        account_iban="Auftragskonto",
        booking_date="Buchungstag",
        value_date="Valutadatum",
        transaction_code="Buchungstext",
        remittance_information="Verwendungszweck",
        mandate_id="?Mandatsreferenz",
        end_to_end_id="Kundenreferenz (End-to-End)",
        counterparty_name="Beguenstigter/Zahlungspflichtiger",
        counterparty_iban="Kontonummer/IBAN",
        counterparty_bic="BIC (SWIFT-Code)",
        amount="Betrag",
        currency="Waehrung",
        status="?Info",
    ),
    _layout(
        "Sparkasse CSV-MT940",
        _DE,
        account_iban="Auftragskonto",
        booking_date="Buchungstag",
        value_date="Valutadatum",
        transaction_code="Buchungstext",
        remittance_information="Verwendungszweck",
        counterparty_name="Beguenstigter/Zahlungspflichtiger",
        counterparty_iban="Kontonummer",
        counterparty_bic="BLZ",
        amount="Betrag",
        currency="Waehrung",
        status="?Info",
    ),
    _layout(
        "Sparkasse credit card",
        _DE,
        account_iban="Umsatz getätigt von",
        value_date="Belegdatum",
        booking_date="Buchungsdatum",
        amount="Buchungsbetrag",
        currency="Buchungswährung",
        remittance_information="Transaktionsbeschreibung + Transaktionsbeschreibung Zusatz",
        bank_reference="?Buchungsreferenz",
        foreign_amount="?Originalbetrag",
        foreign_currency="?Originalwährung",
        exchange_rate="?Umrechnungskurs",
    ),
    _layout(
        "Volksbanken, GLS, Sparda, PSD",
        Reading(decimal=",", day_first=True, packed="colons"),
        account_iban="IBAN Auftragskonto",
        booking_date="Buchungstag",
        value_date="Valutadatum",
        transaction_code="Buchungstext",
        remittance_information="Verwendungszweck",
        counterparty_name="Name Zahlungsbeteiligter",
        counterparty_iban="IBAN Zahlungsbeteiligter",
        counterparty_bic="BIC (SWIFT-Code) Zahlungsbeteiligter",
        amount="Betrag",
        currency="Waehrung",
        mandate_id="?Mandatsreferenz",
    ),
    _layout(
        "Volksbanken, GLS, Sparda until 2021",
        Reading(decimal=",", day_first=True, packed="lines"),
        booking_date="Buchungstag",
        value_date="Valuta",
        counterparty_name="Empfänger/Zahlungspflichtiger",
        counterparty_iban="?IBAN",
        counterparty_bic="?BIC",
        remittance_information="Vorgang/Verwendungszweck",
        end_to_end_id="?Kundenreferenz",
        amount="Umsatz",
        currency="Währung",
        debit_or_credit="|Soll/Haben|S/H",
    ),
    _layout(
        "Volksbanken with posting keys",
        Reading(decimal=",", day_first=True, packed="lines"),
        booking_date="Buchungstag",
        value_date="Valuta",
        transaction_code="Textschlüssel",
        counterparty_name="Zahlungsempfänger",
        counterparty_iban="ZahlungsempfängerIBAN",
        counterparty_bic="?ZahlungsempfängerBIC",
        remittance_information="Vorgang/Verwendungszweck",
        end_to_end_id="?Kundenreferenz",
        amount="Umsatz",
        currency="Währung",
        debit_or_credit="Soll/Haben|S/H|",
    ),
    _layout(
        "Volksbanken for accounting",
        Reading(decimal=",", day_first=True, packed="colons"),
        booking_date="Buchungstag",
        value_date="Valuta",
        counterparty_name="Empfänger/Zahlungspflichtiger",
        remittance_information="Vorgang/Verwendungszweck",
        amount="Betrag",
        bank_reference="?Zusatzinfo (optional)",
    ),
    _layout(
        "GLS until 2015",
        _DE,
        account_iban="Kontonummer",
        booking_date="Buchungstag",
        value_date="Wertstellung",
        counterparty_name="Auftraggeber/Empfänger",
        transaction_code="Buchungstext",
        remittance_information=" + ".join(f"VWZ{number}" for number in range(1, 15)),
        amount="Betrag",
        currency="Währung",
    ),
    _layout(
        "BBBank",
        Reading(decimal=",", day_first=True, packed="colons"),
        booking_date="Buchungstag",
        value_date="Valuta|Wertstellung",
        counterparty_name="Auftraggeber/Empfänger|Empfänger/Auftraggeber|Name",
        remittance_information="Verwendungszweck",
        counterparty_iban="?IBAN|Kontonummer",
        counterparty_bic="?BIC|BLZ",
        transaction_code="?Buchungstext|Umsatzart",
        amount="Betrag|Umsatz",
        currency="?Währung",
        debit_or_credit="S/H|Soll/Haben|Soll-/Haben-Kennzeichen",
    ),
    _layout(
        "DKB",
        _DE_EUR,
        booking_date="Buchungsdatum",
        value_date="Wertstellung",
        status="Status",
        payer="Zahlungspflichtige*r",
        payee="Zahlungsempfänger*in",
        remittance_information="Verwendungszweck",
        transaction_code="?Umsatztyp",
        counterparty_iban="?IBAN",
        amount="Betrag (€)|Betrag",
        mandate_id="?Mandatsreferenz",
        end_to_end_id="?Kundenreferenz",
    ),
    _layout(
        "DKB until 2023",
        _DE_EUR,
        booking_date="Buchungstag",
        value_date="Wertstellung",
        transaction_code="?Buchungstext",
        counterparty_name="Auftraggeber / Begünstigter",
        remittance_information="Verwendungszweck",
        counterparty_iban="?Kontonummer",
        counterparty_bic="?BLZ",
        amount="Betrag (EUR)",
        mandate_id="?Mandatsreferenz",
        end_to_end_id="?Kundenreferenz",
    ),
    _layout(
        "DKB credit card",
        _DE_EUR,
        value_date="Belegdatum",
        booking_date="Wertstellung",
        status="Status",
        remittance_information="Beschreibung",
        transaction_code="Umsatztyp",
        amount="Betrag (€)|Betrag",
        foreign_amount="?Fremdwährungsbetrag",
    ),
    _layout(
        "DKB credit card until 2023",
        _DE_EUR,
        booking_date="Wertstellung",
        value_date="Belegdatum",
        remittance_information="Beschreibung",
        amount="Betrag (EUR)",
        foreign_amount="?Ursprünglicher Betrag",
    ),
    _layout(
        "ING",
        _DE,
        booking_date="Buchung",
        value_date="Valuta|Wertstellungsdatum",
        counterparty_name="Auftraggeber/Empfänger",
        transaction_code="Buchungstext",
        remittance_information="Verwendungszweck",
        end_to_end_id="?Kundenreferenz|Referenz",
        mandate_id="?Mandatsreferenz",
        amount="Betrag",
        currency="Währung",
    ),
    _layout(
        "Commerzbank",
        Reading(decimal=",", day_first=True, packed="commerzbank"),
        account_iban="IBAN Auftraggeberkonto|IBAN Kontoinhaber",
        booking_date="Buchungstag",
        value_date="Wertstellung",
        transaction_code="Umsatzart",
        remittance_information="Buchungstext",
        amount="Betrag",
        currency="Währung",
    ),
    _layout(
        "Commerzbank until 2014",
        Reading(decimal=",", day_first=True, packed="commerzbank"),
        account_iban="?Auftraggeberkonto",
        booking_date="Buchungstag",
        value_date="Wertstellung",
        transaction_code="Umsatzart",
        remittance_information="Buchungstext",
        amount="Betrag",
        currency="Währung",
    ),
    _layout(
        "Deutsche Bank, Postbank, norisbank, FYRST",
        _DE,
        booking_date="Buchungstag",
        value_date="Wert",
        transaction_code="Umsatzart",
        counterparty_name="Begünstigter / Auftraggeber",
        remittance_information="Verwendungszweck",
        counterparty_iban="?IBAN|IBAN / Kontonummer",
        counterparty_bic="?BIC",
        end_to_end_id="?Kundenreferenz",
        mandate_id="?Mandatsreferenz",
        amount="?Betrag",
        debit="Soll",
        credit="Haben",
        currency="Währung",
    ),
    _layout(
        "Deutsche Bank until 2013",
        _DE,
        booking_date="Buchungstag",
        value_date="Wert",
        remittance_information="Verwendungszweck",
        debit="Soll",
        credit="Haben",
        currency="Währung",
    ),
    _layout(
        "Deutsche Bank, all accounts",
        _DE_EUR,
        booking_date="Datum",
        counterparty_name="Auftraggeber / Empfänger",
        remittance_information="Verwendungszweck",
        counterparty_iban="IBAN / Kontonummer",
        amount="Betrag",
        account_iban="?Produkt",
    ),
    _layout(
        "Deutsche Bank credit card",
        _DE,
        value_date="Belegdatum",
        booking_date="Eingangstag",
        remittance_information="Verwendungszweck|Text/Verwendungszweck",
        amount="Betrag",
        currency="Währung",
        foreign_amount="?Fremdbetrag",
        foreign_currency="?Fremdwährung",
        exchange_rate="?Kurs",
    ),
    _layout(
        "Postbank until 2023",
        _DE_EUR,
        booking_date="Buchungstag|Buchungsdatum",
        value_date="Wertstellung",
        transaction_code="Umsatzart",
        remittance_information="Buchungsdetails",
        payer="Auftraggeber",
        payee="Empfänger",
        amount="Betrag (€)|Betrag",
    ),
    _layout(
        "comdirect",
        Reading(decimal=",", day_first=True, currency="EUR", packed="comdirect"),
        booking_date="Buchungstag",
        value_date="Wertstellung (Valuta)",
        transaction_code="Vorgang",
        remittance_information="Buchungstext",
        amount="Umsatz in EUR|Umsatz in {0}",
    ),
    _layout(
        "comdirect credit card",
        _DE_EUR,
        booking_date="Buchungstag",
        value_date="Umsatztag",
        transaction_code="Vorgang",
        bank_reference="Referenz",
        remittance_information="Buchungstext",
        amount="Umsatz in EUR|Umsatz in {0}",
    ),
    _layout(
        "HypoVereinsbank",
        _DE,
        account_iban="Kontonummer",
        booking_date="Buchungsdatum",
        value_date="Valuta",
        counterparty_name="?Empfaenger 1 + Empfaenger 2",
        remittance_information="Verwendungszweck",
        amount="Betrag",
        currency="Waehrung",
    ),
    _layout(
        "norisbank until 2023",
        _DE,
        booking_date="Buchungstag",
        value_date="Wert",
        counterparty_name="Begünstigter / Auftraggeber|Name",
        remittance_information="Verwendungszweck",
        amount="Betrag",
        currency="Währung",
    ),
    _layout(
        "Consorsbank",
        _DE_EUR,
        booking_date="Buchung",
        value_date="Valuta",
        counterparty_name="Sender / Empfänger",
        counterparty_iban="IBAN / Konto-Nr.|IBAN",
        counterparty_bic="?BIC / BLZ|BIC",
        transaction_code="?Buchungstext",
        remittance_information="Verwendungszweck",
        amount="Betrag in EUR|Betrag",
        currency="?Währung",
    ),
    _layout(
        "DAB",
        _DE_EUR,
        booking_date="Buchungstag",
        value_date="Valuta",
        transaction_code="Buchungstext",
        counterparty_name="Auftraggeber / Empfänger",
        remittance_information="Verwendungszweck",
        amount="Betrag in EUR",
    ),
    _layout(
        "1822direkt",
        _DE_EUR,
        account_iban="Kontonummer",
        booking_date="Buchungstag",
        value_date="Wertstellung",
        amount="Soll/Haben|Betrag",
        transaction_code="Buchungsart",
        counterparty_name="Empfänger/Auftraggeber Name",
        counterparty_iban="Empfänger/Auftraggeber IBAN",
        counterparty_bic="?Empfänger/Auftraggeber BIC",
        mandate_id="?Mandatsreferenz",
        end_to_end_id="?End-to-End-Identifikation",
        remittance_information="?" + " + ".join(f"Vwz.{number}" for number in range(18)),
    ),
    _layout(
        "Santander",
        _DE,
        booking_date="Buchungsdatum|Buchungstag",
        value_date="Wertstellung|Valuta",
        counterparty_name="Auftraggeber/Begünstigter|Empfänger/Auftraggeber",
        remittance_information="Verwendungszweck|Buchungstext",
        amount="Betrag",
        currency="?Währung",
        counterparty_iban="?IBAN",
    ),
    _layout(
        "Volkswagen Bank",
        _DE_EUR,
        booking_date="Buchungsdatum",
        value_date="Wertstellung|Valutadatum",
        transaction_code="Umsatzart|Buchungsart",
        counterparty_name="?Auftraggeber/Empfänger",
        remittance_information="Verwendungszweck",
        amount="Betrag|Umsatz",
        currency="?Währung",
    ),
    _layout(
        "Fidor",
        _DE_EUR,
        booking_date="Datum",
        remittance_information="Beschreibung + Beschreibung2",
        amount="Wert",
    ),
    _layout(
        "Hibiscus",
        _DE_EUR,
        account_iban="Konto|Kontonummer",
        booking_date="Datum",
        value_date="Valuta",
        counterparty_name="Gegenkonto Inhaber",
        counterparty_iban="Gegenkonto",
        counterparty_bic="?Gegenkonto BLZ",
        remittance_information="Verwendungszweck",
        amount="Betrag",
        end_to_end_id="?End-to-End ID",
        transaction_code="?Art",
    ),
    _shape(
        "Barclays Germany, credit card",
        Reading(decimal=".", currency="EUR"),
        "iso number text any any exact none none",
        booking_date="1",
        remittance_information="3",
        counterparty_name="4",
        amount="6",
    ),
    _shape(
        "Targobank",
        Reading(day_first=True, currency="EUR", packed="blanks"),
        "date text loss? gain? any any iban",
        booking_date="1",
        remittance_information="2",
        debit="3",
        credit="4",
        account_iban="7",
    ),
]

_NEOBANKS = [
    _layout(
        "N26",
        Reading(decimal=".", currency="EUR"),
        booking_date="Booking Date|Buchungsdatum",
        value_date="?Value Date|Wertstellungsdatum|Valutadatum",
        counterparty_name="Partner Name|Name Zahlungspartner",
        counterparty_iban="Partner Iban|IBAN Zahlungspartner",
        transaction_code="?Type|Typ",
        remittance_information="Payment Reference|Verwendungszweck",
        amount="Amount (EUR)|Betrag (EUR)",
        foreign_amount="?Original Amount",
        foreign_currency="?Original Currency",
        exchange_rate="?Exchange Rate",
    ),
    *(
        _layout(
            f"N26 until 2024, {language}",
            Reading(decimal=".", currency="EUR"),
            booking_date=headers[0],
            counterparty_name=headers[1],
            counterparty_iban=headers[2],
            transaction_code="?" + headers[3],
            remittance_information=headers[4],
            amount=headers[5],
            foreign_amount="?" + headers[6],
            foreign_currency="?" + headers[7],
            exchange_rate="?" + headers[8],
        )
        for language, headers in {
            "English": (
                "Date",
                "Payee",
                "Account number",
                "Transaction type",
                "Payment reference",
                "Amount (EUR)",
                "Amount (Foreign Currency)",
                "Type Foreign Currency",
                "Exchange Rate",
            ),
            "German": (
                "Datum",
                "Empfänger",
                "Kontonummer",
                "Transaktionstyp",
                "Verwendungszweck",
                "Betrag (EUR)",
                "Betrag (Fremdwährung)",
                "Fremdwährung",
                "Wechselkurs",
            ),
            "French": (
                "Date",
                "Bénéficiaire",
                "Numéro de compte",
                "Type de transaction",
                "Référence de paiement",
                "Montant (EUR)",
                "Montant (Devise étrangère)",
                "Sélectionnez la devise étrangère|Type de devise étrangère",
                "Taux de conversion|Taux de change",
            ),
            "Spanish": (
                "Fecha",
                "Beneficiario",
                "Número de cuenta",
                "Tipo de transacción",
                "Referencia de pago",
                "Cantidad (EUR)|Importe (EUR)",
                "Cantidad (Divisa extranjera)",
                "Tipo de divisa extranjera",
                "Tipo de cambio",
            ),
            "Italian": (
                "Data",
                "Beneficiario",
                "Numero di conto",
                "Tipo di transazione",
                "Riferimento di pagamento|Riferimento pagamento|Causale",
                "Importo (EUR)",
                "Importo (Valuta estera)",
                "Tipo di valuta estera",
                "Tasso di cambio",
            ),
        }.items()
    ),
    *(
        _layout(
            f"Revolut, {language}",
            Reading(decimal=".", fee_is_deducted=True),
            transaction_code="?" + headers[0],
            account_iban="?" + headers[1],
            value_date=headers[2],
            booking_date=headers[3],
            remittance_information=headers[4],
            amount=headers[5],
            fee="?" + headers[6],
            currency=headers[7],
            status=headers[8],
        )
        for language, headers in {
            "English": (
                "Type",
                "Product",
                "Started Date",
                "Completed Date",
                "Description",
                "Amount",
                "Fee",
                "Currency",
                "State",
            ),
            "German": (
                "Art|Typ",
                "Produkt",
                "Datum des Beginns|Startdatum",
                "Datum des Abschlusses|Abschlussdatum|Abgeschlossen am",
                "Beschreibung",
                "Betrag",
                "Gebühr",
                "Währung",
                "State|Status",
            ),
        }.items()
    ),
    _layout(
        "Revolut Business",
        Reading(decimal=".", fee_is_deducted=True),
        value_date="?Date started (UTC)",
        booking_date="Date completed (UTC)",
        bank_reference="ID",
        transaction_code="?Type",
        status="?State",
        remittance_information="?Description + Reference",
        counterparty_name="?Payer",
        counterparty_iban="?Beneficiary IBAN",
        counterparty_bic="?Beneficiary BIC",
        amount="Amount",
        fee="?Fee",
        currency="?Payment currency|Currency",
        foreign_amount="?Orig amount",
        foreign_currency="?Orig currency",
        exchange_rate="?Exchange rate",
        account_iban="?Account",
    ),
    _layout(
        "Wise",
        Reading(decimal=".", day_first=True),
        bank_reference="TransferWise ID",
        booking_date="Date",
        amount="Amount",
        currency="Currency",
        remittance_information="Payment Reference + Description",
        payer="Payer Name",
        payee="Payee Name",
        charges="?Total fees",
        transaction_code="?Transaction Details Type",
    ),
    _layout(
        "Qonto",
        Reading(decimal=".", day_first=True, currency="EUR"),
        booking_date="Settlement date (UTC)|Settlement date (local)|Settlement date",
        value_date="?Value date (UTC)|Value date|Operation date (UTC)|Emitted date",
        counterparty_name="Counterparty name",
        counterparty_iban="?Counterparty IBAN|IBAN",
        amount="Total amount (incl. VAT)|Total amount (incl VAT)|Amount",
        currency="?Currency",
        remittance_information="?Reference",
        transaction_code="?Payment method",
        bank_reference="?Transaction ID",
        status="?Status",
    ),
    _layout(
        "Finom",
        Reading(decimal=".", day_first=True),
        booking_date="Buchungsdatum",
        status="?Status",
        transaction_code="Transaktionsart",
        counterparty_name="Auftraggeber/Empfänger",
        counterparty_iban="Counterparty IBAN",
        counterparty_bic="?Counterparty BIC",
        remittance_information="Verwendungszweck",
        amount="Zahlungsbetrag",
        currency="Zahlungswährung",
        account_iban="?Wallet-IBAN",
        bank_reference="?Transaktions-ID",
        foreign_amount="?Ursprungsbetrag",
        foreign_currency="?Ursprungswährung",
    ),
    _layout(
        "Vivid",
        Reading(decimal=".", day_first=True),
        booking_date="Completed date",
        counterparty_name="Counterparty name",
        remittance_information="Reference",
        amount="Payment amount",
        currency="Payment currency",
    ),
    _layout(
        "Kontist",
        _DE_EUR,
        booking_date="Buchungsdatum",
        counterparty_name="Empfänger|Name",
        counterparty_iban="?IBAN|Empfänger IBAN",
        remittance_information="Verwendungszweck",
        amount="Betrag",
        transaction_code="Transaktionstyp|Buchungstyp",
        value_date="?Wertstellung|Valutadatum",
    ),
    _layout(
        "Holvi",
        Reading(day_first=True, currency="EUR"),
        booking_date="Buchungsdatum|Datum|Booking date|Date|Valutadatum|Value date",
        counterparty_name="Gegenpartei|Empfänger/Absender|Counterparty",
        amount="Betrag|Amount",
        currency="?Währung|Currency",
        creditor_reference="?Referenz|Reference",
        remittance_information="Nachricht|Mitteilung|Bezeichnung|Beschreibung|Message",
        bank_reference="?Archivierungskennung|Filing ID",
    ),
    _layout(
        "bunq",
        Reading(decimal=",", day_first=True, currency="EUR"),
        booking_date="Datum|Date",
        value_date="?Interest Date|Rentedatum",
        amount="Bedrag|Amount",
        account_iban="Rekening|Account",
        counterparty_iban="Tegenrekening|Counterparty",
        counterparty_name="Naam|Name",
        remittance_information="Omschrijving|Description",
    ),
    _layout(
        "Monzo until 2019",
        _POINT,
        bank_reference="id",
        booking_date="created",
        amount="amount",
        currency="currency",
        foreign_amount="local_amount",
        foreign_currency="local_currency",
        remittance_information="description + notes",
    ),
    _layout(
        "Monzo",
        _EN,
        bank_reference="Transaction ID",
        booking_date="Date",
        transaction_code="Type",
        counterparty_name="Name",
        amount="Amount",
        currency="Currency",
        foreign_amount="?Local amount",
        foreign_currency="?Local currency",
        remittance_information="?Notes and #tags|Notes & #tags + Description",
        status="?State",
    ),
    _layout(
        "Starling",
        _EN,
        booking_date="Date",
        counterparty_name="Counter Party",
        remittance_information="Reference",
        transaction_code="Type",
        amount="Amount (GBP)|Amount (EUR)",
    ),
]

_PROVIDERS = [
    _layout(
        "PayPal activity",
        Reading(account="PayPal"),
        booking_date="Datum|Date",
        transaction_code="Typ|Type|Beschreibung|Description",
        counterparty_name="Name",
        status="?Status",
        currency="Währung|Currency",
        amount="Brutto|Gross",
        fee="Gebühr|Fee|Entgelt",
        net="Netto|Net",
        bank_reference="Transaktionscode|Transaction ID",
        remittance_information=(
            "?Rechnungsnummer|Invoice Number|Invoice ID"
            " + Individuelle Nummer|Zollnummer|Custom Number"
            " + Artikelbezeichnung|Item Title"
            " + Betreff|Subject"
            " + Hinweis|Note"
            " + Absender E-Mail-Adresse|From Email Address"
            " + Zugehöriger Transaktionscode|Reference Txn ID"
        ),
        balance_effect="?Auswirkung auf Guthaben|Balance Impact",
    ),
    _layout(
        "Stripe balance report",
        Reading(decimal=".", account="Stripe"),
        bank_reference="balance_transaction_id",
        booking_date="created_utc|created",
        value_date="?available_on_utc|available_on",
        currency="currency",
        amount="gross",
        fee="fee",
        net="net",
        transaction_code="reporting_category",
        counterparty_name="?customer_name",
        remittance_information=(
            "?description + payment_metadata[order_id]|payment_metadata[OrderNumber]"
            " + invoice_number + customer_email + source_id|charge_id"
        ),
    ),
    _layout(
        "Stripe balance history",
        Reading(decimal=".", account="Stripe"),
        bank_reference="id",
        transaction_code="Type",
        amount="Amount",
        fee="Fee|Fees",
        net="Net",
        currency="Currency",
        booking_date="Created (UTC)|Created",
        value_date="?Available On (UTC)|Available On",
        remittance_information="?Description + order_id (metadata) + Source",
    ),
    _layout(
        "Klarna settlement",
        Reading(decimal=".", account="Klarna"),
        transaction_code="type",
        booking_date="capture_date",
        value_date="?sale_date",
        amount="amount",
        currency="posting_currency|currency_code|currency",
        bank_reference="order_id",
        remittance_information=(
            "?merchant_reference1|merchant_reference_1"
            " + merchant_reference2|merchant_reference_2 + short_order_id + detailed_type"
        ),
    ),
]

_AUSTRIAN = [
    _layout(
        "Erste Bank, Sparkassen (George)",
        _DE,
        booking_date="Buchungsdatum",
        value_date="?Valutadatum|Durchführungsdatum",
        account_iban="?Eigene IBAN|Auftragskonto",
        counterparty_name="Partnername|Partner Name",
        counterparty_iban="Partner IBAN|Partner Konto IBAN",
        counterparty_bic="?Partner BIC|BIC/SWIFT|BIC/SWIFT-Code",
        amount="Betrag",
        currency="?Währung",
        remittance_information="?Buchungs-Details|Buchungs-Info|Notiz|Verwendungszweck",
        creditor_reference="?Zahlungsreferenz",
        end_to_end_id="?Auftraggeber-Referenz",
        bank_reference="?Buchungsreferenz",
    ),
    _layout(
        "Bank Austria",
        _DE,
        booking_date="Buchungsdatum",
        value_date="Valutadatum",
        remittance_information="Buchungstext + Zahlungsgrund|Zahlungsreferenz",
        currency="Währung",
        amount="Betrag",
        bank_reference="?Belegnummer",
        payer="Auftraggebername",
        payee="Empfängername",
    ),
    _layout(
        "Hypo Vorarlberg",
        _DE,
        account_iban="IBAN",
        booking_date="Buchungsdatum",
        value_date="?Valutadatum",
        creditor_reference="?Zahlungsreferenz",
        currency="Waehrung",
        amount="Betrag",
        transaction_code="Buchungstext",
        remittance_information="?Umsatztext + Verwendungszweck",
        counterparty_name="?Name des Partners",
        counterparty_iban="?Kontoverbindung des Partners",
        counterparty_bic="?Partner BIC",
        end_to_end_id="?Auftraggeberreferenz",
    ),
    _shape(
        "Raiffeisen (ELBA)",
        Reading(decimal=",", day_first=True),
        "date text date signed currency stamp",
        booking_date="1",
        remittance_information="2",
        value_date="3",
        amount="4",
        currency="5",
    ),
    _shape(
        "Raiffeisen (ELBA), short",
        Reading(decimal=",", day_first=True),
        "date text date signed currency",
        booking_date="1",
        remittance_information="2",
        value_date="3",
        amount="4",
        currency="5",
    ),
    _shape(
        "Raiffeisen (ELBA), tabs",
        Reading(decimal=",", day_first=True),
        "date text date positive? positive?",
        "\t",
        booking_date="1",
        remittance_information="2",
        value_date="3",
        credit="4",
        debit="5",
    ),
    _shape(
        "Raiffeisen (ELBA), two amounts",
        Reading(decimal=",", day_first=True),
        "date text date positive? positive?",
        booking_date="1",
        remittance_information="2",
        value_date="3",
        credit="4",
        debit="5",
    ),
    _shape(
        "Raiffeisen (ELBA), in and out",
        Reading(decimal=",", day_first=True),
        "date text date positive flag",
        booking_date="1",
        remittance_information="2",
        value_date="3",
        amount="4",
        debit_or_credit="5",
    ),
    _shape(
        "BAWAG, easybank",
        Reading(decimal=",", day_first=True),
        "iban text date date signed currency",
        account_iban="1",
        remittance_information="2",
        booking_date="3",
        value_date="4",
        amount="5",
        currency="6",
    ),
]

_SWISS = [
    _layout(
        "PostFinance",
        _CH,
        booking_date="Datum|Date|Data|Buchungsdatum",
        transaction_code=("?Bewegungstyp|Type of transaction|Type de mouvement|Tipo di movimento"),
        remittance_information=(
            "Avisierungstext|Notification text|Texte de notification|Testo di avviso"
        ),
        credit="Gutschrift in CHF|Credit in CHF|Crédit en CHF|Accredito in CHF|Gutschrift",
        debit="Lastschrift in CHF|Debit in CHF|Débit en CHF|Addebito in CHF|Lastschrift",
        value_date="?Valuta|Value|Valeur",
    ),
    _layout(
        "PostFinance credit card",
        _CH,
        booking_date="Buchungsdatum",
        value_date="Einkaufsdatum",
        remittance_information="Buchungsdetails",
        credit="Gutschrift in CHF",
        debit="Lastschrift in CHF",
    ),
    _layout(
        "UBS",
        Reading(decimal=".", day_first=True, undated_is_pending=True),
        booking_date="Buchungsdatum|Booking date",
        value_date="Valutadatum|Value date",
        currency="Währung|Currency",
        debit="Belastung|Debit",
        credit="Gutschrift|Credit",
        detail_amount="?Einzelbetrag|Individual amount",
        bank_reference="Transaktions-Nr.|Transaction no.",
        counterparty_name="Beschreibung1|Description1",
        remittance_information="Beschreibung2|Description2 + Beschreibung3|Description3",
    ),
    _layout(
        "UBS 2022",
        Reading(decimal=".", day_first=True, undated_is_pending=True),
        booking_date="Buchungsdatum",
        value_date="Valutadatum",
        currency="Währung",
        amount="Transaktionsbetrag",
        debit_or_credit="Belastung/Gutschrift",
        bank_reference="Transaktions-Nr.",
        counterparty_name="Beschreibung1",
        remittance_information="Beschreibung2 + Beschreibung3",
    ),
    _layout(
        "UBS until 2022",
        _EN,
        account_iban="IBAN",
        currency="Whrg.",
        booking_date="Buchungsdatum",
        value_date="Valuta",
        remittance_information="Beschreibung 1 + Beschreibung 2 + Beschreibung 3",
        bank_reference="Transaktions-Nr.",
        detail_amount="?Einzelbetrag",
        debit="Belastung",
        credit="Gutschrift",
    ),
    _layout(
        "UBS credit card",
        Reading(decimal=".", day_first=True, undated_is_pending=True),
        account_iban="Kontonummer",
        value_date="Einkaufsdatum",
        remittance_information="Buchungstext",
        foreign_amount="?Betrag",
        foreign_currency="?Originalwährung",
        exchange_rate="?Kurs",
        currency="Währung",
        debit="Belastung",
        credit="Gutschrift",
        booking_date="Buchung",
    ),
    _layout(
        "Zürcher Kantonalbank",
        _CH,
        booking_date="Datum",
        remittance_information="Buchungstext + Zahlungszweck",
        currency="?Whg",
        detail_amount="?Betrag Detail",
        bank_reference="ZKB-Referenz",
        creditor_reference="?Referenznummer",
        debit="Belastung CHF",
        credit="Gutschrift CHF",
        value_date="?Valuta",
        counterparty_name="?Details",
    ),
    _layout(
        "Zürcher Kantonalbank, search",
        _EN,
        booking_date="Datum",
        remittance_information="Buchungstext",
        account_iban="Konto",
        currency="Whg",
        debit="Belastung",
        credit="Gutschrift",
    ),
    _layout(
        "Raiffeisen Switzerland",
        _CH,
        account_iban="IBAN",
        booking_date="Booked At",
        remittance_information="Text",
        amount="Credit/Debit Amount",
        value_date="Valuta Date",
    ),
    _layout(
        "Kantonalbanken",
        _CH,
        booking_date="Buchungsdatum|Buchung",
        value_date="?Valutadatum|Valuta",
        transaction_code="?Auftragsart",
        remittance_information="Buchungstext|Text",
        detail_amount="?Betrag Einzelzahlung (CHF)",
        debit="Belastung (CHF)|Belastungsbetrag (CHF)|Belastung",
        credit="Gutschrift (CHF)|Gutschriftsbetrag (CHF)|Gutschrift",
    ),
    _layout(
        "Migros Bank",
        _CH,
        booking_date="Datum",
        remittance_information="Buchungstext + Mitteilung",
        creditor_reference="Referenznummer",
        amount="Betrag",
        value_date="Valuta",
    ),
]

_BENELUX = [
    _layout(
        "Rabobank",
        _DE,
        account_iban="IBAN/BBAN",
        currency="Munt",
        bank_reference="?Transactiereferentie",
        booking_date="Datum",
        value_date="?Rentedatum",
        amount="Bedrag",
        counterparty_iban="Tegenrekening IBAN/BBAN",
        counterparty_name="Naam tegenpartij",
        counterparty_bic="?BIC tegenpartij",
        transaction_code="?Code",
        mandate_id="?Machtigingskenmerk",
        creditor_reference="?Betalingskenmerk",
        remittance_information="Omschrijving-1 + Omschrijving-2 + Omschrijving-3",
        return_reason="?Reden retour",
        foreign_amount="?Oorspr bedrag",
        foreign_currency="?Oorspr munt",
        exchange_rate="?Koers",
    ),
    _layout(
        "ING Netherlands",
        Reading(decimal=",", day_first=True, currency="EUR"),
        booking_date="Datum|Date",
        counterparty_name="Naam / Omschrijving|Name / Description",
        account_iban="Rekening|Account",
        counterparty_iban="Tegenrekening|Counterparty",
        debit_or_credit="Af Bij|Debit/credit",
        amount="Bedrag (EUR)|Amount (EUR)",
        transaction_code="?Code",
        remittance_information="Mededelingen|Notifications",
    ),
    _layout(
        "ING Netherlands savings",
        Reading(decimal=",", day_first=True, currency="EUR"),
        booking_date="Datum",
        account_iban="Rekening",
        counterparty_iban="?Tegenrekening",
        debit_or_credit="Af Bij",
        amount="Bedrag",
        currency="?Valuta",
        remittance_information="Omschrijving + Mededelingen",
    ),
    _layout(
        "ABN AMRO",
        _DE,
        account_iban="accountNumber|Rekeningnummer",
        currency="mutationcode|Muntsoort",
        booking_date="transactionDate|Transactiedatum",
        value_date="?valuedate|Rentedatum",
        amount="amount|Transactiebedrag",
        remittance_information="description|Omschrijving",
    ),
    _shape(
        "ABN AMRO, tabs",
        Reading(decimal=","),
        "account currency ymd signed signed ymd signed text",
        "\t",
        account_iban="1",
        currency="2",
        booking_date="3",
        value_date="6",
        amount="7",
        remittance_information="8",
    ),
    _layout(
        "KBC",
        Reading(decimal=",", day_first=True),
        account_iban="Rekeningnummer|Numéro de compte|Account number",
        currency="Munt|Devise|Currency",
        booking_date="Datum|Date",
        value_date="Valuta|Valeur|Value",
        amount="Bedrag|Montant|Amount",
        counterparty_iban=(
            "rekeningnummer tegenpartij|numéro de compte contrepartie|counterparty account number"
        ),
        counterparty_bic="?BIC tegenpartij|BIC contrepartie|counterparty BIC",
        counterparty_name="Naam tegenpartij|Nom contrepartie|counterparty name",
        creditor_reference=(
            "?gestructureerde mededeling|communication structurée|structured reference"
        ),
        remittance_information=(
            "Omschrijving|Description + Vrije mededeling|Communication libre|free-format reference"
        ),
    ),
    _layout(
        "KBC credit card",
        Reading(decimal=",", day_first=True, currency="EUR"),
        account_iban="kredietkaart",
        value_date="datum verrichting",
        booking_date="Datum verrekening",
        amount="bedrag in EUR",
        foreign_amount="?bedrag",
        foreign_currency="?munt",
        exchange_rate="?koers",
        charges="?Kosten op verrichting",
        counterparty_name="Handelaar",
        remittance_information="?locatie + land + toelichting",
    ),
    _layout(
        "Belfius",
        Reading(decimal=",", day_first=True),
        account_iban="Rekening|Compte",
        booking_date="Boekingsdatum|Date de comptabilisation",
        counterparty_iban="Rekening tegenpartij|Compte contrepartie",
        counterparty_name="Naam tegenpartij bevat|Nom contrepartie contient",
        remittance_information="Transactie|Transaction + Mededelingen|Communications",
        value_date="Valutadatum|Date valeur",
        amount="Bedrag|Montant",
        currency="Devies|Devise",
        counterparty_bic="?BIC",
    ),
    _layout(
        "Keytrade",
        Reading(decimal=",", day_first=True),
        bank_reference="?Uittreksel",
        booking_date="Datum",
        value_date="Valutadatum",
        counterparty_iban="Rekening",
        remittance_information="Omschrijving",
        amount="Bedrag",
        currency="Valuta",
    ),
]

_OTHERS = [
    _layout(
        "Raiffeisenbank Czech Republic",
        _DE,
        value_date="Datum provedení",
        booking_date="Datum zaúčtování",
        account_iban="Číslo účtu",
        counterparty_iban="?Číslo protiúčtu",
        counterparty_name="Název protiúčtu",
        transaction_code="Typ transakce",
        remittance_information="Zpráva + Poznámka + VS",
        amount="Zaúčtovaná částka",
        currency="Měna účtu",
        bank_reference="?Id transakce",
    ),
    _layout(
        "Česká spořitelna",
        Reading(decimal=",", currency="CZK"),
        booking_date="Posting date|Datum zaúčtování",
        value_date="Execution date|Datum provedení",
        amount="Amount CZK|Částka CZK",
        counterparty_name="Counteraccount name|Název protiúčtu",
        counterparty_iban="?Bank account details|Bankovní spojení",
        creditor_reference="?Variable symbol 1|Variabilní symbol 1",
        transaction_code="Item|Položka",
        remittance_information=(
            "Message for payee|Zpráva pro příjemce + Message for me|Zpráva pro mě"
        ),
        bank_reference="?Transaction reference number|Referenční číslo transakce",
        end_to_end_id="?Payment reference|Reference platby",
    ),
    _layout(
        "Erste Bank Hungary",
        Reading(),
        booking_date="Tranzakció dátuma",
        value_date="?Értéknap",
        counterparty_name="Partner neve",
        counterparty_iban="?Partner számlaszáma",
        account_iban="?Számlaszám",
        transaction_code="Tranzakció típusa",
        amount="Tranzakció összege",
        currency="Tranzakció devizaneme",
        debit_or_credit="Bevétel/Kiadás",
        remittance_information="?Közlemény + Részletek",
        bank_reference="?Megbízás azonosító",
    ),
    _layout(
        "Bank of Ireland",
        _EN,
        is_exact=True,
        ignored="Balance",
        booking_date="Date",
        remittance_information="Details",
        debit="Debit",
        credit="Credit",
    ),
    _layout(
        "Lloyds, Halifax, Bank of Scotland",
        Reading(decimal=".", day_first=True, currency="GBP"),
        account_iban="Account Number",
        booking_date="Transaction Date",
        transaction_code="Transaction Type",
        remittance_information="Transaction Description",
        debit="Debit Amount",
        credit="Credit Amount",
    ),
    _layout(
        "first direct",
        _EN,
        is_exact=True,
        ignored="Balance",
        booking_date="Date",
        remittance_information="Description",
        amount="Amount",
    ),
    _layout(
        "John Lewis Partnership Card",
        Reading(decimal=".", day_first=True, currency="GBP", is_inverted=True),
        is_exact=True,
        booking_date="Date Processed",
        remittance_information="Description",
        amount="Amount",
        debit_or_credit="?",
    ),
    _layout(
        "Date, payee and inflow",
        _DE,
        is_exact=True,
        ignored="SomeOtherDate|skip",
        booking_date="Date",
        counterparty_name="Payee",
        amount="Inflow",
        currency="Currency",
    ),
    _layout(
        "OCBC",
        Reading(decimal=".", day_first=True, currency="SGD"),
        booking_date="Transaction date",
        value_date="Value date",
        remittance_information="Description",
        debit="Withdrawals (SGD)|Withdrawals",
        credit="Deposits (SGD)|Deposits",
    ),
    _shape(
        "POSB, DBS",
        Reading(decimal=".", currency="SGD"),
        "named word point? point? any any any any",
        ",",
        booking_date="1",
        transaction_code="2",
        debit="3",
        credit="4",
        remittance_information="5 6 7",
    ),
    _shape(
        "Barclaycard",
        Reading(decimal=".", currency="GBP"),
        "named text text text any point? point?",
        ",",
        booking_date="1",
        remittance_information="2",
        transaction_code="3",
        credit="6",
        debit="7",
    ),
]

LAYOUTS: dict[str, Layout] = {
    one.title: one
    for one in (
        *_GERMAN,
        *_NEOBANKS,
        *_PROVIDERS,
        *_AUSTRIAN,
        *_SWISS,
        *_BENELUX,
        *_OTHERS,
    )
}
_KNOWN_NAMES = frozenset(name for layout in LAYOUTS.values() for name in layout._names)
