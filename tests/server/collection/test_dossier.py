"""The dossier: complete, the same for the same rows, and nothing of other customers."""

from __future__ import annotations

import io
import json
import re
import zipfile
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pypdf
import pytest

from server.collection import dossier, service
from server.collection.papers import papers_of
from server.config import installed
from server.db import db
from server.letters.models import Letter
from server.mail.delivery import Desk, keep, note_success, source_of, write_letter
from server.mail.models import Mail
from server.orders.claims import ProofFile, keep_proof
from server.orders.models import DeferralRequest, PaymentClaim, Reminder
from server.orders.service import assign, mark_as_paid
from tests.factories import AT, make_order, make_posting
from tests.server.collection.steps import (
    ANNA,
    HANDED,
    PDF,
    hand_over,
    invoice_of,
    merchant_of,
    name_partner,
)

DOCS = Path(__file__).parents[3] / "docs" / "collection.md"


def unpacked(case) -> dict[str, bytes]:
    name, content = service.dossier_of(case)
    assert re.fullmatch(r"K-\d+-AA-\d+\.zip", name)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        return {one: archive.read(one) for one in archive.namelist()}


def text_of(pdf: bytes) -> str:
    return "\n".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(pdf)).pages)


def furnish(order) -> None:
    """Everything that can be in a dossier."""
    mail = db.session.query(Mail).filter_by(order_id=order.id).first()
    mail.succeed(AT)
    mail.delivery = "accepted"
    letter = Letter(
        merchant_id=order.merchant_id,
        order_id=order.id,
        kind="dunning_notice",
        language="de",
        recipient=["Erika Mustermann", "Heidestraße 17", "51147 Köln"],
        once=f"order:{order.id}:letter",
        facts={},
        pdf=b"%PDF-1.7 a letter",
    )
    db.session.add(letter)
    letter.succeed(HANDED - timedelta(days=10))
    letter.delivery = "sent"
    db.session.flush()
    for level, ids in ((1, {"mail_id": mail.id}), (2, {"letter_id": letter.id})):
        db.session.add(
            Reminder(
                merchant_id=order.merchant_id,
                order_id=order.id,
                level=level,
                sent_on=date(2026, 3, 20 + level),
                fee=Decimal(level),
                interest=Decimal("0.42"),
                **ids,
            )
        )
    db.session.add(
        PaymentClaim(
            merchant_id=order.merchant_id,
            order_id=order.id,
            claimed_at=AT,
            paid_on=date(2026, 3, 1),
            message="*Ich* habe #bezahlt",
        )
    )
    db.session.add(
        DeferralRequest(
            merchant_id=order.merchant_id,
            order_id=order.id,
            asked_at=AT,
            until_date=date(2026, 5, 1),
            message="bitte",
        )
    )
    keep_proof(order, ProofFile("beleg.pdf", b"%PDF-1.7 proof"), AT)
    posting = make_posting(merchant_of(order), "19.00", "R-1001 Teil")
    assign(order.merchant_id, posting.id, [(order.id, Decimal(19))], actor=ANNA, at=AT)
    db.session.commit()


@pytest.mark.feature("K61", "C23")
def test_everything_that_proves_the_debt_is_there(order, merchant, allowed):
    name_partner(merchant, "folder")
    furnish(order)
    case = hand_over(order)
    files = unpacked(case)
    facts = json.loads(files["case.json"])
    assert (facts["schema"], facts["version"]) == ("kontor-case", 1)
    assert facts["claim"] == {
        "currency": "EUR",
        "principal": "100.00",
        "fees": "3.00",
        "interest": "0.42",
        "total": "103.42",
        "interest_until": "2026-03-22",
        "first_notice_on": "2026-03-21",
        "last_notice_on": "2026-03-22",
    }
    assert facts["debtor"]["address"]["street"] == "Heidestraße 17"
    assert facts["debtor"]["customer_number"] == "K-42"
    assert files[facts["invoices"][0]["file"]] == PDF
    mail, letter = facts["notices"]
    assert (mail["channel"], mail["level"], mail["delivery"]) == ("mail", 1, "accepted")
    assert (letter["channel"], letter["level"], letter["delivery"]) == ("letter", 2, "sent")
    assert files[letter["file"]] == b"%PDF-1.7 a letter"
    assert [one["kind"] for one in facts["said_by_customer"]] == [
        "claims_paid",
        "asks_for_time",
        "proof",
    ]
    assert files[facts["said_by_customer"][2]["file"]] == b"%PDF-1.7 proof"
    (payment,) = facts["payments"]
    assert (payment["amount"], payment["counterparty_name"]) == ("19.00", "Erika Mustermann")
    assert "R-1001 Teil" in files["postings.csv"].decode("utf-8-sig")
    assert "collection" in files["timeline.csv"].decode("utf-8-sig")
    text = text_of(files["index.pdf"])
    for wanted in (
        "Inkassoakte",
        "103,42",
        "Heidestraße 17",
        "Anna Beispiel",
        "*Ich* habe #bezahlt",
    ):
        assert wanted in text
    assert facts["left_out"] == []


@pytest.mark.feature("C23")
def test_a_mail_is_enclosed_as_it_was_sent(order, merchant, allowed):
    mail = db.session.query(Mail).filter_by(order_id=order.id).one()
    desk = Desk.of([mail], AT, installed())
    letter = write_letter(mail, desk)
    keep(mail, letter)
    note_success(mail, letter, "250 ok", "mx.example.org")
    mail.succeed(AT)
    db.session.commit()
    files = unpacked(hand_over(order))
    (notice,) = json.loads(files["case.json"])["notices"]
    assert files[notice["file"]] == source_of(mail)
    assert b"To: erika@example.org" in files[notice["file"]]


def test_the_same_rows_give_the_same_bytes(order, allowed):
    furnish(order)
    case = hand_over(order)
    assert service.dossier_of(case) == service.dossier_of(case)


def test_nothing_of_other_customers(order, shop, merchant, allowed):
    """One posting pays two customers: neither the text nor the payer is anybody else's business."""
    other = make_order(
        shop,
        payment_method="invoice",
        shop_status="processing",
        customer={"email": "bob@example.org"},
        billing_address={"first_name": "Bob", "last_name": "Fremd"},
    )
    posting = make_posting(merchant, "29.90", "R-1001 und Bob Fremd", counterparty_name="Bob Fremd")
    parts = [(order.id, Decimal(10)), (other.id, Decimal("19.90"))]
    assign(merchant.id, posting.id, parts, actor=ANNA, at=AT)
    db.session.commit()
    files = unpacked(hand_over(order))
    (payment,) = json.loads(files["case.json"])["payments"]
    assert (payment["amount"], payment["booking_date"]) == ("10.00", "2026-03-05")
    whole = b"".join(files.values()) + text_of(files["index.pdf"]).encode()
    for secret in (b"Fremd", b"bob@example.org", other.number.encode(), ANNA.encode()):
        assert secret not in whole


def test_what_is_too_large_is_left_out_and_named(order, allowed, monkeypatch):
    furnish(order)
    monkeypatch.setattr(dossier, "MAX_DOSSIER_BYTES", len(PDF) + 5)
    case = hand_over(order)
    files = unpacked(case)
    facts = json.loads(files["case.json"])
    assert facts["invoices"][0]["file"] in files
    assert sorted(one.partition("/")[0] for one in facts["left_out"]) == ["notices", "proofs"]
    assert not set(facts["left_out"]) & set(files)
    assert "weggelassen" in text_of(files["index.pdf"])


@pytest.mark.parametrize(
    "name", ['=HYPERLINK("x")', "../../etc/passwd", "李小龍", "a" * 500, "$x$ #let"]
)
def test_hostile_names_stay_what_they_are(shop, allowed, name):
    order = invoice_of(
        shop,
        billing_address={"last_name": name[:100], "street": name[:100], "country": "DE"},
        items=[{"number": "1", "name": name[:200], "quantity": "1"}],
    )
    posting = make_posting(merchant_of(order), "1.00", name, counterparty_name=name[:100])
    assign(order.merchant_id, posting.id, [(order.id, Decimal(1))], actor=ANNA, at=AT)
    db.session.commit()
    files = unpacked(hand_over(order))
    assert all(not one.startswith(("/", ".")) and ".." not in one for one in files)
    assert json.loads(files["case.json"])["debtor"]["last_name"] == name[:100]
    for line in files["postings.csv"].decode("utf-8-sig").splitlines():
        assert not any(cell.startswith(("=", '"=')) for cell in line.split(";"))
    assert len(pypdf.PdfReader(io.BytesIO(files["index.pdf"])).pages) >= 1


def test_days_are_those_of_the_merchant(order, merchant, allowed):
    """Half past eleven at night in UTC is the next day where he lives."""
    case = hand_over(order, HANDED.replace(hour=23, minute=30))
    mark_as_paid(merchant.id, order.id, actor=ANNA, at=HANDED.replace(hour=23, minute=45))
    db.session.commit()
    assert (HANDED.day, HANDED.month) == (11, 4)
    text = text_of(unpacked(case)["index.pdf"])
    assert text.count("12.04.2026") == 2
    assert "11.04.2026" not in text


@pytest.mark.parametrize("fate", ["bounced", "withheld"])
def test_a_reminder_that_nobody_got_is_not_claimed_as_one(order, merchant, allowed, fate):
    furnish(order)
    letter = db.session.query(Letter).filter_by(order_id=order.id).one()
    letter.delivery = "returned" if fate == "bounced" else None
    letter.status = "done" if fate == "bounced" else "withheld"
    db.session.commit()
    claim = json.loads(unpacked(hand_over(order))["case.json"])["claim"]
    assert (claim["first_notice_on"], claim["last_notice_on"]) == ("2026-03-21", "2026-03-21")
    assert claim["interest_until"] == "2026-03-21"


def test_the_index_in_english(order, merchant, allowed):
    merchant.language = "en"
    furnish(order)
    text = text_of(unpacked(hand_over(order))["index.pdf"])
    assert "Collection file" in text and "Dunning fees" in text


def test_the_documentation_names_every_field(order, allowed):
    """docs/collection.md describes case.json; a field that it does not name is a promise unsaid."""
    furnish(order)
    facts = papers_of(hand_over(order), None).facts
    written = DOCS.read_text()
    names = {name for name in _names(facts) if name not in ("facts",)}
    missing = sorted(name for name in names if f"`{name}`" not in written)
    assert missing == []


def _names(value):
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            if name != "facts":
                yield from _names(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _names(inner)
