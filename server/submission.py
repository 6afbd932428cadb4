"""The relay's mail server: other systems log in and hand over complete mails (S87, S93, S94).

A door of its own process, because mails of 30 MB must not hold up anybody's pages. STARTTLS first,
then AUTH, then mail (RFC 6409); a second port speaks TLS from the start (RFC 8314). 250 is said
only after the mail is committed; before that every failure is an answer that makes the client keep
it. aiosmtpd speaks the protocol; what it does per line is done here by the block (``_content``), so
that a large mail neither stalls the others nor is held in memory twice.
"""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import logging
import re
import signal
import ssl
import sys
from base64 import b64decode
from binascii import Error as NotBase64
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import MISSING, SMTP, AuthResult, Envelope, Session
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID
from flask import Flask
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from server.config import Settings, WrongSetting, check_bind
from server.db import db, now
from server.relay import intake
from server.relay.heads import NotAccepted
from server.relay.intake import MAX_MESSAGE_BYTES, MAX_RECIPIENTS, Caller, Origin
from server.relay.logins import TooManyFailures, log_in_within_limits
from server.visitors import attempt_limits

log = logging.getLogger(__name__)

IDLE_SECONDS = 300  # RFC 5321, 4.5.3.2.7
MAX_CONNECTIONS = 200
MAX_CONNECTIONS_AN_ADDRESS = 60
BYTES_AT_ONCE = 96 * 1024 * 1024
"""Of mails that are being taken in, over all connections: who comes later waits with his DATA."""
LEAST_BYTES = 1024 * 1024
UNANNOUNCED_AT_ONCE = 2
"""Mails that turn out larger than MAIL said, or than LEAST_BYTES where it said nothing."""
LARGE_BYTES = 2 * 1024 * 1024
STORED_AT_ONCE = 8
READ_AHEAD_BYTES = 256 * 1024
SECONDS_AFTER_FAILURE = 1.0
CALLER_SECONDS = 2.0
USED_SECONDS = 60.0
SWITCH_SECONDS = 0.0005
"""After so long a thread that writes a mail lets the dialogues go on."""
SELF_SIGNED_DAYS = 825
AWAY = "451 4.3.0 Cannot be kept now, try again later"

_END = b"\r\n.\r\n"
_RCPT = re.compile(r"\s*<[^@<>\s][^<>\s]*>\s*", re.ASCII)


def run(app: Flask) -> None:
    """Takes mail until SIGTERM or SIGINT. Raises WrongSetting, or OSError if a port is taken."""
    settings: Settings = app.config["SETTINGS"]
    if settings.relay_bind is None and settings.relay_tls_bind is None:
        raise WrongSetting("KONTOR_RELAY_BIND", "or KONTOR_RELAY_TLS_BIND must be set")
    gc.freeze()  # the program itself is no garbage, and is not looked through again and again
    sys.setswitchinterval(SWITCH_SECONDS)
    asyncio.run(_serve(app, settings))


async def _serve(app: Flask, settings: Settings) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    door = Door(app)
    listeners = []
    if settings.relay_bind is not None:
        listeners.append(await listen(door, settings.relay_bind))
    if settings.relay_tls_bind is not None:
        listeners.append(await listen(door, settings.relay_tls_bind, is_tls=True))
    await ended.wait()
    for listener in listeners:
        listener.close()
    await door.end()


async def listen(door: Door, bind: str, *, is_tls: bool = False) -> asyncio.Server:
    """One port, listening; port 0 takes any free one. ``is_tls``: encrypted from the start."""
    host, port = check_bind(bind, "KONTOR_RELAY_BIND")
    context = door.tls

    def protocol() -> SMTP:
        return _Protocol(door, is_tls=is_tls)

    loop = asyncio.get_running_loop()
    return await loop.create_server(protocol, host, port, ssl=context if is_tls else None)


# --- certificates -------------------------------------------------------------------------------


def tls_context(settings: Settings) -> ssl.SSLContext:
    """From KONTOR_RELAY_CERTIFICATE and _KEY, else a self-signed one that is kept in ``var``."""
    certificate, key = settings.relay_certificate, settings.relay_key
    if certificate is None:
        certificate = key = settings.var / "relay.pem"
        if not _is_good(certificate):
            _make_self_signed(certificate, settings.relay_host or "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as problem:
        raise WrongSetting("KONTOR_RELAY_CERTIFICATE", f"cannot be used: {problem}") from None
    return context


def _is_good(path: Path) -> bool:
    try:
        kept = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return False
    return kept.not_valid_after_utc > datetime.now(UTC) + timedelta(days=30)


def _make_self_signed(path: Path, host: str) -> None:
    """For trying the relay out: clients must be told to trust it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])])
    at = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - timedelta(days=1))
        .not_valid_after(at + timedelta(days=SELF_SIGNED_DAYS))
        .add_extension(x509.SubjectAlternativeName([_alternative(host)]), critical=False)
        .sign(key, SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    new = path.with_suffix(".new")
    new.touch(0o600)
    new.write_bytes(made.public_bytes(Encoding.PEM) + private)
    new.replace(path)


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


# --- the door -----------------------------------------------------------------------------------


class Door:
    """What all connections share: who is in, how much is on its way in, and the database."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.settings: Settings = app.config["SETTINGS"]
        self.tls = tls_context(self.settings)
        # The library writes down every line of a dialogue: people's addresses.
        logging.getLogger("mail.log").setLevel(logging.ERROR)
        self.host = self.settings.relay_host or "localhost"
        self.connections: set[_Protocol] = set()
        self.scale = Scale(BYTES_AT_ONCE)
        self.unannounced = asyncio.Semaphore(UNANNOUNCED_AT_ONCE)
        self._storing = asyncio.Semaphore(STORED_AT_ONCE)
        self._known: dict[int, tuple[float, Caller | None]] = {}
        self._used: dict[int, float] = {}

    async def end(self) -> None:
        """What is half said is left to the client, who has no 250 for it."""
        for connection in list(self.connections):
            connection.say_goodbye()
        await asyncio.sleep(0)

    def may_come_in(self, address: str) -> bool:
        of_address = sum(one.address == address for one in self.connections)
        is_full = len(self.connections) >= MAX_CONNECTIONS
        return not is_full and of_address < MAX_CONNECTIONS_AN_ADDRESS

    async def log_in(self, user: str, password: str, address: str) -> int | str | None:
        """The connection's id; None if wrong, or SMTP's words where nobody is let in now.

        What it may do is asked with its mails.
        """
        try:
            return await asyncio.to_thread(self._log_in, user, password, address)
        except SQLAlchemyError:
            log.warning("the database is away; a log-in of the relay could not be checked")
            return "454 4.7.0 Temporary authentication failure"

    def _log_in(self, user: str, password: str, address: str) -> int | str | None:
        with self.app.app_context():
            _connection()
            try:
                found = log_in_within_limits(user, password, address, attempt_limits(), now())
            except TooManyFailures:
                return "421 4.7.0 Too many failed log-ins, try again later"
            if found is None:
                log.info("a log-in of the relay failed, from %s", address)
                return None
            return found.id

    async def caller(self, connection_id: int) -> Caller | None:
        """What it may do now; asked at most every few seconds. Raises SQLAlchemyError."""
        at = asyncio.get_running_loop().time()
        asked, known = self._known.get(connection_id, (-CALLER_SECONDS, None))
        if at - asked < CALLER_SECONDS:
            return known
        found = await asyncio.to_thread(self._caller_now, connection_id)
        self._known[connection_id] = at, found
        return found

    def _caller_now(self, connection_id: int) -> Caller | None:
        with self.app.app_context():
            _connection()
            return intake.caller_now(connection_id)

    async def keep(self, caller: Caller, raw: bytes, envelope: Envelope, origin: Origin) -> str:
        """SMTP's answer; 250 when it is committed."""
        async with self._storing:
            try:
                number = await asyncio.to_thread(self._keep, caller, raw, envelope, origin)
            except NotAccepted as refused:
                return f"{refused.code} {refused.words}"
            except SQLAlchemyError:
                log.warning("the database is away; the client is asked to come again")
                return AWAY
        return f"250 2.0.0 Ok: queued as {number}"

    def _keep(self, caller: Caller, raw: bytes, envelope: Envelope, origin: Origin) -> int:
        with self.app.app_context():
            connection = _connection()
            if len(raw) > LARGE_BYTES:  # what libpq needs for it, it would keep
                connection.detach()
            number = intake.accept(
                caller,
                raw,
                sender=str(envelope.mail_from).strip("<>"),
                recipients=[str(one) for one in envelope.rcpt_tos],
                origin=origin,
                at=now(),
            )
            db.session.commit()  # it is already; this rings
            if self._is_news(caller.connection_id):
                self._note_used(caller.connection_id)
            return number

    def _note_used(self, connection_id: int) -> None:
        """The mail is kept, so whatever happens here its client must hear of no failure."""
        try:
            intake.note_used(connection_id, now())
            db.session.commit()
        except SQLAlchemyError:
            log.warning("it was not noted that connection %d is in use", connection_id)

    def _is_news(self, connection_id: int) -> bool:
        at = datetime.now(UTC).timestamp()
        if at - self._used.get(connection_id, 0.0) < USED_SECONDS:
            return False
        self._used[connection_id] = at
        return True

    # --- aiosmtpd's hooks

    async def handle_EHLO(
        self, server: _Protocol, session: Session, envelope: Envelope, name: str, said: list[str]
    ) -> list[str]:
        session.host_name = name
        return [*said[:-1], "250-ENHANCEDSTATUSCODES", "250-PIPELINING", said[-1]]

    async def handle_MAIL(
        self,
        server: _Protocol,
        session: Session,
        envelope: Envelope,
        address: str,
        options: list[str],
    ) -> str:
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 Ok"

    async def handle_RCPT(
        self,
        server: _Protocol,
        session: Session,
        envelope: Envelope,
        address: str,
        options: list[str],
    ) -> str:
        if len(envelope.rcpt_tos) >= MAX_RECIPIENTS:
            return "452 4.5.3 Too many recipients"
        try:
            envelope.rcpt_tos.append(intake.checked_recipient(address))
        except NotAccepted as refused:
            return f"{refused.code} {refused.words}"
        return "250 2.1.5 Ok"

    async def handle_exception(self, error: Exception) -> str:
        log.exception("a dialogue of the relay failed", exc_info=error)
        return AWAY


def _connection() -> Connection:
    """The session's, each of whose statements is a transaction: two ways to Postgres less a mail.

    Whatever is to be kept together must be one statement, as a mail is.
    """
    return db.session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})


class Scale:
    """Lets in as many bytes as it may bear; who does not fit waits, in turn."""

    def __init__(self, most: int) -> None:
        self._most, self._left = most, most
        self._change = asyncio.Condition()

    async def take(self, size: int) -> int:
        weight = min(max(size, LEAST_BYTES), self._most)
        async with self._change:
            await self._change.wait_for(lambda: self._left >= weight)
            self._left -= weight
        return weight

    async def give_back(self, weight: int) -> None:
        async with self._change:
            self._left += weight
            self._change.notify_all()


# --- the protocol -------------------------------------------------------------------------------


class _TooMuch(Exception):
    """The mail is larger than it may be; all of it was read."""


class _Protocol(SMTP):
    line_length_limit = READ_AHEAD_BYTES
    AuthLoginUsernameChallenge = "Username:"
    AuthLoginPasswordChallenge = "Password:"

    def __init__(self, door: Door, *, is_tls: bool) -> None:
        super().__init__(
            door,
            data_size_limit=MAX_MESSAGE_BYTES,
            decode_data=False,
            enable_SMTPUTF8=False,
            hostname=door.host,
            ident="Kontor",
            timeout=IDLE_SECONDS,
            tls_context=None if is_tls else door.tls,
            require_starttls=not is_tls,
            auth_required=True,
            loop=asyncio.get_running_loop(),
        )
        self.door, self._is_tls = door, is_tls
        self._auth_require_tls = not is_tls  # the library sees TLS only where STARTTLS began it
        self.address = ""
        self._is_growing = False

    # --- coming and going

    def connection_made(self, transport: Any) -> None:
        peer = transport.get_extra_info("peername") or ("",)
        if self in self.door.connections:  # after STARTTLS
            super().connection_made(transport)
            return
        self.address = str(peer[0])
        if not self.door.may_come_in(self.address):
            transport.write(b"421 4.3.2 Too many connections, try again later\r\n")
            transport.close()
            return
        self.door.connections.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.door.connections.discard(self)
        if self.transport is not None:
            super().connection_lost(error)

    def say_goodbye(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self._writer.write(b"421 4.3.2 Going down, try again later\r\n")
            self.transport.close()

    async def push(self, status: Any) -> None:
        """Nothing to a connection that was closed: the library would read on, and fail at it."""
        if self.transport is None or self.transport.is_closing():
            raise asyncio.CancelledError
        await super().push(status)

    # --- log-in

    async def auth_PLAIN(self, _: Any, args: list[str]) -> AuthResult:
        """RFC 4616."""
        blob: Any = await self.challenge_auth("") if len(args) == 1 else _decoded(args[1])
        if blob is MISSING:
            return AuthResult(success=False)
        parts = (blob or b"").split(b"\x00")
        if len(parts) != 3:
            await self.push("501 5.5.2 Cannot read what was sent")
            return AuthResult(success=False, handled=True)
        return await self._check(parts[1], parts[2])

    async def auth_LOGIN(self, _: Any, args: list[str]) -> AuthResult:
        """As many programs do, though no standard says how."""
        user: Any
        if len(args) == 1:
            user = await self.challenge_auth(self.AuthLoginUsernameChallenge)
        else:
            user = _decoded(args[1])
        if user is MISSING:
            return AuthResult(success=False)
        password: Any = await self.challenge_auth(self.AuthLoginPasswordChallenge)
        if password is MISSING:
            return AuthResult(success=False)
        return await self._check(user or b"", password)

    async def _check(self, user: bytes, password: bytes) -> AuthResult:
        name, secret = (one.decode("utf-8", "replace") for one in (user, password))
        found = await self.door.log_in(name, secret, self.address)
        if isinstance(found, int):
            return AuthResult(success=True, auth_data=found)
        if isinstance(found, str):
            return AuthResult(success=False, handled=False, message=found)
        await asyncio.sleep(SECONDS_AFTER_FAILURE)
        return AuthResult(success=False, handled=False)

    # --- addresses

    async def smtp_MAIL(self, arg: str | None) -> None:
        if arg is not None and "SMTPUTF8" in arg.upper().split():
            await self.push("555 5.6.7 SMTPUTF8 is not supported: addresses must be in ASCII")
            return
        await super().smtp_MAIL(arg)

    async def smtp_RCPT(self, arg: str | None) -> None:
        """One plain address: the library would read a source route and drop its way (RFC 5321,
        appendix C)."""
        given = (arg or "").partition(":")
        is_plain = given[0].strip().upper() == "TO" and _RCPT.fullmatch(given[2]) is not None
        is_allowed = self.session is not None and self.session.authenticated
        if is_allowed and not is_plain:
            await self.push("553 5.1.3 RCPT TO:<address>, with one address and nothing else")
            return
        await super().smtp_RCPT(arg)

    async def smtp_VRFY(self, arg: str | None) -> None:
        await self.push("252 2.5.2 Send some mail, and see")

    async def smtp_EXPN(self, arg: str | None) -> None:
        await self.push("502 5.5.1 Not here")

    # --- the mail

    async def smtp_DATA(self, arg: str | None) -> None:
        """As the library's, but by the block, within limits, and for whoever may still send."""
        if await self.check_helo_needed() or await self.check_auth_needed("DATA"):
            return
        envelope, session = self.envelope, self.session
        assert envelope is not None and session is not None
        if not envelope.rcpt_tos:
            await self.push("503 5.5.1 Need RCPT first")
            return
        if arg:
            await self.push("501 5.5.4 Syntax: DATA")
            return
        weight = await self.door.scale.take(_announced(envelope))
        try:
            await self.push(await self._take_in(envelope, session, weight))
        finally:
            self.envelope = self._create_envelope()
            if self._is_growing:
                self.door.unannounced.release()
            self._is_growing = False
            await self.door.scale.give_back(weight)

    async def _take_in(self, envelope: Envelope, session: Session, weight: int) -> str:
        connection_id: Any = session.auth_data
        try:
            caller = await self.door.caller(connection_id)
        except SQLAlchemyError:
            return AWAY
        if caller is None:
            return "550 5.7.1 This connection was removed"
        await self.push("354 End with a dot on a line of its own")
        try:
            raw = await self._content(weight)
        except _TooMuch:
            return "552 5.3.4 The mail is larger than 30 MB"
        origin = Origin("smtp", self.address, session.host_name or "")
        return await self.door.keep(caller, raw, envelope, origin)

    async def _content(self, weight: int) -> bytes:
        """The mail up to its end, which is CRLF, dot, CRLF and nothing else (RFC 5321, 4.1.1.4).

        What is larger than ``weight`` waits for its turn, in another queue, so that nobody who
        waits there is waited for here.

        A dot between other line ends ends nothing, so no second mail can be smuggled in. Raises
        _TooMuch when all of it was read.
        """
        parts: list[bytes] = []
        if await self._reads_lines(parts):
            return b"".join(parts)
        size = sum(map(len, parts))
        while True:
            try:
                part = await self._reader.readuntil(_END)
                is_last = True
            except asyncio.LimitOverrunError as overrun:
                part, is_last = await self._reader.readexactly(overrun.consumed), False
            self._reset_timeout()
            size += len(part)
            if size > weight + len(_END) and not self._is_growing:
                await self.door.unannounced.acquire()
                self._is_growing = True
            if size <= MAX_MESSAGE_BYTES + len(_END):
                parts.append(part)
            else:
                parts.clear()
            if is_last:
                break
        if size > MAX_MESSAGE_BYTES + len(_END):
            raise _TooMuch
        parts[-1] = parts[-1].removesuffix(_END[2:])
        raw = b"".join(parts)
        parts.clear()
        return raw.replace(b"\r\n..", b"\r\n.")

    async def _short_line(self) -> bytes:
        """Of the lines before a mail's first; one without end ends the dialogue, as what follows
        it must never be read as commands."""
        try:
            return await self._reader.readuntil(b"\n")
        except asyncio.LimitOverrunError as endless:
            raise ConnectionResetError("a line without end") from endless

    async def _reads_lines(self, parts: list[bytes]) -> bool:
        """Up to the first character from which the end can be looked for; True if it is over.

        The end begins with a line end, so reading must not begin behind one. A dot behind a line
        end that is none ends nothing here either.
        """
        begins_line = True
        for _ in range(MAX_RECIPIENTS):
            first = await self._reader.readexactly(1)
            if first not in (b".", b"\r", b"\n"):
                parts.append(first)
                return False
            line = first + (b"" if first == b"\n" else await self._short_line())
            if begins_line and line == b".\r\n":
                return True
            parts.append(line.removeprefix(b".") if begins_line else line)
            begins_line = line.endswith(b"\r\n")
        raise ConnectionResetError("a mail of empty lines")


def _decoded(text: str) -> bytes | None:
    try:
        return b64decode(text.encode("ascii"), validate=True)
    except (NotBase64, ValueError):
        return None


def _announced(envelope: Envelope) -> int:
    """What MAIL said of the size, in bytes; 0 if nothing."""
    sizes = [one[5:] for one in envelope.mail_options if one.startswith("SIZE=")]
    return int(sizes[0]) if sizes and sizes[0].isdigit() else 0
