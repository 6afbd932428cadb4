"""One SMTP connection for many mails (RFC 5321), and what an answer means for the mail.

A file of its own because it knows neither rows nor words: addresses and bytes in, the server's
answer out, or one of three errors.

* Temporary       4xx, no connection, a timeout, a connection that broke: later
* Rejected        5xx to sender, recipient or content: this mail, never
* Misconfigured   the server wants another password, sender right or encryption: a person

Whoever gets Temporary after the content was handed over cannot know whether it arrived. The mail
is sent again with the same Message-ID: at least once, and mailboxes can tell the copies.
"""

from __future__ import annotations

import smtplib
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

from plugin_sdk.errors import Misconfigured, Rejected, Temporary

CONNECT_SECONDS = 10
ANSWER_SECONDS = 30  # a drain must end; RFC 5321, 4.5.3.2 would wait ten minutes
MAX_MAILS_A_CONNECTION = 100
MAX_SECONDS_A_CONNECTION = 60
PAUSE_AFTER_FAILURE_SECONDS = 15
"""A server that was out of reach, or refused our password, is not asked again for every mail."""
MAX_ANSWER_LENGTH = 500
DEFAULT_PORTS = {"smtp": 25, "smtps": 465, "smtp+starttls": 587}


@dataclass(frozen=True, slots=True)
class Server:
    """Where mail is handed over, read from ``SMTP_URL``."""

    encryption: str  # smtp (none), smtps (from the start), smtp+starttls (required)
    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)


def parse_smtp_url(url: str) -> Server:
    """``smtp://``, ``smtps://`` or ``smtp+starttls://[user:password@]host[:port]``.

    User and password are percent-encoded. Raises ValueError, which never repeats the password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("the SMTP address has no valid host and port") from None
    if parts.scheme not in DEFAULT_PORTS:
        raise ValueError(f"the SMTP address must begin with {'://, '.join(DEFAULT_PORTS)}://")
    if not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("the SMTP address must be scheme://user:password@host:port and no more")
    if bool(parts.username) != bool(parts.password):
        raise ValueError("the SMTP address must have both user and password, or neither")
    return Server(
        encryption=parts.scheme,
        host=parts.hostname,
        port=port or DEFAULT_PORTS[parts.scheme],
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
    )


class SmtpSession:
    """Connects with the first mail, keeps the connection for the next, says QUIT at the end.

        with SmtpSession(settings.smtp_url) as session:
            for mail in mails:
                answer = session.send(sender, recipient, raw)

    Not for several threads.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.server = parse_smtp_url(url)
        self._clock = clock
        self._tls = tls
        self._smtp: smtplib.SMTP | None = None
        self._sent = 0
        self._connected_at = 0.0
        self._failed_at = 0.0
        self._failure: Temporary | Misconfigured | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """QUIT, if there is anybody to say it to. Never raises: nothing depends on it."""
        smtp, self._smtp = self._smtp, None
        if smtp is None:
            return
        try:
            smtp.quit()
        except (OSError, smtplib.SMTPException):
            smtp.close()

    def send(self, sender: str, recipient: str, raw: bytes) -> str:
        """Hand over one mail: two bare addresses, CRLF lines in seven bits. Returns the answer.

        An idle connection that the server has closed in the meantime is opened once more;
        before the content is handed over that cannot make a second copy.
        """
        reused = self._ready()
        try:
            self._announce(sender, recipient)
        except _Gone as gone:
            if not reused:
                raise Temporary(str(gone)) from gone
            self._connect()
            try:
                self._announce(sender, recipient)
            except _Gone as again:
                raise Temporary(str(again)) from again
        return self._hand_over(raw)

    def _ready(self) -> bool:
        """Connected; True if this connection has already carried a mail."""
        age = self._clock() - self._connected_at
        if self._sent >= MAX_MAILS_A_CONNECTION or age >= MAX_SECONDS_A_CONNECTION:
            self.close()
        if self._smtp is None:
            self._connect()
        return self._sent > 0

    def _connect(self) -> None:
        at = self._clock()
        if self._failure and at - self._failed_at < PAUSE_AFTER_FAILURE_SECONDS:
            raise type(self._failure)(str(self._failure))
        try:
            self._smtp = _open(self.server, self._tls or _default_tls())
        except (Temporary, Misconfigured) as failure:
            self._failed_at, self._failure = at, failure
            raise
        self._failure = None
        self._sent, self._connected_at = 0, at

    def _announce(self, sender: str, recipient: str) -> None:
        """MAIL, RCPT and DATA up to the server's "go ahead"."""
        self._command("MAIL", f"FROM:<{sender}>", 250)
        self._command("RCPT", f"TO:<{recipient}>", 250, 251)
        self._command("DATA", "", 354)

    def _hand_over(self, raw: bytes) -> str:
        smtp = self._connection()
        stuffed = b"\r\n" + raw.removesuffix(b"\r\n")
        content = stuffed.replace(b"\r\n.", b"\r\n..")[2:] + b"\r\n.\r\n"
        try:
            smtp.send(content)
            code, answer = _said(smtp.getreply())
        except (OSError, smtplib.SMTPException) as failure:
            self._drop()
            raise Temporary(
                f"The connection broke while the mail was handed over; it may have arrived "
                f"({_why(failure)})"
            ) from failure
        self._sent += 1
        if code != 250:
            self._refused("the mail", code, answer)
        return answer

    def _command(self, verb: str, argument: str, *wanted: int) -> None:
        try:
            code, answer = _said(self._connection().docmd(verb, argument))
        except (OSError, smtplib.SMTPException) as failure:
            self._drop()
            raise _Gone(f"The mail server closed the connection ({_why(failure)})") from failure
        if code in wanted:
            return
        if code == 421:
            self._drop()
            raise _Gone(f"The mail server is closing: {answer}")
        what = {"MAIL": "the sender address", "RCPT": "the recipient address"}.get(verb, "the mail")
        self._refused(what, code, answer)

    def _refused(self, what: str, code: int, answer: str) -> None:
        """After a refusal the connection goes on with RSET, or not at all."""
        if code == 421:
            self._drop()
        else:
            self._reset()
        if code in (530, 534, 535, 538):
            raise Misconfigured(f"The mail server wants us to log in: {answer}")
        if 500 <= code < 600:
            raise Rejected(f"The mail server refused {what}: {answer}")
        raise Temporary(f"The mail server does not take {what} now: {answer}")

    def _reset(self) -> None:
        try:
            code, _ = self._connection().docmd("RSET")
        except (OSError, smtplib.SMTPException):
            code = -1
        if code != 250:
            self._drop()

    def _drop(self) -> None:
        smtp, self._smtp = self._smtp, None
        if smtp is not None:
            smtp.close()

    def _connection(self) -> smtplib.SMTP:
        assert self._smtp is not None, "send() connects first"
        return self._smtp


class _Gone(Exception):
    """No longer connected, and the content was not handed over yet."""


@cache
def _default_tls() -> ssl.SSLContext:
    """The system's certificates, read once: that takes 20 ms."""
    return ssl.create_default_context()


def _open(server: Server, tls: ssl.SSLContext) -> smtplib.SMTP:
    """Connect, encrypt, greet and log in; raises Temporary or Misconfigured."""
    where = f"{server.host}:{server.port}"
    try:
        return _greeted(server, tls)
    except ssl.SSLCertVerificationError as failure:
        why = failure.verify_message
        raise Misconfigured(f"The certificate of {where} is not valid: {why}") from failure
    except smtplib.SMTPNotSupportedError as failure:
        raise Misconfigured(
            f"{where} does not offer what SMTP_URL asks for: {failure}"
        ) from failure
    except smtplib.SMTPResponseException as failure:
        code, answer = _said((failure.smtp_code, _bytes(failure.smtp_error)))
        if 500 <= code < 600:
            raise Misconfigured(f"{where} does not let us in: {answer}") from failure
        raise Temporary(f"{where} is not ready: {answer}") from failure
    except (OSError, smtplib.SMTPException) as failure:
        raise Temporary(f"No connection to {where}: {_why(failure)}") from failure


def _greeted(server: Server, tls: ssl.SSLContext) -> smtplib.SMTP:
    smtp: smtplib.SMTP
    if server.encryption == "smtps":
        smtp = smtplib.SMTP_SSL(
            server.host, server.port, _own_name(), timeout=CONNECT_SECONDS, context=tls
        )
    else:
        smtp = smtplib.SMTP(server.host, server.port, _own_name(), timeout=CONNECT_SECONDS)
    try:
        assert smtp.sock is not None, "the constructor connects or raises"
        smtp.sock.settimeout(ANSWER_SECONDS)
        smtp.ehlo_or_helo_if_needed()
        if server.encryption == "smtp+starttls":
            smtp.starttls(context=tls)
            smtp.ehlo_or_helo_if_needed()
        if server.user:
            smtp.login(server.user, server.password)
    except BaseException:
        smtp.close()
        raise
    return smtp


@cache
def _own_name() -> str:
    """The name we greet with; asking for it can take seconds where DNS is bad, so once."""
    return socket.getfqdn()


def _said(reply: tuple[int, bytes]) -> tuple[int, str]:
    """Code and one printable line, "250 2.0.0 Ok: queued as ..."; -1 becomes "no answer"."""
    code, lines = reply
    text = " ".join(lines.decode("utf-8", "replace").split())
    printable = "".join(letter for letter in text if letter.isprintable())
    return code, f"{code} {printable}"[:MAX_ANSWER_LENGTH].strip()


def _bytes(answer: bytes | str) -> bytes:
    return answer if isinstance(answer, bytes) else answer.encode()


def _why(failure: Exception) -> str:
    if isinstance(failure, TimeoutError):
        return "no answer in time"
    return str(failure) or type(failure).__name__
