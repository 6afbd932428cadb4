"""An invented order, its letter in every country, and a reader for what was drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import pypdfium2
import zxingcpp
from pypdfium2 import raw

from server.banking.payments.epc import girocode_payload
from server.banking.payments.swiss_qr import Party, QrBill, qr_bill_payload
from server.letters.compose import compose
from server.letters.look import Look

DATED = date(2026, 11, 23)
RECIPIENT = ("Erika Mustermann", "Heidestraße 17", "51147 Musterstadt")
POINTS = 72 / 25.4
LOOK = Look(
    "Annas Antiquariat",
    "Annas Antiquariat · Musterweg 7 · 12345 Beispielstadt",
    accent="#5b2d4e",
    legal=(
        ("Annas Antiquariat e. K.", "Musterweg 7", "12345 Beispielstadt"),
        ("Amtsgericht Beispielstadt", "HRA 1234"),
        ("annas.example.org",),
    ),
    contact=(("E-Mail", "hallo@annas.example.org"),),
)
GIROCODE = girocode_payload(
    creditor="Annas Antiquariat",
    iban="DE02120300000000202051",
    bic="BYLADEM1001",
    amount=Decimal("87.40"),
    currency="EUR",
    reference="K4WX7P9MQ2",
)
SEPA = {
    "shop_name": "Annas Antiquariat",
    "order_number": "10482",
    "order_date": "11.11.2026",
    "amount_due": "87,40 €",
    "creditor": "Annas Antiquariat",
    "iban": "DE02 1203 0000 0000 2020 51",
    "bic": "BYLADEM1001",
    "payment_reference": "K4WX7P9MQ2",
    "girocode": GIROCODE or "",
    "recipient_name": "Erika Mustermann",
    "payable_until": "07.12.2026",
    "invoice_number": "RE-2026-17",
    "invoice_date": "12.11.2026",
}
AUSTRIAN = SEPA | {"form_at": "yes"}


def swiss_payload(**changes: Any) -> str:
    bill: dict[str, Any] = {
        "iban": "CH4431999123000889012",
        "creditor": Party("Annas Antiquariat AG", "3000", "Beispielwil", "CH", "Dorfgasse", "7"),
        "amount": Decimal("1949.75"),
        "currency": "CHF",
        "reference": "210000000003139471430009017",
        "message": "Bestellung 10482",
    }
    return qr_bill_payload(QrBill(**(bill | changes)))


SWISS = SEPA | {
    "girocode": "",
    "swiss_qr": swiss_payload(),
    "form_ch": "yes",
    "is_structured": "yes",
    "iban": "CH44 3199 9123 0008 8901 2",
    "amount_due": "CHF 1’949.75",
    "payment_reference": "21 00000 00003 13947 14300 09017",
}
DEMAND = {
    "level": "2",
    "open_amount": "80,00 €",
    "fees_total": "5,00 €",
    "interest": "2,40 €",
    "fee": "2,50 €",
    "bank_as_of": "20.11.2026",
}


def facts_of(kind: str, facts: dict[str, str]) -> dict[str, str]:
    return facts | (DEMAND if kind == "dunning_notice" else {})


def letter(
    kind: str = "payment_information",
    edition: str = "de",
    facts: dict[str, str] = SEPA,
    *,
    look: Look = LOOK,
    recipient: tuple[str, ...] = RECIPIENT,
    country: str = "DE",
    is_registered: bool = False,
) -> bytes:
    return compose(
        kind,
        edition,
        facts_of(kind, facts),
        look,
        recipient=recipient,
        country=country,
        dated=DATED,
        is_registered=is_registered,
    )


# --- reading what was drawn ---------------------------------------------------------------------


@dataclass(frozen=True)
class Piece:
    """A line of text with the place of its letters, in millimetres from the upper left corner."""

    text: str
    left: float
    top: float
    right: float
    bottom: float
    size: float


def text_of(pdf: bytes, page: int | None = None) -> str:
    document = pypdfium2.PdfDocument(pdf)
    pages = range(len(document)) if page is None else [page]
    return "\n".join(document[number].get_textpage().get_text_range() for number in pages)


def page_count(pdf: bytes) -> int:
    return len(pypdfium2.PdfDocument(pdf))


def pieces(pdf: bytes, page: int = 0) -> list[Piece]:
    """Every text object of a page; ``size`` is in points."""
    found = []
    opened = pypdfium2.PdfDocument(pdf)[page]
    height = opened.get_height()
    words = opened.get_textpage()
    for thing in opened.get_objects(filter=[raw.FPDF_PAGEOBJ_TEXT]):
        left, bottom, right, top = thing.get_bounds()
        text = words.get_text_bounded(left - 0.5, bottom - 0.5, right + 0.5, top + 0.5)
        size = thing.get_font_size() * thing.get_matrix().a
        found.append(
            Piece(
                " ".join(text.split()),
                left / POINTS,
                (height - top) / POINTS,
                right / POINTS,
                (height - bottom) / POINTS,
                size,
            )
        )
    return found


def piece(pdf: bytes, text: str, page: int = 0, *, from_left: float = 0.0) -> Piece:
    """The highest text object that says this and begins at ``from_left`` or right of it."""
    found = [each for each in pieces(pdf, page) if text in each.text and each.left >= from_left]
    assert found, f"{text!r} is not on the page"
    return min(found, key=lambda each: (each.top, each.left))


def shapes(pdf: bytes, page: int = 0) -> Iterator[tuple[float, float, float, float]]:
    """Of every drawn path: left, top, right, bottom in millimetres."""
    opened = pypdfium2.PdfDocument(pdf)[page]
    height = opened.get_height()
    wanted = [raw.FPDF_PAGEOBJ_PATH]
    for thing in opened.get_objects(filter=wanted, max_depth=5):
        left, bottom, right, top = thing.get_bounds()
        yield tuple(value / POINTS for value in (left, height - top, right, height - bottom))


def codes_of(pdf: bytes, page: int = 0) -> list[str]:
    """What the QR codes of a page say, read from its picture."""
    return [code.text for code in _codes(pdf, page)]


def code_place(pdf: bytes, page: int = 0) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of the one code's modules, in millimetres."""
    (code,) = _codes(pdf, page)
    place = code.position
    across = [place.top_left.x, place.bottom_left.x, place.top_right.x, place.bottom_right.x]
    down = [place.top_left.y, place.bottom_left.y, place.top_right.y, place.bottom_right.y]
    unit = SCALE * POINTS
    return min(across) / unit, min(down) / unit, max(across) / unit, max(down) / unit


SCALE = 4.0


def _codes(pdf: bytes, page: int) -> list[Any]:
    bitmap = pypdfium2.PdfDocument(pdf)[page].render(scale=SCALE, grayscale=True)
    grey = (
        bytes(
            byte
            for row in range(bitmap.height)
            for byte in bytes(bitmap.buffer)[
                row * bitmap.stride : row * bitmap.stride + bitmap.width
            ]
        )
        if bitmap.stride != bitmap.width
        else bytes(bitmap.buffer)
    )
    picture = memoryview(grey).cast("B", (bitmap.height, bitmap.width))
    return list(zxingcpp.read_barcodes(picture))
