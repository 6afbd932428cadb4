"""Addresses that get no mail: whose they are, for which kinds, and until when."""

from __future__ import annotations

import threading
from datetime import timedelta
from hashlib import sha256

import pytest
from sqlalchemy import event

from server.db import db, now
from server.mail import suppression
from server.mail.kinds import KINDS
from server.mail.models import Suppression
from server.mail.suppression import BOUNCE_LIFETIME, Block
from tests.factories import make_merchant
from tests.server.mail.rows import sent_mail

ERIKA = "erika@example.org"
AT = now()
OPTIONAL = {kind for kind in KINDS if suppression.is_optional(kind)}
ACCOUNT = {kind for kind, known in KINDS.items() if known.footer == "account"}


@pytest.fixture
def merchant(app):
    return make_merchant()


def block_of(mail, at=AT) -> Block | None:
    return suppression.blocked([mail], at).get(mail.id)


def rows() -> list[Suppression]:
    return db.session.query(Suppression).order_by(Suppression.id).all()


@pytest.mark.feature("S10")
def test_a_complaint_blocks_every_kind_for_good(merchant):
    suppression.suppress(merchant.id, ERIKA, "complaint", at=AT, evidence="marked as spam")
    much_later = AT + timedelta(days=20 * 365)
    for kind in KINDS.keys() - ACCOUNT:
        blocked = block_of(sent_mail(merchant.id, kind), much_later)
        assert blocked == Block("complaint", "marked as spam", is_opt_out=False), kind


@pytest.mark.parametrize("kind", sorted(ACCOUNT))
def test_a_mail_that_somebody_has_just_asked_for_is_never_blocked(merchant, kind):
    suppression.suppress(merchant.id, ERIKA, "complaint", at=AT)
    assert block_of(sent_mail(merchant.id, kind)) is None


@pytest.mark.feature("S11", "S72")
@pytest.mark.parametrize("kind", sorted(OPTIONAL))
def test_an_opt_out_is_of_its_own_kind(merchant, kind):
    assert suppression.opt_out(merchant.id, ERIKA, kind, at=AT)
    for other in OPTIONAL:
        blocked = block_of(sent_mail(merchant.id, other))
        assert blocked == (Block("opt_out", "", is_opt_out=True) if other == kind else None)


@pytest.mark.feature("S12")
@pytest.mark.parametrize("kind", sorted(KINDS.keys() - OPTIONAL))
def test_nobody_can_opt_out_of_a_mandatory_kind(merchant, kind):
    with pytest.raises(ValueError, match=kind):
        suppression.opt_out(merchant.id, ERIKA, kind, at=AT)
    # One from a time when the kind was optional holds no mail back either.
    for of_kind in (kind, None):
        old = Suppression(
            merchant_id=merchant.id,
            address_hash=suppression.address_hash(ERIKA),
            address=ERIKA,
            kind=of_kind,
            reason="opt_out",
        )
        db.session.add(old)
    db.session.commit()
    assert block_of(sent_mail(merchant.id, kind)) is None


def test_opting_out_twice_is_once_and_can_be_taken_back(merchant):
    kind = "payment_received"
    assert suppression.opt_out(merchant.id, ERIKA, kind, at=AT, by="")
    assert not suppression.opt_out(merchant.id, ERIKA.upper(), kind, at=AT)
    assert len(rows()) == 1
    assert suppression.opt_in(merchant.id, ERIKA, kind, at=AT)
    assert not suppression.opt_in(merchant.id, ERIKA, kind, at=AT)
    assert not suppression.has_opted_out(merchant.id, ERIKA, kind, AT)
    assert block_of(sent_mail(merchant.id, kind)) is None


def test_a_bounce_blocks_for_ninety_days(merchant):
    mail = sent_mail(merchant.id)
    suppression.suppress(merchant.id, ERIKA, "bounced", at=AT, evidence="550 5.1.1 unknown")
    assert block_of(mail) == Block("bounced", "550 5.1.1 unknown", is_opt_out=False)
    assert block_of(mail, AT + BOUNCE_LIFETIME - timedelta(seconds=1)) is not None
    assert block_of(mail, AT + BOUNCE_LIFETIME) is None


def test_another_bounce_renews_and_another_reason_stands_beside_it(merchant):
    later = AT + timedelta(days=30)
    first = suppression.suppress(merchant.id, ERIKA, "bounced", at=AT)
    assert suppression.suppress(merchant.id, ERIKA, "bounced", at=later) is first
    assert first.expires_at == later + BOUNCE_LIFETIME
    suppression.suppress(merchant.id, ERIKA, "complaint", at=later)
    assert [row.reason for row in rows()] == ["bounced", "complaint"]
    blocked = block_of(sent_mail(merchant.id), later)
    assert blocked is not None and blocked.reason == "complaint"


def test_one_merchants_customers_are_no_business_of_another(merchant):
    stranger = make_merchant("Bobs Basar")
    row = suppression.suppress(merchant.id, ERIKA, "manual", at=AT, by="anna@example.org")
    assert block_of(sent_mail(stranger.id)) is None
    assert suppression.end(stranger.id, row.id, at=AT, by="bob@example.org") is None
    assert block_of(sent_mail(merchant.id)) is not None


def test_what_somebody_ended_blocks_no_more_and_stays_written(merchant):
    row = suppression.suppress(merchant.id, ERIKA, "manual", at=AT)
    ended = suppression.end(merchant.id, row.id, at=AT, by="anna@example.org")
    assert ended is row and (row.ended_at, row.ended_by) == (AT, "anna@example.org")
    assert suppression.end(merchant.id, row.id, at=AT, by="anna@example.org") is None
    assert block_of(sent_mail(merchant.id)) is None
    assert len(rows()) == 1


@pytest.mark.parametrize(
    ("blocked", "written"),
    [
        (ERIKA, " Erika@Example.ORG "),
        ("erika@bücher.example.org", "erika@xn--bcher-kva.example.org"),
        ("no address", "No Address"),
        ("erika@example.org\x00", "erika@example.org\x00"),
    ],
)
def test_spellings_of_one_address_are_one(blocked, written):
    assert suppression.address_hash(blocked) == suppression.address_hash(written)


def test_the_key_is_the_hash_of_the_small_letters():
    assert suppression.address_hash("Erika@Example.org") == sha256(ERIKA.encode()).digest()


def test_of_a_shop_in_test_mode_both_addresses_count(merchant):
    mail = sent_mail(merchant.id, redirected_to="anna@example.org")
    assert block_of(mail) is None
    suppression.suppress(merchant.id, "anna@example.org", "bounced", at=AT)
    assert block_of(mail) is not None


def test_a_batch_is_one_query(merchant):
    mails = [sent_mail(merchant.id, recipient=f"c{n}@example.org") for n in range(50)]
    for mail in mails[::2]:
        suppression.suppress(merchant.id, mail.recipient, "bounced", at=AT)
    db.session.commit()
    asked: list[str] = []
    event.listen(
        db.session.get_bind(), "before_cursor_execute", lambda *said: asked.append(said[2])
    )
    found = suppression.blocked(mails, AT)
    assert set(found) == {mail.id for mail in mails[::2]}
    assert suppression.blocked([], AT) == {}
    assert len([statement for statement in asked if statement.startswith("SELECT")]) == 1


@pytest.mark.real_commits
def test_reports_of_one_address_at_once_write_one_row(app):
    merchant_id = make_merchant().id
    begin = threading.Barrier(6)

    def report() -> None:
        with app.app_context():
            begin.wait(10)
            suppression.suppress(merchant_id, ERIKA, "bounced", at=AT)
            suppression.opt_out(merchant_id, ERIKA, "overpaid", at=AT)
            db.session.commit()

    threads = [threading.Thread(target=report) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(row.reason for row in rows()) == ["bounced", "opt_out"]
