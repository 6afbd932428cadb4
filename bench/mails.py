"""Mails rendered and handed to a local SMTP sink by one worker, against an empty SMTP dialogue."""

from __future__ import annotations

import time

from sqlalchemy import text

from bench.house import House, order, paused
from plugin_sdk.client import Client
from plugin_sdk.schemas import OrderSchema
from server.db import db
from server.mail.models import Mail
from server.mail.smtp import SmtpSession

COUNT = 2000
DIALOGUES = 300
LONGEST_SECONDS = 120


def run(place: House) -> dict[str, object]:
    client = Client(place.url, place.tenants[0].shop_key)
    made = [OrderSchema().load(order(f"M{n}", f"MAIL{n:05}7")) for n in range(COUNT)]
    with paused(place, "worker-mail"):
        client.push_orders(made)
        time.sleep(5)  # the matcher has looked at them
    with place.app.app_context():
        began = time.perf_counter()
        while _left() and time.perf_counter() - began < LONGEST_SECONDS:
            time.sleep(0.25)
        seconds = time.perf_counter() - began
        sent = COUNT - _left()
        bare = _bare(place)
    return {
        "mails/s, one worker, from the row to the row": round(sent / seconds),
        "sent of queued": f"{sent} of {COUNT}",
        "bare SMTP dialogues/s with the same sink": round(bare),
        "ratio": round(sent / seconds / bare, 3),
    }


def _left() -> int:
    left = db.session.scalar(text("select count(*) from mail where status <> 'done'"))
    db.session.rollback()
    return int(left or 0)


def _bare(place: House) -> float:
    """About the same number of bytes, already composed, over one connection."""
    mail = db.session.query(Mail).filter(Mail.html.is_not(None)).first()
    assert mail is not None
    assert mail.html
    assert place.settings.smtp_url
    body = mail.html.encode()
    lines = [b"Subject: x", b"", *(body[at : at + 900] for at in range(0, len(body), 900))]
    raw = b"\r\n".join(line.replace(b"\n", b" ").replace(b"\r", b" ") for line in lines)
    session = SmtpSession(place.settings.smtp_url)
    began = time.perf_counter()
    for _ in range(DIALOGUES):
        session.send("a@example.org", "b@example.org", raw)
    session.close()
    return DIALOGUES / (time.perf_counter() - began)
