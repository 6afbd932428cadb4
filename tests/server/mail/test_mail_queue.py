"""A mail is a row of its cause's transaction, and there is at most one of it."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from plugin_sdk.errors import Rejected
from server.db import db, now
from server.mail.delivery import Desk
from server.mail.models import Mail
from server.mail.rules import FactError
from server.mail.service import queue_mail
from server.mail.smtp import SmtpSession
from tests.factories import make_merchant
from tests.fakes.one_mail import deliver_mail
from tests.server.mail.sink import Sink
from tests.unit.mail.samples import ANTIQUARIAT, facts_for


def queue(merchant_id: int, **over: Any) -> bool:
    arguments: dict[str, Any] = {
        "merchant_id": merchant_id,
        "shop_id": None,
        "order_id": 17,
        "language": "de",
        "recipient": "erika@example.org",
        "once": "order:17:payment_information",
        "facts": facts_for("payment_information", "de"),
        "theme": ANTIQUARIAT,
        "sender_name": "Annas Antiquariat",
        "sender_address": "shop@example.org",
        "reply_to": "anna@example.org",
    }
    return queue_mail("payment_information", **{**arguments, **over})


def test_queued_and_sent(app: Flask, sink: Sink) -> None:
    assert queue(make_merchant().id)
    db.session.commit()
    mail = db.session.scalars(select(Mail)).one()
    assert (mail.status, mail.attempts, mail.order_id) == ("queued", 0, 17)
    with SmtpSession(f"smtp://127.0.0.1:{sink.port}") as session:
        deliver_mail(mail, Desk.of([mail], now()), session)
    db.session.commit()
    db.session.expire_all()
    assert mail.smtp_response == "250 2.0.0 Ok: queued as 0"
    assert "K4WX7P9MQ2" in (mail.text or "")
    content = sink.received[0].content
    assert isinstance(content, bytes)
    assert f"Message-ID: {mail.message_id}\r\n".encode() in content


def test_once_is_once(app: Flask) -> None:
    merchant_id = make_merchant().id
    assert queue(merchant_id)
    assert not queue(merchant_id, recipient="bob@example.org")
    assert queue(merchant_id, once="order:18:payment_information", order_id=18)
    db.session.commit()
    mails = db.session.scalars(select(Mail).order_by(Mail.id)).all()
    assert [mail.recipient for mail in mails] == ["erika@example.org"] * 2
    assert mails[0].message_id != mails[1].message_id


def test_it_goes_with_its_transaction(app: Flask) -> None:
    merchant_id = make_merchant().id
    db.session.commit()
    assert queue(merchant_id)
    db.session.rollback()
    assert db.session.scalars(select(Mail)).all() == []
    assert queue(merchant_id)


@pytest.mark.real_commits
def test_eight_at_once_write_one(app: Flask) -> None:
    merchant_id = make_merchant().id
    db.session.commit()
    start = threading.Barrier(8)
    written: list[bool] = []

    def one() -> None:
        with app.app_context():
            start.wait(10)
            written.append(queue(merchant_id))
            db.session.commit()

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(written) == [False] * 7 + [True]
    assert len(db.session.scalars(select(Mail)).all()) == 1


@pytest.mark.feature("S5")
def test_a_wrong_address_or_an_empty_fact_keeps_no_order_out(app: Flask, sink: Sink) -> None:
    merchant_id = make_merchant().id
    facts = {**facts_for("payment_information", "de"), "creditor": ""}
    assert queue(merchant_id, recipient="erika mustermann@", once="a", sender_address="no address")
    assert queue(merchant_id, facts=facts, once="b")
    db.session.commit()
    with SmtpSession(f"smtp://127.0.0.1:{sink.port}") as session:
        for mail in db.session.scalars(select(Mail)):
            with pytest.raises(Rejected, match="is not a mail address|'creditor'"):
                deliver_mail(mail, Desk.of([mail], now()), session)
    assert sink.connections == 0


def test_facts_that_a_kind_does_not_know_are_a_mistake_of_the_caller(app: Flask) -> None:
    merchant_id = make_merchant().id
    facts = dict(facts_for("payment_information", "de"))
    with pytest.raises(FactError, match="'payable_untill'"):
        queue(merchant_id, facts={**facts, "payable_untill": "28.11.2026"})
    del facts["iban"]
    with pytest.raises(FactError, match="'iban'"):
        queue(merchant_id, facts=facts)
