"""A customer's proof is read and laid beside the postings; a person decides (N26)."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest

from server import jobs
from server.db import db, now
from server.orders import proof_text, service
from server.orders.claims import ProofFile, claim_paid, proofs_of
from server.orders.models import Assignment, MatchRequest
from server.orders.proof_text import Unreadable, text_of
from server.orders.proofs import findings_of, read_waiting
from tests.factories import IBAN, make_order, make_posting, today
from tests.proof_files import endless_pdf, locked_pdf, text_pdf

PAYER = "DE89370400440532013000"
GROUPED = "DE02 1203 0000 0000 2020 51"
OTHER = "DE02 5001 0517 0137 0750 30"


def slip(order, **over) -> bytes:
    facts = {
        "amount": "1.284,60 EUR",
        "to": GROUPED,
        "reference": order.payment_reference,
        "day": today().strftime("%d.%m.%Y"),
        "id": "NB-20261122-0042",
    } | over
    return text_pdf(
        [
            f"Musterbank Nord  Auftrag vom {facts['day']}",
            "Auftraggeber Max Mustermann DE89 3704 0044 0532 0130 00",
            f"An Annas Antiquariat {facts['to']}",
            f"Betrag {facts['amount']}",
            f"Verwendungszweck {facts['reference']}",
            f"Ende-zu-Ende {facts['id']}",
        ]
    )


@pytest.fixture
def order(shop):
    return make_order(shop, total="1284.60", at=now(), ordered_at=now().isoformat())


def sent(order, content: bytes, name: str = "beleg.pdf"):
    claim_paid(order, paid_on=None, message="", proof=ProofFile(name, content), at=now())
    db.session.commit()
    return proofs_of(order.id)[0]


def read(order, content: bytes, name: str = "beleg.pdf"):
    proof = sent(order, content, name)
    assert findings_of(order, proof).state is None
    assert not read_waiting(order.merchant_id, now())
    db.session.commit()
    return findings_of(order, proof)


def posting(merchant, order, **over):
    values = {"booking_date": today(), "counterparty_iban": PAYER, "needs_match": False} | over
    return make_posting(merchant, values.pop("amount", "1284.60"), "danke", **values)


@pytest.mark.feature("N26")
def test_a_proof_of_this_order_with_its_posting(merchant, order):
    came = posting(merchant, order)
    found = read(order, slip(order))
    assert (found.state, found.amount, found.to_us, found.reference) == (
        "read",
        Decimal("1284.60"),
        True,
        True,
    )
    (one,) = found.found
    assert (one.posting.id, one.posting.is_open, one.order_ids) == (came.id, True, ())
    assert one.fit.because == ("payer", "day")
    assert db.session.query(Assignment).count() == 0, "a person decides"


@pytest.mark.feature("N26")
def test_a_posting_that_comes_later_is_found_as_well(merchant, order):
    proof = sent(order, slip(order))
    read_waiting(merchant.id, now())
    assert findings_of(order, proof).found == []
    came = posting(merchant, order, booking_date=today() + timedelta(days=2))
    assert [one.posting.id for one in findings_of(order, proof).found] == [came.id]


@pytest.mark.feature("N26")
def test_a_proof_of_something_else(merchant, order):
    found = read(
        order, slip(order, amount="19,90 EUR", to=OTHER, reference="Miete", day="01.02.2020")
    )
    assert (found.amount, found.to_us, found.reference, list(found.found)) == (
        None,
        False,
        False,
        [],
    )


@pytest.mark.feature("N26")
def test_money_that_pays_another_order_is_shown_with_that_order(merchant, shop, order):
    other = make_order(shop, total="1284.60")
    came = posting(merchant, order)
    service.assign(
        merchant.id, came.id, [(other.id, came.amount)], actor="anna@example.org", at=now()
    )
    db.session.commit()
    (one,) = read(order, slip(order)).found
    assert (one.posting.is_open, one.order_ids) == (False, (other.id,))


def test_the_money_of_another_merchant_is_not_looked_at(merchant, order):
    from tests.factories import make_merchant

    posting(make_merchant("Bobs Laden"), order)
    assert read(order, slip(order)).found == []


def test_money_from_before_the_order_does_not_fit(merchant, order):
    posting(merchant, order, booking_date=date(2026, 1, 2))
    assert read(order, slip(order)).found == []


@pytest.mark.feature("N26")
@pytest.mark.parametrize(
    ("content", "name", "state"),
    [
        (b"\x89PNG\r\n\x1a\n0", "a.png", "picture"),
        (b"%PDF-1.7\nthis is none", "a.pdf", "unreadable"),
        (locked_pdf(text_pdf(["19,90"]), "geheim"), "a.pdf", "unreadable"),
        (text_pdf([""]), "a.pdf", "no_text"),
    ],
    ids=["picture", "broken", "locked", "scan"],
)
def test_what_no_machine_can_read_is_said_so(order, content, name, state):
    found = read(order, content, name)
    assert (found.state, found.is_read, found.found) == (state, False, ())


def test_a_hostile_file_ends_with_its_child(order):
    assert read(order, endless_pdf()).state in ("unreadable", "no_text")


def test_the_child_is_killed_when_it_takes_too_long(monkeypatch):
    monkeypatch.setattr(proof_text, "WALL_SECONDS", 0.001)
    with pytest.raises(Unreadable):
        text_of(text_pdf(["19,90"]))


def test_the_child_knows_no_secrets_of_ours(monkeypatch, tmp_path):
    """A program in the child's place says what it was given."""
    monkeypatch.setenv("KONTOR_SECRET_KEY", "x")
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nenv\n")
    program.chmod(0o755)
    monkeypatch.setattr(proof_text.sys, "executable", str(program))
    told = text_of(b"")
    assert "PATH=" in told and "KONTOR" not in told


@pytest.mark.feature("N26")
def test_the_worker_reads_it_without_being_asked(merchant, order):
    first = sent(order, slip(order))
    second = sent(make_order(order.shop, total="5.00", at=now()), slip(order))
    assert db.session.query(MatchRequest).count() >= 1
    while jobs.drain_match_request():
        pass
    db.session.expire_all()
    assert first.findings and second.findings
    assert findings_of(order, first).amount == Decimal("1284.60")
    assert first.findings["ibans"] == [PAYER, IBAN]
