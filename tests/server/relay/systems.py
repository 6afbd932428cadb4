"""A merchant with a system that may send, and the relay's mail server on loopback."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from server import submission
from server.db import db, now
from server.mail import domains
from server.mail.domain_rules import Check, Report
from server.mail.models import SendingDomain
from server.merchants.models import Merchant
from server.relay import connections
from server.relay.models import RelayConnection, RelayDelivery, RelayMessage
from tests.factories import make_merchant

DOMAIN = "shop.example.org"


@dataclass(frozen=True)
class System:
    """A booking system that was set up for the relay."""

    merchant: Merchant
    connection: RelayConnection
    domain: SendingDomain
    user: str
    password: str


def prove(row: SendingDomain, state: str = "ok") -> None:
    """As if the last look had seen the key in the DNS; SPF says nothing."""
    selector = domains.current_selector(domains.keys_of(row))
    row.report = Report((Check(selector, state),)).as_json()
    row.checked_at = now()


def make_system(
    name: str = DOMAIN, *, merchant: Merchant | None = None, list_help: str = ""
) -> System:
    merchant = merchant or make_merchant()
    domain = domains.add(merchant.id, name, now())
    prove(domain)
    row = connections.add_connection(merchant.id, "Buchungssystem", actor="anna", at=now())
    connections.set_domain(row, domain.id, list_help, now())
    password = connections.new_password(row, now())
    db.session.commit()
    return System(merchant, row, domain, row.user_name, password)


@contextmanager
def listening(app: Any, *, is_tls: bool = False) -> Iterator[int]:
    """The mail server in a loop of its own thread; its port."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def begin() -> tuple[submission.Door, asyncio.Server]:
        door = submission.Door(app)
        return door, await submission.listen(door, "127.0.0.1:0", is_tls=is_tls)

    door, listener = asyncio.run_coroutine_threadsafe(begin(), loop).result(10)

    async def close() -> None:
        listener.close()
        await door.end()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await loop.shutdown_default_executor()

    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(close(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


def any_tls() -> ssl.SSLContext:
    """The relay's certificate is its own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def connect(port: int, system: System | None = None) -> smtplib.SMTP:
    """Encrypted, and logged in as the system."""
    smtp = smtplib.SMTP("127.0.0.1", port, timeout=20)
    smtp.starttls(context=any_tls())
    if system is not None:
        smtp.login(system.user, system.password)
    return smtp


def a_mail(body: str = "Ihre Buchung ist da.", *, sender: str = f"buchung@{DOMAIN}") -> bytes:
    head = (
        f"From: Buchung <{sender}>\r\nTo: erika@example.com\r\n"
        "Subject: =?utf-8?q?Ihre_Buchung_f=C3=BCr_M=C3=A4rz?=\r\n"
        "Message-ID: <buchung-1@shop.example.org>\r\nDate: Mon, 02 Mar 2026 10:00:00 +0100\r\n"
    )
    return f"{head}\r\n{body}\r\n".encode()


def messages() -> list[RelayMessage]:
    db.session.rollback()
    return db.session.query(RelayMessage).order_by(RelayMessage.id).all()


def deliveries() -> list[RelayDelivery]:
    db.session.rollback()
    return db.session.query(RelayDelivery).order_by(RelayDelivery.id).all()
