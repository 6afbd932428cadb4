"""The partners who collect, behind one interface: a folder, a law office by mail, an HTTP service.

Knows no database: a ``Handover`` carries all that is said, and what becomes of it is returned or
raised as Temporary, Rejected or Misconfigured (plugin_sdk.errors). Saying the same thing twice is
harmless everywhere: files are written anew, mails keep their Message-ID, and every request to a
service carries its Idempotency-Key.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo

from urllib3.filepost import encode_multipart_formdata

from plugin_sdk.errors import Misconfigured, Rejected, Temporary
from plugin_sdk.http import ErrorRule, HttpSession, Limits
from plugin_sdk.schemas import amount_text
from server import egress
from server.collection.rules import state_of
from server.collection.words import words_for
from server.config import Settings
from server.egress import Guard, Policy
from server.mail.languages import day, money
from server.mail.routes import Routes
from server.mail.rules import AddressError, mailbox
from server.mail.service import sender_of
from server.mail.smtp import SmtpSession

ADAPTERS: Final = ("folder", "mail", "http")
CONTRACT_VERSION: Final = "1"
READ_TIMEOUT_SECONDS: Final = 15.0
DEADLINE_SECONDS: Final = 25.0
"""A drain must end: one thing is said to a partner, then the next case has its turn."""
MAX_MAILED_BYTES: Final = 15 * 1024 * 1024
"""In base64 that is 20 MB; beyond it most mailboxes refuse."""
MAX_EVENTS_READ: Final = 500
MAX_REFERENCE: Final = 64
MAX_WORDS: Final = 1000
MAX_URL: Final = 500

HTTP_RULES: Final = (
    ErrorRule(Misconfigured, "The address answers, but knows no such thing", status=405),
    ErrorRule(Temporary, "The same request is still at work", status=409, code="in_progress"),
    ErrorRule(Rejected, "The case takes nothing more", status=409, code="case_closed"),
)


@dataclass(frozen=True, slots=True)
class Payment:
    """What came directly after the hand-over; negative was taken back."""

    id: int
    amount: Decimal
    at: datetime


@dataclass(frozen=True, slots=True)
class Handover:
    """All that a partner may be told of a case. ``reference`` is ours, ``partner_reference`` his.

    ``key`` names the case once and for all installations; ``paid`` is the sum of ``payments``.
    """

    merchant_id: int
    merchant_name: str
    language: str
    reference: str
    key: str
    order_number: str
    debtor: str
    currency: str
    total: Decimal
    contact_name: str
    contact_phone: str
    partner_reference: str | None = None
    timezone: str = "UTC"
    paid: Decimal = Decimal(0)
    payments: tuple[Payment, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    dossier: bytes = field(default=b"", repr=False)

    @property
    def stem(self) -> str:
        """The beginning of the names of its files."""
        number = "".join(c if c.isascii() and c.isalnum() else "-" for c in self.order_number)
        return f"{self.reference}-{number.strip('-') or 'order'}"


@dataclass(frozen=True, slots=True)
class Told:
    """Something that happened at the partner; ``id`` is his, so that it is taken in once."""

    id: str
    at: datetime | None
    state: str | None
    words: str
    amount: Decimal | None


@dataclass(frozen=True, slots=True)
class Standing:
    """How a case stands at the partner; ``state`` None is a word that is not known here."""

    reference: str | None = None
    url: str | None = None
    state: str | None = None
    events: tuple[Told, ...] = ()


class Partner(Protocol):
    """Whoever collects. ``can_refresh``: he can be asked how a case stands."""

    can_refresh: bool

    def check(self) -> None:
        """Raises what would keep a case from being handed over."""

    def open(self, case: Handover, at: datetime) -> Standing: ...

    def report(self, case: Handover, at: datetime) -> None:
        """All direct payments since the hand-over, the last one new."""

    def withdraw(self, case: Handover, at: datetime) -> None: ...

    def refresh(self, case: Handover) -> Standing:
        """Raises Rejected where the partner cannot be asked."""


def partner_for(adapter: str, settings: Mapping[str, str], house: Settings) -> Partner:
    """The adapter with the merchant's ``settings``. Raises Misconfigured."""
    if adapter == "folder":
        return Folder(house.var)
    if adapter == "mail":
        return ByMail(settings.get("recipient", ""), house)
    assert adapter == "http", f"an adapter that nobody offers: {adapter}"
    return ByHttp(settings.get("url", ""), settings.get("token", ""), house)


def check_settings(adapter: str, settings: Mapping[str, str], house: Settings) -> None:
    """Whether they may be stored; asks nobody. Raises AddressRefused or AddressError."""
    if adapter == "http":
        egress.check_url(settings.get("url", ""), house)
    if adapter == "mail":
        mailbox(settings.get("recipient", ""))


# --- a folder ----------------------------------------------------------------------------------


def folder_of(var: Path, merchant_id: int) -> Path:
    """Where the dossiers of a merchant are laid."""
    return var / "collection" / str(merchant_id)


class Folder:
    """Files below KONTOR_VAR, which the merchant or a program of his takes on."""

    can_refresh = False

    def __init__(self, var: Path) -> None:
        self._var = var

    def check(self) -> None:
        if not os.access(self._var, os.W_OK):
            raise Misconfigured("The folder of Kontor cannot be written to.")

    def open(self, case: Handover, at: datetime) -> Standing:
        self._lay(case, f"{case.stem}.zip", case.dossier)
        return Standing()

    def report(self, case: Handover, at: datetime) -> None:
        self._lay(case, f"{case.stem}-payments.json", _json(_paid_body(case)))

    def withdraw(self, case: Handover, at: datetime) -> None:
        told = {"reference": case.reference, "withdrawn_at": at.isoformat()}
        self._lay(case, f"{case.stem}-withdrawn.json", _json(told))

    def refresh(self, case: Handover) -> Standing:
        raise _cannot_be_asked()

    def _lay(self, case: Handover, name: str, content: bytes) -> None:
        """All of it or nothing, and for nobody else to read."""
        folder = folder_of(self._var, case.merchant_id)
        beside = folder / f".{name}.part"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(folder / name)
        except OSError as error:
            raise Temporary(f"The dossier cannot be written ({error.strerror}).") from error


def _json(told: Mapping[str, Any]) -> bytes:
    return json.dumps(told, ensure_ascii=False, indent=2).encode() + b"\n"


def _paid_body(case: Handover) -> dict[str, Any]:
    return {
        "reference": case.reference,
        "currency": case.currency,
        "paid_total": amount_text(case.paid),
        "payments": [
            {"id": str(one.id), "amount": amount_text(one.amount), "at": one.at.isoformat()}
            for one in case.payments
        ],
    }


def _cannot_be_asked() -> Rejected:
    return Rejected("This partner cannot be asked how a case stands.")


# --- a law office, by mail ---------------------------------------------------------------------


class ByMail:
    """One mail with the ZIP attached, from the installation's address over its mail server.

    Not through the outbox of mails to customers: what is written there is made of templates, kept
    and shown word by word, and has no attachments.
    """

    can_refresh = False

    def __init__(self, recipient: str, house: Settings) -> None:
        self._house = house
        try:
            self._recipient = mailbox(recipient)
        except AddressError as problem:
            raise Misconfigured(f"The partner's e-mail address: {problem}.") from problem
        if house.smtp_url is None:
            raise Misconfigured("SMTP_URL is not set, so no mail can be sent.")
        self._routes = Routes.of(house, house.smtp_url)

    def check(self) -> None:
        self._servers()

    def open(self, case: Handover, at: datetime) -> Standing:
        if len(case.dossier) > MAX_MAILED_BYTES:
            raise Rejected(
                f"The dossier is larger than {MAX_MAILED_BYTES // 1024 // 1024} MB, too large for "
                "a mail; download it and hand it over yourself."
            )
        words = words_for(case.language)
        facts = _said(case) | {"total": _money(case, case.total)}
        message = self._message(case, "mail", words, facts, at)
        message.add_attachment(
            case.dossier, maintype="application", subtype="zip", filename=f"{case.stem}.zip"
        )
        self._send(message, f"{case.key}-open")
        return Standing()

    def report(self, case: Handover, at: datetime) -> None:
        words, zone = words_for(case.language), ZoneInfo(case.timezone)
        lines = "".join(
            f"{day(one.at.astimezone(zone).date(), _edition(case))}: {_money(case, one.amount)}\n"
            for one in case.payments
        )
        facts = _said(case) | {"total": _money(case, case.paid), "payments": lines}
        message = self._message(case, "paid", words, facts, at)
        self._send(message, f"{case.key}-paid-{_last_id(case)}")

    def withdraw(self, case: Handover, at: datetime) -> None:
        message = self._message(case, "withdrawn", words_for(case.language), _said(case), at)
        self._send(message, f"{case.key}-withdrawn")

    def refresh(self, case: Handover) -> Standing:
        raise _cannot_be_asked()

    def _message(
        self,
        case: Handover,
        what: str,
        words: Mapping[str, str],
        facts: Mapping[str, str],
        at: datetime,
    ) -> EmailMessage:
        message = EmailMessage(policy=SMTP.clone(cte_type="7bit"))
        message["From"] = mailbox(sender_of(self._house.mail_from)[1], case.merchant_name)
        message["To"] = self._recipient
        message["Date"] = format_datetime(at)
        message["Subject"] = _one_line(words[f"{what}_subject"].format(**facts))
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(words[f"{what}_text"].format(**facts))
        return message

    def _servers(self) -> Any:
        route = self._routes.to(self._recipient.domain)
        if route.verdict is None:
            return route.servers
        if route.verdict.is_final:
            raise Misconfigured(f"{route.words}.")
        raise Temporary(f"{route.words}.")

    def _send(self, message: EmailMessage, name: str) -> None:
        """With a Message-ID of its own for each thing that is said, so that twice can be told."""
        sender = sender_of(self._house.mail_from)[1]
        message["Message-ID"] = f"<{name}@{sender.rpartition('@')[2]}>"
        with SmtpSession(self._servers(), own_name=self._house.mail_host) as session:
            session.send(sender, self._recipient.addr_spec, message.as_bytes())


def _said(case: Handover) -> dict[str, str]:
    return {
        "reference": case.reference,
        "creditor": case.merchant_name,
        "debtor": case.debtor,
        "contact_name": case.contact_name,
        "contact_phone": case.contact_phone,
    }


def _edition(case: Handover) -> str:
    return "de" if case.language.startswith("de") else "en"


def _money(case: Handover, amount: Decimal) -> str:
    return money(amount, case.currency, _edition(case))


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _last_id(case: Handover) -> int:
    return max((one.id for one in case.payments), default=0)


# --- a service, over HTTP ----------------------------------------------------------------------


class ByHttp:
    """A partner with an interface as docs/collection.md describes it, by a token of the merchant's.

    ``{url}`` is the merchant's; only what the operator's egress rules allow is called.
    """

    can_refresh = True

    def __init__(self, url: str, token: str, house: Settings) -> None:
        self._url = egress.check_url(url, house).rstrip("/")
        if not token:
            raise Misconfigured("The partner's token is missing.")
        self._headers = {
            "Authorization": f"Bearer {token}",
            "Kontor-Collection-Version": CONTRACT_VERSION,
        }
        guard = Guard(Policy.of(house), deadline_seconds=DEADLINE_SECONDS)
        self._session = HttpSession(
            "the partner",
            user_agent="Kontor",
            rules=HTTP_RULES,
            secrets=[token],
            limits=Limits(READ_TIMEOUT_SECONDS, DEADLINE_SECONDS, lambda: guard),
        )

    def check(self) -> None:
        self._session.request("GET", f"{self._url}/status", headers=self._headers)

    def open(self, case: Handover, at: datetime) -> Standing:
        fields = [
            ("case", ("case.json", _json(case.facts), "application/json")),
            ("dossier", (f"{case.stem}.zip", case.dossier, "application/zip")),
        ]
        content, content_type = encode_multipart_formdata(fields)
        answer = self._session.request(
            "POST",
            f"{self._url}/cases",
            content=content,
            headers=self._keyed(f"{case.key}-open") | {"Content-Type": content_type},
        )
        standing = _standing(answer.body)
        if not standing.reference:
            raise Temporary("The partner's answer names no reference of the case.")
        return standing

    def report(self, case: Handover, at: datetime) -> None:
        self._session.request(
            "POST",
            f"{self._case_url(case)}/payments",
            json=_paid_body(case),
            headers=self._keyed(f"{case.key}-paid-{_last_id(case)}"),
        )

    def withdraw(self, case: Handover, at: datetime) -> None:
        headers = self._keyed(f"{case.key}-withdrawn")
        self._session.request("DELETE", self._case_url(case), headers=headers)

    def refresh(self, case: Handover) -> Standing:
        answer = self._session.request("GET", self._case_url(case), headers=self._headers)
        return _standing(answer.body)

    def _keyed(self, key: str) -> dict[str, str]:
        return self._headers | {"Idempotency-Key": key}

    def _case_url(self, case: Handover) -> str:
        return f"{self._url}/cases/{quote(case.partner_reference or '', safe='')}"


def _standing(body: Any) -> Standing:
    """What a service says of a case; what cannot be read of it is left out."""
    told = body if isinstance(body, dict) else {}
    events = told.get("events")
    listed = events[-MAX_EVENTS_READ:] if isinstance(events, list) else []
    found = [event for one in listed if (event := _event(one)) is not None]
    return Standing(
        reference=_text(told.get("reference"), MAX_REFERENCE),
        url=_web_address(told.get("url")),
        state=state_of(_text(told.get("state"), MAX_WORDS) or ""),
        events=tuple(found),
    )


def _event(told: Any) -> Told | None:
    if not isinstance(told, dict):
        return None
    name = _text(told.get("id"), MAX_REFERENCE)
    if not name:
        return None  # nobody could tell whether it was taken in already
    at = amount = None
    with suppress(ValueError, TypeError):
        moment = datetime.fromisoformat(str(told.get("at")))
        at = moment if moment.tzinfo is not None else None
    with suppress(ArithmeticError, ValueError):
        number = Decimal(str(told["amount"])) if told.get("amount") is not None else None
        is_sane = number is not None and number.is_finite() and abs(number) < Decimal(10) ** 12
        amount = number if is_sane else None
    said = _text(told.get("state"), MAX_WORDS) or ""
    words = _text(told.get("words"), MAX_WORDS) or ""
    return Told(name, at, state_of(said), words, amount)


def _text(value: Any, most: int) -> str | None:
    if not isinstance(value, str | int) or isinstance(value, bool):
        return None
    return _one_line(str(value))[:most] or None


def _web_address(value: Any) -> str | None:
    """For a link that a person follows: only https, and no name or password in it."""
    if not isinstance(value, str) or len(value) > MAX_URL or not value.isprintable():
        return None
    try:
        parts = urlsplit(value)
    except ValueError:
        return None
    is_good = parts.scheme == "https" and parts.hostname and not parts.username
    return value if is_good else None


def events_of(standing: Standing) -> Sequence[Told]:
    """Those of a standing, each id once."""
    return tuple({one.id: one for one in standing.events}.values())
