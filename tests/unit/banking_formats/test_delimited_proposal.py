"""What a person is shown who must name the columns, and the key that remembers the answer."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.banking.formats import COLUMN_FIELDS, header_key, table_head
from server.banking.formats.proposal import MAX_EXAMPLES

TEXT = (
    "Konto;123;;;;\n\nTag;Wert am;Wer;Wofür ist das;Summe;Kto-Stand\n"
    '18.11.2025;18.11.2025;Erika Mustermann;"Bestellung; 7";1.049,90;2.000,00\n'
    "17.11.2025;18.11.2025;Papierhaus;Rechnung;-5,00;950,10\n"
)


def key(text: str | bytes) -> str | None:
    source = io.BytesIO(b"--" + (text if isinstance(text, bytes) else text.encode()))
    source.seek(2)
    found = header_key(source)
    assert source.tell() == 2
    return found


@pytest.mark.feature("C2")
def test_the_key_is_that_of_the_set_of_headers() -> None:
    known = key(TEXT)
    assert known is not None
    assert len(known) == 64
    lines = TEXT.splitlines()
    assert key("\n".join([*lines[2:3], "1.1.2026;1.1.2026;a;b;1,00;2,00", ""])) == known
    assert key(TEXT.replace("Tag;Wert am;Wer", "WER;Tag;Wert am")) == known
    assert key(TEXT.replace('"Bestellung; 7"', "x").replace(";", "\t").encode("utf-16")) == known
    assert key(TEXT.replace("Wer;", "Wer sonst;")) != known


def test_a_file_without_header_has_the_key_of_its_kind() -> None:
    first = key("18.11.2025;Laden;x;-5,00\n18.11.2025;Laden;x;-5,00\n")
    assert first == key("1.2.2026;Markt;y;7,00\n") is not None
    assert first != key("1.2.2026;7,00;y;Markt\n")


@pytest.mark.parametrize(
    "text", ["", "kein CSV\n", "Date,Details,Debit,Credit,Balance\n01/09/2017,x,1.0,,\n"]
)
def test_what_needs_no_columns_has_no_key(text: str) -> None:
    assert key(text) is None


@pytest.mark.feature("C2")
def test_the_head_of_a_table_with_proposals() -> None:
    head = table_head(TEXT.encode("cp1252"))
    assert head is not None
    assert head.delimiter == ";"
    assert head.header == ["Tag", "Wert am", "Wer", "Wofür ist das", "Summe", "Kto-Stand"]
    assert head.examples[0] == [
        "18.11.2025",
        "18.11.2025",
        "Erika Mustermann",
        "Bestellung; 7",
        "1.049,90",
        "2.000,00",
    ]
    assert head.proposed[0] == "booking_date"
    assert head.proposed[1] == "value_date"
    assert head.proposed[4] == "amount"
    assert head.has_header


@pytest.mark.parametrize(
    ("header", "row", "proposed"),
    [
        (
            "Date;Description;Paid out;Paid in;Balance;Account number",
            "18/11/2025;x;;5.00;9.00;DE02120300000000202051",
            "booking_date remittance_information debit credit - counterparty_iban",
        ),
        (
            "Datum;Tegenrekening;Naam;Bedrag;Omschrijving;Saldo",
            "18-11-2025;NL91ABNA0417164300;x;5,00;y;9,00",
            "booking_date counterparty_iban counterparty_name amount remittance_information -",
        ),
        (
            "Fecha;Concepto;Importe;Saldo",
            "18/11/2025;x;5,00;9,00",
            "booking_date remittance_information amount -",
        ),
        (
            "Date;Libellé;Débit;Crédit",
            "18/11/2025;x;;5,00",
            "booking_date remittance_information debit credit",
        ),
        (
            "Data;Descrizione;Importo;Divisa",
            "18/11/2025;x;5,00;EUR",
            "booking_date remittance_information amount currency",
        ),
        (
            "A;B;C;D;E;F",
            "18.11.2025;Bestellung sieben;5,00;EUR;S;DE02120300000000202051",
            "booking_date remittance_information amount currency debit_or_credit counterparty_iban",
        ),
    ],
)
def test_words_and_values_say_what_a_column_may_hold(header: str, row: str, proposed: str) -> None:
    head = table_head(f"{header}\n{row}\n".encode())
    assert head is not None
    assert [one or "-" for one in head.proposed] == proposed.split()


def test_without_header_columns_have_numbers() -> None:
    head = table_head(b"18.11.2025;Laden;-5,00\n" * 9)
    assert head is not None
    assert (head.has_header, head.header) == (False, ["1", "2", "3"])
    assert head.proposed == ["booking_date", "remittance_information", "amount"]
    assert len(head.examples) == MAX_EXAMPLES


def test_the_last_line_of_a_cut_head_is_left_out() -> None:
    head = table_head(TEXT.encode()[:-10])
    assert head is not None
    assert len(head.examples) == 1


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"<Document/>", b":20:x\n", b"%PDF-1.4"])
def test_what_is_no_table_has_no_head(content: bytes) -> None:
    assert table_head(content) is None


@given(st.binary(max_size=400) | st.text(';,\n"a1.-\ufffdäß ', max_size=200).map(str.encode))
def test_any_bytes_are_answered(content: bytes) -> None:
    head = table_head(content)
    if head is not None:
        assert all(len(one) == len(head.header) == len(head.proposed) for one in head.examples)
        assert {one for one in head.proposed if one} <= COLUMN_FIELDS
    assert (
        header_key(io.BytesIO(content)) is None or len(header_key(io.BytesIO(content)) or "") == 64
    )
