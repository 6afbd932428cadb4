"""The table of layouts: each is found by its headers, whatever was done to the file on its way."""

from __future__ import annotations

import io
from datetime import date
from decimal import Decimal

import pytest

from server.banking.formats import (
    Item,
    ParsedPosting,
    Problem,
    StatementFacts,
    UnknownColumns,
    parse,
)
from server.banking.formats.layouts import LAYOUTS, Layout, best, by_shape

WITH_HEADER = [one for one in LAYOUTS.values() if not one.shape]
HEADERLESS = [one for one in LAYOUTS.values() if one.shape]
VALUES = {"booking_date": "2025-11-18", "amount": "12", "credit": "12", "currency": "EUR"}
ENGLISH = {"Date,Details,Debit,Credit,Balance", "Date,Description,Amount,Balance"}


def items(content: str | bytes) -> list[Item]:
    raw = content if isinstance(content, bytes) else content.encode()
    return list(parse(io.BytesIO(raw), "file"))


def postings(content: str | bytes) -> list[ParsedPosting]:
    return [one for one in items(content) if isinstance(one, ParsedPosting)]


def header(layout: Layout) -> dict[str, str]:
    """Header to cell: the first name of each column, and the cells that every layout needs."""
    cells: dict[str, str] = {}
    for key, column in layout.required.items():
        for part in column:
            cells.setdefault(part[0], VALUES.get(key, ""))
    columns = {**layout.optional, **layout.required}
    text = columns.get("remittance_information") or columns["counterparty_name"]
    cells[text[0][0]] = "Bestellung 1"
    return cells


def names(layout: Layout, *, with_optional: bool) -> list[str]:
    columns = [*layout.required.values(), *(layout.optional.values() if with_optional else ())]
    return list(dict.fromkeys(part[0] for column in columns for part in column))


@pytest.mark.parametrize("layout", WITH_HEADER, ids=lambda one: one.title)
def test_no_layout_hides_another(layout: Layout) -> None:
    for with_optional in (False, True):
        found = best(names(layout, with_optional=with_optional))
        assert found is not None
        assert found[0] is layout


@pytest.mark.feature("C2")
@pytest.mark.parametrize("layout", WITH_HEADER, ids=lambda one: one.title)
@pytest.mark.parametrize("delimiter", [";", ",", "\t"])
def test_layouts_are_found_by_their_headers_in_any_order(layout: Layout, delimiter: str) -> None:
    cells = header(layout)
    rows = [["Umsätze", "x"], sorted(cells), [cells[name] for name in sorted(cells)]]
    text = "\n".join(delimiter.join(f'"{cell}"' for cell in row) for row in rows)
    for encoding in ("utf-8", "utf-8-sig", "cp1252", "utf-16"):
        [posting] = postings(text.encode(encoding))
        assert abs(posting.amount) == 12
        assert posting.booking_date == date(2025, 11, 18)
        assert "Bestellung 1" in (posting.remittance_information, posting.counterparty_name)
        assert posting.source == "CSV"


@pytest.mark.parametrize("line", sorted(ENGLISH))
def test_headers_that_anybody_may_choose_fit_exactly_or_not_at_all(line: str) -> None:
    row = ",".join("2025-11-18" if name == "Date" else "5" for name in line.split(","))
    assert len(postings(f"{line}\n{row}\n")) == 1
    with pytest.raises(UnknownColumns, match="Kind"):
        items(f"{line},Kind\n{row},x\n")


GERMAN = (
    "Buchungstag;Wert;Umsatzart;Begünstigter / Auftraggeber;Verwendungszweck;Soll;Haben;Währung"
)
ROW = "18.11.2025;18.11.2025;Gutschrift;Jörg Müller;Bestellung 7;;5,00;EUR"


@pytest.mark.parametrize(
    "damaged",
    [
        f"{GERMAN}\n{ROW}\n".replace("ü", "?").replace("ä", "?").encode(),
        f"{GERMAN}\n{ROW}\n".replace("ü", "\ufffd").replace("ä", "\ufffd").encode(),
        f"{GERMAN}\n{ROW}\n".encode().decode("cp1252").encode(),
        f"{GERMAN}\n{ROW}\n".upper().encode(),
        f"{GERMAN}\n{ROW}\n".replace("ü", "ue").replace("ä", "ae").encode(),
        f"{GERMAN}\n{ROW}\n".encode("mac_roman"),
        f"{GERMAN}\n{ROW}\n".encode("cp850"),
    ],
    ids=["question marks", "replaced", "encoded twice", "upper case", "digraphs", "mac", "dos"],
)
def test_headers_with_damaged_umlauts_are_still_known(damaged: bytes) -> None:
    [posting] = postings(damaged)
    assert (posting.amount, posting.booking_date) == (5, date(2025, 11, 18))


def test_the_encoding_that_the_header_shows_is_that_of_all_lines() -> None:
    header = (
        "Datum zaúčtování;Částka CZK;Název protiúčtu;Datum provedení;Položka;Zpráva pro příjemce"
        ";Zpráva pro mě"
    )
    row = '2025/11/18;"-1.111,10";"Jiří Novák";2025/11/18;Platba;Objednávka 7;'
    [posting] = postings(f"{header}\n{row}\n".encode("cp1250"))
    assert posting.counterparty_name == "Jiří Novák"
    assert (posting.amount, posting.currency) == (Decimal("-1111.10"), "CZK")
    assert posting.booking_date == date(2025, 11, 18)


def test_of_two_currency_columns_the_one_behind_the_amount_counts() -> None:
    top = "Buchung;Valuta;Auftraggeber/Empfänger;Buchungstext;Verwendungszweck;"
    row = "18.11.2025;18.11.2025;Erika Mustermann;Gutschrift;Bestellung 7;"
    for columns, cells in (
        ("Saldo;Währung;Betrag;Währung", "9,00;CHF;5,00;EUR"),
        ("Betrag;Währung;Saldo;Währung", "5,00;EUR;9,00;CHF"),
        ("Betrag;Währung;Referenz", "5,00;EUR;AB 7"),
    ):
        [posting] = postings(f"{top}{columns}\n{row}{cells}\n")
        assert (posting.amount, posting.currency) == (5, "EUR")
    assert posting.end_to_end_id == "AB 7"


@pytest.mark.parametrize(
    ("row", "delimiter", "amount", "currency"),
    [
        ('18.11.2025;"POS 5,00 Laden";17.11.2025;-33,87;EUR', ";", "-33.87", "EUR"),
        ('18.11.2025;"Laden";17.11.2025;-33,87;EUR;;', ";", "-33.87", "EUR"),
        (
            '18.11.2025;"Laden";18.11.2025;1.049,90;EUR;18.11.2025 10:00:00:000',
            ";",
            "1049.90",
            "EUR",
        ),
        ("18.11.2025;Laden;18.11.2025;-300;EUR;18.11.2025 10:00:00:000", ";", "-300", "EUR"),
        ("2025-11-18;1;LADEN BERLIN DE;Laden;;-64.140000;;", ";", "-64.140000", "EUR"),
        ("18.11.2025;Laden;17.11.2025;;33,87", ";", "-33.87", None),
        ("18.11.2025\tLaden\t17.11.2025\t33,87\t", "\t", "33.87", None),
        ("18.11.2025;Laden;17.11.2025;33,87;O", ";", "-33.87", None),
        ("18.11.2025;Laden;17.11.2025;33,87;I", ";", "33.87", None),
        ("AT611904300234573201;Laden;18.11.2025;18.11.2025;-33,87;EUR", ";", "-33.87", "EUR"),
        ("18.11.2025;Entgelt   Oktober;-5.00;;;;'DE02120300000000202051'", ";", "-5.00", "EUR"),
        ("18 Nov 2025,UMC-,7.80,,LADEN,,,", ",", "-7.80", "SGD"),
        ('18 Nov 25,"Laden ",Visa,MS MUSTER,Household,,20.59', ",", "-20.59", "GBP"),
        (
            "202051\tEUR\t20251118\t10,00\t-2,00\t20251118\t-12,00\tLaden",
            "\t",
            "-12.00",
            "EUR",
        ),
    ],
)
def test_files_without_header_are_known_by_the_shape_of_all_records(
    row: str, delimiter: str, amount: str, currency: str | None
) -> None:
    found = postings(f"{row}\n" * 5)
    assert [(one.amount, one.currency) for one in found] == [(Decimal(amount), currency)] * 5
    assert found[0].booking_date == date(2025, 11, 18)
    cells = [row.replace('"', "").split(delimiter)]
    assert by_shape(cells, delimiter) is not None


@pytest.mark.parametrize(
    "row",
    [
        "18.11.2025;Laden;-33,87;EUR",
        "18.11.2025;Laden;17.11.2025;33,87;EUR x",
        "18.11.2025;Laden;17.11.2025;-33.87;USD;x",
        "18.11.2025;Entgelt;-5,00;;;;202051",
    ],
)
def test_a_record_that_could_mean_several_things_is_asked_for(row: str) -> None:
    with pytest.raises(UnknownColumns, match=r"18\.11\.2025"):
        items(f"{row}\n" * 5)


def test_a_headerless_file_with_few_other_lines_keeps_them_apart() -> None:
    rows = ["18.11.2025;Laden;17.11.2025;-33,87;EUR"] * 8 + ["nur ein Hinweis;;;;"]
    found = items("\n".join(rows))
    assert len([one for one in found if isinstance(one, ParsedPosting)]) == 8
    assert not [one for one in found if isinstance(one, Problem)]


@pytest.mark.parametrize("layout", HEADERLESS, ids=lambda one: one.title)
def test_shapes_hold_a_date_and_an_amount(layout: Layout) -> None:
    assert "booking_date" in layout.required
    assert {"amount", "debit"} & set(layout.required)


def test_a_credit_card_prints_what_was_spent_positive() -> None:
    text = (
        "Date Processed,Description,Amount,\n"
        'Pending,LADEN,£67.40,\n12-Dec-2019,LADEN,"£1,183.23",\n'
        '02-Dec-2019,PAYMENT RECEIVED,"+ £1,100.00",CR\n'
    )
    pending, spent, paid = postings(text)
    assert [one.amount for one in (pending, spent, paid)] == [
        Decimal("-67.40"),
        Decimal("-1183.23"),
        Decimal("1100.00"),
    ]
    assert (pending.is_pending, pending.booking_date, spent.is_pending) == (True, None, False)
    assert {one.currency for one in (pending, spent, paid)} == {"GBP"}


def test_the_own_account_is_named_even_where_it_is_no_iban() -> None:
    top = '"Kreditkarte:";"4111********1111";\n\n'
    head = '"Wertstellung";"Belegdatum";"Beschreibung";"Betrag (EUR)";"Ursprünglicher Betrag";\n'
    [posting] = postings(top + head + '"18.11.2025";"17.11.2025";"Laden";"-5,15";"-5,95 USD";\n')
    assert (posting.account_iban, posting.account) == (None, "4111********1111")
    assert posting.foreign is not None
    assert (posting.foreign.amount, posting.foreign.currency) == (Decimal("5.95"), "USD")


@pytest.mark.parametrize(
    ("text", "name", "iban", "purpose", "end_to_end"),
    [
        (
            "Rechnung 5 EREF: AN-5 MREF: M-1 IBAN: DE02120300000000202051 BIC: BYLADEM1001",
            "Erika Mustermann",
            "DE02120300000000202051",
            "Rechnung 5",
            "AN-5",
        ),
        ("Rechnung: 5", "Erika Mustermann", None, "Rechnung: 5", None),
        ("EREF+AN-5 SVWZ+Rechnung 5", "Erika Mustermann", None, "Rechnung 5", "AN-5"),
    ],
)
def test_what_cooperative_banks_pack_into_the_text(
    text: str, name: str, iban: str | None, purpose: str, end_to_end: str | None
) -> None:
    cells = dict.fromkeys(names(LAYOUTS["Volksbanken, GLS, Sparda, PSD"], with_optional=False), "")
    cells |= {"buchungstag": "18.11.2025", "betrag": "5,00", "verwendungszweck": text}
    cells["namezahlungsbeteiligter"] = name
    [posting] = postings(f"{';'.join(cells)}\n{';'.join(cells.values())}\n")
    assert posting.counterparty_iban == iban
    assert (posting.counterparty_name, posting.end_to_end_id) == (name, end_to_end)
    assert posting.remittance_information == purpose


def test_balances_between_the_postings_of_cooperative_banks() -> None:
    head = (
        '"Buchungstag";"Valuta";"Auftraggeber/Zahlungsempfänger";"Empfänger/Zahlungspflichtiger"'
        ';"Konto-Nr.";"BLZ";"Vorgang/Verwendungszweck";"Währung";"Umsatz";" "\n'
    )
    row = (
        '"18.11.2025";"18.11.2025";"Anna Beispiel";"Muster, Erika";;;"GUTSCHRIFT\nAN-1"'
        ';"EUR";"5,00";'
    )
    text = (
        f'{head}{row}"H"\n{row}"S"\n\n"01.11.2025";;;;;;"EUR";"Anfangssaldo";"7,00";"H"\n'
        '"18.11.2025";;;;;;"EUR";"Endsaldo";"7,00";"H"\n'
    )
    found = items(text)
    assert [one.amount for one in found if isinstance(one, ParsedPosting)] == [5, -5]
    first = found[0]
    assert isinstance(first, ParsedPosting)
    assert (first.counterparty_name, first.transaction_code) == ("Muster, Erika", "GUTSCHRIFT")
    facts = found[-1]
    assert isinstance(facts, StatementFacts)
    assert facts.opening is not None
    assert facts.closing is not None
    assert (facts.opening.on, facts.closing.amount) == (date(2025, 11, 1), 7)


def test_a_total_whose_payments_do_not_add_up_stays_whole_and_says_so() -> None:
    head = (
        "Datum;Buchungstext;Whg;Betrag Detail;ZKB-Referenz;Belastung CHF;Gutschrift CHF"
        ";Zahlungszweck\n"
    )
    total = "18.11.2025;Sammelauftrag;;;Z1;150.00;;\n"
    found = items(head + total + ";Papierhaus;CHF;100.00;;;;\n;Strom;CHF;49.00;;;;\n")
    [posting] = [one for one in found if isinstance(one, ParsedPosting)]
    assert (posting.amount, posting.is_batch_total) == (-150, True)
    [problem] = [one for one in found if isinstance(one, Problem)]
    assert "149.00" in problem.what
    whole = postings(head + total + ";Papierhaus;CHF;100.00;;;;\n;Strom;CHF;50.00;;;;\n")
    assert [(one.amount, one.leaf_index) for one in whole] == [(-100, 0), (-50, 1)]
    assert {one.entry.amount for one in whole if one.entry} == {-150}
