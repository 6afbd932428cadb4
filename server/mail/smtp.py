"""One SMTP connection for many mails (RFC 5321), and what an answer means for the mail.

A file of its own because it knows neither rows nor words: addresses and bytes in, the server's
answer out, or one of these errors. Each carries its ``verdict``, as ``replies.classify`` gives it.

* ConnectorError
  + Temporary
    - NotNow             4xx, or the server is in no state to take mail: later
      . NoConnection     nobody there, or no longer, before the content was handed over
      . MayHaveArrived   the connection broke after the content and before the answer
  + Rejected
    - NotEver            5xx to sender, recipient or content: this mail, never
  + Misconfigured
    - NotSetUp           the server wants another password, sender right or encryption: a person

After MayHaveArrived nobody can know whether there is a copy. Who sends the mail once more does it
with the same Message-ID, so that mailboxes can tell.
"""

from __future__ import annotations

import smtplib
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, NamedTuple, Self
from urllib.parse import unquote, urlsplit

from plugin_sdk.errors import Misconfigured, Rejected, Temporary
from server.mail.replies import Verdict, classify

CONNECT_SECONDS = 10
ANSWER_SECONDS = 30
DIALOGUE_SECONDS = 20  # connecting and every command up to the server's "go ahead"
CONTENT_SECONDS = 28
"""A drain must end, so a mail has 48 s in all; RFC 5321, 4.5.3.2 would wait ten minutes."""
LEAST_BYTES_A_SECOND = 125_000
"""A large mail of the relay has as long as a line of 1 Mbit/s needs for it."""
MAX_MAILS_A_CONNECTION = 100
MAX_SECONDS_A_CONNECTION = 60
PAUSE_AFTER_FAILURE_SECONDS = 15
"""A server that was out of reach, or refused our password, is not asked again for every mail."""
MAX_ANSWER_LENGTH = 500
MAX_ANSWER_LINES = 100
MAX_LINE_BYTES = 4096
DEFAULT_PORTS = {"smtp": 25, "smtps": 465, "smtp+starttls": 587}
OPPORTUNISTIC = "opportunistic"


class NotNow(Temporary):
    """Later. ``verdict`` says why, and whether the server is to be left alone meanwhile."""

    def __init__(self, words: str, verdict: Verdict) -> None:
        super().__init__(words, verdict.retry_after_seconds)
        self.verdict = verdict


class NoConnection(NotNow):
    """Nobody was there, or is no longer; the content was not handed over."""

    def __init__(self, words: str, failure: str = "unreachable") -> None:
        super().__init__(words, Verdict(failure, pause_host=True))


class MayHaveArrived(NotNow):
    """The content was handed over and no answer came."""

    def __init__(self, words: str) -> None:
        super().__init__(words, Verdict("unreachable"))


class NotEver(Rejected):
    """This mail, never."""

    def __init__(self, words: str, verdict: Verdict) -> None:
        super().__init__(words)
        self.verdict = verdict


class NotSetUp(Misconfigured):
    """A person must change something first; ``verdict`` says whether no mail can go meanwhile."""

    def __init__(self, words: str, *, pause_host: bool = False) -> None:
        super().__init__(words)
        self.verdict = Verdict("misconfigured", pause_host=pause_host)


NotSent = NotNow | NotEver | NotSetUp


@dataclass(frozen=True, slots=True)
class Server:
    """Where mail is handed over.

    ``encryption``: `smtp` none, `smtps` from the start, `smtp+starttls` required, `opportunistic`
    as good as the server can (RFC 7435): what goes to strangers cannot ask for certificates.
    ``address``: connect to this and look nothing up.
    """

    encryption: str
    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)
    address: str = ""


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

    Of several servers the first that lets us in is taken (RFC 5321, 5.1); ``host`` is its name.
    ``source`` is the address of ours that it connects from, "" any. Not for several threads at
    once.
    """

    def __init__(
        self,
        servers: str | Sequence[Server],
        *,
        own_name: str = "",
        source: str = "",
        clock: Callable[[], float] = time.monotonic,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.servers = [parse_smtp_url(servers)] if isinstance(servers, str) else list(servers)
        assert self.servers, "a session needs a server"
        self.host = self.servers[0].host
        self._us = _Caller(own_name, source)
        self._clock = clock
        self._tls = tls
        self._smtp: _Smtp | None = None
        self._sent = 0
        self._connected_at = 0.0
        self._failed_at = 0.0
        self._failure: NoConnection | NotSetUp | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """QUIT, if there is anybody to say it to. Never raises: nothing depends on it."""
        smtp, self._smtp = self._smtp, None
        if smtp is None:
            return
        try:
            smtp.until = time.monotonic() + CONNECT_SECONDS
            smtp.quit()
        except (OSError, smtplib.SMTPException):
            smtp.close()

    def send(self, sender: str, recipient: str, raw: bytes) -> str:
        """Hand over one mail: two bare addresses, lines that end with CRLF. Returns the answer.

        Eight bits are announced where the server knows them (RFC 6152), and sent in any case.

        An idle connection that the server has closed in the meantime is opened once more;
        before the content is handed over that cannot make a second copy.
        """
        until = time.monotonic() + DIALOGUE_SECONDS
        reused = self._ready(until)
        is_eight = not raw.isascii()
        try:
            self._announce(sender, recipient, is_eight)
        except _Gone as gone:
            if not reused:
                raise _none_left(gone) from gone
            self._connect(until)
            try:
                self._announce(sender, recipient, is_eight)
            except _Gone as again:
                raise _none_left(again) from again
        return self._hand_over(raw)

    def _ready(self, until: float) -> bool:
        """Connected; True if this connection has already carried a mail."""
        age = self._clock() - self._connected_at
        if self._sent >= MAX_MAILS_A_CONNECTION or age >= MAX_SECONDS_A_CONNECTION:
            self.close()
        if self._smtp is None:
            self._connect(until)
        self._connection().until = until
        return self._sent > 0

    def _connect(self, until: float) -> None:
        at = self._clock()
        if self._failure and at - self._failed_at < PAUSE_AFTER_FAILURE_SECONDS:
            raise self._failure.with_traceback(None)
        try:
            self._smtp = self._first_open(until)
        except (NoConnection, NotSetUp) as failure:
            self._failed_at, self._failure = at, failure
            raise
        self._failure = None
        self._sent, self._connected_at = 0, at

    def _first_open(self, until: float) -> _Smtp:
        """Raises what the last one said, if none of them lets us in."""
        failure: NoConnection | NotSetUp | None = None
        for server in self.servers:
            if failure is not None and time.monotonic() >= until:
                break
            try:
                opened = _open(server, self._us, self._tls, until)
            except (NoConnection, NotSetUp) as problem:
                failure = problem
            else:
                self.host = server.host
                return opened
        assert failure is not None, "a session has at least one server"
        raise failure

    def _announce(self, sender: str, recipient: str, is_eight: bool) -> None:
        """MAIL, RCPT and DATA up to the server's "go ahead"."""
        body = " BODY=8BITMIME" if is_eight and self._connection().has_extn("8bitmime") else ""
        self._command("MAIL", f"FROM:<{sender}>{body}", 250)
        self._command("RCPT", f"TO:<{recipient}>", 250, 251)
        self._command("DATA", "", 354)

    def _hand_over(self, raw: bytes) -> str:
        smtp = self._connection()
        smtp.until = time.monotonic() + CONTENT_SECONDS + len(raw) / LEAST_BYTES_A_SECOND
        stuffed = b"\r\n" + raw.removesuffix(b"\r\n")
        content = stuffed.replace(b"\r\n.", b"\r\n..")[2:] + b"\r\n.\r\n"
        try:
            smtp.send(content)
            code, answer = _said(smtp.getreply())
        except (OSError, smtplib.SMTPException) as failure:
            self._drop()
            raise MayHaveArrived(
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
            raise _Gone(f"The mail server is closing: {answer}", answer)
        what = {"MAIL": "the sender address", "RCPT": "the recipient address"}.get(verb, "the mail")
        self._refused(what, code, answer)

    def _refused(self, what: str, code: int, answer: str) -> None:
        """After a refusal the connection goes on with RSET; after nonsense, not at all."""
        if code == 421 or code < 400:
            self._drop()
        else:
            self._reset()
        verdict = classify(code, answer)
        if what == "the sender address":
            verdict = _of_sender(verdict)
        if verdict.failure == "misconfigured":
            raise NotSetUp(f"The mail server wants us to log in: {answer}")
        if verdict.is_final:
            raise NotEver(f"The mail server refused {what}: {answer}", verdict)
        raise NotNow(f"The mail server does not take {what} now: {answer}", verdict)

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

    def _connection(self) -> _Smtp:
        assert self._smtp is not None, "send() connects first"
        return self._smtp


class _Gone(Exception):
    """No longer connected, and the content was not handed over yet."""

    def __init__(self, words: str, answer: str = "") -> None:
        super().__init__(words)
        self.answer = answer


def _none_left(gone: _Gone) -> NotNow:
    if gone.answer:
        return NotNow(str(gone), classify(421, gone.answer))
    return NoConnection(str(gone))


def _of_sender(verdict: Verdict) -> Verdict:
    """The server speaks of our address here, so the recipient's is not to blame."""
    is_ours = verdict.failure in {"other", "misconfigured", "mailbox_full", "too_large"}
    return replace(verdict, failure=verdict.failure if is_ours else "policy", suppress=False)


# --- connecting ---------------------------------------------------------------------------------


class _Smtp(smtplib.SMTP):
    """As the library's, but nobody makes it wait or read without end.

    The library grants every single byte of an answer the full timeout, and an answer any number
    of lines. ``until`` is the moment (``time.monotonic``) at which its patience is over.
    """

    def __init__(self, *arguments: Any, until: float, **named: Any) -> None:
        self.until = until
        self._unread = bytearray()
        super().__init__(*arguments, **named)

    def getreply(self) -> tuple[int, bytes]:
        """Code and text of one answer (RFC 5321, 4.2.1); code -1 for what is none."""
        lines: list[bytes] = []
        try:
            while len(lines) < MAX_ANSWER_LINES:
                line = self._line()
                lines.append(line[4:].strip(b" \t\r\n"))
                if line[3:4] != b"-":
                    digits = line[:3]
                    return int(digits) if digits.isdigit() else -1, b"\n".join(lines)
            raise smtplib.SMTPServerDisconnected("an answer without end")
        except (OSError, smtplib.SMTPException):
            self.close()  # as the library's does: a constructor that fails leaves nothing open
            raise

    def putcmd(self, cmd: str, args: str = "") -> None:
        if self._unread:  # an answer to nothing: the next one would be taken for another's
            raise smtplib.SMTPServerDisconnected("the server spoke out of turn")
        super().putcmd(cmd, args)

    def send(self, s: Any) -> None:
        if self.sock is not None:
            self._set_timeout()
        super().send(s)

    def starttls(self, *arguments: Any, **named: Any) -> tuple[int, bytes]:
        answer = super().starttls(*arguments, **named)
        if self._unread:  # said in the clear, to be heard as if it had been encrypted
            raise smtplib.SMTPServerDisconnected("the server spoke out of turn")
        return answer

    def _line(self) -> bytes:
        while (end := self._unread.find(b"\n")) < 0:
            if len(self._unread) > MAX_LINE_BYTES:
                raise smtplib.SMTPServerDisconnected("an answer without end")
            self._set_timeout()
            if self.sock is None:
                raise smtplib.SMTPServerDisconnected("not connected")
            part = self.sock.recv(MAX_LINE_BYTES)
            if not part:
                raise smtplib.SMTPServerDisconnected("connection unexpectedly closed")
            self._unread += part
        line = bytes(self._unread[: end + 1])
        del self._unread[: end + 1]
        return line

    def _set_timeout(self) -> None:
        left = min(ANSWER_SECONDS, self.until - time.monotonic())
        if left <= 0:
            raise TimeoutError
        if self.sock is not None:
            self.sock.settimeout(left)


class _SmtpTls(_Smtp, smtplib.SMTP_SSL):
    """Encrypted from the start."""


class _Caller(NamedTuple):
    """Who connects: the name that we greet with, and the address of ours that it comes from."""

    name: str
    source: str


def _open(server: Server, us: _Caller, tls: ssl.SSLContext | None, until: float) -> _Smtp:
    """Connect, encrypt, greet and log in; raises NoConnection or NotSetUp."""
    where = f"{server.host}:{server.port}"
    try:
        return _greeted(server, us._replace(name=us.name or _machine_name()), tls, until)
    except ssl.SSLCertVerificationError as failure:
        why = failure.verify_message
        raise NotSetUp(f"The certificate of {where} is not valid: {why}", pause_host=True) from None
    except smtplib.SMTPNotSupportedError as failure:
        raise NotSetUp(
            f"{where} does not offer what SMTP_URL asks for: {failure}", pause_host=True
        ) from failure
    except smtplib.SMTPResponseException as failure:
        code, answer = _said((failure.smtp_code, _bytes(failure.smtp_error)))
        if server.encryption == OPPORTUNISTIC:
            why = classify(code, answer).failure
            raise NoConnection(
                f"{where} does not let us in: {answer}", why if why == "policy" else "unreachable"
            ) from failure
        if 500 <= code < 600:
            raise NotSetUp(f"{where} does not let us in: {answer}", pause_host=True) from failure
        raise NoConnection(f"{where} is not ready: {answer}") from failure
    except (OSError, smtplib.SMTPException) as failure:
        raise NoConnection(f"No connection to {where}: {_why(failure)}") from failure


def _greeted(server: Server, us: _Caller, tls: ssl.SSLContext | None, until: float) -> _Smtp:
    if server.encryption != OPPORTUNISTIC:
        return _let_in(server, us, tls or _checking_tls(), until)
    try:
        return _let_in(server, us, tls or _any_tls(), until)
    except _TlsFailed:  # better readable on the way than not at all, as without STARTTLS
        return _let_in(replace(server, encryption="smtp"), us, _any_tls(), until)


def _let_in(server: Server, us: _Caller, tls: ssl.SSLContext, until: float) -> _Smtp:
    seconds = min(CONNECT_SECONDS, until - time.monotonic())
    if seconds <= 0:
        raise TimeoutError
    where = (server.address or server.host, server.port, us.name)
    source = (us.source, 0) if us.source else None
    if server.encryption == "smtps":
        smtp: _Smtp = _SmtpTls(
            *where, timeout=seconds, context=tls, until=until, source_address=source
        )
    else:
        smtp = _Smtp(*where, timeout=seconds, until=until, source_address=source)
    try:
        smtp.ehlo_or_helo_if_needed()
        _encrypt(smtp, server, tls)
        if server.user:
            smtp.login(server.user, server.password)
    except BaseException:
        smtp.close()
        raise
    return smtp


def _encrypt(smtp: _Smtp, server: Server, tls: ssl.SSLContext) -> None:
    if server.encryption == "smtp+starttls":
        smtp.starttls(context=tls)
        smtp.ehlo_or_helo_if_needed()
    elif server.encryption == OPPORTUNISTIC and smtp.has_extn("starttls"):
        try:
            smtp.starttls(context=tls)
        except (OSError, smtplib.SMTPException) as failure:
            raise _TlsFailed from failure
        smtp.ehlo_or_helo_if_needed()


class _TlsFailed(Exception):
    """The server offers STARTTLS and cannot do it."""


@cache
def _checking_tls() -> ssl.SSLContext:
    """The system's certificates, read once: that takes 20 ms."""
    return ssl.create_default_context()


@cache
def _any_tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@cache
def _machine_name() -> str:
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
