"""A print service that takes letters by mail: one mail a letter, the PDF attached.

Leaves through the installation's own SMTP server. What the service wants to read stands in the
subject and the text; the Message-ID is the letter's, so that a second copy can be known as one.
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.message import EmailMessage
from email.policy import SMTP as POLICY
from email.utils import format_datetime, parseaddr
from typing import Final
from urllib.parse import unquote, urlsplit

from email_validator import EmailNotValidError, validate_email

from plugin_sdk.errors import Misconfigured, Rejected, Temporary
from server.config import Settings
from server.letters.adapters import HandoverInDoubt, Parcel, Receipt, Status
from server.letters.countries import country_name

TIMEOUT_SECONDS: Final = 30
MAX_SUBJECT_LENGTH: Final = 100
PORTS: Final = {"smtp": 25, "smtps": 465, "smtp+starttls": 587}


class SmtpService:
    """Settings: ``address`` of the service, ``subject`` before the letter's number.

    Raises Misconfigured for an address that is none.
    """

    def __init__(self, settings: Mapping[str, str], house: Settings) -> None:
        try:
            checked = validate_email(settings["address"], check_deliverability=False)
        except EmailNotValidError:
            raise Misconfigured("The print service's mail address is not valid.") from None
        self.address = checked.ascii_email or checked.normalized
        self.subject = settings.get("subject", "")[:MAX_SUBJECT_LENGTH]
        self._url, self._sender = house.smtp_url, parseaddr(house.mail_from)[1]

    def hand_over(self, parcel: Parcel) -> Receipt:
        mail = self._mail(parcel)
        with self._server() as server:
            return self._sent(server, mail)

    def status(self, reference: str) -> Status | None:
        """A mail is never answered by a status."""
        return None

    def check(self) -> str:
        with self._server():
            return self.address

    def finish(self) -> None:
        """Each mail has gone by itself."""

    def close(self) -> None:
        """Each mail has had its own connection."""

    def _mail(self, parcel: Parcel) -> EmailMessage:
        mail = EmailMessage(policy=POLICY)
        mail["From"], mail["To"] = self._sender, self.address
        mail["Subject"] = f"{self.subject} {parcel.name}".strip()
        mail["Date"] = format_datetime(parcel.at)
        mail["Message-ID"] = f"<{parcel.name}@{self._sender.rpartition('@')[2]}>"
        lines = [*parcel.recipient, country_name(parcel.country)]
        kind = "registered" if parcel.is_registered else "standard"
        mail.set_content("\n".join([*lines, "", f"pages: {parcel.pages}", f"sending: {kind}", ""]))
        mail.add_attachment(
            parcel.pdf, maintype="application", subtype="pdf", filename=f"{parcel.name}.pdf"
        )
        return mail

    def _sent(self, server: smtplib.SMTP, mail: EmailMessage) -> Receipt:
        """Before the content went out a failure is harmless; afterwards nobody knows."""
        try:
            for verb in (server.mail(self._sender), server.rcpt(self.address)):
                _check_answer(*verb)
        except (OSError, smtplib.SMTPException) as error:
            raise Temporary(f"The mail server broke off ({type(error).__name__}).") from error
        try:
            code, words = server.data(mail.as_bytes())
        except smtplib.SMTPDataError as error:
            code, words = error.smtp_code, _bytes(error.smtp_error)
        except (OSError, smtplib.SMTPException) as error:
            raise HandoverInDoubt("The mail server took the letter and gave no answer.") from error
        _check_answer(code, words)
        return Receipt(str(mail["Message-ID"]).strip("<>")[:64], words=_text(words))

    @contextmanager
    def _server(self) -> Iterator[smtplib.SMTP]:
        if self._url is None:
            raise Misconfigured("SMTP_URL is not set, so no mail can be sent.")
        server = _connected(self._url)
        try:
            yield server
        finally:
            server.close()


def _connected(url: str) -> smtplib.SMTP:
    parts = urlsplit(url)
    where = (parts.hostname or "", parts.port or PORTS.get(parts.scheme, 25))
    tls = ssl.create_default_context() if parts.scheme != "smtp" else None
    try:
        if parts.scheme == "smtps":
            server: smtplib.SMTP = smtplib.SMTP_SSL(*where, timeout=TIMEOUT_SECONDS, context=tls)
        else:
            server = smtplib.SMTP(*where, timeout=TIMEOUT_SECONDS)
        if parts.scheme == "smtp+starttls":
            server.starttls(context=tls)
        server.ehlo_or_helo_if_needed()
        if parts.username:
            server.login(unquote(parts.username), unquote(parts.password or ""))
    except (smtplib.SMTPAuthenticationError, smtplib.SMTPNotSupportedError) as error:
        raise Misconfigured("The mail server does not let Kontor in.") from error
    except ssl.SSLCertVerificationError:
        raise Misconfigured("The certificate of the mail server is not valid.") from None
    except (OSError, smtplib.SMTPException) as error:
        raise Temporary(f"The mail server cannot be reached ({type(error).__name__}).") from error
    return server


def _check_answer(code: int, words: bytes) -> None:
    if 200 <= code < 300:
        return
    text = f"The mail server answered {code}: {_text(words)}"
    if 400 <= code < 500:
        raise Temporary(text)
    raise Rejected(text)


def _bytes(words: bytes | str) -> bytes:
    return words if isinstance(words, bytes) else words.encode()


def _text(words: bytes) -> str:
    return " ".join(words.decode("utf-8", "replace").split())[:200]
