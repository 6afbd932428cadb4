"""Removing personal data reaches what came back about mails, and blocks stay blocks (S86)."""

from __future__ import annotations

import pytest

from server.db import db
from server.forgetting.service import erase_personal_data
from server.mail import suppression
from server.mail.models import Mail, MailReport, Suppression
from tests.factories import AT, make_merchant, make_order, make_shop
from tests.server.mail.rows import sent_mail

ERIKA = "erika@example.org"
ANNA = "anna@example.org"


@pytest.fixture
def order(app):
    return make_order(make_shop(make_merchant()))


def report_of(mail: Mail) -> MailReport:
    row = MailReport(
        merchant_id=mail.merchant_id,
        mail_id=mail.id,
        kind="bounced",
        status_code="5.1.1",
        words=f"550 5.1.1 <{ERIKA}> unknown",
        raw=f"To: {ERIKA}".encode(),
        digest=mail.id.to_bytes(32, "big"),
    )
    db.session.add(row)
    db.session.commit()
    return row


@pytest.mark.feature("S86")
def test_the_address_goes_and_the_block_stays(order):
    suppression.suppress(order.merchant_id, ERIKA, "complaint", at=AT, evidence=f"<{ERIKA}> said")
    suppression.opt_out(order.merchant_id, "earlier@example.org", "overpaid", at=AT)
    stranger = suppression.suppress(order.merchant_id, "bob@example.org", "manual", at=AT)
    sent_mail(order.merchant_id, "overpaid", order_id=order.id, recipient="earlier@example.org")
    erase_personal_data(order.merchant_id, order.id, actor=ANNA, at=AT)
    db.session.commit()
    rows = db.session.query(Suppression).where(Suppression.id != stranger.id)
    assert [(row.address, row.evidence) for row in rows] == [("", ""), ("", "")]
    assert stranger.address == "bob@example.org"
    later = sent_mail(order.merchant_id, recipient=ERIKA)
    assert suppression.blocked([later], AT)[later.id].reason == "complaint"


@pytest.mark.feature("S86")
def test_other_merchants_keep_what_is_theirs(order):
    other = make_merchant("Bobs Basar")
    row = suppression.suppress(other.id, ERIKA, "manual", at=AT)
    erase_personal_data(order.merchant_id, order.id, actor=ANNA, at=AT)
    db.session.commit()
    db.session.refresh(row)
    assert row.address == ERIKA


@pytest.mark.feature("S86")
def test_what_came_back_is_emptied(order):
    mail = sent_mail(
        order.merchant_id, order_id=order.id, headers=f"To: {ERIKA}", delivery_words=ERIKA
    )
    notice = sent_mail(order.merchant_id, "removals_wait", text=f"Kunde {ERIKA}", recipient=ANNA)
    other = sent_mail(order.merchant_id, recipient="bob@example.org")
    reports = [report_of(one) for one in (mail, notice, other)]
    erase_personal_data(order.merchant_id, order.id, actor=ANNA, at=AT)
    db.session.commit()
    db.session.expire_all()
    assert (mail.headers, mail.delivery_words, mail.delivery) == (None, None, "accepted")
    assert [bool(row.raw or row.words) for row in reports] == [False, False, True]
    assert [row.kind for row in reports] == ["bounced"] * 3
