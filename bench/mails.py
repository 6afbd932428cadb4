"""Mails composed, signed and handed to a local sink by one worker, against smtplib on its own.

The other side gets the very bytes that the worker sent and opens a connection for each mail, as a
script with smtplib does; it composes, signs and stores nothing. Then the same over one connection.
The split is measured in this process, one mail at a time, on the same rows.
"""

from __future__ import annotations

import smtplib
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from sqlalchemy import text

from bench.house import House, order, paused
from plugin_sdk.client import Client
from plugin_sdk.schemas import OrderSchema
from server.db import db, now
from server.mail.delivery import Desk, composed, source_of, write_letter
from server.mail.dkim import load_key, new_key, sign
from server.mail.models import DkimKey, Mail, SendingDomain
from server.mail.rules import build_body
from server.mail.smtp import SmtpSession, parse_smtp_url
from server.vault import installed

COUNT = 2000
SAMPLE = 300
LONGEST_SECONDS = 120
T = TypeVar("T")
HOUSE_DOMAIN = "localhost.localdomain"  # of the sender that is set without KONTOR_MAIL_FROM


def run(place: House) -> dict[str, object]:
    client = Client(place.url, place.tenants[0].shop_key)
    made = [OrderSchema().load(order(f"M{n}", f"MAIL{n:05}7")) for n in range(COUNT)]
    with place.app.app_context():
        _prove_the_house()
    with paused(place, "worker-mail"):
        client.push_orders(made)
        time.sleep(5)  # the matcher has looked at them
        with place.app.app_context():  # none of them waits for an edit of its order
            db.session.execute(text("update mail set due_at = created_at"))
            db.session.commit()
    with place.app.app_context():
        began = time.perf_counter()
        while _left() and time.perf_counter() - began < LONGEST_SECONDS:
            time.sleep(0.1)
        ours = (COUNT - _left()) / (time.perf_counter() - began)
        mails = db.session.query(Mail).filter(Mail.headers.is_not(None)).limit(SAMPLE).all()
        db.session.rollback()
        finished = [_finished(mail) for mail in mails]
        signed = sum(b"DKIM-Signature" in raw for raw in finished)
        url = str(place.settings.smtp_url)
        alone, reused, session = _alone(url, finished), _reused(url, finished), _ours(url, finished)
        split = _split(place, mails, 1 / session)
    return {
        "mails/s, one worker, from the row to the row": round(ours),
        "sent of queued": f"{COUNT - _left_in(place)} of {COUNT}",
        "signed of looked at": f"{signed} of {len(finished)}",
        "smtplib, the same bytes, a connection each: mails/s": round(alone),
        "smtplib, the same bytes, one connection: mails/s": round(reused),
        "our session alone, the same bytes: mails/s": round(session),
        "ratio to a connection each": round(ours / alone, 2),
        "ratio to one connection": round(ours / reused, 2),
        **split,
        "bytes a mail, median": round(statistics.median(len(raw) for raw in finished)),
    }


def _prove_the_house() -> None:
    """A key for the domain of the system's address, so that every mail is signed."""
    pkcs8, public = new_key()
    domain = SendingDomain(merchant_id=None, name=HOUSE_DOMAIN, proven_at=now(), due_at=now())
    domain.status = "done"
    db.session.add(domain)
    db.session.flush()
    db.session.add(
        DkimKey(
            sending_domain_id=domain.id,
            selector="kontor1",
            private_key=installed().seal_bytes(pkcs8),
            public_key=public,
            status="current",
        )
    )
    db.session.commit()


def _left() -> int:
    left = db.session.scalar(text("select count(*) from mail where status <> 'done'"))
    db.session.rollback()
    return int(left or 0)


def _left_in(place: House) -> int:
    with place.app.app_context():
        return _left()


def _finished(mail: Mail) -> bytes:
    raw = source_of(mail)
    assert raw is not None, "it was sent"
    return raw


# --- the other side -----------------------------------------------------------------------------


def _alone(url: str, finished: list[bytes]) -> float:
    server = parse_smtp_url(url)

    def send(raw: bytes) -> None:
        with smtplib.SMTP(server.host, server.port, "bench.example.org") as smtp:
            smtp.sendmail("a@example.org", ["b@example.org"], raw)

    return _rate(send, finished)


def _reused(url: str, finished: list[bytes]) -> float:
    server = parse_smtp_url(url)
    with smtplib.SMTP(server.host, server.port, "bench.example.org") as smtp:
        return _rate(lambda raw: smtp.sendmail("a@example.org", ["b@example.org"], raw), finished)


def _ours(url: str, finished: list[bytes]) -> float:
    with SmtpSession(url) as session:
        return _rate(lambda raw: session.send("a@example.org", "b@example.org", raw), finished)


def _rate(send: Callable[[bytes], object], finished: list[bytes]) -> float:
    began = time.perf_counter()
    for raw in finished:
        send(raw)
    return len(finished) / (time.perf_counter() - began)


# --- where the time goes ------------------------------------------------------------------------


def _split(place: House, mails: list[Mail], session_seconds: float) -> dict[str, object]:
    """Milliseconds a mail: each step on its own, and what the database takes for one outcome."""
    key = load_key(HOUSE_DOMAIN, "kontor1", new_key()[0])
    desk = Desk.of(mails, now(), place.settings)
    unsigned = replace(desk, keys={})
    messages = [composed(mail) for mail in mails]
    raws = [write_letter(mail, unsigned).raw for mail in mails]
    compose = _each(composed, mails)
    return {
        "split, ms a mail: compose": _ms(compose),
        "split, ms a mail: build the MIME parts": _ms(_each(build_body, messages)),
        "split, ms a mail: sign": _ms(_each(lambda raw: sign(raw, key, desk.at), raws)),
        "split, ms a mail: SMTP, one connection": _ms(session_seconds),
        "split, ms a mail: database, update and commit": _ms(_each(_touch, mails)),
    }


def _each(step: Callable[[T], object], things: list[T]) -> float:
    began = time.perf_counter()
    for thing in things:
        step(thing)
    return (time.perf_counter() - began) / len(things)


def _touch(mail: Mail) -> None:
    """As much as an outcome writes."""
    mail.html, mail.smtp_response = f"{mail.html} ", f"{mail.smtp_response} "
    db.session.commit()


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)
