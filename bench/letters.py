"""Letters drawn a second by one core: a SEPA letter and one with the Swiss bill, as PDF/A.

Each letter is another one, with a code of its own. Against it the same letter by WeasyPrint from
HTML, where that is installed: it is no dependency of this project. It draws the same words and the
same code, as PDF/A too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from html import escape
from importlib import import_module
from importlib.util import find_spec
from statistics import median
from typing import Any

from server.banking.payments.epc import girocode_payload
from server.banking.payments.swiss_qr import Party, QrBill, qr_bill_payload
from server.letters.codes import girocode_svg
from server.letters.compose import compose
from server.letters.look import Look

COUNT = 200
COUNT_OF_OTHERS = 20
DATED = date(2026, 11, 23)
RECIPIENT = ("Erika Mustermann", "Heidestraße 17", "51147 Musterstadt")
LOOK = Look(
    "Annas Antiquariat",
    "Annas Antiquariat · Musterweg 7 · 12345 Beispielstadt",
    accent="#5b2d4e",
    legal=(("Annas Antiquariat", "Musterweg 7"), ("annas.example.org",)),
)
IBAN = "DE02120300000000202051"


def run() -> dict[str, object]:
    sepa, sizes = _rate(_sepa, COUNT)
    swiss, swiss_sizes = _rate(_swiss, COUNT)
    figures: dict[str, object] = {
        "SEPA letters/s, one core": round(sepa, 1),
        "Swiss letters/s, one core": round(swiss, 1),
        "kB a SEPA letter": round(median(sizes) / 1000),
        "kB a Swiss letter": round(median(swiss_sizes) / 1000),
    }
    if find_spec("weasyprint") is None:
        return figures | {"WeasyPrint": "not installed"}
    weasyprint = import_module("weasyprint")
    other, other_sizes = _rate(lambda number: _by_weasyprint(weasyprint, number), COUNT_OF_OTHERS)
    return figures | {
        f"WeasyPrint {weasyprint.__version__}, SEPA letters/s": round(other, 1),
        "kB a letter of WeasyPrint": round(median(other_sizes) / 1000),
        "ratio": round(sepa / other, 1),
    }


def _rate(draw: Callable[[int], bytes], count: int) -> tuple[float, list[int]]:
    """A second of processor time, after one letter to read fonts and templates."""
    draw(count)
    began = time.process_time()
    sizes = [len(draw(number)) for number in range(count)]
    return count / (time.process_time() - began), sizes


def _facts(number: int) -> dict[str, str]:
    reference = f"K4WX7P{number:04}"
    code = girocode_payload(
        creditor=LOOK.sender,
        iban=IBAN,
        bic="BYLADEM1001",
        amount=Decimal(number + 1),
        currency="EUR",
        reference=reference,
    )
    return {
        "shop_name": LOOK.sender,
        "order_number": str(10_000 + number),
        "order_date": "11.11.2026",
        "amount_due": f"{number + 1},00 €",
        "creditor": LOOK.sender,
        "iban": "DE02 1203 0000 0000 2020 51",
        "bic": "BYLADEM1001",
        "payment_reference": reference,
        "girocode": code or "",
        "recipient_name": RECIPIENT[0],
        "payable_until": "07.12.2026",
    }


def _sepa(number: int) -> bytes:
    return _letter("de", _facts(number), "DE")


def _swiss(number: int) -> bytes:
    bill = QrBill(
        iban="CH4431999123000889012",
        creditor=Party(LOOK.sender, "3000", "Beispielwil", "CH", "Dorfgasse", "7"),
        amount=Decimal(number + 1),
        currency="CHF",
        reference="210000000003139471430009017",
        message=f"Bestellung {number}",
    )
    facts = _facts(number) | {"girocode": "", "swiss_qr": qr_bill_payload(bill), "form_ch": "yes"}
    return _letter("de-CH", facts, "CH")


def _letter(edition: str, facts: dict[str, str], country: str) -> bytes:
    return compose(
        "payment_information",
        edition,
        facts,
        LOOK,
        recipient=RECIPIENT,
        country=country,
        dated=DATED,
    )


def _by_weasyprint(weasyprint: Any, number: int) -> bytes:
    facts = _facts(number)
    fields = "".join(
        f"<div class=field><small>{name}</small>{escape(facts[name])}</div>"
        for name in ("creditor", "iban", "bic", "amount_due", "payment_reference")
    )
    page = f"""<!doctype html><html lang=de><style>
        @page {{ size: A4; margin: 27mm 20mm 30mm 25mm }}
        body {{ font: 10.5pt "Liberation Sans", sans-serif }}
        address {{ position: absolute; top: 36mm; font-style: normal }}
        main {{ margin-top: 71.5mm }}
        .slip {{ display: grid; grid-template-columns: 1fr 38mm; gap: 5mm; background: #f3f0f2 }}
        .field {{ border: .5pt solid #999; background: #fff; margin-bottom: 1.6mm }}
        small {{ display: block; font-size: 6.5pt }}
        </style><h1>{escape(LOOK.sender)}</h1><address>{"<br>".join(RECIPIENT)}</address>
        <main><h2>Zahlung Ihrer Bestellung {facts["order_number"]}</h2>
        <p>Guten Tag {RECIPIENT[0]},<p>danke für Ihre Bestellung bei {escape(LOOK.sender)}. Bitte
        überweisen Sie <b>{facts["amount_due"]}</b> bis zum {facts["payable_until"]}.
        <div class=slip><div>{fields}</div>{girocode_svg(facts["girocode"])}</div></main></html>"""
    pdf: bytes = weasyprint.HTML(string=page).write_pdf(pdf_variant="pdf/a-2u")
    return pdf
