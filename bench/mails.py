"""Mails rendered and handed to a local SMTP sink by one worker, against an empty SMTP dialogue."""

from __future__ import annotations

import time
from decimal import Decimal

from sqlalchemy import text

from bench.house import House
from server.db import db, now
from server.mail.models import Mail
from server.mail.rules import payment_facts
from server.mail.service import queue_mail
from server.mail.smtp import SmtpSession
from server.mail.theme import Theme

COUNT = 2000


def run(place: House) -> dict[str, object]:
    with place.app.app_context():
        _queue(place)
        began = time.perf_counter()
        while _left():
            time.sleep(0.1)
        seconds = time.perf_counter() - began
        bare = _bare(place)
    return {
        "mails/s, one worker, from the row to the row": round(COUNT / seconds),
        "bare SMTP dialogues/s with the same sink": round(bare),
        "ratio": round(COUNT / seconds / bare, 3),
    }


def _queue(place: House) -> None:
    tenant = place.tenants[0]
    facts = payment_facts(
        language="de",
        amount=Decimal("87.40"),
        currency="EUR",
        creditor="Bench",
        iban=tenant.iban,
        bic="",
        payment_reference="Y56FWN2E",
    )
    for number in range(COUNT):
        queue_mail(
            "payment_information",
            merchant_id=tenant.merchant_id,
            shop_id=None,
            order_id=None,
            language="de",
            recipient="erika@example.org",
            once=f"bench:{number}",
            facts={
                **facts,
                "shop_name": "Shop",
                "order_number": f"{number}",
                "order_date": "1.12.2026",
                "recipient_name": "Erika Mustermann",
                "prepayment": "yes",
            },
            theme=Theme(),
            sender_name="Shop",
            sender_address="shop@example.org",
        )
    db.session.commit()


def _left() -> int:
    left = db.session.scalar(text("select count(*) from mail where status <> 'done'"))
    db.session.rollback()
    return int(left or 0)


def _bare(place: House) -> float:
    """The same number of bytes, already composed, over one connection."""
    mail = db.session.query(Mail).first()
    assert mail is not None and mail.html and place.settings.smtp_url and now()
    raw = f"Subject: x\r\n\r\n{mail.html}".encode().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    raw = b"\r\n".join(raw[at : at + 900] for at in range(0, len(raw), 900))
    session = SmtpSession(place.settings.smtp_url)
    began = time.perf_counter()
    for _ in range(300):
        session.send("a@example.org", "b@example.org", raw)
    session.close()
    return 300 / (time.perf_counter() - began)
