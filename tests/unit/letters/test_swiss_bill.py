"""The Swiss bill has the measures that SIX prints in its style guide (QR-bill 2.3)."""

from __future__ import annotations

from decimal import Decimal

import pytest

from server.banking.payments.swiss_qr import Party
from tests.unit.letters import samples
from tests.unit.letters.samples import SWISS, letter, swiss_payload

pytestmark = pytest.mark.feature("S77")

TOP = 297.0 - 105.0
RECEIPT_RIGHT = 62.0
NEAR = 0.6
"""Millimetres that a letter may stand beside the edge of its field: bearings, line height."""


def _near(value: float, wanted: float, by: float = NEAR) -> bool:
    return abs(value - wanted) <= by


@pytest.fixture(scope="module")
def bill() -> bytes:
    return letter("transfer_form", "de-CH", SWISS, country="CH")


def test_the_code_is_46_millimetres_and_stands_at_its_place(bill: bytes) -> None:
    left, top, right, bottom = samples.code_place(bill)
    assert _near(right - left, 46.0, 0.5)
    assert _near(bottom - top, 46.0, 0.5)
    assert _near(left, RECEIPT_RIGHT + 5.0, 0.4)
    assert _near(top, TOP + 17.0, 0.4)


def test_the_cross_is_7_millimetres_and_in_the_middle(bill: bytes) -> None:
    middle = (RECEIPT_RIGHT + 5.0 + 23.0, TOP + 17.0 + 23.0)
    sizes = {
        (round(right - left, 1), round(bottom - top, 1))
        for left, top, right, bottom in samples.shapes(bill)
        if _near((left + right) / 2, middle[0], 0.05) and _near((top + bottom) / 2, middle[1], 0.05)
    }
    assert {(7.0, 7.0), (6.0, 6.0), (3.9, 1.2), (1.2, 3.9)} <= sizes


def test_it_is_cut_off_at_105_and_62_millimetres(bill: bytes) -> None:
    across = [
        shape for shape in samples.shapes(bill) if _near(shape[1], TOP, 0.2) and shape[2] > 200
    ]
    down = [
        shape
        for shape in samples.shapes(bill)
        if _near(shape[0], RECEIPT_RIGHT, 0.2) and shape[3] > 290
    ]
    assert across
    assert down
    assert samples.piece(bill, "Vor der Einzahlung abzutrennen").bottom < TOP


@pytest.mark.parametrize(
    ("text", "from_left", "left", "top", "size"),
    [
        ("Empfangsschein", 0.0, 5.0, 5.0, 11.0),
        ("Konto / Zahlbar an", 0.0, 5.0, 12.0, 6.0),
        ("CH44 3199 9123 0008 8901 2", 0.0, 5.0, 15.2, 8.0),
        ("Währung", 0.0, 5.0, 68.0, 6.0),
        ("Betrag", 10.0, 20.0, 68.0, 6.0),
        ("Zahlteil", 60.0, 67.0, 5.0, 11.0),
        ("Währung", 60.0, 67.0, 68.0, 8.0),
        ("Betrag", 70.0, 82.0, 68.0, 8.0),
        ("Konto / Zahlbar an", 110.0, 118.0, 5.0, 8.0),
        ("CH44 3199 9123 0008 8901 2", 110.0, 118.0, 8.9, 10.0),
    ],
)
def test_every_section_stands_at_its_place(
    bill: bytes, text: str, from_left: float, left: float, top: float, size: float
) -> None:
    found = [
        each
        for each in samples.pieces(bill)
        if each.text.startswith(text) and each.left >= from_left and each.top > TOP
    ]
    place = min(found, key=lambda each: each.left)
    assert _near(place.left, left)
    assert -0.3 <= place.top - (TOP + top) <= 1.4
    assert _near(place.size, size, 0.05)


def test_the_amount_has_a_blank_between_thousands_and_its_font_size(bill: bytes) -> None:
    receipt, payment = sorted(
        (each for each in samples.pieces(bill) if each.text == "949.75"),
        key=lambda each: each.left,
    )
    assert "1 949.75" in " ".join(samples.text_of(bill).split())
    assert (round(receipt.size), round(payment.size)) == (8, 10)


def test_the_acceptance_point_ends_at_the_right_of_the_receipt(bill: bytes) -> None:
    place = samples.piece(bill, "Annahmestelle")
    assert _near(place.right, RECEIPT_RIGHT - 5.0)
    assert place.top >= TOP + 82.0 - NEAR


def test_nothing_is_printed_in_the_margins(bill: bytes) -> None:
    on_bill = [each for each in samples.pieces(bill) if each.top > TOP]
    for each in on_bill:
        if each.left < RECEIPT_RIGHT:
            assert 4.9 <= each.left <= each.right <= RECEIPT_RIGHT - 4.9
        else:
            assert RECEIPT_RIGHT + 4.9 <= each.left <= each.right <= 205.1
        assert each.bottom <= 292.0


def test_a_payer_who_is_not_known_gets_corners_to_write_in(bill: bytes) -> None:
    """52 x 20 mm on the receipt, 65 x 25 mm in the payment part, lines of 3 mm."""
    assert "Zahlbar durch (Name/Adresse)" in samples.text_of(bill)
    lines = [
        shape
        for shape in samples.shapes(bill)
        if shape[1] > TOP + 20
        and any(
            _near(long, 3.0, NEAR) and short < NEAR
            for long, short in (
                (shape[2] - shape[0], shape[3] - shape[1]),
                (shape[3] - shape[1], shape[2] - shape[0]),
            )
        )
    ]
    receipt = [shape for shape in lines if shape[2] <= RECEIPT_RIGHT]
    payment = [shape for shape in lines if shape[0] >= RECEIPT_RIGHT + 50]
    for shapes, wide, high in ((receipt, 52.0, 20.0), (payment, 65.0, 25.0)):
        assert len(shapes) == 8
        assert _near(max(s[2] for s in shapes) - min(s[0] for s in shapes), wide, NEAR)
        assert _near(max(s[3] for s in shapes) - min(s[1] for s in shapes), high, NEAR)


@pytest.mark.parametrize(
    ("edition", "words"),
    [
        ("de", ["Empfangsschein", "Zahlteil", "Zahlbar durch"]),
        ("de-CH-du", ["Empfangsschein", "Zahlteil", "Zahlbar durch"]),
        ("fr", ["Récépissé", "Section paiement", "Payable par"]),
        ("it", ["Ricevuta", "Sezione pagamento", "Pagabile da"]),
        ("en", ["Receipt", "Payment part", "Payable by"]),
        ("nl", ["Receipt", "Payment part", "Payable by"]),
        ("es", ["Receipt", "Payment part", "Payable by"]),
    ],
)
def test_what_is_printed_is_what_the_code_says(edition: str, words: list[str]) -> None:
    payload = swiss_payload(
        iban="CH9300762011623852957",
        reference="RF18539007547034",
        amount=None,
        currency="EUR",
        creditor=Party("Büchertruhe & Söhne", "79100", "Freiburg", "DE", "Münsterplatz", "1"),
        debtor=Party("Erika Mustermann", "8000", "Zürich", "CH"),
    )
    pdf = letter("transfer_form", edition, SWISS | {"swiss_qr": payload}, country="CH")
    assert samples.codes_of(pdf) == [payload]
    text = samples.text_of(pdf)
    for word in [*words, "RF18 5390 0754 7034", "CH93 0076 2011 6238 5295 7"]:
        assert word in text
    for word in ("DE-79100 Freiburg", "Münsterplatz 1", "8000 Zürich", "EUR"):
        assert text.count(word) == 2


def test_a_large_amount_and_no_reference() -> None:
    payload = swiss_payload(
        iban="CH9300762011623852957", reference="", amount=Decimal("1234567.05"), message=""
    )
    text = samples.text_of(letter("transfer_form", "de-CH", SWISS | {"swiss_qr": payload}))
    assert "1 234 567.05" in text.replace("\u00a0", " ")
    assert "Referenz" not in text.split("Empfangsschein")[1]
