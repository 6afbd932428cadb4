"""The receiver of what comes back: a mail server for our own return paths, and a mailbox's reader.

    python -m server bounces

Where ``KONTOR_BOUNCE_BIND`` is set it takes mail for the domain of KONTOR_BOUNCE_DOMAIN (its MX
points here), and only for addresses that we have signed: it relays nothing and stores nothing for
others. It says 250 when the report is committed, and 451 while the database is away, so the other
server keeps it and comes again.

Where ``KONTOR_BOUNCE_MAILBOX`` is set, a mailbox is read every minute in which such mail arrives.
A report is deleted there after its commit; mail that is none of ours is marked as read and left.
"""

from __future__ import annotations

import asyncio
import imaplib
import logging
import re
import signal
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import unquote, urlsplit

from aiosmtpd.smtp import SMTP, Envelope, Session
from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from server.config import Settings, WrongSetting, check_bind
from server.db import db, now
from server.mail import bounces
from server.mail.bounces import StillSending
from server.mail.parts import parts_of
from server.mail.reports import read_report
from server.relay import bounces as relay

log = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 2 * 1024**2
MAX_CONNECTIONS = 20
MAX_RECIPIENTS = 10
IDLE_SECONDS = 60
FORGET_SECONDS = 3_600

IMAPS_PORT, IMAP_PORT = 993, 143
MAILBOX_SECONDS = 60
MAILBOX_TIMEOUT_SECONDS = 30
MAILS_A_LOOK = 100
TO_FIELDS = ("x-original-to", "delivered-to", "envelope-to", "x-envelope-to", "to")


def run(app: Flask) -> None:
    """Receives until SIGTERM or SIGINT. Raises WrongSetting, or OSError if the port is taken."""
    settings: Settings = app.config["SETTINGS"]
    if settings.bounce_domain is None:
        raise WrongSetting("KONTOR_BOUNCE_DOMAIN", "must be set, else no mail can come back")
    if settings.bounce_bind is None and settings.bounce_mailbox is None:
        raise WrongSetting("KONTOR_BOUNCE_BIND", "or KONTOR_BOUNCE_MAILBOX must be set")
    asyncio.run(_serve(app, settings))


async def _serve(app: Flask, settings: Settings) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    work = [asyncio.create_task(_repeat(_forget, app, FORGET_SECONDS))]
    if settings.bounce_mailbox is not None:
        url = settings.bounce_mailbox
        work.append(
            asyncio.create_task(_repeat(lambda of: read_mailbox(of, url), app, MAILBOX_SECONDS))
        )
    listener = None
    if settings.bounce_bind is not None:
        listener = await listen(app, settings.bounce_bind)
    await ended.wait()
    if listener is not None:
        listener.close()
    for task in work:
        task.cancel()


async def _repeat(work: Callable[[Flask], object], app: Flask, seconds: float) -> None:
    """At once and then every so often; what fails is tried again the next time."""
    while True:
        try:
            await asyncio.to_thread(work, app)
        except (SQLAlchemyError, OSError, imaplib.IMAP4.error) as problem:
            log.warning("what comes back cannot be read now: %s", problem)
        except Exception:
            log.exception("what comes back could not be read; it is tried again")
        await asyncio.sleep(seconds)


def _forget(app: Flask) -> None:
    with app.app_context():
        bounces.forget_old_reports(now())
        db.session.commit()


def _keep(app: Flask, raw: bytes, recipients: list[str]) -> None:
    """Committed when it returns. Raises SQLAlchemyError and StillSending."""
    with app.app_context():
        for recipient in recipients:
            if relay.is_of_relay(recipient):
                relay.receive(raw, recipient, now())
            else:
                bounces.receive(raw, recipient, now())
        db.session.commit()


# --- the mail server ----------------------------------------------------------------------------


async def listen(app: Flask, bind: str) -> asyncio.Server:
    """The mail server, listening; port 0 takes any free one."""
    host, port = check_bind(bind, "KONTOR_BOUNCE_BIND")
    domain = app.config["SETTINGS"].bounce_domain
    door = Door(app)

    def protocol() -> SMTP:
        return _Protocol(
            door,
            data_size_limit=MAX_MESSAGE_BYTES,
            decode_data=False,
            enable_SMTPUTF8=True,
            hostname=domain,
            ident="Kontor",
            timeout=IDLE_SECONDS,
        )

    return await asyncio.get_running_loop().create_server(protocol, host, port)


class Door:
    """aiosmtpd's hooks: who may write, and what is kept."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.connections = 0

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Only return paths that we have signed: all else is somebody else's mail."""
        if len(envelope.rcpt_tos) >= MAX_RECIPIENTS:
            return "452 4.5.3 Too many recipients"
        with self.app.app_context():
            is_ours = _is_ours(address)
        if not is_ours:
            return "550 5.1.1 No such address here"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.content
        assert isinstance(content, bytes), "decode_data is off"
        try:
            await asyncio.to_thread(_keep, self.app, content, envelope.rcpt_tos)
        except StillSending:
            return "451 4.3.0 Still being sent, try again later"
        except SQLAlchemyError:
            log.warning("the database is away; the other server is asked to come again")
            return "451 4.3.0 Cannot be kept now, try again later"
        return "250 2.0.0 Kept"


class _Protocol(SMTP):
    line_length_limit = 65_536  # what some programs send; RFC 5321 ends lines at 1,000

    def connection_made(self, transport: Any) -> None:
        door = self.event_handler
        door.connections += 1
        if door.connections > MAX_CONNECTIONS:
            transport.write(b"421 4.3.2 Too many connections, try again later\r\n")
            transport.close()
            return
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.event_handler.connections -= 1
        if self.transport is not None:
            super().connection_lost(error)


# --- a mailbox ----------------------------------------------------------------------------------


def read_mailbox(app: Flask, url: str) -> int:
    """Take the reports out of a mailbox; how many. Raises OSError, IMAP4.error, SQLAlchemyError.

    ``url`` is ``imaps://user:password@host/INBOX``. Only mail that nobody has read is looked at.
    """
    taken = 0
    with _mailbox(url) as mailbox:
        _, found = mailbox.uid("SEARCH", "UNSEEN")
        for uid in found[0].split()[:MAILS_A_LOOK] if found and found[0] else []:
            raw = _fetched(mailbox, uid.decode("ascii"))
            if raw is None:
                continue
            with app.app_context():
                recipient = _return_path(raw)
            if recipient is None:
                mailbox.uid("STORE", uid.decode("ascii"), "+FLAGS.SILENT", r"(\Seen)")
                continue
            try:
                _keep(app, raw, [recipient])
            except StillSending:
                continue  # it stays unread, so the next look finds it
            mailbox.uid("STORE", uid.decode("ascii"), "+FLAGS.SILENT", r"(\Seen \Deleted)")
            taken += 1
        if taken:
            mailbox.expunge()
    return taken


@contextmanager
def _mailbox(url: str) -> Iterator[imaplib.IMAP4]:
    parts = urlsplit(url)
    assert parts.hostname is not None, "checked when the settings were read"
    mailbox: imaplib.IMAP4
    if parts.scheme == "imaps":
        mailbox = imaplib.IMAP4_SSL(
            parts.hostname,
            parts.port or IMAPS_PORT,
            ssl_context=ssl.create_default_context(),
            timeout=MAILBOX_TIMEOUT_SECONDS,
        )
    else:
        port = parts.port or IMAP_PORT
        mailbox = imaplib.IMAP4(parts.hostname, port, timeout=MAILBOX_TIMEOUT_SECONDS)
    try:
        mailbox.login(unquote(parts.username or ""), unquote(parts.password or ""))
        status, said = mailbox.select(unquote(parts.path.strip("/")) or "INBOX")
        if status != "OK":
            raise imaplib.IMAP4.error(f"the mailbox cannot be opened: {said!r}")
        yield mailbox
    finally:
        for leave in (mailbox.logout, mailbox.shutdown):  # the first fails where it hung up
            with suppress(OSError, imaplib.IMAP4.error):
                leave()


def _fetched(mailbox: imaplib.IMAP4, uid: str) -> bytes | None:
    """The first two MiB of a mail, not marked as read; None if it has gone."""
    _, found = mailbox.uid("FETCH", uid, f"(BODY.PEEK[]<0.{MAX_MESSAGE_BYTES}>)")
    for item in found or ():
        if isinstance(item, tuple) and isinstance(item[1], bytes):
            return item[1]
    return None


_ADDRESS = re.compile(r"[^\s<>,;\"']{1,300}@[^\s<>,;\"']{1,255}")


def _return_path(raw: bytes) -> str | None:
    """Which of our return paths a mail was sent to, or is about."""
    head = parts_of(raw)[0].head
    written = [head.get(name, "") for name in TO_FIELDS]
    addresses = [address for field in written for address in _ADDRESS.findall(field)]
    addresses.append(read_report(raw).return_path)
    return next((one for one in addresses if _is_ours(one)), None)


def _is_ours(address: str) -> bool:
    return bounces.mail_of([address]) is not None or relay.is_of_relay(address)
